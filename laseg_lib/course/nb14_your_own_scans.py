"""What notebook 14_your_own_scans makes and draws, its exercises and their answers."""

import numpy as np
import SimpleITK as sitk

from ..data.grid import array_of, image_of, straighten
from ..data.phantom import DEFAULTS, FIELD_MM, scan
from ..data.scans import write_image
from ..figures.style import LOOKS, TEXT, new_axes, show_plane
from ..metrics import dice_of
from ..transforms import rotation
from .alt import ALT_TEXTS
from .exercise import Exercise

ORDERS = ("LPS", "RAS", "PIR", "LSA")  # how scanners and tools store a volume: which way each axis runs

ALT = ALT_TEXTS["14_your_own_scans"]


def write_hospital(folder, cases=26, labelled=6, voxel=(1.25, 1.25, 2.5), **options):
    """Phantoms as a hospital would send them.

    The files are ``pNN_mri.nii.gz``, and ``pNN_la.nii.gz`` for the first ``labelled``.
    Slices are thick, the field of view is wider than the heart, each patient is turned a little
    (so the axes are oblique), and the files have different orders of axes.
    Returns {name: label as SimpleITK's image} of all cases, which only phantoms have.
    """
    size = tuple(int(n) for n in np.round(np.divide(np.multiply(FIELD_MM, (1.3, 1.3, 1)), voxel)))
    truth, options = {}, {**DEFAULTS, "scanner": 0.5, **options}
    for k in range(cases):
        name, rng = f"p{k:02d}", np.random.default_rng(k)
        direction = rotation(np.deg2rad(rng.uniform(-6, 6, 3)))
        pair = scan(500 + k, size, np.multiply(size, voxel), **options)
        origin = rng.uniform(-80, -40, 3)
        for kind, values in zip(("mri", "la"), pair):
            image = image_of(values, spacing=voxel, origin=origin)
            image.SetDirection(direction.ravel().tolist())
            image = sitk.DICOMOrient(image, ORDERS[k % len(ORDERS)])
            if kind == "la":
                truth[name] = image
            if kind == "mri" or k < labelled:
                write_image(folder / f"{name}_{kind}.nii.gz", image)
    return truth


def draw_stored_and_straight(stored, voxel_mm=1.25):
    """The middle slice along the third axis of each of ``stored``, {name: SimpleITK's image}: above as it is stored in
    the file, below with the axes of the course."""
    figure, axes = new_axes(len(stored), rows=2, height=4.6)
    for k, (name, image) in enumerate(stored.items()):
        straight = straighten(image, voxel_mm)
        for ax, one, title in ((axes[k], image, f"{name}, as stored"), (axes[k + len(stored)], straight, "straight")):
            values, sides = array_of(one), one.GetSpacing()
            show_plane(ax, values[:, :, values.shape[2] // 2], title=title, aspect=sides[1] / sides[0],
                       interpolation="nearest")
    return figure


def draw_over_scan(scan_image, masks):
    """The slice of a scan, on its own grid, in which the masks are largest, with their outlines.

    ``masks``: {name: SimpleITK's image}.
    """
    values, sides = array_of(scan_image), scan_image.GetSpacing()
    thick = int(np.argmax(sides))
    arrays = {name: np.moveaxis(array_of(mask), thick, -1) for name, mask in masks.items()}
    values = np.moveaxis(values, thick, -1)
    at = int(np.argmax(sum(np.sqrt(mask.sum((0, 1), dtype=int)) for mask in arrays.values())))
    figure, ax = new_axes(height=5.0)
    figure.get_layout_engine().set(rect=(0, 0, 0.97, 1))  # room beside the legend
    show_plane(ax, values[:, :, at])
    ax.set_anchor("W")  # a phone shows the left part first
    looks = (LOOKS["gold"], LOOKS["MT"])
    for (name, mask), look in zip(arrays.items(), looks):
        dashes = "-" if look is looks[0] else "--"
        ax.contour(mask[:, :, at].T, [0.5], colors=look.colour, linewidths=2.6, linestyles=dashes)
        ax.plot([], [], color=look.colour, linewidth=2.6, linestyle=dashes, label=name)
    ax.legend(fontsize=TEXT, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def mask_ml(mask, spacing):
    """The volume of a mask in millilitres; ``spacing``: the three sides of a voxel in mm."""
    return float(mask.sum() * spacing[0] * spacing[1] * spacing[2] / 1000)


_BLOCK = np.zeros((20, 20, 10), np.uint8)
_BLOCK[5:15, 5:15, 2:7] = _BLOCK[15:18, 5:9, 2:4] = 1  # no box: its bounding box holds more

check_mask_ml = Exercise(
    mask_ml, [(_BLOCK, (1.25, 1.25, 2.5)), (_BLOCK, (1.0, 1.5, 2.5)), (_BLOCK, (1.0, 1.0, 1.0)),
              (_BLOCK[:, :, :5], (0.625, 0.625, 0.625))],
    {"That is in cubic millimetres: a millilitre is 1000 of them.":
        lambda mask, mm: float(mask.sum() * mm[0] * mm[1] * mm[2]),
     "The voxels are no cubes: multiply the three sides.": lambda mask, mm: float(mask.sum() * mm[0]**3 / 1000),
     "The first two sides need not be alike: multiply all three.":
        lambda mask, mm: float(mask.sum() * mm[0] ** 2 * mm[2] / 1000),
     "That is the whole scan. Only voxels whose mask is 1 are atrium.":
        lambda mask, mm: mask.size * mm[0] * mm[1] * mm[2] / 1000})


def flipped_axis(label, prediction):
    """The axis (0, 1 or 2) along which ``label`` must be flipped to agree best with ``prediction``.

    -1 where it agrees best as it is.
    """
    scores = {-1: dice_of(label, prediction)}
    scores |= {axis: dice_of(np.flip(label, axis), prediction) for axis in range(3)}
    return max(scores, key=scores.get)


def _cube(x, z):
    """A cube, not in the middle of axis 1: turned round along all three axes, it meets no other cube."""
    mask = np.zeros((16, 14, 12), np.uint8)
    mask[x:x + 6, 1:7, z:z + 6] = 1
    return mask


def _atrium(seed=0):
    rng = np.random.default_rng(seed)
    mask = np.zeros((16, 14, 12), np.uint8)
    x, y, z = rng.integers(1, 4, 3)
    mask[x:x + 7, y:y + 6, z:z + 5] = mask[x:x + 10, y:y + 2, z:z + 2] = 1
    return mask


check_flipped = Exercise(
    flipped_axis, [(_atrium(), _atrium()), *((np.flip(_atrium(axis), axis), _atrium(axis)) for axis in range(3)),
                   (_cube(2, 1), _cube(6, 5))],
    {"It may agree best as it is: then the answer is -1.":
        lambda label, p: int(np.argmax([dice_of(np.flip(label, axis), p) for axis in range(3)])),
     "That is 0 each time, as if you flip both. The prediction lies as it should: flip the label alone.":
        lambda label, p: max(range(3), key=lambda axis: dice_of(np.flip(label, axis), np.flip(p, axis))),
     "That is a place in your list of Dice. If the list begins with the label as it is, subtract 1.":
        lambda label, p: 1 + flipped_axis(label, p),
     "Any axis that makes Dice better is not enough: take the best of all four.": lambda label, p: next(
         (axis for axis in range(3) if dice_of(np.flip(label, axis), p) > dice_of(label, p)), -1),
     "Take the highest Dice, not the lowest.": lambda label, p: min(
         range(-1, 3), key=lambda axis: dice_of(np.flip(label, axis) if axis >= 0 else label, p)),
     "That is -1 each time. Flip the label alone, and along one axis: `np.flip` without an axis turns all three round.":
        lambda label, p: -1 if dice_of(label, p) >= dice_of(np.flip(label), p) else 0})
