"""What another scanner, coil or patient would have done to the brightness: augmentation of the student's view.

The teacher looks at the volume as it is.  That the student must agree with it on a picture that differs in gamma,
contrast, shading, sharpness and noise is what makes agreement hard, and worth something.
Source: the ranges follow nnU-Net's (Isensee et al. 2021); weak view for the teacher and strong view for the student
is FixMatch's idea (Sohn et al. 2020, arXiv:2001.07685).
"""

import torch
import torch.nn.functional as F


def vary_intensity(image, strength=1.0, generator=None):
    """``image`` (B, 1, W, H, D) float32, normalised, with each volume changed in its own way; shape is kept.

    ``strength`` scales every change; 0 gives the image back.  Nothing moves: the label stays right.
    ``generator``: a ``torch.Generator`` on ``image``'s device; None draws from torch's global state.
    """
    if not strength:
        return image

    def draw(low, high):
        """One number a volume, from [low, high) times the strength."""
        numbers = torch.rand(image.shape[0], 1, 1, 1, 1, generator=generator, device=image.device)
        return strength * (low + (high - low) * numbers)

    low, high = image.amin((1, 2, 3, 4), keepdim=True), image.amax((1, 2, 3, 4), keepdim=True)
    span = (high - low).clamp_min(1e-6)
    image = low + span * ((image - low) / span) ** torch.exp(draw(-0.4, 0.4))  # gamma from 0.67 to 1.5
    image = image * torch.exp(draw(-0.3, 0.3)) + draw(-0.3, 0.3)  # contrast and brightness
    image = image * torch.exp(0.2 * strength * _smooth_field(image, generator))  # a coil's shading
    blurred = F.avg_pool3d(image, 3, stride=1, padding=1, count_include_pad=False)
    image = torch.lerp(image, blurred, draw(0, 0.8).clamp(0, 1))
    noise = torch.empty_like(image).normal_(generator=generator)
    return image + draw(0, 0.15) * noise


def _smooth_field(image, generator):
    """Normal numbers on a grid of 3 x 3 x 3, drawn out to the volume's size."""
    grid = torch.randn(image.shape[0], 1, 3, 3, 3, generator=generator, device=image.device)
    return F.interpolate(grid, size=image.shape[2:], mode="trilinear", align_corners=True)
