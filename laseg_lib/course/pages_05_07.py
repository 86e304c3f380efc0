"""Small experiments and drawings of notebooks 05, 06 and 07, each used on one page.

What is measured is measured on the library's own training step, teacher and losses.
"""

import copy
import warnings
from dataclasses import replace

import numpy as np
import torch

from ..axes import SMALL, TEXT, dress, line_style, new_axes
from ..config import TrainConfig
from ..ema import update_ema_variables
from ..inference import mean_dice
from ..objective import consistency_weight, mean_teacher_loss
from ..ramps import cosine_rampdown, linear_rampup, sigmoid_rampup
from ..records import load_metrics
from ..style import LOOKS
from ..training import Trainer
from ..vnet import VNet
from .pages_08_10 import one_thread

# --- 05 ema_teacher -------------------------------------------------------------------------------


def fit_line(lr, alpha, steps=600):
    """Fit y = a x + b to 64 noisy points by SGD, four points a step.

    Returns the paths of student and teacher, (steps, 2) arrays of (a, b), and the loss over all points.
    """
    chance = torch.Generator().manual_seed(5)
    x = torch.randn(64, 1, generator=chance)
    y = 2 * x - 1 + torch.randn(64, 1, generator=chance)
    student = torch.nn.Linear(1, 1)
    student.load_state_dict({"weight": torch.tensor([[-1.0]]), "bias": torch.tensor([1.5])})
    teacher, paths = copy.deepcopy(student), ([], [])
    optimizer = torch.optim.SGD(student.parameters(), lr)
    for step in range(steps):
        some = torch.randint(64, (4,), generator=chance)
        optimizer.zero_grad()
        (student(x[some]) - y[some]).square().mean().backward()
        optimizer.step()
        update_ema_variables(student, teacher, alpha, step)
        for network, path in zip((student, teacher), paths):
            path.append([network.weight.item(), network.bias.item()])

    def loss(a, b):
        return (((np.multiply.outer(x.numpy().ravel(), a) + b).T - y.numpy().ravel()) ** 2).mean(-1).T

    return np.array(paths[0]), np.array(paths[1]), loss


def above_minimum(path, loss):
    """How far the loss at each point of a path lies above the least there is."""
    a, b = np.meshgrid(np.linspace(1.5, 2.5, 401), np.linspace(-1.5, -0.5, 401))
    return loss(path[:, 0], path[:, 1]) - loss(a.ravel(), b.ravel()).min()


def draw_fit(student, teacher, slow, loss):
    """The bowl with the paths of student and teacher, and how far above its minimum three ways of learning are."""
    figure, (left, right) = new_axes(2, height=4.4, gridspec_kw={"width_ratios": [1, 1.35]})
    a, b = np.meshgrid(np.linspace(-1.2, 3.2, 90), np.linspace(-2.3, 1.8, 90))
    height = loss(a.ravel(), b.ravel()).reshape(a.shape)
    levels = np.geomspace(height.min() * 1.03, height.max(), 12)
    left.contour(a, b, height, levels=levels, colors="#BBBBBB", linewidths=1)
    dress(left, "slope a", "intercept b", "where the weights are")
    dress(right, "step", "loss above the minimum", "how good they are")
    looks = ((student, LOOKS["supervised_equal"]._replace(label="student, rate 0.1", dash=()), 1.0),
             (slow, LOOKS["strong"]._replace(label="student, rate 0.01"), 2.4),
             (teacher, LOOKS["MT"]._replace(label="teacher of the first", dash=()), 3.0))
    for path, given, width in looks:
        right.plot(np.maximum(above_minimum(path, loss), 1e-5), **line_style(given, width))
        if path is not slow:
            left.plot(*path.T, **line_style(given, width))
    right.set_yscale("log")
    right.set_ylim(1e-4, 30)
    right.legend(fontsize=SMALL, frameon=False, loc="upper right")
    return figure


def outcome(step, teacher, student):
    """What ``step(teacher, student)`` makes of two weights: the new one, whether torch warns, or the error's name."""
    torch.set_warn_always(True)  # or a second run in the same kernel would be silent
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        try:
            value = step(torch.tensor([teacher]), torch.tensor([student])).item()
        except TypeError:
            return "TypeError"
        finally:
            torch.set_warn_always(False)
    return f"{value:.2f}" + (", and a warning: deprecated" if told else "")


@one_thread()  # as in notebook 03: the numbers must not depend on the number of cores
def train_three_teachers(config, every=10):
    """One student, and three teachers of it that differ only in what becomes of BatchNorm's buffers.

    Returns ({'keep' | 'average' | 'copy': teacher}, trainer, rows of validation Dice in eval mode).
    """
    trainer, rows = Trainer(config), []
    teachers = {rule: copy.deepcopy(trainer.teacher).eval() for rule in ("keep", "average", "copy")}
    while trainer.iteration < config.max_iterations:
        step = trainer.iteration
        trainer.step()
        for rule, teacher in teachers.items():
            update_ema_variables(trainer.student, teacher, config.ema_decay, step, buffers=rule)
        if trainer.iteration % every == 0:
            networks = {"student": trainer.student.eval(), **teachers}
            scores = {name: mean_dice(n, trainer.val_set, config.patch_size) for name, n in networks.items()}
            rows.append({"iteration": trainer.iteration, **scores})
            trainer.student.train()
    return teachers, trainer, rows


def draw_teachers(rows):
    """Validation Dice of the student and its three teachers over the iterations."""
    figure, ax = new_axes(height=4.2, xlabel="iteration", ylabel="Dice on validation cases")
    at = [row["iteration"] for row in rows]
    for name, arm, label in (("student", "supervised_equal", "student"), ("keep", "strong", "teacher,\nbuffers kept"),
                             ("copy", "lambda0", "teacher,\nbuffers copied"),
                             ("average", "MT", "teacher,\nbuffers averaged")):
        given = LOOKS[arm]._replace(label=label)
        ax.plot(at, [row[name] for row in rows], marker=given.marker, markersize=7, **line_style(given, 2.6))
    ax.set_ylim(-0.03, 1)
    ax.legend(fontsize=SMALL, frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return figure


def with_dropout(network):
    """A copy with the same weights that drops out: dropout has no weights of its own."""
    other = VNet(1, 2, network.out_conv.in_channels, "batchnorm", has_dropout=True)
    other.load_state_dict(network.state_dict())
    return other.train(network.training)


def agreement(network, volume, neighbour, other):
    """Dice between what ``network`` says of ``volume`` beside ``neighbour`` and beside ``other`` in its batch."""
    network = copy.deepcopy(network)  # train mode would change the running statistics
    with torch.no_grad():
        one, two = (network(torch.stack([volume, beside])).argmax(1)[0] for beside in (neighbour, other))
    return float(2 * (one * two).sum() / (one.sum() + two.sum()))


# --- 06 ramp_up -----------------------------------------------------------------------------------


def ramp_shapes(points=201):
    """{name: share of the full weight} over t/T from 0 to 1, for four shapes."""
    at = np.linspace(0, 1, points)
    return at, {"sigmoid (the code)": [sigmoid_rampup(t, 1) for t in at],
                "without the square (the printed formula)": np.exp(-5 * (1 - at)),
                "linear": [linear_rampup(t, 1) for t in at], "cosine": [1 - cosine_rampdown(t, 1) for t in at]}


def ramp_report(config):
    """What a ramp does to a training: iterations to half and to full weight (None: never), and the mean of λ."""
    curve = np.array([consistency_weight(config, t) for t in range(config.max_iterations)])
    reached = [np.flatnonzero(curve >= share * config.consistency * (1 - 1e-12)) for share in (0.5, 1)]
    half, full = (int(found[0]) if len(found) else None for found in reached)
    return {"half": half, "full": full, "mean": float(curve.mean())}


def draw_collapse(histories):
    """Validation Dice of the student and the consistency distance, a line a training: {name: history}."""
    figure, (left, right) = new_axes(2, height=3.9, xlabel="iteration")
    dress(left, "iteration", "Dice of the student", "does it segment?")
    dress(right, "iteration", "consistency distance (MSE)", "do the two agree?")
    for (name, rows), arm in zip(histories.items(), ("strong", "MT")):
        style = line_style(LOOKS[arm]._replace(label=name), 2.6)
        scored = [(row["iteration"], row["val_dice_student"]) for row in rows if "val_dice_student" in row]
        left.plot(*np.array(scored).T, marker=LOOKS[arm].marker, markersize=8, **style)
        distance = np.array([row["consistency_dist"] for row in rows])
        right.plot(np.arange(5, len(distance) + 1) - 2, np.convolve(distance, np.ones(5) / 5, "valid"), **style)
    left.set_ylim(0, 1)
    right.set_yscale("log")
    left.legend(fontsize=TEXT, frameon=False)
    return figure


# --- 07 train_mean_teacher ------------------------------------------------------------------------


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
