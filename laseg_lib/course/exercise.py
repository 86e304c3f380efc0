"""Checks for the learner's own code, used in the notebooks as ``check_dice(my_dice)``.

An exercise is the library's own function, inputs to try it on, and the mistakes that people make, each
written out as a function: whoever makes one gets its hint, because the answers agree.  The tests run
every reference and every mistake through its check.
"""


import numpy as np
import torch


class Exercise:
    """``reference``: the right function.  ``cases``: tuples of arguments.  ``mistakes``: hint -> wrong function.

    ``look(answer, *args)``: what of an answer counts, where there is more than one right answer.
    Calling it with an attempt prints *not attempted*, *correct*, or what is wrong.
    """

    def __init__(self, reference, cases, mistakes, look=lambda answer, *args: answer):
        self.reference, self.cases, self.mistakes, self.look = reference, cases, mistakes, look

    def __call__(self, attempt):
        print(self.verdict(attempt))

    def verdict(self, attempt):
        """The sentence that the learner reads."""
        given, answers = [], []
        try:
            for args in self.cases:
                given.append(attempt(*args))
            if all(answer is None for answer in given):
                return "Not attempted yet: replace `return None` by your own code and run the cell again."
            for answer, args in zip(given, self.cases):
                answers.append(self.look(answer, *args))
        except Exception as error:  # whatever the learner's code raises is theirs to read
            at = self.cases[len(answers) if len(given) == len(self.cases) else len(given)]
            return f"Not yet: for {told(at)} your code stops with {type(error).__name__}: {error}"
        expected = self.answers_of(self.reference)
        if same(answers, expected):
            return "Correct. Your function and the library's agree on every case."
        for hint, wrong in self.mistakes.items():
            if same(answers, self.answers_of(wrong)):
                return f"Not yet. {hint}"
        i = next(i for i, pair in enumerate(zip(answers, expected)) if not same(pair[0], pair[1]))
        return f"Not yet: for {told(self.cases[i])} the answer is {told(expected[i])}, yours is {told(answers[i])}."

    def answers_of(self, function):
        """What counts of a function's answers, case by case."""
        return [self.look(function(*args), *args) for args in self.cases]


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
        return f"{value.item():.4f}" if np.prod(value.shape) == 1 else f"an array of shape {tuple(value.shape)}"
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def pull(loss, student, teacher):
    """(the value, how strongly it pulls on the student's logits, and on the teacher's)."""
    grads = [None, None]
    if loss.requires_grad:
        grads = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
    return [loss.item(), *(0.0 if g is None else g.abs().sum().item() for g in grads)]
