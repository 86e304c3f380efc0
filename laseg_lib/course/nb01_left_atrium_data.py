"""What notebook 01_left_atrium_data draws, its exercises and their answers."""

import math

import numpy as np
from matplotlib.patches import Rectangle

from ..data.scans import read_pair
from ..figures.style import INK, LOOKS, SMALL, TEXT, new_axes, show_plane
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["01_left_atrium_data"]


def draw_balance(shares):
    """The share of atrium in each case, lowest first, in percent."""
    figure, ax = new_axes(height=3.4, xlabel="case, smallest share first", ylabel="atrium (% of voxels)")
    values = 100 * np.sort(shares)
    ax.bar(range(len(values)), values, color=LOOKS["gold"].colour, width=0.8, label="left atrium")
    ax.axhline(values.mean(), color=INK, linewidth=2, linestyle=(0, (4, 2)), label=f"mean {values.mean():.1f} %")
    ax.set(xticks=[], ylim=(0, max(values.max() * 1.25, 10)))
    ax.legend(fontsize=TEXT, frameon=False, loc="upper left", ncols=2)
    return figure


def draw_intensities(cases):
    """Histograms of atrium and everything else, a panel a case: {name: (image, label)}."""
    figure, axes = new_axes(len(cases), height=3.5, sharex=True, sharey=True, xlabel="normalised intensity")
    for ax, (name, (image, label)) in zip(axes, cases.items()):
        for inside, arm, text in ((False, "strong_supervised", "everything else"), (True, "gold", "left atrium")):
            ax.hist(image[label == inside], bins=np.linspace(-2.5, 4, 60), density=True, color=LOOKS[arm].colour,
                    alpha=0.65, label=text, histtype="stepfilled", edgecolor=INK, linestyle="-" if inside else ":")
        ax.set_title(name[:14], fontsize=TEXT, loc="left")
    axes[0].set_ylabel("density", fontsize=TEXT)
    axes[-1].legend(fontsize=SMALL, frameon=False, loc="upper left")
    return figure


def draw_raw(raw_case, image, label):
    """An axial slice of a raw scan with the box of the crop; beside it the cropped volume.

    ``raw_case``: folder with the NRRD pair; ``image``, ``label``: the prepared volume of that case.
    """
    scan, gold, _ = read_pair(raw_case)
    z = int(np.argwhere(gold)[:, 2].mean())
    corner = [int(a.min() - b.min()) for a, b in zip(np.nonzero(gold)[:2], np.nonzero(label)[:2])]
    figure, (left, right) = new_axes(2, height=4.0, gridspec_kw={"width_ratios": [1.5, 1]})
    for ax, picture, mask, title in ((left, scan, gold, "raw: the whole chest"), (right, image, label, "prepared")):
        show_plane(ax, picture[:, :, z], mask[:, :, z], f"{title}, {picture.shape[0]} × {picture.shape[1]}")
    left.add_patch(Rectangle(corner, *image.shape[:2], fill=False, edgecolor=LOOKS["supervised_equal"].colour,
                             linewidth=2.6, linestyle="--"))
    return figure


_SYMMETRIES = {f"{turn}° {'mirrored' if flip else ''}".strip(): (turn // 90, flip)
              for flip in (False, True) for turn in (0, 90, 180, 270)}


def _symmetry(flat, name):
    """One of the square's eight symmetries of a volume or slice, in its first two axes."""
    k, flip = _SYMMETRIES[name]
    return np.rot90(np.flip(flat, 0) if flip else flat, k)


def draw_symmetries(image, label, shares):
    """The eight symmetries of a slice (W, H), each with its share of the draws, ``shares`` = {name: share}."""
    side = min(image.shape)
    cut = [slice((n - side) // 2, (n - side) // 2 + side) for n in image.shape]
    figure, axes = new_axes(4, rows=2, height=5.6)
    for ax, name in zip(axes, _SYMMETRIES):
        turned, outline = (_symmetry(part[*cut], name) for part in (image, label))
        show_plane(ax, turned, outline, f"{name}: {100 * shares[name]:.0f} %", alpha=1 if shares[name] else 0.3)
        ax.title.set_color(INK if shares[name] else "#B00020")
    return figure


def draw_offsets(counts, room):
    """How often each offset from 0 to ``room`` is drawn; ``counts``: {way of drawing: list of offsets}."""
    figure, axes = new_axes(len(counts), height=3.4, sharey=True, xlabel="offset of the crop (voxels)")
    for ax, (name, offsets), arm in zip(axes, counts.items(), ("strong", "MT")):
        values = np.bincount(offsets, minlength=room + 1)
        hatch = "//" if arm == "strong" else ""
        ax.bar(range(room + 1), values, color=LOOKS[arm].colour, hatch=hatch, edgecolor="white")
        ax.set_title(name, fontsize=TEXT, loc="left")
        ax.set_xticks(range(room + 1))
        for at in np.flatnonzero(values == 0):
            ax.text(at, values.max() * 0.04, "never", rotation=90, ha="center", fontsize=TEXT, color="#B00020")
    axes[0].set_ylabel("times drawn", fontsize=TEXT)
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def atrium_ml(label, spacing):
    """The volume of a mask in millilitres; ``spacing``: a voxel's side in mm, of every side."""
    return float((label > 0).sum() * spacing**3 / 1000)


_BLOCK = np.zeros((20, 20, 20), np.uint8)
_BLOCK[5:15, 5:15, 5:10] = 1

check_ml = Exercise(
    atrium_ml, [(_BLOCK, 1.25), (_BLOCK, 0.625), (_BLOCK[:, :, :8], 2.0), (255 * _BLOCK, 1.25)],
    {"That is in cubic millimetres: a millilitre is 1000 of them.": lambda label, mm: float((label > 0).sum() * mm**3),
     "A voxel has three sides: its volume is the spacing cubed.":
        lambda label, mm: float((label > 0).sum() * mm / 1000),
     "That is the whole scan. Only labelled voxels are atrium.": lambda label, mm: label.size * mm**3 / 1000,
     "In the hospital's files the atrium has the label 255, not 1: count voxels, don't add labels.":
        lambda label, mm: float(label.sum() * mm**3 / 1000),
     "In a hospital's file the atrium may have the label 255: count every voxel that isn't 0.":
        lambda label, mm: float((label == 1).sum() * mm**3 / 1000)})


def places(size, patch):
    """How many different crops of ``patch`` (w, h, d) a volume of ``size`` has.

    A smaller volume is padded."""
    return math.prod(max(have - want, 0) + 1 for have, want in zip(size, patch))


check_places = Exercise(
    places, [((6, 5, 4), (4, 4, 4)), ((13, 11, 7), (5, 4, 3)),
             ((190, 140, 88), (112, 112, 80)), ((190, 140, 72), (112, 112, 80))],
    {"Trap 2! With room for k voxels there are k + 1 offsets, from 0 to k: add one on each axis.":
        lambda size, patch: math.prod(max(a - b, 0) for a, b in zip(size, patch)),
     "So many patches fit side by side. Crops may overlap: one begins at each offset.":
        lambda size, patch: math.prod(max(a // b, 1) for a, b in zip(size, patch)),
     "So many patches fit side by side, and none on a short axis. Crops may overlap: one begins at each offset.":
        lambda size, patch: math.prod(a // b for a, b in zip(size, patch)),
     "The three offsets are chosen independently: multiply, don't add.":
        lambda size, patch: sum(max(a - b, 0) + 1 for a, b in zip(size, patch)),
     "An axis shorter than the patch is padded to it. It then has one place, not zero and not a negative number.":
        lambda size, patch: math.prod(a - b + 1 for a, b in zip(size, patch))})
