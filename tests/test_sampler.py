"""The two-stream sampler against the walkthrough's."""

import itertools
from collections import Counter

import numpy as np
import pytest
from torch.utils.data import DataLoader

from laseg_lib import TwoStreamBatchSampler

LABELLED, UNLABELLED = list(range(12)), list(range(12, 60))


def walkthrough_epoch(primary, secondary, batch_size, secondary_batch_size):
    """One epoch by NumPy's global state, as the walkthrough's generators draw it."""
    def forever():
        while True:
            yield from np.random.permutation(secondary)

    first, second = np.random.permutation(primary), forever()
    share = batch_size - secondary_batch_size
    return [(*first[i:i + share], *itertools.islice(second, secondary_batch_size))
            for i in range(0, len(primary) // share * share, share)]


def test_the_walkthroughs_listing():
    sampler = TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2)
    assert len(sampler) == 6
    for _ in range(2):
        batches = list(sampler)
        assert len(batches) == 6
        assert all(len(batch) == 4 and isinstance(batch, tuple) for batch in batches)
        assert sorted(i for batch in batches for i in batch[:2]) == LABELLED
        unlabelled = [i for batch in batches for i in batch[2:]]
        assert len(set(unlabelled)) == 12 and set(unlabelled) <= set(UNLABELLED)


@pytest.mark.parametrize("sizes", [(12, 48, 4, 2), (25, 98, 4, 2), (7, 3, 5, 3), (5, 4, 3, 1)])
def test_without_a_generator_the_batches_are_the_walkthroughs(sizes):
    n, m, batch_size, secondary = sizes
    primary, rest = list(range(n)), list(range(n, n + m))
    sampler = TwoStreamBatchSampler(primary, rest, batch_size, secondary)
    np.random.seed(1337)
    want = [walkthrough_epoch(primary, rest, batch_size, secondary) for _ in range(3)]
    np.random.seed(1337)
    assert [list(sampler) for _ in range(3)] == want


def test_every_unlabelled_one_comes_before_any_comes_again():
    sampler = TwoStreamBatchSampler(range(40), range(40, 47), 3, 2, generator=0)
    drawn = [i for batch in sampler for i in batch[1:]]
    for start in range(0, len(drawn) - 6, 7):
        assert sorted(drawn[start:start + 7]) == list(range(40, 47))
    counts = Counter(drawn)
    assert max(counts.values()) - min(counts.values()) <= 1


def test_a_remainder_is_left_out():
    sampler = TwoStreamBatchSampler(range(5), range(5, 9), 4, 2, generator=0)
    assert len(list(sampler)) == len(sampler) == 2


def test_a_generator_gives_the_same_batches_again_and_leaves_numpys_state_alone():
    before = np.random.get_state()[1].copy()
    first, second = (TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2, generator=7) for _ in range(2))
    assert [list(first), list(first)] == [list(second), list(second)]
    assert list(first) != list(TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2, generator=8))
    assert (np.random.get_state()[1] == before).all()


def test_the_labelled_order_does_not_depend_on_the_unlabelled_share():
    alone, both = (TwoStreamBatchSampler(LABELLED, UNLABELLED, 2 + share, share, generator=3) for share in (0, 2))
    for _ in range(3):
        assert list(alone) == [batch[:2] for batch in both]


@pytest.mark.parametrize("drawn", [0, 1, 4, 6, 9, 13])
def test_a_saved_sampler_goes_on_where_it_was(drawn):
    def stream(sampler):
        while True:
            yield from sampler

    sampler = TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2, generator=5)
    batches = stream(sampler)
    for _ in range(drawn):
        next(batches)
    state = sampler.state_dict()
    want = [next(batches) for _ in range(15)]
    other = TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2, generator=99)
    other.load_state_dict(state)
    resumed = stream(other)
    assert [next(resumed) for _ in range(15)] == want


def test_only_a_sampler_with_a_generator_can_be_saved():
    with pytest.raises(ValueError, match="generator"):
        TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2).state_dict()


@pytest.mark.parametrize("labelled, unlabelled, batch, share, numbers", [
    (1, 10, 4, 2, ["4", "2", "1"]), (10, 1, 4, 2, ["2", "1"]), (10, 10, 2, 2, ["0"]), (10, 10, 2, 3, ["-1"]),
    (10, 10, 4, -1, ["-1"]), (0, 10, 4, 2, ["0"])])
def test_sizes_that_cannot_work_are_told_with_their_numbers(labelled, unlabelled, batch, share, numbers):
    with pytest.raises(ValueError) as error:
        TwoStreamBatchSampler(range(labelled), range(labelled, labelled + unlabelled), batch, share)
    assert all(number in str(error.value) for number in numbers)


def test_a_data_loader_takes_it():
    loader = DataLoader(list(range(60)), batch_sampler=TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2))
    batches = list(loader)
    assert len(loader) == len(batches) == 6 and all((batch[:2] < 12).all()
                                                    and (batch[2:] >= 12).all() for batch in batches)


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("seen", [1, 3, 5])
def test_a_sampler_saved_under_a_data_loader_goes_on_after_what_was_consumed(seen, workers):
    def sampler():
        return TwoStreamBatchSampler(LABELLED, UNLABELLED, 4, 2, generator=5)

    whole = list(sampler())
    first, again = sampler(), sampler()
    options = {"num_workers": workers} | ({"prefetch_factor": 3} if workers else {})
    batches = iter(DataLoader(list(range(60)), batch_sampler=first, **options))
    for _ in range(seen):
        next(batches)
    again.load_state_dict(first.state_dict(consumed=seen))
    rest = iter(again)
    assert next(rest) == whole[seen]
    third = sampler()  # saved once more in the epoch that was resumed
    third.load_state_dict(again.state_dict(consumed=1))
    assert list(third) == whole[seen + 1:]


def test_masks_in_place_of_indices_are_refused():
    """True and False would count as the volumes 1 and 0."""
    labelled = np.arange(6) < 3
    with pytest.raises(ValueError, match="np.flatnonzero"):
        TwoStreamBatchSampler(labelled, ~labelled, 2, 1)
    assert len(list(TwoStreamBatchSampler(np.flatnonzero(labelled), np.flatnonzero(~labelled), 2, 1))) == 3


def test_a_batch_has_a_whole_number_of_volumes():
    with pytest.raises(ValueError, match="a batch of 4.0 with 2 .* whole numbers"):
        TwoStreamBatchSampler(range(4), range(4, 10), 4.0, 2)
