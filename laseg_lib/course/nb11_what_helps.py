"""What notebook 11_what_helps draws, its exercises and their answers."""

import numpy as np
from matplotlib.colors import ListedColormap

from ..figures.pictures import keep_ground
from ..figures.style import INK, LOOKS, SMALL, line_style, new_axes, show_plane
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["11_what_helps"]


def draw_uncertainty(image, label, entropy, wrong):
    """One axial slice: the scan with its label, the teacher's entropy, its errors, and its errors of low entropy."""
    z = int(np.argmax(wrong.sum((0, 1))))
    figure, axes = new_axes(4, height=2.85)
    one = {"vmin": 0, "vmax": 1}
    for ax, picture, title, options in zip(
            axes, (image, entropy, wrong, wrong & (entropy < 0.5)),
            ("scan and label", "entropy of the mean", "errors", "sure and wrong"),
            ({}, {"cmap": "viridis"} | one, one, one)):
        show_plane(ax, picture[:, :, z], label[:, :, z], title, **options)
    return figure


def draw_threshold(image, entropy, wrong, masked_out):
    """``draw(threshold)`` for a SliderView: an axial slice with the voxels that a mask of ``threshold`` bits takes
    away, and the shares of ``masked_out`` over all thresholds."""
    z, bits = int(np.argmax(wrong.sum((0, 1)))), np.linspace(0.1, 1, 19)
    shares = 100 * np.array([masked_out(value) for value in bits]).T
    names = {"voxels": LOOKS["lambda0"], "errors": LOOKS["MT"], "loss": LOOKS["supervised"]}
    figure, (left, right) = new_axes(2, height=3.6, margins={"left": 0.02, "right": 0.98, "bottom": 0.16, "top": 0.9,
                                                             "wspace": 0.22})
    left.imshow(image[:, :, z].T, cmap="gray")
    left.set_title("orange: masked out; green: errors that stay", fontsize=SMALL, color=INK)
    left.set_axis_off()
    away, stay = (left.imshow(image[:, :, z].T, cmap=ListedColormap([LOOKS[arm].colour]), alpha=0.75, vmin=0, vmax=1)
                  for arm in ("strong", "MT"))
    for (name, look), values in zip(names.items(), shares):
        right.plot(bits, values, **line_style(look._replace(label=name), 2.6))
    line = right.axvline(0, ymax=100 / 122, color=INK, linewidth=1.6)
    title = right.set_title("", fontsize=SMALL, color=INK)
    right.set(xlabel="threshold (bits)", ylabel="masked out (%)", xlim=(0.05, 1.05), ylim=(0, 122),
              yticks=range(0, 101, 20))
    right.legend(fontsize=SMALL, frameon=False, loc="upper center", ncols=3)
    keep_ground(figure, [away, stay, line, title])

    def draw(threshold=0.5):
        certain = entropy[:, :, z] < threshold
        for part, mask in ((away, ~certain), (stay, wrong[:, :, z] & certain)):
            part.set_data(np.ma.masked_equal(mask.T, False))
        line.set_xdata([threshold] * 2)
        found = [100 * share for share in masked_out(threshold)]
        title.set_text("voxels {:.0f} %, errors {:.0f} %, loss {:.0f} %".format(*found))
        return figure
    return draw


# --- Exercises -----------------------------------------------------------------------------------


def share_of_headroom(controls, ours, ceiling):
    """(ours − best control) / (ceiling − best control); NaN where the ceiling is not above it."""
    control = max(controls)
    return (ours - control) / (ceiling - control) if ceiling > control else float("nan")


def colleagues_headroom(controls, ours, ceiling):
    control = min(controls)
    return (ours - control) / ceiling


check_headroom = Exercise(
    share_of_headroom, [([0.62, 0.70], 0.73, 0.82), ([0.70, 0.66, 0.69], 0.68, 0.80), ([0.5], 0.8, 0.8),
                        ([0.80, 0.84], 0.85, 0.82), ([np.float64(0.8)], 0.7, 0.8)],
    {"That is the gain itself. Divide it by what all labels would add.": lambda c, m, top: m - max(c),
     "Both gains start at the control: the whole is ceiling - control.": lambda c, m, top: (m - max(c)) / top,
     "That is the share that is missing: return the share that has been gained.":
        lambda c, m, top: (top - m) / (top - max(c)) if top > max(c) else float("nan"),
     "Compare with the best control: against the weakest one any method looks good.":
        lambda c, m, top: (m - min(c)) / (top - min(c)) if top > min(c) else float("nan"),
     "If the control is better than all labels, or as good, there is no headroom: return `np.nan`.":
        lambda c, m, top: (m - max(c)) / (top - max(c)),
     "A ceiling as high as the control leaves no headroom either: return `np.nan`.":
        lambda c, m, top: (m - max(c)) / (top - max(c)) if top >= max(c) else float("nan")},
    given=colleagues_headroom)


def binary_entropy(p):
    """Predictive entropy in bits, 0 (sure) to 1: of the mean of the opinions ``p`` (n, ...)."""
    mean = np.clip(np.mean(p, axis=0), 1e-7, 1 - 1e-7)
    return -(mean * np.log2(mean) + (1 - mean) * np.log2(1 - mean))


def colleagues_entropy(p):
    bits = -(p * np.log(p) + (1 - p) * np.log(1 - p))
    return bits.mean(axis=0)


_OPINIONS = np.array([[0.9, 0.5, 0.99, 0.2], [0.1, 0.5, 0.97, 0.3]])
_THREE = np.array([[0.9, 0.2], [0.8, 0.3], [0.1, 0.7]])
_SURE = np.array([[1.0, 0.0, 0.8], [1.0, 0.0, 0.9]])


def _bits(p, second=True, clip=1e-7):
    p = np.clip(p, clip, 1 - clip)
    return -(p * np.log2(p) + ((1 - p) * np.log2(1 - p) if second else 0))


check_entropy = Exercise(
    binary_entropy, [(_OPINIONS,), (_THREE,), (np.full((3, 2), 0.75),), (_SURE,)],
    {"Average the probabilities first. The mean of the entropies overlooks sure opinions that contradict each other.":
        lambda p: _bits(p).mean(0),
     "That is in nats: the largest entropy is 0.693. In bits (log2) it is 1.": lambda p: _bits(p.mean(0)) * np.log(2),
     "The second class is missing: add (1 - p) log2(1 - p).": lambda p: _bits(p.mean(0), second=False),
     "A mean of exactly 0 or 1 gives nan: clip the mean to 1e-7 and 1 - 1e-7.": lambda p: _bits(p.mean(0), clip=0),
     "The middle opinion is not the mean: every opinion counts.": lambda p: _bits(np.median(p, axis=0))},
    given=colleagues_entropy)
