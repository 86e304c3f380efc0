"""The picture of the mean teacher: volumes, two networks, two losses, and who learns from what."""

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch, Rectangle

from ..data.phantom import make_phantom
from .style import INK, LOOKS

GOLD, STUDENT, TEACHER = (LOOKS[name].colour for name in ("gold", "supervised", "MT"))


def pipeline_figure():
    """From a batch of two kinds of volumes, slices of two phantoms, to the two losses."""
    (image, label), (other, _) = make_phantom(3), make_phantom(8)
    z = int(np.argwhere(label)[:, 2].mean())
    figure = Figure(figsize=(9.6, 5.4), dpi=100)
    ax = figure.add_axes((0, 0, 1, 1))
    ax.set(xlim=(0, 96), ylim=(0, 54))
    ax.set_axis_off()
    _thumb(ax, image[:, :, z], label[:, :, z], (2, 32), "labelled", GOLD)
    _thumb(ax, other[:, :, z], None, (2, 5), "unlabelled", "#777777")
    _box(ax, 32, 34.5, 18, 11, STUDENT, "student  θ", "learns by gradients")
    _box(ax, 32, 7.5, 18, 11, TEACHER, "teacher  θ′", "a slow average")
    _box(ax, 62.5, 34.5, 21, 11, GOLD, r"$L_{seg}$", "cross-entropy + Dice")
    _box(ax, 62.5, 10, 21, 11, INK, r"$L_{con}$", "distance of the two")
    _flow(ax, (20.4, 41.5), (31.6, 41.5), GOLD)
    _flow(ax, (20.4, 15.5), (31.6, 36.5), "#777777")
    _flow(ax, (20.4, 11.5), (31.6, 11.5), "#777777")
    _note(ax, 26, 9.4, "+ noise", INK)
    _flow(ax, (50.4, 41.5), (62.1, 41.5), GOLD)
    _note(ax, 55.8, 43.4, "labelled", INK)
    _flow(ax, (50.4, 36.5), (64.5, 21.6), STUDENT)
    _note(ax, 60.6, 30.6, "unlabelled", INK, ha="left")
    _flow(ax, (50.4, 13), (62.1, 13), TEACHER)
    _note(ax, 55.8, 10.6, "target", INK)
    _flow(ax, (12, 47.8), (73, 46.0), GOLD, bend=-0.09, dash=(1, 1.5))
    _note(ax, 41, 51.8, "gold label", INK)
    _flow(ax, (41, 34.0), (41, 19.1), TEACHER, width=5)
    ax.text(42.6, 28.4, "EMA", fontsize=15, weight="bold", color=TEACHER, ha="left", va="center")
    ax.text(42.6, 23.6, r"$θ' \leftarrow α\,θ' + (1-α)\,θ$", fontsize=14, color=INK, ha="left", va="center")
    _flow(ax, (83.9, 40), (88, 31.2), GOLD)
    _flow(ax, (83.9, 15.5), (88, 24.6), INK)
    ax.text(95.2, 28, r"$L = L_{seg} + λ(t)\,L_{con}$", fontsize=15, color=INK, ha="right", va="center")
    _note(ax, 73, 6.2, "no gradient flows to the teacher", "#555555")
    return figure


def _thumb(ax, image, label, at, name, colour):
    """A slice on a small stack, so that it reads as a volume."""
    x, y = at
    for step in (2, 1):
        ax.add_patch(Rectangle((x + 0.9 * step, y + 0.9 * step), 16, 12, facecolor="#444444", edgecolor="white",
                               linewidth=1.2))
    extent = (x, x + 16, y, y + 12)
    low, high = np.percentile(image, (1, 99.7))
    ax.imshow(np.asarray(image).T, cmap="gray", vmin=low, vmax=high, extent=extent, aspect="auto", zorder=2)
    if label is not None:
        w, h = label.shape
        across, down = x + (np.arange(w) + 0.5) * 16 / w, y + 12 - (np.arange(h) + 0.5) * 12 / h
        ax.contour(across, down, np.asarray(label).T, [0.5], colors=colour, linewidths=2.6, zorder=3)
    ax.add_patch(Rectangle((x, y), 16, 12, fill=False, edgecolor=colour, linewidth=2.6, zorder=4))
    ax.text(x + 8, y - 0.8, name, fontsize=15, color=INK, ha="center", va="top")
    ax.set(xlim=(0, 96), ylim=(0, 54))


def _box(ax, x, y, width, height, colour, name, below):
    ax.add_patch(FancyBboxPatch((x, y), width, height, boxstyle="round,pad=0,rounding_size=1.6", linewidth=3,
                                edgecolor=colour, facecolor=(colour, 0.14)))
    ax.text(x + width / 2, y + height * 0.63, name, fontsize=18, weight="bold", color=INK, ha="center", va="center")
    ax.text(x + width / 2, y + height * 0.26, below, fontsize=12.5, color=INK, ha="center", va="center")


def _flow(ax, start, end, colour, *, width=3, bend=0.0, dash=()):
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>,head_length=5,head_width=3.2", linewidth=width,
                                 color=colour, connectionstyle=f"arc3,rad={bend}", shrinkA=0, shrinkB=0,
                                 linestyle=(0, dash) if dash else "-", mutation_scale=2, zorder=1))


def _note(ax, x, y, text, colour, ha="center"):
    ax.text(x, y, text, fontsize=13.5, color=colour, ha=ha, va="center", zorder=5)
