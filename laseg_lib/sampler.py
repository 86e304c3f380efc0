"""Two streams in one batch: some labelled volumes, some unlabelled ones."""

import itertools

import numpy as np
from torch.utils.data import Sampler


class TwoStreamBatchSampler(Sampler):
    """Yields tuples of indices (int): labelled first, then unlabelled.

    An epoch is one pass over ``primary_indices`` (labelled).  A remainder that is too small for a
    batch is left out.  In the same batches ``secondary_indices`` (unlabelled) are drawn, each once
    before any is drawn again.  Each epoch has new random orders.
    A batch holds ``batch_size - secondary_batch_size`` primary and ``secondary_batch_size``
    secondary indices; with ``secondary_batch_size=0`` it is an ordinary shuffled batch.

    ``generator``: a ``numpy.random.Generator`` or an int seed, from which each stream gets a
    generator of its own, so that the labelled order is the same whatever the unlabelled share.
    None draws from NumPy's global state, as the walkthrough does.
    Raises ValueError when a stream is too short for its share of the batch, and for indices or
    sizes that are not whole numbers, such as masks or names.
    Source: Tarvainen & Valpola's code; also UA-MT (Yu et al. 2019).

    >>> list(TwoStreamBatchSampler(range(4), range(4, 9), batch_size=4, secondary_batch_size=2, generator=0))
    [(1, 0, 8, 7), (3, 2, 6, 4)]
    """

    def __init__(self, primary_indices, secondary_indices, batch_size, secondary_batch_size, *, generator=None):
        self.primary_indices, self.secondary_indices = list(primary_indices), list(secondary_indices)
        self.secondary_batch_size = secondary_batch_size
        self.primary_batch_size = batch_size - secondary_batch_size
        self.rngs = None if generator is None else np.random.default_rng(generator).spawn(2)
        self._check(batch_size)
        self._start = self._state()  # of the generators, when the current epoch began
        self._batches = 0  # drawn since then
        self._resume = 0  # to be skipped when the next epoch begins
        self._resumed = 0  # skipped when the current epoch began

    def _check(self, batch_size):
        for indices in filter(len, map(np.asarray, (self.primary_indices, self.secondary_indices))):
            if indices.ndim != 1 or indices.dtype.kind not in "iu":
                raise ValueError("give the volumes' indices as a list of whole numbers, as np.flatnonzero(mask) does, "
                                 "not a mask or names")
        sizes = batch_size, self.secondary_batch_size
        if not all(isinstance(size, (int, np.integer)) for size in sizes):
            raise ValueError(f"a batch of {batch_size} with {self.secondary_batch_size} unlabelled: "
                             "give whole numbers")
        if not 0 < self.primary_batch_size <= len(self.primary_indices):
            raise ValueError(
                f"a batch of {batch_size} with {self.secondary_batch_size} unlabelled needs "
                f"{self.primary_batch_size} labelled volumes, at least 1; there are {len(self.primary_indices)}"
            )
        if not 0 <= self.secondary_batch_size <= len(self.secondary_indices):
            raise ValueError(
                f"a batch of {batch_size} needs {self.secondary_batch_size} unlabelled volumes; "
                f"there are {len(self.secondary_indices)}"
            )

    def __iter__(self):
        self._start, self._batches = self._state(), 0
        self._resumed, self._resume = self._resume, 0
        primary_rng, secondary_rng = self.rngs or (np.random, np.random)
        primary = iterate_once(self.primary_indices, primary_rng)
        batches = zip(*[iter(primary)] * self.primary_batch_size)
        if self.secondary_batch_size:
            secondary = iterate_eternally(self.secondary_indices, secondary_rng)
            pairs = zip(batches, zip(*[secondary] * self.secondary_batch_size))
            batches = (labelled + unlabelled for labelled, unlabelled in pairs)
        for batch in batches:
            self._batches += 1
            if self._batches > self._resumed:
                yield tuple(int(index) for index in batch)

    def __len__(self):
        return len(self.primary_indices) // self.primary_batch_size

    def _state(self):
        return self.rngs and [rng.bit_generator.state for rng in self.rngs]

    def state_dict(self, consumed=None):
        """The sampler's state, also in the middle of an epoch.  ValueError without a generator of its own.

        ``consumed``: how many batches of this epoch the training has seen.  Pass it if a DataLoader with workers
        draws from this sampler: the workers draw ahead, and batches that were drawn but not seen would be skipped.
        None counts every batch that was drawn, which is right without workers.
        """
        if self.rngs is None:
            raise ValueError("a sampler that draws from NumPy's global state can't be saved: pass generator=")
        return {"start": self._start, "batches": self._batches if consumed is None else self._resumed + consumed}

    def load_state_dict(self, state):
        """Return to a saved state: the next epoch is that epoch without the batches already drawn."""
        if self.rngs is None:
            raise ValueError("a sampler that draws from NumPy's global state can't go on from a state: pass generator=")
        for rng, start in zip(self.rngs, state["start"], strict=True):
            rng.bit_generator.state = start
        self._start, self._batches = state["start"], state["batches"]  # if it is saved again before the epoch begins
        self._resume = self._resumed = state["batches"]


def iterate_once(indices, rng=np.random):
    """One random order of ``indices``, a NumPy array."""
    return rng.permutation(indices)


def iterate_eternally(indices, rng=np.random):
    """Random orders of ``indices``, one after another: an iterator without end."""
    return itertools.chain.from_iterable(rng.permutation(indices) for _ in itertools.count())
