"""What notebook 11_what_really_helps draws, its exercises and their answers."""

import numpy as np

from ..figures.style import INK, LOOKS, TEXT, new_axes
from .exercise import Exercise


def draw_uncertainty(image, label, entropy, wrong):
    """One axial slice: the scan with its label, the teacher's entropy, its errors, and the errors it was sure of."""
    z = int(np.argmax(wrong.sum((0, 1))))
    figure, axes = new_axes(4, height=2.85)
    sure = wrong & (entropy < 0.5)
    for ax, picture, title, cmap, top in (
            (axes[0], image, "scan and label", "gray", None), (axes[1], entropy, "entropy of the mean", "viridis", 1),
            (axes[2], wrong, "errors", "gray", 1), (axes[3], sure, "sure and wrong", "gray", 1)):
        ax.imshow(picture[:, :, z].T, cmap=cmap, vmin=None if top is None else 0, vmax=top)
        ax.contour(label[:, :, z].T, [0.5], colors=LOOKS["gold"].colour, linewidths=2)
        ax.set_title(title, fontsize=TEXT, color=INK)
        ax.set_axis_off()
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def share_of_headroom(control, ours, ceiling):
    """How much of what all labels would add has been gained without them."""
    return (ours - control) / (ceiling - control)


check_headroom = Exercise(
    share_of_headroom, [(0.70, 0.73, 0.82), (0.70, 0.68, 0.80), (0.5, 0.8, 0.8)],
    {"That is the gain itself. Divide it by what all labels would add.": lambda c, m, top: m - c,
     "Both gains start at the control: the whole is ceiling - control.": lambda c, m, top: (m - c) / top,
     "That is what is still missing; asked for is what has been gained.": lambda c, m, top: (top - m) / (top - c)})


def binary_entropy(p):
    """Entropy in bits (0: sure, 1: no idea) of the mean of the opinions ``p`` (n, ...): predictive entropy."""
    mean = np.clip(np.mean(p, axis=0), 1e-7, 1 - 1e-7)
    return -(mean * np.log2(mean) + (1 - mean) * np.log2(1 - mean))


_OPINIONS = np.array([[0.9, 0.5, 0.99, 0.2], [0.1, 0.5, 0.97, 0.3]])


def _bits(p):
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


check_entropy = Exercise(
    binary_entropy, [(_OPINIONS,), (_OPINIONS[:, ::-1],), (np.full((3, 2), 0.75),)],
    {"Average the probabilities first. The mean of the entropies overlooks sure opinions that contradict each other.":
        lambda p: _bits(p).mean(0),
     "Those are nats: the natural logarithm's entropy ends at 0.693. In bits (log2) it ends at 1.":
        lambda p: _bits(p.mean(0)) * np.log(2),
     "The second class is missing: add (1 - p) log2(1 - p).": lambda p: -p.mean(0) * np.log2(p.mean(0))})
