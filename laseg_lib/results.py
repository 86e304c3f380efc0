"""Figures of what came out: arms, cases, and who was in which batch."""

import numpy as np

from .axes import SMALL, TEXT, dress, new_axes
from .compare import interval95
from .style import ARMS, GRID, INK, LOOKS, look, looks


def arm_comparison(table, *, value="Dice", arms=ARMS, title=""):
    """Dot per seed, mean and 95 % interval per arm, student and teacher.

    ``table``: rows {'arm', 'seed', 'student', 'teacher'}, values from 0 to 1; a missing or None value is
    left out, and an arm of ``arms`` without any row is shown as not recorded.
    """
    figure, ax = new_axes(height=0.9 + 0.8 * len(arms), xlabel=f"{value} (mean of the test cases; a dot is a seed)",
                          title=title)
    for row, arm in enumerate(arms):
        given, found = look(arm), False
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
    ax.set_yticks(range(len(arms)), [look(arm).label.replace(" (", "\n(") for arm in arms], fontsize=TEXT)
    ax.set_ylim(len(arms) - 0.5, -0.5)
    return figure


def case_comparison(scores, *, value="Dice", limits=(0, 1)):
    """A mark per test case and method, cases sorted by the first one: ``scores`` = {name: {case: value}}."""
    figure, ax = new_axes(height=4.4, xlabel=f"test case, sorted by {value} of the first method", ylabel=value)
    first = next(iter(scores.values()))
    order = sorted(first, key=first.get)
    for case, at in zip(order, range(len(order))):
        known = [method[case] for method in scores.values() if case in method]
        ax.plot([at, at], [min(known), max(known)], color=GRID, linewidth=3, zorder=1)
    for name, given in looks(scores).items():
        ax.plot([scores[name].get(case, np.nan) for case in order], linestyle="", marker=given.marker, markersize=9,
                color=given.colour, markeredgecolor="white", label=given.label)
    ax.set(ylim=limits, xticks=range(len(order)), xticklabels=range(1, len(order) + 1))
    ax.legend(fontsize=SMALL, frameon=False, ncols=min(3, len(scores)), loc="upper left", bbox_to_anchor=(0, 1.16))
    return figure


def batch_figure(batches, labelled, total):
    """Who is in which batch, and how often each volume was seen: ``batches`` of indices below ``total``.

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
