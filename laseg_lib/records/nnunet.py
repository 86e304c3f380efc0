"""Labels only, with nnU-Net's augmentation in place of ours: the arm ``nnunet`` of the record of that name.

    pip install batchgeneratorsv2          # nnU-Net's own transforms; no other record needs it

Ranges and probabilities are those of nnU-Net's trainer for three dimensions.
Source: Isensee et al. 2021, "nnU-Net" (doi:10.1038/s41592-020-01008-z), and the package nnunetv2: its nnUNetTrainer's
get_training_transforms.
Different from nnU-Net:
- A patch is rotated and scaled after it was cropped, and its border is repeated, as in our own augmentation.  nnU-Net
  crops a larger patch first, and pads with zeros.
- The blur always takes the same algorithm.  nnU-Net takes the one that is faster at the time.
- A prediction is made once.  nnU-Net takes the mean over all mirror images.
"""

from contextlib import contextmanager

import numpy as np
import torch

from laseg_lib.errors import LasegError
from laseg_lib.mean_teacher import weighted_sum
from laseg_lib.perturbations import numpy_generator
from laseg_lib.runtime.sync_norm import segmentation_loss_for


def transforms(patch_size, mirrored=True):
    """nnU-Net's training transforms for a patch (W, H, D), as one callable."""
    try:
        from batchgeneratorsv2.transforms.intensity.brightness import MultiplicativeBrightnessTransform
        from batchgeneratorsv2.transforms.intensity.contrast import BGContrast, ContrastTransform
        from batchgeneratorsv2.transforms.intensity.gamma import GammaTransform
        from batchgeneratorsv2.transforms.intensity.gaussian_noise import GaussianNoiseTransform
        from batchgeneratorsv2.transforms.noise.gaussian_blur import GaussianBlurTransform
        from batchgeneratorsv2.transforms.spatial.low_resolution import SimulateLowResolutionTransform
        from batchgeneratorsv2.transforms.spatial.mirroring import MirrorTransform
        from batchgeneratorsv2.transforms.spatial.spatial import SpatialTransform
        from batchgeneratorsv2.transforms.utils.compose import ComposeTransforms
        from batchgeneratorsv2.transforms.utils.random import RandomTransform
    except ModuleNotFoundError as missing:
        raise LasegError(f"the record nnunet needs the package batchgeneratorsv2 ({missing.name} is missing): "
                         "pip install batchgeneratorsv2") from None
    gamma = {"gamma": BGContrast((0.7, 1.5)), "synchronize_channels": False, "p_per_channel": 1, "p_retain_stats": 1}
    return ComposeTransforms([
        SpatialTransform(tuple(patch_size), patch_center_dist_from_border=0, random_crop=False, p_elastic_deform=0,
                         p_rotation=0.2, rotation=(-np.pi / 6, np.pi / 6), p_scaling=0.2, scaling=(0.7, 1.4),
                         p_synchronize_scaling_across_axes=1, padding_mode_image="border", border_mode_seg="border"),
        RandomTransform(GaussianNoiseTransform((0, 0.1), p_per_channel=1, synchronize_channels=True), 0.1),
        RandomTransform(GaussianBlurTransform((0.5, 1.0), p_per_channel=0.5, benchmark=False), 0.2),
        RandomTransform(MultiplicativeBrightnessTransform(BGContrast((0.75, 1.25)), False, p_per_channel=1), 0.15),
        RandomTransform(ContrastTransform(BGContrast((0.75, 1.25)), True, False, p_per_channel=1), 0.15),
        RandomTransform(SimulateLowResolutionTransform((0.5, 1), False, True, None, None, p_per_channel=0.5), 0.25),
        RandomTransform(GammaTransform(p_invert_image=1, **gamma), 0.1),
        RandomTransform(GammaTransform(p_invert_image=0, **gamma), 0.3),
        *([MirrorTransform(allowed_axes=(0, 1, 2))] if mirrored else [])])


def augment(image, label, generator=None, mirrored=True):
    """``image`` (B, 1, W, H, D) float32 and ``label`` (B, W, H, D) int64, each volume transformed by itself on the CPU.
    ``generator``: as a method gets it."""
    change, changed = transforms(image.shape[2:], mirrored), []
    with seeded_globally(numpy_generator(generator)):
        for volume, classes in zip(image.cpu(), label.cpu()):  # a copy: some of the transforms work in place
            changed.append(change(image=volume.clone(), segmentation=classes[None].to(torch.int16)))
    return (torch.stack([sample["image"] for sample in changed]).to(image.device),
            torch.cat([sample["segmentation"] for sample in changed]).to(label))


@contextmanager
def seeded_globally(rng):
    """Within it, NumPy's and torch's global generators are seeded by ``rng``; afterwards they are as before.
    batchgeneratorsv2 draws from both."""
    before = np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(int(rng.integers(2**62)))
        np.random.seed(int(rng.integers(2**32)))
        try:
            yield
        finally:
            np.random.set_state(before)


def nnunet_labels_only(student, teacher, image, label, config, iteration, generator=None, mirrored=True):
    """A method (see ``laseg_lib.methods``): the labelled volumes alone, with nnU-Net's augmentation."""
    n = config.labelled_in_batch
    image, label = augment(image[:n], label[:n], generator, mirrored)
    supervised, cross_entropy, dice = segmentation_loss_for(config)(student(image).float(), label)
    return weighted_sum(supervised, cross_entropy, dice, 0.0, torch.zeros_like(supervised))


def nnunet_unmirrored(student, teacher, image, label, config, iteration, generator=None):
    """The same without mirror images, as nnU-Net's trainer "NoMirroring" has it."""
    return nnunet_labels_only(student, teacher, image, label, config, iteration, generator, mirrored=False)
