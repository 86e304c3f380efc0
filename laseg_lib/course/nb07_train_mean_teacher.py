"""What notebook 07_train_mean_teacher draws, its exercises and their answers."""
import copy
from dataclasses import replace

import numpy as np
import torch

from .. import losses
from ..config import TrainConfig
from ..mean_teacher import mean_teacher_loss
from ..records.read import load_metrics
from .exercise import Exercise, pull


def command(config):
    """The command line that trains with ``config``: what differs from the defaults."""
    default, words = TrainConfig().to_dict(), ["laseg train --root_path FOLDER --snapshot_path FOLDER"]
    for name, value in config.to_dict().items():
        if value == default[name] or name in ("root_path", "snapshot_path"):
            continue
        if isinstance(value, bool):
            words.append(f"--{name}" if value else f"--no-{name}")
        else:
            words.append(f"--{name} " + (" ".join(map(str, value)) if isinstance(value, list) else str(value)))
    return " \\\n    ".join(words)


def recorded(record, arm="MT"):
    """One line a labelled share of what ``record`` says of ``arm``, or that it isn't made yet."""
    table = load_metrics(record)
    table = table[(table.arm == arm) & (table.weights == "student")]
    return [f"{arm}, {labels} labelled, {part.seed.nunique()} seeds: mean test Dice {part.dice.mean():.3f}"
            for labels, part in table.groupby("labels")] or [f"not recorded yet: make record RECORD={record}"]


def reached_by_gradient(teacher, student, image, guarded):
    """How many of the teacher's tensors get a gradient from the consistency loss, with and without ``no_grad``."""
    student, teacher = copy.deepcopy(student), copy.deepcopy(teacher).requires_grad_(True)
    with torch.set_grad_enabled(not guarded):
        target = teacher(image).softmax(1)
    (student(image).softmax(1) - target).square().mean().backward()
    return sum(parameter.grad is not None for parameter in teacher.parameters())


def measure_distance(trainer, batches=10, **changes):
    """Mean consistency distance of ``trainer``'s two networks on ``batches`` batches, with settings changed."""
    config, found = replace(trainer.config, **changes), []
    student, chance = copy.deepcopy(trainer.student), torch.Generator(trainer.device).manual_seed(0)
    before = trainer.streams.state_dict()
    with torch.no_grad():
        for _ in range(batches):
            image, label = trainer.next_batch()
            _, row = mean_teacher_loss(student, trainer.teacher, image, label, config, trainer.iteration, chance)
            found.append(float(row["consistency_dist"]))
    trainer.streams.load_state_dict(before)  # as if nothing had been drawn
    trainer.batches = iter(trainer.streams.sampler)
    return float(np.mean(found))


def same_weights(one, two):
    """Whether two networks agree in every number, parameters and buffers."""
    mine, theirs = one.state_dict(), two.state_dict()
    return mine.keys() == theirs.keys() and all(torch.equal(mine[key], theirs[key]) for key in mine)


# --- Exercises -----------------------------------------------------------------------------------


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
