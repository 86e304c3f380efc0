"""Exercises of notebooks 08 and 10: intervals, windows, uncertainty.  How they work: ``exercises.py``."""

import math

import numpy as np

from ..compare import interval95
from .exercises import Exercise
from .pages_08_10 import binary_entropy, starts

# --- 08 supervised_comparison ---------------------------------------------------------------------

_A, _B = [0.70, 0.74, 0.69, 0.75, 0.72], [0.68, 0.71, 0.68, 0.73, 0.69]


def paired_interval(a, b):
    """(mean, half width of the 95 % interval) of the differences a - b, seed by seed."""
    found = np.subtract(a, b)
    return float(found.mean()), interval95(found)


def _with(factor, ddof=1, root=True):
    return lambda a, b: (float(np.mean(np.subtract(a, b))),
                         factor * np.std(np.subtract(a, b), ddof=ddof) / (math.sqrt(len(a)) if root else 1))


check_paired = Exercise(
    paired_interval, [(_A, _B), (_B, _A), ([0.5, 0.6, 0.9, 0.7, 0.8], [0.4, 0.6, 0.8, 0.8, 0.7])],
    {"1.96 is for very many seeds. With five the t distribution has 2.776.": _with(1.96),
     "np.std divides by n unless it is told ddof=1: from a sample, divide by n - 1.": _with(2.7764451, ddof=0),
     "That is the spread of single seeds; the mean of n seeds is surer by the root of n.": _with(2.7764451, root=False),
     "Subtract seed by seed first: you have compared two groups, and what the seeds have in common is still in it.":
        lambda a, b: (float(np.mean(a) - np.mean(b)), math.hypot(interval95(a), interval95(b)))})


def window_count(size, patch, stride):
    """How many windows cover a volume."""
    return math.prod(len(starts(*axis)) for axis in zip(size, patch, stride))


def _windows(along):
    return lambda size, patch, stride: math.prod(along(*axis) for axis in zip(size, patch, stride))


check_windows = Exercise(
    window_count, [((190, 140, 88), (112, 112, 80), (18, 18, 4)), ((48, 48, 24), (32, 32, 16), (5, 5, 1)),
                   ((112, 60, 80), (112, 112, 80), (18, 18, 4))],
    {"The first window is missing: n steps make n + 1 windows.":
        _windows(lambda side, patch, stride: math.ceil(max(side - patch, 0) / stride)),
     "The last voxels are left out: a last window is pushed back to the border, so round the steps up.":
        _windows(lambda side, patch, stride: max(side - patch, 0) // stride + 1),
     "A volume smaller than its patch is padded: one window, never fewer.":
        _windows(lambda side, patch, stride: math.ceil((side - patch) / stride) + 1)})

# --- 10 what_really_helps -------------------------------------------------------------------------


def share_of_headroom(control, ours, ceiling):
    """How much of what all labels would add has been gained without them."""
    return (ours - control) / (ceiling - control)


check_headroom = Exercise(
    share_of_headroom, [(0.70, 0.73, 0.82), (0.70, 0.68, 0.80), (0.5, 0.8, 0.8)],
    {"That is the gain itself. Divide it by what all labels would add.": lambda c, m, top: m - c,
     "Both gains start at the control: the whole is ceiling - control.": lambda c, m, top: (m - c) / top,
     "That is what is still missing; asked for is what has been gained.": lambda c, m, top: (top - m) / (top - c)})

_OPINIONS = np.array([[0.9, 0.5, 0.99, 0.2], [0.1, 0.5, 0.97, 0.3]])


def _bits(p):
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


check_entropy = Exercise(
    binary_entropy, [(_OPINIONS,), (_OPINIONS[:, ::-1],), (np.full((3, 2), 0.75),)],
    {"Average the probabilities first. The mean of the entropies overlooks sure opinions that contradict each other.":
        lambda p: _bits(p).mean(0),
     "Those are nats: the natural logarithm's entropy ends at 0.693. In bits (log2) it ends at 1.":
        lambda p: _bits(p.mean(0)) * np.log(2),
     "The second class is missing: add (1 - p) log2(1 - p).": lambda p: -p.mean(0) * np.log2(p.mean(0))})
