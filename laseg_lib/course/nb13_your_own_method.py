"""The words for the pictures of notebook 13_your_own_method, its exercise and the answer."""

import numpy as np

from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["13_your_own_method"]


def mean_entropy(atrium):
    """The mean entropy, in nats, of voxels that are atrium with these probabilities (0 < p < 1)."""
    atrium = np.asarray(atrium, float)
    return float(-(atrium * np.log(atrium) + (1 - atrium) * np.log(1 - atrium)).mean())


check_confident = Exercise(
    mean_entropy, [([0.5, 0.9, 0.2, 0.6],), ([0.31],), ([0.07],)],
    {"That is the atrium's part alone. The background has 1 - p, and counts too.":
        lambda p: float(-(np.array(p) * np.log(p)).mean()),
     "That is the sum over the voxels. Take their mean.": lambda p: len(p) * mean_entropy(p),
     "The sign is wrong: an entropy is never below zero.": lambda p: -mean_entropy(p),
     "That is the logarithm to base 2. Use the natural one, np.log.": lambda p: mean_entropy(p) / np.log(2)})
