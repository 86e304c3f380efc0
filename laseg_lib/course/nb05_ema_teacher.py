"""What notebook 05_ema_teacher draws, its exercises and their answers."""

from functools import cache

import numpy as np
import torch

from ..ema import update_ema_variables
from ..figures.pictures import keep_ground
from ..figures.style import INK, LOOKS, SMALL, TEXT, dress, line_style, new_axes
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["05_ema_teacher"]


_TWO = {"left": 0.08, "right": 0.97, "bottom": 0.15, "top": 0.91, "wspace": 0.27}


def draw_fit(student, teacher, slow, above_minimum):
    """The loss surface with the paths of a student and its teacher; beside it the loss above its minimum.

    The paths are (steps, 2) arrays of slope and intercept, of which ``above_minimum`` computes the loss.  ``slow`` is
    a student with a smaller learning rate.
    """
    figure, (left, right) = new_axes(2, height=4.4, gridspec_kw={"width_ratios": [1, 1.35]})
    a, b = np.meshgrid(np.linspace(-1.2, 3.2, 90), np.linspace(-2.3, 1.8, 90))
    height = above_minimum(np.stack([a.ravel(), b.ravel()], 1)).reshape(a.shape)
    levels = np.geomspace(0.03, height.max(), 12)
    left.contour(a, b, height, levels=levels, colors="#BBBBBB", linewidths=1)
    dress(left, "slope a", "intercept b", "where the weights are")
    dress(right, "step", "loss above the minimum", "how good they are")
    looks = ((student, LOOKS["supervised_equal"]._replace(label="student, rate 0.1", dash=()), 1.0),
             (slow, LOOKS["strong"]._replace(label="student, rate 0.01"), 2.4),
             (teacher, LOOKS["MT"]._replace(label="teacher of the first", dash=()), 3.0))
    for path, given, width in looks:
        right.plot(np.maximum(above_minimum(path), 1e-5), **line_style(given, width))
        if path is not slow:
            left.plot(*path.T, **line_style(given, width))
    right.set_yscale("log")
    right.set_ylim(1e-4, 30)
    right.legend(fontsize=SMALL, frameon=False, loc="upper right")
    return figure


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


def student_walk(steps=400, seed=0, noise=0.25):
    """An invented weight of a student (steps + 1,): it goes from 0 towards 1, with noise as under SGD."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps + 1)
    return 1 - np.exp(-t / 60) + noise * rng.normal(size=steps + 1) * (t > 0)


def ema_of(values, alpha, warm_up=True):
    """The teacher of a student whose one weight takes ``values``, by ``update_ema_variables``.

    ``warm_up=False`` keeps alpha constant from the start, so that the first student counts for long.
    """
    student, teacher = torch.nn.Linear(1, 1, bias=False), torch.nn.Linear(1, 1, bias=False)
    path = []
    with torch.no_grad():
        teacher.weight.fill_(float(values[0]))
        for step, value in enumerate(values):
            student.weight.fill_(float(value))
            if step or warm_up:
                update_ema_variables(student, teacher, alpha, step if warm_up else 10**9)
            path.append(teacher.weight.item())
    return np.array(path)


def draw_ema(alpha=0.99, steps=400, warm_up=True, seed=0):
    """Student and teacher over ``steps``, the memory 1/(1 − α), and the weight of each past student.

    The figure is made once; each call changes only its moving parts.
    """
    figure, right, (title, student, teacher, area, curve, end, words) = _ema_figure(steps)
    memory, values = 1 / (1 - alpha), student_walk(steps, seed)
    title.set_text(f"α = {alpha:g}: remembers about {memory:.0f} steps")
    student.set_ydata(values)
    teacher.set_ydata(ema_of(values, alpha, warm_up))
    # An impulse shows the weights: a student that was 1 once, that many steps ago.
    impulse = np.zeros(steps + 2)
    impulse[1] = 1
    share = 100 * ema_of(impulse, alpha, warm_up=False)[1:]
    curve.set_ydata(share)
    area.set_xy([*zip(range(len(share)), share), (steps, 0), (0, 0)])
    right.set_ylim(0, 1.05 * share[0])
    end.set_xdata([min(memory, steps)] * 2)
    short = memory < steps / 2
    words.set(text=f" 1/(1−α) = {memory:.0f}" if short else f"1/(1−α) = {memory:.0f} ",
              position=(min(memory, steps), 0.95 * share[0]), ha="left" if short else "right")
    return figure


@cache
def _ema_figure(steps):
    """(the figure of ``draw_ema``, its right axes, its artists that move)"""
    figure, (left, right) = new_axes(2, height=4.4, gridspec_kw={"width_ratios": [1.7, 1]}, margins=_TWO)
    look, at = LOOKS["MT"], np.arange(steps + 1)
    dress(left, "step", "value of one weight")
    title = left.set_title("", fontsize=TEXT + 1, color=INK, loc="left")
    student, = left.plot(at, at, color="#777777", linewidth=0.9, label="student")
    teacher, = left.plot(at, at, **line_style(look._replace(label="teacher (EMA)", dash=()), 3))
    goal = left.axhline(1, color=INK, linewidth=1.4, linestyle=(0, (2, 2)), label="goal")
    left.set(xlim=(0, steps), ylim=(-0.6, 2.3))
    left.legend(fontsize=SMALL, frameon=False, loc="upper left", ncols=3)
    dress(right, "steps ago", "share in the teacher (%)", "weight of past students")
    area, = right.fill(at, at, color=look.colour, alpha=0.35, linewidth=0)
    curve, = right.plot(at, at, **line_style(look._replace(dash=()), 2.4))
    end = right.axvline(0, color=INK, linewidth=1.6, linestyle=(0, (4, 2)))
    words = right.text(0, 0, "", fontsize=TEXT, color=INK)
    right.set_xlim(0, steps)
    keep_ground(figure, [title, student, teacher, goal, right.yaxis, area, curve, end, words])
    return figure, right, (title, student, teacher, area, curve, end, words)


# --- Exercises -----------------------------------------------------------------------------------


def half_way(alpha):
    """The steps that a teacher takes from 0 to 1/2 or more; the student stays at 1."""
    teacher, steps = 0.0, 0
    while teacher < 0.5:
        teacher, steps = alpha * teacher + (1 - alpha) * 1.0, steps + 1
    return steps


check_half_way = Exercise(
    half_way, [(0.5,), (0.9,), (0.99,), (0.8,), (0.63,)],
    {"That is the memory 1/(1 - α). After so many steps the teacher is further than half-way: at 63 %.":
        lambda alpha: 1 / (1 - alpha),
     "After so many steps it is not quite half-way: round up to a whole number.":
        lambda alpha: int(np.floor(np.log(0.5) / np.log(alpha) + 1e-9)),
     "Round up only if the number is not whole: for α = 0.5 one step is exactly half-way.":
        lambda alpha: int(np.floor(np.log(0.5) / np.log(alpha) + 1e-9)) + 1,
     "Nearly right. The number of steps is whole: round up.": lambda alpha: float(np.log(0.5) / np.log(alpha)),
     "Half-way or more: round up to the next whole step, not to the nearest.":
        lambda alpha: round(np.log(0.5) / np.log(alpha)),
     "α is the share that the teacher keeps of itself; yours gives that share to the student.": lambda alpha: 1,
     "Each step covers a share of what is left of the way, not of the whole way.":
        lambda alpha: int(np.ceil(0.5 / (1 - alpha) - 1e-9))})


def warm_teacher(students, alpha):
    """The teacher after each student: first a plain average, then an exponential one."""
    teacher, path = 0.0, []
    for step, student in enumerate(students):
        now = min(1 - 1 / (step + 1), alpha)
        teacher = now * teacher + (1 - now) * student
        path.append(teacher)
    return path


def colleagues_teacher(students, alpha):
    teacher, path = 0.0, []
    for step, student in enumerate(students):
        now = max(1 - 1 / (step + 1), alpha)
        teacher = now * student + (1 - now) * teacher
        path.append(teacher)
    return path


def _teacher(now, turned=False):
    def wrong(students, alpha):
        teacher, path = 0.0, []
        for step, student in enumerate(students):
            keep = now(step, alpha)
            teacher = keep * student + (1 - keep) * teacher if turned else keep * teacher + (1 - keep) * student
            path.append(teacher)
        return path
    return wrong


check_teacher = Exercise(
    warm_teacher, [([4.0, 2.0], 0.9), ([4.0, 2.0, 6.0, 0.0], 0.9), ([1.0, 1.0, 1.0], 0.5),
                   ([4.0, 2.0, 6.0, 0.0, 4.0], 0.6)],
    {"The warm-up makes α smaller at the start: take the smaller of the two, not the larger. (The shares are right.)":
        _teacher(lambda step, alpha: max(1 - 1 / (step + 1), alpha)),
     "α is the share that the teacher keeps of itself; here it goes to the student. (The warm-up is right.)":
        _teacher(lambda step, alpha: min(1 - 1 / (step + 1), alpha), turned=True),
     "At step 0 the teacher must become the first student: α is 0 there.":
        _teacher(lambda step, alpha: min(1 - 1 / (step + 2), alpha)),
     "Without a warm-up the first value, 0, counts for long: at step 0 the teacher must become the first student.":
        _teacher(lambda step, alpha: alpha),
     "That is a plain average for ever. From some step on α is the given one: take the smaller of the two.":
        _teacher(lambda step, alpha: 1 - 1 / (step + 1))}, given=colleagues_teacher)


def share_of_newest(n, alpha):
    """The share of an exponential average that comes from its newest n members."""
    return 1 - alpha**n


check_newest = Exercise(
    share_of_newest, [(1, 0.9), (10, 0.9), (100, 0.99), (50, 0.5), (0, 0.9)],
    {"(1 - α) to the power n has the wrong base: the share of the older students is α to the power n.":
        lambda n, alpha: (1 - alpha) ** n,
     "1 minus a power is right, but its base is not: the share of the older students is α to the power n.":
        lambda n, alpha: 1 - (1 - alpha) ** n,
     "α to the power n is the share of the older students; the newest n have the rest.": lambda n, alpha: alpha**n,
     "n(1 - α) is more than 1 for many students: each older student's share is α times the next one's.":
        lambda n, alpha: n * (1 - alpha),
     "That is the share of one student, the n-th newest: add up the shares of all n.":
        lambda n, alpha: (1 - alpha) * alpha ** (n - 1),
     "The shares are (1 - α) α^k for k = 0 … n - 1: the factor 1 - α is missing.":
        lambda n, alpha: sum(alpha**k for k in range(n)),
     "For n = 0 there is no student, so the share is 0.": lambda n, alpha: 1 - alpha ** max(n, 1),
     "Begin with k = 0: the share of the newest student is 1 - α.": lambda n, alpha: alpha * (1 - alpha**n)})
