"""What notebook 08_measuring draws, its exercises and their answers."""

import math

from matplotlib.patches import Rectangle

from ..figures.style import LOOKS, SMALL, TEXT, dress, new_axes
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["08_measuring"]


def draw_overlap(counts, patch):
    """The middle axial slice of ``counts``, how many windows see each voxel (W, H, D), and its middle row."""
    flat = counts[:, :, counts.shape[2] // 2]
    figure, (left, right) = new_axes(2, height=4.2)
    shown = left.imshow(flat.T, cmap="viridis")
    left.add_patch(Rectangle((-0.5, -0.5), patch[0], patch[1], fill=False, edgecolor="white", linewidth=3))
    left.text(patch[0] / 2, patch[1] / 2, "one\nwindow", ha="center", va="center", color="white", fontsize=TEXT)
    figure.colorbar(shown, ax=left, shrink=0.8).ax.tick_params(labelsize=SMALL)
    dress(left, "x (voxels)", "y (voxels)", "windows that see a voxel")
    left.grid(False)
    right.step(range(len(flat)), flat[:, flat.shape[1] // 2], where="mid", color=LOOKS["supervised"].colour,
               linewidth=2.6)
    dress(right, "x (voxels)", "windows", "along the middle row")
    right.set_ylim(0)
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def window_count(size, patch, stride):
    """How many windows cover a volume.

    Along each axis: a first one, and as many steps as reach the border.
    """
    return math.prod(1 + math.ceil(max(side - p, 0) / step)
                     for side, p, step in zip(size, patch, stride))


def _windows(along):
    return lambda size, patch, stride: math.prod(along(*axis) for axis in zip(size, patch, stride))


check_windows = Exercise(
    window_count, [((190, 140, 88), (112, 112, 80), (18, 18, 4)), ((48, 48, 24), (32, 32, 16), (5, 5, 1)),
                   ((112, 60, 80), (112, 112, 80), (18, 18, 4))],
    {"The first window is missing: n steps make n + 1 windows.":
        _windows(lambda side, patch, stride: math.ceil(max(side - patch, 0) / stride)),
     "The last voxels are left out: a last window is pushed back to the border, so round the steps up.":
        _windows(lambda side, patch, stride: max(side - patch, 0) // stride + 1),
     "A volume smaller than its patch is padded: one window, never fewer.":
        _windows(lambda side, patch, stride: math.ceil((side - patch) / stride) + 1)})


def mean_hd95_mm(cases):
    """The mean HD95 in mm.

    An empty prediction counts as the diagonal of its volume, the largest distance there is.
    """
    each = [(math.hypot(*shape) if hd95 is None else hd95) * mm for hd95, shape, mm in cases]
    return sum(each) / len(cases)


def _mean(of, divide=len):
    return lambda cases: sum(of(*case) for case in cases) / divide(cases)


_FULL, _HALF = ((190, 140, 88), 0.625), ((95, 70, 44), 1.25)
check_mean = Exercise(
    mean_hd95_mm, [([(8.0, *_FULL), (6.0, *_FULL)],), ([(8.0, *_FULL), (None, *_FULL)],),
                   ([(4.0, *_HALF), (8.0, *_FULL), (None, *_HALF)],), ([(0.0, *_FULL), (4.0, *_HALF)],)],
    {"An empty prediction still counts as 0, which is a perfect distance.":
        _mean(lambda hd95, shape, mm: (hd95 or 0) * mm),
     "These are voxels: multiply each case by its own voxel's side in mm.":
        _mean(lambda hd95, shape, mm: math.hypot(*shape) if hd95 is None else hd95),
     "The diagonal is in voxels too: multiply it by the voxel's side in mm.":
        _mean(lambda hd95, shape, mm: math.hypot(*shape) if hd95 is None else hd95 * mm),
     "A failure that is left out of the mean is rewarded: give it the worst value.":
        _mean(lambda hd95, shape, mm: 0 if hd95 is None else hd95 * mm,
              lambda cases: sum(hd95 is not None for hd95, shape, mm in cases)),
     "An HD95 of 0.0 is a perfect prediction; only None is an empty one. (`or` doesn't tell them apart.)":
        _mean(lambda hd95, shape, mm: (hd95 or math.hypot(*shape)) * mm),
     "The worst distance in a box is its diagonal, longer than its longest side.":
        _mean(lambda hd95, shape, mm: (max(shape) if hd95 is None else hd95) * mm)})
