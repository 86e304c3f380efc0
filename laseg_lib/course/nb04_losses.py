"""What notebook 04_losses draws, its exercises and their answers."""

import numpy as np
import torch

from .. import losses
from ..figures.style import LOOKS, TEXT, dress, line_style, new_axes
from .exercise import Exercise, pull


def draw_consistency(teacher=0.9):
    """MSE and KL of one voxel with two classes, and their pull on the student's logit, over the student's probability.

    In closed form, by which a picture takes less time; the tests compare them with the losses and autograd.
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
