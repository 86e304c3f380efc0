"""Exercises of notebooks 05 to 07: the teacher, the ramp, the loop.  How they work: ``exercises.py``."""

import numpy as np
import torch

from .. import losses, ramps
from .exercises import Exercise
from .solutions import pull

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


def warm_alpha(step, alpha):
    """The α that is used at a step: a plain average's at first."""
    return min(1 - 1 / (step + 1), alpha)


check_alpha = Exercise(
    warm_alpha, [(0, 0.99), (1, 0.99), (98, 0.99), (500, 0.99)],
    {"The warm-up makes α smaller at the start: take the lesser of the two, not the greater.":
        lambda step, alpha: max(1 - 1 / (step + 1), alpha),
     "Off by one: at step 0 α must be 0, so that the teacher becomes the first student.":
        lambda step, alpha: min(1 - 1 / (step + 2), alpha),
     "That is the student's share 1 - α; asked for is the teacher's.":
        lambda step, alpha: 1 - min(1 - 1 / (step + 1), alpha),
     "A plain average for ever: from some step on α is the given one, so take the lesser of the two.":
        lambda step, alpha: 1 - 1 / (step + 1)})


def share_of_newest(n, alpha):
    """What of an exponential average comes from its newest n members."""
    return 1 - alpha**n


check_newest = Exercise(
    share_of_newest, [(1, 0.9), (10, 0.9), (100, 0.99), (50, 0.5)],
    {"α to the power n is what is left of everything older; the newest n have the rest.":
        lambda n, alpha: alpha**n,
     "n(1 - α) forgets that shares fade: for many students it grows beyond 1.":
        lambda n, alpha: n * (1 - alpha),
     "That is the share of one student, the n-th newest; add up those of all n.":
        lambda n, alpha: (1 - alpha) * alpha ** (n - 1),
     "The shares are (1 - α) α^k for k = 0 … n - 1: the factor 1 - α is missing.":
        lambda n, alpha: sum(alpha**k for k in range(n)),
     "From k = 0: the newest student itself counts 1 - α.":
        lambda n, alpha: alpha * (1 - alpha**n)})

# --- 06 ramp_up -----------------------------------------------------------------------------------

check_ramp = Exercise(
    ramps.sigmoid_rampup, [(0, 40), (10, 40), (40, 40), (55, 40), (3, 0)],
    {"The square is missing: exp(-5 (1 - t/T)^2). The walkthrough's formula lost it too; its code has it.":
        lambda t, T: float(np.exp(-5 * (1 - min(t, T) / T))) if T else 1.0,
     "After the ramp's end (t > T) it stays at 1: clip t to [0, T] first.":
        lambda t, T: float(np.exp(-5 * (1 - t / T) ** 2)) if T else 1.0,
     "That falls from 1: the square is of what is left of the ramp, 1 - t/T.":
        lambda t, T: float(np.exp(-5 * (min(t, T) / T) ** 2)) if T else 1.0,
     "No ramp at all, T = 0, means the full weight at once: 1.":
        lambda t, T: ramps.sigmoid_rampup(t, T) if T else 0.0})


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
        lambda length, every: int(np.ceil(every * length * (1 - np.sqrt(np.log(2) / 5)))),
     "One stair too early: there λ is still a little below one half. Round the number of stairs up.":
        lambda length, every: every * int(length * (1 - np.sqrt(np.log(2) / 5)))})


# --- 07 train_mean_teacher ------------------------------------------------------------------------


def total_loss(student, teacher, label, n, weight):
    """The loss of a batch whose first n volumes are labelled; ``teacher``: logits of the others."""
    return losses.segmentation_loss(student[:n], label[:n])[0] + weight * losses.softmax_mse_loss(student[n:], teacher)


def _batch(seed):
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(6, 2, 2, 2, 2, generator=chance)
    student, teacher = (part.clone().requires_grad_() for part in (logits[:4], logits[4:]))
    return student, teacher, torch.randint(2, (4, 2, 2, 2), generator=chance), 2


check_loss = Exercise(
    total_loss, [(*_batch(0), 0.1), (*_batch(1), 2.0), (*_batch(2), 0.0)],
    {"The labels of the unlabelled volumes are used too: the segmentation loss sees only the first n.":
        lambda s, t, y, n, w: losses.segmentation_loss(s, y)[0] + w * losses.softmax_mse_loss(s[n:], t),
     "The weight λ is missing: it multiplies the consistency.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + losses.softmax_mse_loss(s[n:], t),
     "The weight λ multiplies the consistency only, not the segmentation loss.":
        lambda s, t, y, n, w: w * total_loss(s, t, y, n, 1),
     "The teacher has seen the last volumes, the unlabelled ones: compare it with student[n:].":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + w * losses.softmax_mse_loss(s[:n], t),
     "The value is right, but the pull is on the teacher: the student's logits come first in softmax_mse_loss.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + w * losses.softmax_mse_loss(t, s[n:])},
    look=lambda loss, student, teacher, *rest: pull(loss, student, teacher))


def order_of_a_step():
    """What a training step does once it has the loss."""
    return ["zero_grad", "backward", "optimizer", "ema"]


def broken_rule(order):
    """Which rule of a step an order breaks first, or 'none': to clear after the optimizer's step is as good."""
    order = list(order)
    if sorted(order) != sorted(order_of_a_step()):
        return "four words"
    clear, backward, move, average = map(order.index, order_of_a_step())
    return ("backward first" if move < backward else "cleared too late" if backward < clear < move else
            "averaged too early" if average < move else "none")


check_order = Exercise(
    order_of_a_step, [()],
    {"Each of the four words once, spelt as above, in a list.": lambda: ["zero_grad", "backward", "optimizer"],
     "The optimizer moves along the gradients: backward has to compute them first.":
        lambda: ["zero_grad", "optimizer", "backward", "ema"],
     "zero_grad after backward throws away what backward has just found: nobody learns.":
        lambda: ["backward", "zero_grad", "optimizer", "ema"],
     "The teacher comes last: before the optimizer's step it would average a student that hasn't learnt yet.":
        lambda: ["zero_grad", "backward", "ema", "optimizer"]},
    look=broken_rule)
