"""The course's curves and stills: matplotlib Figures of their own, never pyplot.

Every function returns a Figure; ``show(figure, alt=…)`` puts it on the page.  Sizes are chosen
for a page 960 pixels wide, where the text comes out at 17 pixels or more.
"""

import time

import numpy as np

from ..records.statistics import interval95
from .names import in_figure
from .pictures import STILL, bundle
from .slices import draw_slices
from .style import ARMS, GRID, INK, LOOKS, SMALL, TEXT, dress, line_style, looks, new_axes, show_plane


def lines(x, series, *, xlabel, ylabel, title="", height=4.2, **axes):
    """Curves over ``x``: ``series`` is {name: values, or (x, values)}; arm names get their colours.

    ``axes`` goes to ``Axes.set`` (``ylim=(0, 1)``, ``yscale='log'``).
    """
    figure, ax = new_axes(height=height, xlabel=xlabel, ylabel=ylabel, title=title)
    for name, given in looks(series).items():
        at, values = series[name] if isinstance(series[name], tuple) else (x, series[name])
        ax.plot(at, values, **line_style(given))
    ax.set(**axes)
    if len(series) > 1:
        ax.legend(fontsize=SMALL, frameon=False, handlelength=3.4)
    return figure


def panels(images, labels=None, titles=None, *, columns=4, width=9.6):
    """2D arrays (W, H) side by side, x to the right and y down, each with the outline of its label."""
    labels, titles = labels or [None] * len(images), titles or [""] * len(images)
    columns = min(columns, len(images))
    rows = -(-len(images) // columns)
    height = rows * (width / columns * images[0].shape[1] / images[0].shape[0] + 0.4)
    figure, _ = new_axes(columns, rows=rows, height=height, width=width)
    low, high = np.percentile(np.concatenate([np.ravel(image) for image in images]), (1, 99.7))
    for ax in figure.axes[len(images):]:
        ax.set_axis_off()
    for ax, *shown in zip(figure.axes, images, labels, titles):
        show_plane(ax, *shown, vmin=low, vmax=high)
    return figure


def slices_figure(image, label=None, predictions=None, x=None, y=None, z=None, **options):
    """``draw_slices`` as a still; x, y, z default to the label's centre.  Returns a uint8 array."""
    if label is not None and np.any(label) and x is y is z is None:
        x, y, z = (int(v) for v in np.argwhere(label).mean(0))
    return draw_slices(image, label, predictions, x, y, z, **options)


def loss_curves(history, title=""):
    """Losses, consistency and validation Dice over the iterations of one training.

    ``history``: the Trainer's list of dicts ('iteration', 'loss', 'loss_seg', 'loss_seg_dice',
    'consistency_weight', 'consistency_dist', 'val_dice_student', 'val_dice_teacher'); missing keys are
    left out.  Thin lines are the values, thick ones a running mean over a 25th of them.
    """
    figure, (left, middle, right) = new_axes(3, height=3.7, xlabel="iteration")
    for ax, heading in ((left, "losses"), (middle, "consistency"), (right, "validation Dice")):
        ax.set_title(heading, fontsize=TEXT, loc="left")
    for key, name, arm in (("loss", "total", "strong"), ("loss_seg", "cross-entropy", "supervised"),
                           ("loss_seg_dice", "Dice loss", "gold")):
        _running(left, *_column(history, key), LOOKS[arm]._replace(label=name))
    left.set_ylim(0, 1.35 * max(left.get_ylim()[1], 0.1))
    at, weight = _column(history, "consistency_weight")
    _, distance = _column(history, "consistency_dist")
    if len(at):
        middle.plot(at, weight, **line_style(LOOKS["lambda0"]._replace(label="weight λ")))
        _running(middle, at, distance, LOOKS["supervised_equal"]._replace(label="distance"))
        _running(middle, at, weight * distance, LOOKS["MT"]._replace(label="λ × distance"))
        if np.any(weight * distance > 0):
            middle.set_yscale("log")
            low, high = middle.get_ylim()
            middle.set_ylim(low, high * (high / low) ** 0.55)  # room for the legend above the curves
    for key, arm in (("val_dice_student", "supervised"), ("val_dice_teacher", "MT")):
        at, values = _column(history, key)
        if len(at):
            style = line_style(LOOKS[arm]._replace(label=key.rsplit("_", 1)[1]))
            right.plot(at, values, marker=LOOKS[arm].marker, markersize=6, **style)
            right.set_ylim(0, 1)
    for ax in (left, middle, right):
        ax.locator_params(axis="x", nbins=4)
        if ax.get_legend_handles_labels()[0]:
            ax.legend(fontsize=SMALL, frameon=False, handlelength=2.6, loc="best")
        else:
            ax.text(0.5, 0.5, "no values yet", ha="center", va="center", transform=ax.transAxes, fontsize=TEXT)
            ax.set(xticks=[], yticks=[])
    if title:
        figure.suptitle(title, fontsize=TEXT + 2, color=INK)
    return figure


def _column(history, key):
    rows = [(row["iteration"], row[key]) for row in history if row.get(key) is not None]
    return np.array(rows, float).reshape(-1, 2).T


def _running(ax, at, values, given):
    if not len(at):
        return
    span = max(1, len(values) // 25)
    smooth = np.convolve(values, np.ones(span) / span, mode="valid")
    ax.plot(at, values, color=given.colour, linewidth=0.8, alpha=0.35)
    ax.plot(at[span - 1 :], smooth, **line_style(given))


class LiveCurves:
    """Curves that are redrawn while a training runs: ``with LiveCurves() as live: trainer.run(callback=live)``.

    They are redrawn at most every ``every`` seconds.  At the end, also after an interrupt, the last state
    is stored in the output as a still.  ``draw``: history → Figure.
    """

    def __init__(self, every=2.0, draw=loss_curves, alt="Losses, consistency and validation Dice of this training."):
        from .viewer import LivePicture

        self.every, self.draw, self.alt = every, draw, alt
        self.history, self._last, self.drawings = [], -np.inf, 1
        self.view = LivePicture(draw([]), alt)

    def __enter__(self):
        self.view.show_live()
        return self

    def __call__(self, trainer):
        """The Trainer's callback.  It takes the trainer, or a history as a list of dicts."""
        self.update(getattr(trainer, "history", trainer))

    def update(self, history, *, now=False):
        """Keep the history; draw it if the last drawing is ``every`` seconds old."""
        self.history = list(history)
        if now or time.monotonic() - self._last >= self.every:
            self.view.put(self.draw(self.history))
            self._last, self.drawings = time.monotonic(), self.drawings + 1

    def __exit__(self, *error):
        from IPython.display import display

        self.update(self.history, now=True)
        display(bundle(self.draw(self.history), self.alt, STILL), raw=True)


def arm_comparison(table, *, value="Dice", arms=ARMS, title=""):
    """Dot per seed, mean and 95 % interval per arm, student and teacher.

    ``table``: rows {'arm', 'seed', 'student', 'teacher'}, values from 0 to 1.  A missing or None value is
    left out.  ``arms``: keys of LOOKS, or {name: Look}; an arm without any row is shown as not recorded.
    """
    figure, ax = new_axes(height=0.9 + 0.8 * len(arms), xlabel=f"{value} (mean of the test cases; a dot is a seed)",
                          title=title)
    drawn = arms if isinstance(arms, dict) else looks(arms)
    for row, arm in enumerate(arms):
        given, found = drawn[arm], False
        for who, shift in (("student", -0.17), ("teacher", 0.17)):
            values = np.array([r[who] for r in table if r["arm"] == arm and r.get(who) is not None], float)
            if not len(values):
                continue
            found, y = True, row + shift
            mean, half = values.mean(), interval95(values)
            ax.plot([mean - half, mean + half], [y, y], color=INK, linewidth=2, zorder=2, solid_capstyle="butt")
            ax.plot([mean, mean], [y - 0.13, y + 0.13], color=INK, linewidth=3, zorder=4)
            ax.plot(values, np.full(len(values), y), linestyle="", marker=given.marker, markersize=9, zorder=3,
                    markerfacecolor=given.colour if who == "student" else "white", alpha=0.9,
                    markeredgecolor=given.colour if who == "teacher" else "white",
                    markeredgewidth=2.2 if who == "teacher" else 0.7)
            ax.annotate(f"{mean:.3f}  {who}", (1.01, y), xycoords=("axes fraction", "data"), fontsize=SMALL,
                        va="center", color=INK)
        if not found:
            ax.annotate("not recorded yet", (0.02, row), xycoords=("axes fraction", "data"), fontsize=TEXT,
                        va="center", color="#666666", style="italic", bbox={"facecolor": "white", "edgecolor": "none"})
    ax.set_yticks(range(len(arms)), [drawn[arm].label.replace(" (", "\n(") for arm in arms], fontsize=TEXT)
    ax.set_ylim(len(arms) - 0.5, -0.5)
    return figure


CURVES = {  # of ``label_curve``: the arms of the record `labels`
    "labels_only": LOOKS["supervised"]._replace(label="labels only", dash=()),
    "strong": LOOKS["strong"]._replace(label="with the unlabelled volumes"),
    "labels_only_long": LOOKS["lambda0"]._replace(label="labels only, twice as long"),
    "self_training": LOOKS["strong_supervised"]._replace(label="self-training"),
    "strong_long": LOOKS["MT"]._replace(label="with the unlabelled volumes, twice as long"),
}


def label_curve(rows, published=(), *, counts=(2, 4, 8, 16, 80), title=""):
    """Dice over the number of labels: ``rows`` of dicts with arm (a key of CURVES), labels, fold, dice in %.

    A pale mark for each fold, and a line through the means; arms with few counts have the means alone.  The mean with
    all labels is the ceiling, a dashed line.  ``published``: pairs (labels, Dice in %) of others on the public split.
    """
    figure, ax = new_axes(height=5.6, xlabel="labelled volumes, on a logarithmic axis; a grey band is one number",
                          ylabel="Dice (%), teacher", title=title)
    ax.set_xscale("log", base=2)
    aside = 2.0 ** (0.09 * np.array([-1, 1, 0, -2, 2]))  # marks of one number stand side by side, within its band
    for count in counts:
        ax.axvspan(count * 2**-0.27, count * 2**0.36, color="#EEEEEE", linewidth=0, zorder=0)
    for (name, drawn), beside in zip(CURVES.items(), aside, strict=True):
        dice = {count: [row["dice"] for row in rows if row["arm"] == name and row["labels"] == count]
                for count in counts}
        dice = {count: values for count, values in dice.items() if values}
        if not dice:
            continue
        for count, values in dice.items():
            ax.plot([count * beside] * len(values), values, drawn.marker, color=drawn.colour, alpha=0.45,
                    markersize=8, markeredgecolor="white")
        style = {**line_style(drawn), **({} if name in ("labels_only", "strong") else {"linestyle": ""})}
        ax.plot([count * beside for count in dice], [np.mean(values) for values in dice.values()],
                marker=drawn.marker, markersize=11, markeredgecolor=INK, **style)
        if name == "labels_only" and counts[-1] in dice:
            ceiling = np.mean(dice[counts[-1]])
            ax.axhline(ceiling, color=INK, linewidth=1.4, linestyle=(0, (6, 4)))
            ax.annotate("labels only, all 80", (counts[0] * 1.5, ceiling), xytext=(0, 4), textcoords="offset points",
                        fontsize=SMALL)
    shown = [(labels, dice) for labels, dice in published if labels in counts]
    if shown:
        ax.plot([labels * 2**0.29 for labels, _ in shown], [dice for _, dice in shown], "D", markersize=7,
                markerfacecolor="white", markeredgecolor="#555555", linestyle="", label="published, public split")
    ax.set_xticks(counts, counts, fontsize=SMALL)
    ax.minorticks_off()
    ax.set_xlim(counts[0] * 0.72, counts[-1] * 1.4)
    figure.legend(fontsize=SMALL, frameon=False, loc="outside lower center", ncols=2, handlelength=3.4)
    return figure


def case_comparison(scores):
    """A mark per test case and method, cases sorted by the first one: ``scores`` = {name: {case: Dice}}."""
    figure, ax = new_axes(height=4.4, xlabel="test case, sorted by Dice of the first method", ylabel="Dice")
    first = next(iter(scores.values()))
    order = sorted(first, key=first.get)
    for at, case in enumerate(order):
        known = [method[case] for method in scores.values() if case in method]
        ax.plot([at, at], [min(known), max(known)], color=GRID, linewidth=3, zorder=1)
    for name, given in looks(scores).items():
        ax.plot([scores[name].get(case, np.nan) for case in order], linestyle="", marker=given.marker, markersize=9,
                color=given.colour, markeredgecolor="white", label=in_figure(given.label))
    ax.set(ylim=(0, 1), xticks=range(len(order)), xticklabels=range(1, len(order) + 1))
    ax.legend(fontsize=SMALL, frameon=False, ncols=min(3, len(scores)), loc="upper left", bbox_to_anchor=(0, 1.16))
    return figure


def batch_figure(batches, labelled, total):
    """The volumes of each batch, and how often each volume was seen: ``batches`` of indices below ``total``.

    Indices below ``labelled`` are labelled volumes (gold diamonds), the others unlabelled (green dots).
    """
    figure, (top, low) = new_axes(rows=2, height=5.2, sharex=True, gridspec_kw={"height_ratios": [2.2, 1]})
    counts = np.bincount(np.concatenate([np.asarray(b) for b in batches]), minlength=total)
    for arm, low_index, high_index, name in (("gold", 0, labelled, "labelled"), ("MT", labelled, total, "unlabelled")):
        given = LOOKS[arm]
        dots = [(i, row) for row, batch in enumerate(batches, 1) for i in batch if low_index <= i < high_index]
        x, y = np.array(dots).reshape(-1, 2).T
        top.plot(x, y, linestyle="", marker=given.marker, markersize=7, color=given.colour, label=name)
        low.bar(range(low_index, high_index), counts[low_index:high_index], color=given.colour, width=0.8,
                hatch="" if arm == "gold" else "//", edgecolor="white")
    dress(top, ylabel="batch", title="who is in which batch")
    dress(low, xlabel="volume (index)", ylabel="times seen")
    top.set_ylim(len(batches) + 0.7, 0.3)
    top.legend(fontsize=SMALL, frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1, 1))
    low.set(xlim=(-1, total), ylim=(0, counts.max() + 0.5))
    low.locator_params(axis="y", integer=True, nbins=4)
    top.locator_params(axis="y", integer=True)
    return figure
