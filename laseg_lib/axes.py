"""A matplotlib Figure of its own with axes dressed for a projector: text sizes, grid, lines."""

from matplotlib.figure import Figure

from .style import GRID, INK

TEXT, SMALL = 13, 12  # points; a figure is 9.6 inches wide


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
    """Text sizes, a light grid, no box; SI units belong into the labels."""
    ax.set_xlabel(xlabel, fontsize=TEXT, color=INK)
    ax.set_ylabel(ylabel, fontsize=TEXT, color=INK)
    ax.set_title(title, fontsize=TEXT + 1, color=INK, loc="left")
    ax.tick_params(labelsize=SMALL, colors=INK)
    ax.grid(True, color=GRID, linewidth=0.8)
    ax.set_axisbelow(True)
    ax.spines[["top", "right"]].set_visible(False)


def line_style(given, width=2.4):
    """Keyword arguments of ``ax.plot`` for a Look."""
    return {"color": given.colour, "linewidth": width, "label": given.label,
            "linestyle": (0, tuple(given.dash)) if given.dash else "-"}
