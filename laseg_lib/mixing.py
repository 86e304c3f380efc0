"""Copy-paste: a box of one volume put into another, so that labelled and unlabelled anatomy meet in one picture.

Source: Bai et al. 2023, bidirectional copy-paste (BCP, arXiv:2305.00673).
"""

import torch

SHARE = 2 / 3  # of each side of the patch: the box's


def random_box(size, generator=None):
    """A box of two thirds of each side of ``size`` (W, H, D), anywhere in it: a tuple of slices.

    ``generator``: a ``torch.Generator``; None draws from torch's global state.
    """
    device = generator.device if generator is not None else "cpu"
    draws = torch.rand(3, generator=generator, device=device).tolist()
    sides = [max(1, round(side * SHARE)) for side in size]
    corner = [int(draw * (whole - side + 1)) for draw, whole, side in zip(draws, size, sides)]
    return tuple(slice(c, c + side) for c, side in zip(corner, sides))


def swap_box(volumes, box):
    """``volumes`` (B, ..., W, H, D), B even, with the box of the first half and that of the second exchanged.

    Doing it again undoes it.  Raises ValueError for an odd number of volumes.
    """
    if len(volumes) % 2:
        raise ValueError(f"copy-paste pairs the volumes of a batch; {len(volumes)} can't be paired")
    inside = (..., *box)
    mixed = volumes.clone()
    mixed[inside] = volumes.roll(len(volumes) // 2, 0)[inside]
    return mixed
