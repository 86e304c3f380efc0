"""The words for the pictures of notebook 12_what_a_scan_is_worth, its exercise and the answer."""

import numpy as np

from ..records import statistics as compare
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["12_what_a_scan_is_worth"]


def by_fold(gains, each):
    """(mean, half of the 95 % interval) of the folds' means; ``each``: gains of one fold."""
    folds = np.reshape(gains, (-1, each)).mean(axis=1)
    return float(folds.mean()), compare.interval95(folds)


def colleagues_by_fold(gains, each):
    return np.mean(gains), compare.interval95(gains)


_GAINS = [0.00, 0.00, 0.03, 0.02, 0.01, 0.03, 0.03, 0.02, 0.01, -0.01, 0.00, -0.02]
check_by_fold = Exercise(
    by_fold, [(_GAINS, 3), ([0.04, 0.02, 0.03, 0.05], 1), (_GAINS[:6], 1)],
    {"Those are the trainings as units. Take the mean of each fold first, then the interval of these means.":
        lambda gains, each: (float(np.mean(gains)), compare.interval95(gains)),
     "A fold is `each` gains in a row, not every `each`-th gain: reshape to (-1, each).":
        lambda gains, each: (float(np.mean(gains)), compare.interval95(np.reshape(gains, (each, -1)).mean(axis=0))),
     "That is the spread of the folds. The question is how sure their mean is: `compare.interval95`.":
        lambda gains, each: (float(np.mean(gains)), float(np.std(np.reshape(gains, (-1, each)).mean(1), ddof=1)))},
    names=("the mean", "half of the interval"), given=colleagues_by_fold)
