"""What makes student and teacher see differently: other intensities, and the volume turned and turned back."""

import pytest
import torch

from laseg_lib.data.phantom import make_phantom
from laseg_lib.perturbations import predict_view, random_views, turn, turn_back, vary_intensity


def volumes():
    image = torch.from_numpy(make_phantom(0, size=(32, 24, 16))[0])
    return image[None, None].repeat(3, 1, 1, 1, 1)


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_no_strength_no_change():
    image = volumes()
    assert torch.equal(vary_intensity(image, 0), image)


def test_each_volume_is_changed_in_its_own_way_and_repeatably():
    image = volumes()
    before = image.clone()
    varied = vary_intensity(image, 1.0, generator())
    assert torch.equal(image, before), "the batch itself changed"
    assert varied.shape == image.shape and varied.isfinite().all()
    assert not torch.allclose(varied[0], varied[1]) and not torch.allclose(varied[0], image[0])
    assert torch.equal(varied, vary_intensity(image, 1.0, generator()))
    assert not torch.equal(varied, vary_intensity(image, 1.0, generator(1)))


def test_it_still_shows_the_same_heart_and_more_strength_changes_more():
    image = volumes()
    likeness = [torch.stack([torch.corrcoef(torch.stack([a.flatten(), b.flatten()]))[0, 1] for seed in range(8)
                             for a, b in zip(image, vary_intensity(image, strength, generator(seed)))])
                for strength in (0.3, 1.0)]
    assert likeness[1].min() > 0.8
    assert likeness[0].mean() > likeness[1].mean()


def test_a_flat_volume_stays_finite():
    assert vary_intensity(torch.zeros(1, 1, 8, 8, 8), 1.0, generator()).isfinite().all()


def test_on_average_brightness_and_contrast_stay():
    """An augmentation that brightens would only teach the network to expect brighter volumes."""
    image = volumes()[:1].repeat(100, 1, 1, 1, 1)
    varied = vary_intensity(image, 1.0, generator())
    assert abs(float(varied.mean() - image.mean())) < 0.1 and abs(float(varied.std() / image.std()) - 1) < 0.15


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
