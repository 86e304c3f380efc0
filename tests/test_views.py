"""The teacher's view: turned and mirrored, and back again."""

import pytest
import torch

from laseg_lib.views import predict_view, random_views, turn, turn_back

ALL = [(k, mirrored) for k in range(4) for mirrored in (False, True)]


def test_turning_back_undoes_every_symmetry():
    x = torch.randn(8, 2, 4, 4, 3)
    assert torch.equal(turn_back(turn(x, ALL), ALL), x)
    assert len({tuple(v.flatten().tolist()) for v in turn(x[:1].expand(8, -1, -1, -1, -1), ALL)}) == 8


def test_all_eight_come_up_alike_and_only_half_turns_of_an_oblong():
    drawn = random_views(4000, generator=torch.Generator().manual_seed(0))
    assert all(400 < drawn.count(view) < 600 for view in ALL)
    assert {k for k, _ in random_views(100, square=False)} == {0, 2}


@pytest.mark.parametrize("size", [(4, 4, 3), (6, 4, 3)])
def test_a_network_without_a_sense_of_direction_says_the_same_from_every_view(size):
    x = torch.randn(4, 1, *size)
    assert torch.equal(predict_view(lambda v: v.abs() + 1, x, "turned"), x.abs() + 1)


def test_a_network_with_a_sense_of_direction_does_not():
    x = torch.randn(4, 1, 4, 4, 3)
    network = torch.nn.Conv3d(1, 2, 3, padding=1)
    generators = [torch.Generator().manual_seed(3) for _ in range(2)]
    turned = [predict_view(network, x, "turned", generator) for generator in generators]
    assert torch.equal(*turned) and not torch.allclose(turned[0], predict_view(network, x))
