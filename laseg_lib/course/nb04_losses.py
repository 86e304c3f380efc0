"""What notebook 04_losses draws, its exercises and their answers."""
import numpy as np
import torch

from .. import losses
from ..figures.style import LOOKS, TEXT, dress, line_style, new_axes
from ..losses import softmax_kl_loss, softmax_mse_loss
from ..runtime.machine import one_thread
from .exercise import Exercise, pull


@one_thread()  # rounding grows in a training: the pictures must not depend on the number of cores
def dice_at_work(loss, network, image, label, iterations, lr=0.1):
    """Train on two volumes at a time with ``loss(logits, label)``; Dice of each batch before its step, as floats."""
    optimizer, scores = torch.optim.SGD(network.parameters(), lr, momentum=0.9), []
    for i in range(iterations):
        pair = [2 * i % len(image), (2 * i + 1) % len(image)]
        logits = network(image[pair])
        optimizer.zero_grad()
        loss(logits, label[pair]).backward()
        optimizer.step()
        found, gold = logits.argmax(1), label[pair]
        scores.append(float(2 * (found * gold).sum() / (found.sum() + gold.sum())))
    return scores


def slope(loss, p):
    """d loss / d logit of the class, voxel by voxel, at probabilities ``p`` (an array), by autograd.

    ``loss``: logits (N, 2) -> scalar, a mean over the N voxels; the mean's 1/N is taken out again.
    """
    p = torch.as_tensor(p, dtype=torch.float64)
    logits = torch.stack([torch.zeros_like(p), torch.log(p / (1 - p))], 1).requires_grad_()
    loss(logits).backward()
    return len(p) * logits.grad[:, 1].numpy()


def draw_consistency(teacher=0.9):
    """MSE and KL, and their pull on the student's logit, over the student's probability, for one teacher."""
    p = np.linspace(0.001, 0.999, 500)
    q = torch.full((1,), teacher, dtype=torch.float64)
    target = torch.log(torch.stack([1 - q, q], 1))
    figure, (left, right) = new_axes(2, height=4.2, margins={"left": 0.08, "right": 0.98, "bottom": 0.15, "top": 0.9,
                                                              "wspace": 0.24})
    for name, loss, arm in (("MSE", softmax_mse_loss, "MT"), ("KL", softmax_kl_loss, "supervised")):
        look = LOOKS[arm]._replace(label=name)
        logits = torch.from_numpy(np.stack([np.log(1 - p), np.log(p)], 1))
        values = [loss(row[None], target).item() for row in logits]
        left.plot(p, values, **line_style(look, 3))
        right.plot(p, slope(lambda z, f=loss: f(z, target.expand(len(z), 2)), p), **line_style(look, 3))
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
