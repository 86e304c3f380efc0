"""What notebook 04_losses draws, its exercises and their answers."""

import numpy as np
import torch

from .. import losses
from ..figures.style import LOOKS, TEXT, dress, line_style, new_axes
from .alt import ALT_TEXTS
from .exercise import GRADIENTS, NO_TENSOR, Exercise, loss_and_gradients

ALT = ALT_TEXTS["04_losses"]


def draw_consistency(teacher=0.9):
    """MSE and KL of one voxel with two classes, and their gradients at the student's logit, over its probability.

    The formulas are faster than autograd, with which a test compares them.
    """
    p, q = np.linspace(0.001, 0.999, 500), teacher
    curves = {"MSE": ((p - q) ** 2, mse_slope(p, q), "MT"),
              "KL": ((q * np.log(q / p) + (1 - q) * np.log((1 - q) / (1 - p))) / 2, (p - q) / 2, "supervised")}
    figure, (left, right) = new_axes(2, height=4.2, margins={"left": 0.08, "right": 0.98, "bottom": 0.15, "top": 0.9,
                                                              "wspace": 0.24})
    for name, (values, pull_on_logit, arm) in curves.items():
        look = line_style(LOOKS[arm]._replace(label=name), 3)
        left.plot(p, values, **look)
        right.plot(p, pull_on_logit, **look)
    dress(left, "student's probability p", "loss of one voxel", f"teacher q = {teacher:.2f}")
    dress(right, "student's probability p", "gradient at the logit", "the pull: below 0 raises p")
    for ax in (left, right):
        ax.axvline(teacher, color=LOOKS["gold"].colour, linewidth=2, linestyle=(0, (2, 2)))
        ax.set_xlim(0, 1)
    left.set_ylim(0, 1.5)
    right.set_ylim(-0.55, 0.55)
    left.legend(fontsize=TEXT, frameon=False)
    return figure


# --- Exercises -----------------------------------------------------------------------------------


def mse_slope(p, q):
    """d (p - q)^2 / d logit of the student, where p = sigmoid(logit)."""
    return 2 * (p - q) * p * (1 - p)


def coins_dice_loss(share):
    """The Dice loss of predicting 0.5 everywhere, where ``share`` of the voxels are atrium."""
    return 1 - share / (0.25 + share)


def strongest(q):
    """The student's probability at which MSE has its largest gradient, if the teacher says q."""
    p = np.linspace(0, 1, 10_001)
    return float(p[np.argmax(np.abs(mse_slope(p, q)))])


_STUDENT, _TEACHER = (torch.randn(2, 2, 3, 3, 3, generator=torch.Generator().manual_seed(s)).requires_grad_()
                      for s in (0, 1))
_THREE = tuple(torch.randn(1, 3, 2, 2, 2, generator=torch.Generator().manual_seed(s)).requires_grad_() for s in (2, 3))


check_coin = Exercise(
    coins_dice_loss, [(0.08,), (0.5,), (0.31,), (1.0,), (0.0,)],
    {"Square the probabilities in the denominator: one half squared is a quarter.":
        lambda share: 1 - share / (0.5 + share) if share else 1.0,
     "That is the Dice score itself: a loss falls as Dice rises, so take 1 minus it.":
        lambda share: share / (0.25 + share),
     "The overlap counts twice: 2 sum(p g), and p is one half.": lambda share: 1 - share / 2 / (0.25 + share),
     "The squares of p are added up over all voxels, not over the atrium's only.":
        lambda share: 1 - share / (0.25 * share + share) if share else 1.0,
     "Without any atrium there is still the quarter in the denominator: the loss is 1, not 0.":
        lambda share: coins_dice_loss(share) if share else 0.0})

check_consistency = Exercise(
    losses.softmax_mse_loss, [(_STUDENT, _TEACHER), (_TEACHER, _STUDENT), _THREE],
    {"The value is right, but the teacher gets a gradient too: detach its logits.":
        lambda s, t: ((s.softmax(1) - t.softmax(1)) ** 2).mean(),
     "Compare probabilities, not logits: softmax over the class axis (dim=1) first.":
        lambda s, t: ((s - t.detach()) ** 2).mean(),
     "You have added up the classes: take the mean over all axes, the class axis too.":
        lambda s, t: ((s.softmax(1) - t.detach().softmax(1)) ** 2).sum(1).mean(),
     "The number of classes is not always two: take the mean over the class axis too.":
        lambda s, t: ((s.softmax(1) - t.detach().softmax(1)) ** 2).sum(1).mean() / 2,
     "The value is right, but the student gets no gradient: detach the teacher's logits, not the student's.":
        lambda s, t: ((s.detach().softmax(1) - t.softmax(1)) ** 2).mean(),
     "The value is right, but neither network gets a gradient: detach the teacher's logits only.":
        lambda s, t: ((s.detach().softmax(1) - t.detach().softmax(1)) ** 2).mean(),
     NO_TENSOR: lambda s, t: losses.softmax_mse_loss(s, t).item()},
    look=loss_and_gradients, names=GRADIENTS)

check_strongest = Exercise(
    strongest, [(0.95,), (0.3,), (0.5,), (0.05,)],
    {"That is the size of the gradient. Return the probability p at which it is largest.":
        lambda q: float(np.abs(mse_slope(np.linspace(0, 1, 10_001), q)).max()),
     "There student and teacher agree, and the gradient is 0.": lambda q: q,
     "There the loss is largest. The network changes the logit: look for the largest gradient at the logit.":
        lambda q: 0.0 if q > 0.5 else 1.0,
     "A gradient that raises p is negative: look for the largest absolute value.":
        lambda q: float(np.linspace(0, 1, 10_001)[np.argmax(mse_slope(np.linspace(0, 1, 10_001), q))]),
     "A gradient that lowers p is positive: look for the largest absolute value.":
        lambda q: float(np.linspace(0, 1, 10_001)[np.argmin(mse_slope(np.linspace(0, 1, 10_001), q))])},
    look=lambda p, q: float(p) if q != 0.5 else min(float(p), 1 - float(p)), tolerance=0.006)
