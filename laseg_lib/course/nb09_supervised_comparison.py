"""What notebook 09_supervised_comparison draws, its exercises and their answers."""

import math

import numpy as np

from ..figures.style import INK, LOOKS, SMALL, TEXT, line_style, new_axes
from ..records.plans import ARM_NAMES
from ..records.statistics import interval95, signed
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["09_supervised_comparison"]


# The arms of section 4, with the looks of the arms that they are with other settings.
BETTER_BASE = {f"{ARM_NAMES[arm]} ({norm})": LOOKS[like]._replace(label=f"{ARM_NAMES[arm]} ({norm})")
          for norm, arms in {"BatchNorm": ("labels_only", "company", "strong"),
                             "InstanceNorm": ("labels_only", "strong")}.items()
          for arm in arms for like in [{"labels_only": "supervised", "company": "lambda0"}.get(arm, arm)]}


def draw_controls(runs):
    """A panel for each normalisation: losses minus those of labels alone.  Equal runs lie on one another.

    ``runs``: {normalisation: {company: losses}}.
    """
    given = {"labels alone": LOOKS["supervised"], "loss on two": LOOKS["supervised"]._replace(colour=INK),
             "λ = 0": LOOKS["lambda0"]}
    figure, axes = new_axes(len(runs), height=3.8, sharey=True, xlabel="step")
    for ax, (name, losses) in zip(axes, runs.items()):
        ax.set_title(name, fontsize=TEXT + 1, loc="left")
        for (company, values), width in zip(losses.items(), (9, 5.5, 2.2)):
            ax.plot(range(1, len(values) + 1), np.subtract(values, losses["labels alone"]),
                    **line_style(given[company]._replace(label=company, dash=()), width))
    axes[0].set_ylabel("cross-entropy − labels alone", fontsize=TEXT)
    axes[0].legend(fontsize=SMALL, frameon=False, loc="lower left")
    return figure


def draw_forest(differences, *, xlabel="difference of Dice", title=""):
    """A row for each Difference: a dot per seed, the mean and its 95 % interval, or *not recorded yet*."""
    figure, ax = new_axes(height=1.4 + 0.72 * len(differences), xlabel=xlabel, title=title)
    seen = [value for given in differences for value in given.values.values()]
    reach = 1.15 * max([abs(value) for value in seen] + [given.half + abs(given.mean) for given in differences
                                                          if np.isfinite(given.half)] + [0.01])
    ax.axvline(0, color=INK, linewidth=1.6)
    for row, given in enumerate(differences):
        values = list(given.values.values())
        if not values:
            ax.text(0.02 * reach, row, "not recorded yet", va="center", fontsize=TEXT, style="italic", color="#666666")
            continue
        colour = LOOKS["MT"].colour if given.verdict == "above zero" else (
            LOOKS["strong"].colour if given.verdict == "below zero" else "#777777")
        ax.plot(values, np.full(len(values), row), "o", markersize=8, color=colour, alpha=0.45, markeredgecolor="white")
        if np.isfinite(given.half):
            ax.plot([given.mean - given.half, given.mean + given.half], [row, row], color=INK, linewidth=2)
            ax.plot(given.mean, row, "D", markersize=10, color=colour, markeredgecolor=INK)
            text = f"{signed(given.mean)} ± {given.half:.3f}"
        else:
            text = f"{signed(given.mean)}, one seed"
        ax.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL, color=INK)
    names = [given.name.replace(": ", ":\n", 1).replace(", no", ",\nno") for given in differences]
    ax.set_yticks(range(len(differences)), names, fontsize=SMALL)
    ax.set(xlim=(-reach, reach), ylim=(len(differences) - 0.4, -0.6))
    ax.locator_params(axis="x", nbins=6)
    return figure


# --- Exercises -----------------------------------------------------------------------------------


_A, _B = [0.70, 0.74, 0.69, 0.75, 0.72], [0.68, 0.71, 0.68, 0.73, 0.69]


def paired_interval(a, b):
    """(mean, half width of the 95 % interval) of the differences a - b, seed by seed."""
    found = np.subtract(a, b)
    return float(found.mean()), interval95(found)


def colleagues_interval(a, b):
    mean = np.mean(a) - np.mean(b)
    spread = np.sqrt(np.var(a, ddof=1) + np.var(b, ddof=1))
    return mean, 1.96 * spread / np.sqrt(len(a))


def _with(factor, ddof=1, root=True):
    return lambda a, b: (float(np.mean(np.subtract(a, b))),
                         factor * np.std(np.subtract(a, b), ddof=ddof) / (math.sqrt(len(a)) if root else 1))


check_paired = Exercise(
    paired_interval, [(_A, _B), (_B, _A), ([0.5, 0.6, 0.9, 0.7, 0.8], [0.4, 0.6, 0.8, 0.8, 0.7]), (_A[:3], _B[:3])],
    {"1.96 is for very many seeds: with few the t distribution is wider, 2.776 for five.": _with(1.96),
     "2.776 is for five seeds. For three it is 4.303: `compare.interval95` knows the t of any number.":
        _with(2.7764451),
     "np.std divides by n unless it is told ddof=1: from a sample, divide by n - 1.": _with(2.7764451, ddof=0),
     "That is the spread of single seeds: divide it by the root of n for their mean.": _with(2.7764451, root=False),
     "Subtract seed by seed first. You have compared two groups, so the spread of the seeds is still in it.":
        lambda a, b: (float(np.mean(a) - np.mean(b)), math.hypot(interval95(a), interval95(b)))},
    names=("the mean", "the half width"), given=colleagues_interval)
