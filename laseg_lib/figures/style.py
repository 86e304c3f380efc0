"""The style of every figure: colours, lines, markers and names with a fixed meaning, and axes for a projector.

The colours are Okabe and Ito's, which can be distinguished with any colour blindness.  Line style and marker differ as
well, so that a grey print-out keeps every distinction.
"""

import re
from collections import namedtuple

import numpy as np
from matplotlib.figure import Figure

from ..records.plans import ARM_NAMES
from .names import in_figure

Look = namedtuple("Look", "colour dash marker label")  # dash: lengths in line widths; () is solid

LOOKS = {name: Look(*look, ARM_NAMES.get(name, "gold label")) for name, look in {
    "gold": ("#E69F00", (), "D"),
    "supervised": ("#0072B2", (1, 1.6), "s"),
    "supervised_equal": ("#56B4E9", (5, 1.4, 1, 1.4), "^"),
    "lambda0": ("#CC79A7", (7, 1.4, 1, 1.4, 1, 1.4), "v"),
    "MT": ("#009E73", (4, 1.8), "o"),
    "strong": ("#D55E00", (9, 2), "P"),
    "strong_supervised": ("#999999", (2.5, 1.2), "X"),
}.items()}
ARMS = [name for name in LOOKS if name != "gold"]
# Of a label's classes 1, 2, ...: the first two differ most in lightness, and all stand off from a grey scan.
CLASS_COLOURS = ("#E69F00", "#56B4E9", "#CC79A7", "#009E73", "#D55E00", "#F0E442", "#0072B2")
INK, GRID = "#222222", "#D0D0D0"
TEXT, SMALL = 13, 12  # points; a figure is 9.6 inches wide
# Side by side, the student is light blue, which shows on a dark scan, and the teacher is green.
_ROLES = {"student": "supervised_equal", "teacher": "MT"}
_SPARE = ["strong", "supervised_equal", "lambda0", "MT", "supervised", "strong_supervised"]


def looks(names):
    """{name: Look} for arm keys ('MT'), their labels for people, 'gold', or any other names.

    An unknown name keeps its text and gets a colour that no other name here has.
    """
    labels = {entry.label: key for key, entry in LOOKS.items()}
    keys = {name: name if name in LOOKS else labels.get(name) for name in names}
    for name in [name for name, key in keys.items() if key is None]:
        role = _ROLES.get(re.split(r"\W", str(name), maxsplit=1)[0])
        keys[name] = role if role not in keys.values() else None
    free = [arm for arm in _SPARE if arm not in keys.values()] or _SPARE
    strangers = [name for name, key in keys.items() if key is None]
    keys |= {name: free[i % len(free)] for i, name in enumerate(strangers)}
    return {name: LOOKS[key]._replace(label=LOOKS[key].label if name in LOOKS else str(name))
            for name, key in keys.items()}


def looks_by_class(names, classes=()):
    """{(name, k): Look} of class k of each name: the colour shows the class, the line style the name.  With fewer than
    two ``classes`` (their names) it is {(name, None): Look}, as in ``looks``."""
    given = looks(names)
    if len(classes or ()) < 2:
        return {(name, None): one for name, one in given.items()}
    return {(name, k): one._replace(colour=CLASS_COLOURS[(k - 1) % len(CLASS_COLOURS)],
                                    label=f"{one.label.split(' (')[0]}, {kind}")
            for name, one in given.items() for k, kind in enumerate(classes, 1)}


def new_axes(columns=1, *, height=4.2, width=9.6, rows=1, xlabel="", ylabel="", title="", margins=None, **subplots):
    """(figure, axes): axes is one Axes, or a list when there are several, dressed for a projector.

    ``margins`` (of ``subplots_adjust``) instead of the constrained layout, which takes longer than the drawing.
    """
    figure = Figure(figsize=(width, height), dpi=100, layout=None if margins else "constrained")
    if margins:
        figure.subplots_adjust(**margins)
    grid = figure.subplots(rows, columns, squeeze=False, **subplots)
    axes = list(grid.flat)
    for ax in axes:
        dress(ax, xlabel, ylabel, title)
    return figure, axes[0] if len(axes) == 1 else axes


def dress(ax, xlabel="", ylabel="", title=""):
    """Text sizes, a light grid, no box.  Labels should name SI units."""
    ax.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    ax.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    ax.set_title(title, fontsize=TEXT + 1, color=INK, loc="left")
    ax.tick_params(labelsize=SMALL, colors=INK)
    ax.grid(True, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def show_plane(ax, plane, label=None, title="", **options):
    """A slice (W, H), x to the right and y down, with the outline of its label and without axes.

    Grey levels run from the 1st to the 99.7th percentile; ``options`` of ``imshow`` win.
    """
    low, high = np.percentile(np.asarray(plane, float), (1, 99.7))
    ax.imshow(np.transpose(plane), **{"cmap": "gray", "vmin": low, "vmax": high, **options})
    if label is not None and np.any(label):
        ax.contour(np.transpose(label), [0.5], colors=LOOKS["gold"].colour, linewidths=2.2)
    ax.set_title(in_figure(title), fontsize=TEXT, color=INK)
    ax.set_axis_off()


def line_style(given, width=2.4):
    """Keyword arguments of ``ax.plot`` for a Look."""
    return {"color": given.colour, "linewidth": width, "label": in_figure(given.label),
            "linestyle": (0, tuple(given.dash)) if given.dash else "-"}
