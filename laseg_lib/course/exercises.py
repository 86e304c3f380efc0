"""Checks for the learner's own code, used in the notebooks as ``check_dice(my_dice)``.

An exercise is the library's own function, inputs to try it on, and the mistakes that people make, each
written out as a function: whoever makes one gets its hint, because the answers agree.  The tests run
every reference and every mistake through its check.
"""

import itertools
import math

import numpy as np
import torch

from .. import losses, ramps
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
        try:
            answers = [attempt(*args) for args in self.cases]
            if all(answer is None for answer in answers):
                return "Not attempted yet: replace `return None` by your own code and run the cell again."
            answers = [self.look(answer, *args) for answer, args in zip(answers, self.cases)]
        except Exception as error:  # whatever the learner's code raises is theirs to read
            return f"Not yet: your code stops with {type(error).__name__}: {error}"
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
        lambda i, o, k: o * i * math.prod(k) + 1})

check_receptive_field = Exercise(
    receptive_field, [([(3, 1)],), ([(3, 1), (2, 2), (3, 1), (3, 1)],), ([(2, 2), (2, 2), (3, 1)],)],
    {"Behind a stride of 2 neighbours are two input voxels apart: count (kernel - 1) times that step.":
        lambda layers: 1 + sum(kernel - 1 for kernel, _ in layers),
     "A layer's own stride widens the step only for the layers behind it: add first, multiply then.": _late_step})

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
        lambda s, t: ((s.detach().softmax(1) - t.detach().softmax(1)) ** 2).mean()},
    look=pull)

check_mse_slope = Exercise(
    mse_slope, [(0.5, 0.9), (0.1, 0.9), (0.9, 0.9), (0.99, 0.2)],
    {"That is the slope in p. The network moves the logit z: multiply by dp/dz = p (1 - p).": lambda p, q: 2 * (p - q),
     "The square's factor 2 is missing.": lambda p, q: (p - q) * p * (1 - p),
     "The sign is turned: where p is below q the gradient is negative, and descending raises p.":
        lambda p, q: -2 * (p - q) * p * (1 - p)})

# --- 05 ema_teacher -------------------------------------------------------------------------------


def ema_step(teacher, student, alpha):
    """A teacher's weight after one step: the exponential moving average."""
    return alpha * teacher + (1 - alpha) * student


check_ema = Exercise(
    ema_step, [(4.0, 2.0, 0.9), (1.0, 0.0, 0.99), (-1.0, 3.0, 0.5)],
    {"α is the share that the teacher keeps of itself; yours gives that share to the student.":
        lambda teacher, student, alpha: (1 - alpha) * teacher + alpha * student,
     "The two shares must add up to 1: the teacher's old weight counts α, not all of it.":
        lambda teacher, student, alpha: teacher + (1 - alpha) * student,
     "That is the plain mean of the two, whatever α is.":
        lambda teacher, student, alpha: (teacher + student) / 2})

check_alpha = Exercise(
    lambda step, alpha: min(1 - 1 / (step + 1), alpha), [(0, 0.99), (1, 0.99), (98, 0.99), (500, 0.99)],
    {"The warm-up makes α smaller at the start: take the lesser of the two, not the greater.":
        lambda step, alpha: max(1 - 1 / (step + 1), alpha),
     "Off by one: at step 0 α must be 0, so that the teacher becomes the first student.":
        lambda step, alpha: min(1 - 1 / (step + 2), alpha),
     "That is the student's share 1 - α; asked for is the teacher's.":
        lambda step, alpha: 1 - min(1 - 1 / (step + 1), alpha)})

check_newest = Exercise(
    lambda n, alpha: 1 - alpha**n, [(1, 0.9), (10, 0.9), (100, 0.99), (50, 0.5)],
    {"α to the power n is what is left of everything older; the newest n have the rest.":
        lambda n, alpha: alpha**n,
     "n(1 - α) forgets that shares fade: for many students it grows beyond 1.":
        lambda n, alpha: n * (1 - alpha),
     "That is the share of one student, the n-th newest; add up those of all n.":
        lambda n, alpha: (1 - alpha) * alpha ** (n - 1)})

# --- 06 ramp_up -----------------------------------------------------------------------------------

check_ramp = Exercise(
    ramps.sigmoid_rampup, [(0, 40), (10, 40), (40, 40), (55, 40), (3, 0)],
    {"The square is missing: exp(-5 (1 - t/T)^2). The walkthrough's formula lost it too; its code has it.":
        lambda t, T: float(np.exp(-5 * (1 - min(t, T) / T))) if T else 1.0,
     "After the ramp's end (t > T) it stays at 1: clip t to [0, T] first.":
        lambda t, T: float(np.exp(-5 * (1 - t / T) ** 2)) if T else 1.0})


def half_weight(length, every):
    """The first iteration at which a sigmoid ramp of ``length`` steps of ``every`` iterations is at half or more."""
    return every * int(np.ceil(length * (1 - np.sqrt(np.log(2) / 5))))


check_half = Exercise(
    half_weight, [(40, 150), (12, 10), (10, 1)],
    {"Half of the time is not half of the weight: there exp(-5/4) = 0.29. Solve exp(-5 (1 - x)^2) = 1/2 for x = t/T.":
        lambda length, every: length * every // 2,
     "That is a number of ramp steps; an iteration is `every` times as many.":
        lambda length, every: int(np.ceil(length * (1 - np.sqrt(np.log(2) / 5)))),
     "λ moves in steps: before the next multiple of `every` it still has the old value, a little below one half.":
        lambda length, every: int(np.ceil(every * length * (1 - np.sqrt(np.log(2) / 5))))})


# --- 07 train_mean_teacher ------------------------------------------------------------------------


def total_loss(student, teacher, label, n, weight):
    """The loss of a batch whose first n volumes are labelled; ``teacher``: logits of the others."""
    return losses.segmentation_loss(student[:n], label[:n])[0] + weight * losses.softmax_mse_loss(student[n:], teacher)


def _batch(seed):
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 2, 2, 2, 2, generator=chance)
    return logits[:4], logits[4:], torch.randint(2, (4, 2, 2, 2), generator=chance), 2


check_loss = Exercise(
    total_loss, [(*_batch(0), 0.1), (*_batch(1), 2.0), (*_batch(2), 0.0)],
    {"The labels of the unlabelled volumes are used too: the segmentation loss sees only the first n.":
        lambda s, t, y, n, w: losses.segmentation_loss(s, y)[0] + w * losses.softmax_mse_loss(s[n:], t),
     "The weight λ is missing: it multiplies the consistency.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + losses.softmax_mse_loss(s[n:], t),
     "The teacher has seen the last volumes, the unlabelled ones: compare it with student[n:].":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + w * losses.softmax_mse_loss(s[:n], t)})

check_order = Exercise(
    lambda: ["zero_grad", "backward", "optimizer", "ema"], [()],
    {"The teacher comes last: before the optimizer's step it would average a student that hasn't learnt yet.":
        lambda: ["zero_grad", "backward", "ema", "optimizer"],
     "zero_grad after backward throws away what backward has just found: nobody learns.":
        lambda: ["backward", "zero_grad", "optimizer", "ema"],
     "The gradients of the step before are still there, and backward adds to them: begin by clearing.":
        lambda: ["backward", "optimizer", "ema", "zero_grad"]})
