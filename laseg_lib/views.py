"""The teacher's view: the volume turned and mirrored, so that it errs differently from the student.

A heart upside down is the same heart: what the teacher predicts there, turned back, is a second opinion on every
voxel.  Agreement with it teaches something even where noise of sigma 0.1 changes nothing.
Source: Li et al. 2020, transformation-consistent self-ensembling (arXiv:1903.00348).
"""

import torch


def random_views(n, square=True, generator=None):
    """``n`` pairs (quarter turns, mirrored): symmetries of the W-H plane, all alike likely.

    Only half turns unless the plane is ``square``: a quarter turn would change the volume's shape.
    ``generator``: a ``torch.Generator``; None draws from torch's global state.
    """
    device = generator.device if generator is not None else "cpu"
    draws = torch.randint(4, (n, 2), generator=generator, device=device).tolist()
    return [(k if square else 2 * (k % 2), mirrored % 2 == 1) for k, mirrored in draws]


def turn(volumes, views):
    """``volumes`` (B, C, W, H, D), each mirrored along W if its view says so, then turned by quarters."""
    return torch.stack([torch.rot90(v.flip(1) if mirrored else v, k, (1, 2))
                        for v, (k, mirrored) in zip(volumes, views, strict=True)])


def turn_back(volumes, views):
    """What ``turn`` did, undone: ``turn_back(turn(x, views), views)`` is x."""
    upright = [torch.rot90(v, -k, (1, 2)) for v, (k, _) in zip(volumes, views, strict=True)]
    return torch.stack([v.flip(1) if mirrored else v for v, (_, mirrored) in zip(upright, views)])


def predict_view(network, volumes, view="same", generator=None):
    """``network``'s logits for ``volumes`` (B, C, W, H, D): of them as they are ('same'), or each at a random
    symmetry, turned back ('turned')."""
    if view == "same":
        return network(volumes)
    views = random_views(len(volumes), volumes.shape[2] == volumes.shape[3], generator)
    return turn_back(network(turn(volumes, views)), views)
