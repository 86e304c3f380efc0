"""What notebook 07_train_mean_teacher prints as a command, its exercises and their answers."""

import torch

from .. import losses
from ..config import TrainConfig
from .alt import ALT_TEXTS
from .exercise import GRADIENTS, NO_TENSOR, Exercise, loss_and_gradients

ALT = ALT_TEXTS["07_train_mean_teacher"]


def command(config):
    """The command line that trains with ``config``: what differs from the defaults."""
    default = TrainConfig().to_dict()
    words = ["laseg train --root_path FOLDER --snapshot_path FOLDER"]
    for name, value in config.to_dict().items():
        if value == default[name] or name in ("root_path", "snapshot_path"):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            values = value if isinstance(value, list) else [value]
            words.append(f"--{name} " + " ".join(map(str, values)))
    return " \\\n    ".join(words)


# --- Exercises -----------------------------------------------------------------------------------


def total_loss(student, teacher, label, n, weight):
    """The loss of a batch whose first n volumes are labelled, with consistency on all volumes."""
    supervised = losses.segmentation_loss(student[:n], label[:n])[0]
    return supervised + weight * losses.softmax_mse_loss(student, teacher)


def _batch(seed, n=2):
    chance = torch.Generator().manual_seed(seed)
    logits = torch.randn(8, 2, 2, 2, 2, generator=chance)
    student, teacher = (part.clone().requires_grad_() for part in (logits[:4], logits[4:]))
    return student, teacher, torch.randint(2, (4, 2, 2, 2), generator=chance), n


check_loss = Exercise(
    total_loss, [(*_batch(0), 0.1), (*_batch(1), 2.0), (*_batch(2), 0.0), (*_batch(3, n=1), 0.5)],
    {"The labels of the unlabelled volumes are used too: the segmentation loss sees only the first n.":
        lambda s, t, y, n, w: losses.segmentation_loss(s, y)[0] + w * losses.softmax_mse_loss(s, t),
     "The first n are labelled, and n is not always 2.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:2], y[:2])[0] + w * losses.softmax_mse_loss(s, t),
     "The weight λ is missing: it multiplies the consistency.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + losses.softmax_mse_loss(s, t),
     "The weight λ multiplies the consistency only, not the segmentation loss.":
        lambda s, t, y, n, w: w * total_loss(s, t, y, n, 1),
     "That is this page's loss. Here the consistency is over all volumes, the labelled ones too.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + w * losses.softmax_mse_loss(s[n:], t[n:]),
     "Your consistency is over the labelled volumes alone: the unlabelled ones belong to it too.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + w * losses.softmax_mse_loss(s[:n], t[:n]),
     "The value is right, but the teacher gets the gradient: the student's logits come first in softmax_mse_loss.":
        lambda s, t, y, n, w: losses.segmentation_loss(s[:n], y[:n])[0] + w * losses.softmax_mse_loss(t, s),
     NO_TENSOR: lambda *batch: total_loss(*batch).item()},
    look=loss_and_gradients, names=GRADIENTS)


def order_of_a_step():
    """What a training step does once it has the loss."""
    return ["zero_grad", "backward", "optimizer", "ema"]


def another_order():
    """Another order that trains as well: the gradients are cleared after the optimizer's step."""
    return ["backward", "optimizer", "zero_grad", "ema"]


def broken_rule(order):
    """The first rule that an order breaks, or 'none'.  To clear the gradients after the optimizer's step is right."""
    if isinstance(order, (set, dict)) or sorted(order) != sorted(order_of_a_step()):
        return "four words"
    order = list(order)
    if order == order_of_a_step():
        return "the page's own"
    clear, backward, move, average = map(order.index, order_of_a_step())
    return ("backward first" if move < backward else "cleared too late" if backward < clear < move else
            "averaged too early" if average < move else "none")


check_order = Exercise(
    another_order, [()],
    {"That is the page's own order. Find another that trains as well.": order_of_a_step,
     "Each of the four words once, spelt as above, in a list.": lambda: ["zero_grad", "backward", "optimizer"],
     "The optimizer moves along the gradients: backward has to compute them first.":
        lambda: ["zero_grad", "optimizer", "backward", "ema"],
     "zero_grad after backward deletes the new gradients: the student doesn't learn.":
        lambda: ["backward", "zero_grad", "optimizer", "ema"],
     "The teacher comes last: before the optimizer's step it would average a student that hasn't learnt yet.":
        lambda: ["zero_grad", "backward", "ema", "optimizer"]},
    look=broken_rule)
