"""The words for the pictures of notebook 12_what_a_scan_is_worth, its exercise and the answer."""

import numpy as np

from ..records import statistics as compare
from .exercise import Exercise

# Texts for readers who can't see the pictures.  They are not in the cells: they would answer the question above.
ALT = {
    "labels":
        "Dice over the number of labelled volumes, a mark for each fold and the mean. At two labels the line with the "
        "unlabelled volumes is clearly higher than labels only, at four a little; at eight and sixteen the two meet. "
        "Single marks: twice as long, and self-training. A dashed line: all labels. Diamonds: what others published.",
    "worth":
        "Four rows of paired differences of Dice with 95 % intervals, for 2, 4, 8 and 16 labels. The fewer labels, the "
        "further the row lies from zero.",
    "rivals":
        "Eight rows of paired differences of Dice with 95 % intervals, four for 2 and four for 4 labels: labels only "
        "for twice as long and self-training, each against labels only, and the strong recipe against both.",
    "public":
        "The same curve on the public split, a mark for each training. With 4 and 8 labels the longer trainings lie "
        "among the published numbers, and so does labels only.",
}


# --- The exercise --------------------------------------------------------------------------------


def by_fold(gains, each):
    """(mean, half of the 95 % interval) of the folds' means; ``each``: gains of one fold."""
    folds = np.reshape(gains, (-1, each)).mean(axis=1)
    return float(folds.mean()), compare.interval95(folds)


def colleagues_by_fold(gains, each):
    return np.mean(gains), compare.interval95(gains)


_GAINS = [0.00, 0.01, 0.02, 0.02, 0.01, 0.03, 0.03, 0.02, 0.01, -0.01, 0.00, -0.02]
check_by_fold = Exercise(
    by_fold, [(_GAINS, 3), ([0.04, 0.02, 0.03, 0.05], 1), (_GAINS[:6], 1)],
    {"Those are the trainings as units. Take the mean of each fold first, then the interval of these means.":
        lambda gains, each: (float(np.mean(gains)), compare.interval95(gains)),
     "Every `each`-th gain is not one fold: a fold is `each` gains in a row, so reshape to (-1, each).":
        lambda gains, each: (float(np.mean(gains)), compare.interval95(np.reshape(gains, (each, -1)).mean(axis=0))),
     "That is the spread of the folds. The question is how sure their mean is: `compare.interval95`.":
        lambda gains, each: (float(np.mean(gains)), float(np.std(np.reshape(gains, (-1, each)).mean(1), ddof=1)))},
    names=("the mean", "half of the interval"), given=colleagues_by_fold)
