"""Checks for the learner's own code, used in the notebooks as ``check_dice(my_dice)``.

An exercise is the library's own function, inputs to try it on, and the mistakes that people make, each
written out as a function: whoever makes one gets its hint, because the answers agree.  The tests run
every reference and every mistake through its check.
"""

import itertools
import math

import numpy as np
import torch

from .. import losses
from .solutions import conv_parameters, endless, mse_slope, padded_size, passes, pull, receptive_field, visits


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

# --- 02 two_stream_sampler ------------------------------------------------------------------------

check_visits = Exercise(
    visits, [(6000, 8, 72, 4, 2), (6000, 16, 64, 4, 2), (1000, 25, 98, 4, 2), (1000, 12, 48, 4, 1)],
    {"An epoch has whole batches only: 25 labelled volumes, two at a time, make 12 batches, not 12.5.":
        lambda n, a, b, k, s: (math.ceil(n / (a / (k - s))), n * (k - s) / a, n * s / b),
     "Divide the labelled volumes by their own share of the batch, not by the whole batch size.":
        lambda n, a, b, k, s: (math.ceil(n / (a // k)), n * (k - s) / a, n * s / b),
     "The last epoch counts too when it is only begun: round the number of epochs up.":
        lambda n, a, b, k, s: (n // (a // (k - s)), n * (k - s) / a, n * s / b)})

check_endless = Exercise(
    endless, [(list(range(12, 20)), 32, 0), ([3, 5, 7, 9, 11], 18, 1)],
    {"Some volumes came twice before others came once: permute all of them, then again, and again.":
        lambda indices, n, seed: list(np.random.default_rng(seed).choice(indices, n)),
     "Every pass has the same order: draw a new permutation for each.":
        lambda indices, n, seed: list(itertools.islice(itertools.cycle(indices), n)),
     "There are too few or too many: stop after exactly n.":
        lambda indices, n, seed: endless(indices, n // len(indices) * len(indices), seed)[:-1]},
    look=passes)

# --- 03 vnet --------------------------------------------------------------------------------------


def _late_step(layers):
    seen, step = 1, 1
    for kernel, stride in layers:
        step *= stride
        seen += (kernel - 1) * step
    return seen


check_conv_parameters = Exercise(
    conv_parameters, [(1, 16, (3, 3, 3)), (256, 256, (3, 3, 3)), (128, 256, (2, 2, 1))],
    {"The biases are missing: one for each output channel.": lambda i, o, k: o * i * math.prod(k),
     "The kernel has three sides: multiply all of them.": lambda i, o, k: o * (i * k[0] * k[1] + 1),
     "There is one bias for each output channel, not one for the whole layer.":
        lambda i, o, k: o * i * math.prod(k) + 1,
     "There is one bias for each output channel, not for each input channel.":
        lambda i, o, k: i * (o * math.prod(k) + 1)})

check_receptive_field = Exercise(
    receptive_field, [([(3, 1)],), ([(3, 1), (2, 2), (3, 1), (3, 1)],), ([(2, 2), (2, 2), (3, 1)],)],
    {"Behind a stride of 2 neighbours are two input voxels apart: count (kernel - 1) times that step.":
        lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers),
     "A layer's own stride widens the step only for the layers behind it: add first, multiply then.": _late_step,
     "The voxel itself counts too: begin with 1.": lambda layers: receptive_field(layers) - 1})

check_padded_size = Exercise(
    padded_size, [((60, 48, 30), (16, 16, 8)), ((190, 140, 88), (16, 16, 8)), ((112, 112, 80), (16, 16, 16))],
    {"That is smaller than the volume: round up, not down.":
        lambda size, divisor: tuple(side // d * d for side, d in zip(size, divisor)),
     "A side that fits already needs no padding.":
        lambda size, divisor: tuple((side // d + 1) * d for side, d in zip(size, divisor))})

# --- 04 losses ------------------------------------------------------------------------------------

_SCORE, _TARGET = torch.tensor([0.75, 0.5, 0.5, 0.25]), torch.tensor([1, 1, 0, 0])
_STUDENT, _TEACHER = (torch.randn(2, 2, 3, 3, 3, generator=torch.Generator().manual_seed(s)).requires_grad_()
                      for s in (0, 1))


check_dice = Exercise(
    losses.dice_loss, [(_SCORE, _TARGET), (_SCORE.flip(0), _TARGET), (0 * _SCORE, 0 * _TARGET), (_SCORE, 0 * _TARGET)],
    {"Square the probabilities in the denominator: sum(p * p) + sum(g * g). Without squares it is another loss.":
        lambda p, g: 1 - (2 * (p * g).sum() + 1e-5) / (p.sum() + g.sum() + 1e-5),
     "That is the Dice score itself: a loss falls as Dice rises, so return 1 minus it.":
        lambda p, g: 1 - losses.dice_loss(p, g),
     "The overlap counts twice: 2 sum(p * g). Without the 2 a perfect answer has the loss one half.":
        lambda p, g: 1 - ((p * g).sum() + 1e-5) / ((p * p).sum() + (g * g).sum() + 1e-5),
     "Where nothing is there and nothing is found the loss is 0: add 1e-5 above and below, or 0/0 is NaN.":
        lambda p, g: 1 - 2 * (p * g).sum() / ((p * p).sum() + (g * g).sum())})

check_consistency = Exercise(
    losses.softmax_mse_loss, [(_STUDENT, _TEACHER), (2 * _TEACHER, _STUDENT)],
    {"The value is right, but the teacher is pulled towards the student as well: detach its logits.":
        lambda s, t: ((s.softmax(1) - t.softmax(1)) ** 2).mean(),
     "Compare probabilities, not logits: softmax over the class axis (dim=1) first.":
        lambda s, t: ((s - t.detach()) ** 2).mean(),
     "Take the mean over everything, the class axis included: this is twice as much.":
        lambda s, t: ((s.softmax(1) - t.detach().softmax(1)) ** 2).sum(1).mean(),
     "The value is right, but nothing pulls on the student: detach the teacher's logits, not the student's.":
        lambda s, t: ((s.detach().softmax(1) - t.softmax(1)) ** 2).mean(),
     "The value is right, but nothing pulls on anybody: detach the teacher's logits only.":
        lambda s, t: ((s.detach().softmax(1) - t.detach().softmax(1)) ** 2).mean()},
    look=pull)

check_mse_slope = Exercise(
    mse_slope, [(0.5, 0.9), (0.1, 0.9), (0.9, 0.9), (0.99, 0.2)],
    {"That is the slope in p. The network moves the logit z: multiply by dp/dz = p (1 - p).": lambda p, q: 2 * (p - q),
     "The square's factor 2 is missing.": lambda p, q: (p - q) * p * (1 - p),
     "Half of dp/dz is missing: the sigmoid's slope is p (1 - p).": lambda p, q: 2 * (p - q) * p,
     "The sign is turned: where p is below q the gradient is negative, and descending raises p.":
        lambda p, q: -2 * (p - q) * p * (1 - p)})
