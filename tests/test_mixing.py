"""Copy-paste: boxes change places, and come back."""

import pytest
import torch

from laseg_lib.mixing import SHARE, random_box, swap_box

SIZE = (12, 9, 6)


def test_a_box_is_two_thirds_of_each_side_and_lies_anywhere():
    generator = torch.Generator().manual_seed(0)
    boxes = [random_box(SIZE, generator) for _ in range(300)]
    for axis, side in enumerate(SIZE):
        assert {b[axis].stop - b[axis].start for b in boxes} == {round(side * SHARE)}
        assert {b[axis].start for b in boxes} == set(range(side - round(side * SHARE) + 1))


def test_the_same_generator_gives_the_same_box_and_none_the_global_one():
    one, other = (random_box(SIZE, torch.Generator().manual_seed(3)) for _ in range(2))
    torch.manual_seed(3)
    assert one == other == random_box(SIZE)


def test_boxes_change_places_between_the_halves_of_the_batch():
    volumes = torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 1, *SIZE)
    box = (slice(2, 10), slice(0, 6), slice(1, 5))
    mixed = swap_box(volumes, box)
    for i, partner in enumerate((2, 3, 0, 1)):
        inside = torch.zeros(SIZE, dtype=torch.bool)
        inside[box] = True
        assert (mixed[i, 0][inside] == partner).all() and (mixed[i, 0][~inside] == i).all()
    assert torch.equal(volumes, torch.arange(4.0).view(4, 1, 1, 1, 1).expand(4, 1, *SIZE)), "the batch itself changed"


def test_swapping_again_undoes_it_and_gradients_find_their_way():
    volumes, box = torch.randn(4, 2, *SIZE, requires_grad=True), random_box(SIZE)
    back = swap_box(swap_box(volumes, box), box)
    assert torch.equal(back, volumes)
    back[0].sum().backward()
    assert (volumes.grad[0] == 1).all() and (volumes.grad[1:] == 0).all()


def test_an_odd_batch_is_refused():
    with pytest.raises(ValueError, match="3 can't be paired"):
        swap_box(torch.zeros(3, 1, *SIZE), random_box(SIZE))
