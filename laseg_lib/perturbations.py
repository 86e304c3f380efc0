"""Everything that makes the inputs of student and teacher differ: equal answers would teach nothing.

    teacher's input   noise; the volume turned and mirrored
    student's input   noise; varied intensities (strong recipe); rotated and scaled, as its targets are

Sources: noise on both sides is Tarvainen & Valpola's; turned views are Li et al. 2020, transformation-consistent
self-ensembling (arXiv:1903.00348); the intensity ranges follow nnU-Net's (Isensee et al. 2021); a weak view for the
teacher and a strong one for the student is FixMatch's idea (Sohn et al. 2020, arXiv:2001.07685).
"""

import numpy as np
import torch
import torch.nn.functional as F

from .transforms import RandomAffine, resample


def teacher_noise(image, generator=None, sigma=0.1, bound=0.2):
    """clamp(N(0, sigma), -bound, bound), of ``image``'s shape, dtype and device: the noise on the teacher's input.

    Source: UA-MT's code (sigma 0.1, bound 0.2).
    ``generator``: a ``torch.Generator`` on ``image``'s device; None draws from torch's global state.
    """
    noise = torch.empty_like(image).normal_(generator=generator)
    return torch.clamp(noise * sigma, -bound, bound)


def vary_intensity(image, strength=1.0, generator=None):
    """``image`` (B, 1, W, H, D) or (B, 1, W, H), float32, normalised, with random intensities for each volume.

    ``strength`` scales every change; 0 returns ``image`` itself, any other value a new tensor.  Nothing moves, so
    the label stays right.
    ``generator``: a ``torch.Generator`` on ``image``'s device; None draws from torch's global state.
    """
    if not strength:
        return image
    each = image.shape[0], *[1] * (image.ndim - 1)

    def draw(low, high):
        """One number for each volume, from [low, high) times the strength."""
        numbers = torch.rand(each, generator=generator, device=image.device)
        return strength * (low + (high - low) * numbers)

    low, high = image.flatten(1).amin(1).view(each), image.flatten(1).amax(1).view(each)
    span = (high - low).clamp_min(1e-6)
    # Gamma from 0.67 to 1.5; at 0 the power's slope would be infinite.
    image = low + span * ((image - low) / span).clamp_min(1e-30) ** torch.exp(draw(-0.4, 0.4))
    image = image * torch.exp(draw(-0.3, 0.3)) + draw(-0.3, 0.3)  # contrast and brightness
    image = image * torch.exp(0.2 * strength * _smooth_field(image, generator))  # a coil's shading
    pool = F.avg_pool2d if image.ndim == 4 else F.avg_pool3d
    blurred = pool(image, 3, stride=1, padding=1, count_include_pad=False)
    image = torch.lerp(image, blurred, draw(0, 0.8).clamp(0, 1))
    noise = torch.empty_like(image).normal_(generator=generator)
    return image + draw(0, 0.15) * noise


def _smooth_field(image, generator):
    """Normal numbers on a grid of 3 x 3 x 3, interpolated to ``image``'s size."""
    grid = torch.randn(image.shape[0], 1, *[3] * (image.ndim - 2), generator=generator, device=image.device)
    mode = "bilinear" if image.ndim == 4 else "trilinear"
    return F.interpolate(grid, size=image.shape[2:], mode=mode, align_corners=True)


def random_views(n, square=True, generator=None):
    """``n`` pairs (quarter turns, mirrored): symmetries of the W-H plane, all equally likely.

    If the plane is not ``square`` there are half turns only: a quarter turn would change the volume's shape.
    ``generator``: a ``torch.Generator``; None draws from torch's global state.
    """
    device = generator.device if generator is not None else "cpu"
    draws = torch.randint(4, (n, 2), generator=generator, device=device).tolist()
    return [(k if square else 2 * (k % 2), mirrored % 2 == 1) for k, mirrored in draws]


def turn(volumes, views):
    """``volumes`` (B, C, W, H, D) or (B, C, W, H), each first mirrored along W if its view says so, then turned.
    ValueError unless there is one view for each volume."""
    return torch.stack([torch.rot90(v.flip(1) if mirrored else v, k, (1, 2))
                        for v, (k, mirrored) in zip(volumes, views, strict=True)])


def turn_back(volumes, views):
    """The inverse of ``turn``: ``turn_back(turn(x, views), views)`` is x."""
    upright = [torch.rot90(v, -k, (1, 2)) for v, (k, _) in zip(volumes, views, strict=True)]
    return torch.stack([v.flip(1) if mirrored else v for v, (_, mirrored) in zip(upright, views)])


def predict_view(network, volumes, view="same", generator=None):
    """``network``'s logits for ``volumes`` (B, C, W, H, D).  'same': of the volumes as they are.  'turned': of each
    volume at a random symmetry, and the logits turned back."""
    if view == "same":
        return network(volumes)
    views = random_views(len(volumes), volumes.shape[2] == volumes.shape[3], generator)
    return turn_back(network(turn(volumes, views)), views)


def move_unlabelled(seen, targets, n, degrees, generator=None):
    """(``seen`` (B, 1, W, H, D) with its volumes from index n on rotated by up to ``degrees`` and scaled; their
    ``targets`` (B - n, C, W, H, D) float, moved in the same way)."""
    change = RandomAffine(degrees, 1.2 ** (degrees / 15), probability=1.0, rng=numpy_generator(generator))
    matrices = np.stack([change.draw(seen.ndim - 2) for _ in range(len(targets))])
    return torch.cat([seen[:n], resample(seen[n:], matrices)]), resample(targets, matrices)


def numpy_generator(generator):
    """A NumPy generator seeded by one draw of ``generator`` (torch's; None: the global one)."""
    device = generator.device if generator is not None else "cpu"
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=device)))
