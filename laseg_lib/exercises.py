"""Checks for the learner's own code, used in the notebooks as ``check_dice(my_dice)``.

An exercise is the library's own function, inputs to try it on, and the mistakes that people make, each
written out as a function: whoever makes one gets its hint, because the answers agree.  The tests run
every reference and every mistake through its check.
"""

import numpy as np
import torch

from . import losses, ramps


class Exercise:
    """``reference``: the right function.  ``cases``: tuples of arguments.  ``mistakes``: hint -> wrong function.

    Calling it with an attempt prints *not attempted*, *correct*, or what is wrong.
    """

    def __init__(self, reference, cases, mistakes):
        self.reference, self.cases, self.mistakes = reference, cases, mistakes

    def __call__(self, attempt):
        print(self.verdict(attempt))

    def verdict(self, attempt):
        """The sentence that the learner reads."""
        try:
            answers = [attempt(*args) for args in self.cases]
        except Exception as error:  # whatever the learner's code raises is theirs to read
            return f"Not yet: your code stops with {type(error).__name__}: {error}"
        if all(answer is None for answer in answers):
            return "Not attempted yet: replace `return None` by your own code and run the cell again."
        expected = [self.reference(*args) for args in self.cases]
        if same(answers, expected):
            return "Correct. Your function and the library's agree on every case."
        for hint, wrong in self.mistakes.items():
            if same(answers, [wrong(*args) for args in self.cases]):
                return f"Not yet. {hint}"
        i = next(i for i, pair in enumerate(zip(answers, expected)) if not same(pair[0], pair[1]))
        return f"Not yet: for {told(self.cases[i])} the answer is {told(expected[i])}, yours is {told(answers[i])}."


def same(a, b):
    """Whether two answers agree: numbers and arrays to 1e-5, lists and tuples item by item."""
    if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    try:
        a, b = np.asarray(torch.as_tensor(a), float), np.asarray(torch.as_tensor(b), float)
    except (TypeError, ValueError, RuntimeError):
        return type(a) is type(b) and a == b
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-4, atol=1e-5, equal_nan=True))


def told(value):
    """A value as a learner would write it, short."""
    if isinstance(value, tuple):
        return "(" + ", ".join(map(told, value)) + ")"
    if torch.is_tensor(value) or isinstance(value, np.ndarray):
        return f"{value.item():.4f}" if value.size == 1 else f"an array of shape {tuple(value.shape)}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


# --- 06 ramp_up -----------------------------------------------------------------------------------

check_ramp = Exercise(
    ramps.sigmoid_rampup, [(0, 40), (10, 40), (40, 40), (55, 40), (3, 0)],
    {"The square is missing: exp(-5 (1 - t/T)^2). The walkthrough's formula lost it too; its code has it.":
        lambda t, T: float(np.exp(-5 * (1 - min(t, T) / T))) if T else 1.0,
     "After the ramp's end (t > T) it stays at 1: clip t to [0, T] first.":
        lambda t, T: float(np.exp(-5 * (1 - t / T) ** 2)) if T else 1.0})
