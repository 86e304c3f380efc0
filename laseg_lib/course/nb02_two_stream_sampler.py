"""What notebook 02_two_stream_sampler draws, its exercises and their answers."""

import itertools
import math

import numpy as np

from ..figures.style import INK, LOOKS, TEXT, new_axes
from ..sampler import iterate_eternally
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["02_two_stream_sampler"]


def draw_visits(left, right, titles):
    """How often each unlabelled volume was drawn (two dicts index -> count), most visited first."""
    figure, axes = new_axes(2, height=3.6, sharey=True, xlabel="unlabelled volumes, most visited first")
    for ax, counts, title in zip(axes, (left, right), titles):
        values = sorted(counts.values(), reverse=True)
        ax.bar(range(len(values)), values, width=1.0, color=LOOKS["MT"].colour, edgecolor="white", linewidth=0.5)
        unseen = sum(value == 0 for value in values)
        ax.axvspan(len(values) - unseen - 0.5, len(values) - 0.5, color=LOOKS["strong"].colour, alpha=0.25, linewidth=0)
        ax.set_title(title, fontsize=TEXT, loc="left")
        ax.text(0.97, 0.9, f"never seen: {unseen}", transform=ax.transAxes, ha="right", fontsize=TEXT, color=INK)
        ax.locator_params(axis="y", integer=True)
    axes[0].set_ylabel("times seen", fontsize=TEXT)
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def visits(iterations, labelled, unlabelled, batch_size, unlabelled_bs):
    """(epochs begun, times each labelled volume is seen, times each unlabelled one is).

    The last two are averages."""
    labelled_bs = batch_size - unlabelled_bs
    epochs = -(-iterations // (labelled // labelled_bs))
    return epochs, iterations * labelled_bs / labelled, iterations * unlabelled_bs / unlabelled


def colleagues_visits(iterations, labelled, unlabelled, batch_size, unlabelled_bs):
    labelled_bs = batch_size - unlabelled_bs
    epochs = iterations / (labelled / labelled_bs)
    return epochs, iterations * batch_size / labelled, iterations * unlabelled_bs / unlabelled


def endless(indices, n, seed):
    """The first ``n`` of the sampler's unlabelled stream."""
    return list(itertools.islice(iterate_eternally(indices, np.random.default_rng(seed)), n))


def passes(drawn, indices, n, seed):
    """(how many, whether all are indices, whether no pass repeats one, whether the passes have different orders)."""
    rows = [tuple(int(i) for i in drawn[k:k + len(indices)]) for k in range(0, n, len(indices))]
    return (len(drawn), set().union(*rows) <= set(indices), all(len(set(row)) == len(row) for row in rows),
            len(set(rows[:n // len(indices)])) > 1)


check_visits = Exercise(
    visits, [(6000, 8, 72, 4, 2), (6000, 16, 64, 4, 2), (1000, 25, 98, 4, 2), (1000, 12, 48, 4, 1)],
    {"An epoch has whole batches only: 25 labelled volumes, two at a time, make 12 batches, not 12.5.":
        lambda n, a, b, k, s: (math.ceil(n / (a / (k - s))), n * (k - s) / a, n * s / b),
     "Divide the labelled volumes by their own share of the batch, not by the whole batch size.":
        lambda n, a, b, k, s: (math.ceil(n / (a // k)), n * (k - s) / a, n * s / b),
     "An epoch that has only begun counts too: round the number of epochs up.":
        lambda n, a, b, k, s: (n // (a // (k - s)), n * (k - s) / a, n * s / b),
     "Only `batch_size - unlabelled_bs` of the volumes in a batch are labelled, not all of them.":
        lambda n, a, b, k, s: (-(-n // (a // (k - s))), n * k / a, n * s / b)},
    names=("the number of epochs", "the number of visits to a labelled volume",
           "the number of visits to an unlabelled volume"), given=colleagues_visits)

check_endless = Exercise(
    endless, [(list(range(12, 20)), 32, 0), ([3, 5, 7, 9, 11], 20, 1), ([3, 5, 7, 9, 11], 18, 1)],
    {"Some volumes came twice before others came once: draw a permutation of all, then another, and so on.":
        lambda indices, n, seed: list(np.random.default_rng(seed).choice(indices, n)),
     "Every pass has the same order: draw a new permutation for each.":
        lambda indices, n, seed: list(itertools.islice(itertools.cycle(indices), n)),
     "Those are places in the list, from 0 on. The numbers at these places are asked for.":
        lambda indices, n, seed: endless(range(len(indices)), n, seed),
     "There are too few or too many: stop after exactly n.":
        lambda indices, n, seed: endless(indices, n // len(indices) * len(indices), seed)[:-1],
     "The last pass is incomplete if n is no multiple of the number of volumes: stop after exactly n.":
        lambda indices, n, seed: endless(indices, n // len(indices) * len(indices), seed)},
    look=passes, names=("the length of the list", "whether all numbers are among the indices",
                        "whether a pass holds every volume once", "whether passes have different orders"))
