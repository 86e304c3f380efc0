"""Intensity augmentation: brightness changes, in every volume its own way; nothing moves."""

import torch

from laseg_lib.intensity import vary_intensity
from laseg_lib.phantom import make_phantom


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
