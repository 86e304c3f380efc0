"""Pictures to turn the knobs of: the teacher's average and the consistency ramp.

Pure functions for SliderView.  They call the library's own ``update_ema_variables`` and ``ramps``:
what is drawn is what trains.
"""

import numpy as np
import torch

from .. import ramps
from ..axes import SMALL, TEXT, dress, line_style, new_axes
from ..ema import update_ema_variables
from ..style import INK, LOOKS

_ONE = {"left": 0.1, "right": 0.97, "bottom": 0.15, "top": 0.91}  # of the figure: nothing moves from step to step
_TWO = {"left": 0.08, "right": 0.97, "bottom": 0.15, "top": 0.91, "wspace": 0.27}


def student_walk(steps=400, seed=0, noise=0.25):
    """A made-up weight of a student (steps + 1,): from 0 towards 1, and noisy as SGD is."""
    rng = np.random.default_rng(seed)
    t = np.arange(steps + 1)
    return 1 - np.exp(-t / 60) + noise * rng.normal(size=steps + 1) * (t > 0)


def ema_of(values, alpha, warm_up=True):
    """The teacher of a student whose one weight takes ``values``, by ``update_ema_variables``.

    ``warm_up=False`` keeps alpha constant from the start: the first student then lingers.
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
    """Student and teacher over ``steps``, the window 1/(1 − α), and how much each past student counts."""
    values = student_walk(steps, seed)
    figure, (left, right) = new_axes(2, height=4.4, gridspec_kw={"width_ratios": [1.7, 1]}, margins=_TWO)
    dress(left, "step", "value of one weight", f"α = {alpha:g}: remembers about {1 / (1 - alpha):.0f} steps")
    left.plot(values, color="#777777", linewidth=0.9, label="student")
    left.plot(ema_of(values, alpha, warm_up), **line_style(LOOKS["MT"]._replace(label="teacher (EMA)", dash=()), 3))
    left.axhline(1, color=INK, linewidth=1.4, linestyle=(0, (2, 2)), label="goal")
    left.set(xlim=(0, steps), ylim=(-0.6, 2.3))
    left.legend(fontsize=SMALL, frameon=False, loc="upper left", ncols=3)
    # An impulse shows the weights: a student that was 1 once, that many steps ago.
    impulse = np.zeros(steps + 2)
    impulse[1] = 1
    share = ema_of(impulse, alpha, warm_up=False)[1:]
    window = 1 / (1 - alpha)
    dress(right, "steps ago", "share in the teacher (%)", "weight of past students")
    right.fill_between(np.arange(len(share)), 100 * share, color=LOOKS["MT"].colour, alpha=0.35)
    right.plot(100 * share, **line_style(LOOKS["MT"]._replace(dash=()), 2.4))
    right.axvline(min(window, steps), color=INK, linewidth=1.6, linestyle=(0, (4, 2)))
    right.text(min(window, steps), 95 * share[0], f" 1/(1−α) = {window:.0f}" if window < steps / 2 else
               f"1/(1−α) = {window:.0f} ", ha="left" if window < steps / 2 else "right", fontsize=TEXT, color=INK)
    right.set(xlim=(0, steps), ylim=(0, None))
    return figure


def consistency_weights(iterations=6000, weight=0.1, length=40.0, every=150, shape="sigmoid"):
    """λ at each iteration from 0 to ``iterations``, as the training computes it: weight × ramp(t // every, length)."""
    ramp = {"sigmoid": ramps.sigmoid_rampup, "linear": ramps.linear_rampup}[shape]
    return np.array([weight * ramp(t // every, length) for t in range(iterations + 1)])


def draw_ramp(iterations=6000, weight=0.1, length=40, every=150, shape="sigmoid"):
    """λ(t) for one choice of ramp, the other shape beside it, and when half and all of it is reached."""
    figure, ax = new_axes(height=4.4, xlabel="iteration t", ylabel="consistency weight λ(t)", margins=_ONE)
    curve = consistency_weights(iterations, weight, length, every, shape)
    other = "linear" if shape == "sigmoid" else "sigmoid"
    ax.plot(consistency_weights(iterations, weight, length, every, other),
            **line_style(LOOKS["supervised"]._replace(label=other), 2))
    ax.plot(curve, **line_style(LOOKS["MT"]._replace(label=shape, dash=()), 3))
    for share, marker, name in ((0.5, "o", "half"), (1.0, "D", "full")):
        reached = np.flatnonzero(curve >= share * weight * (1 - 1e-12))
        if weight > 0 and len(reached):
            t = int(reached[0])
            ax.plot([t], [curve[t]], marker=marker, markersize=12, color=LOOKS["MT"].colour, markeredgecolor=INK,
                    zorder=5, clip_on=False, linestyle="", label=f"{name} weight at t = {t}")
        else:
            ax.plot([], [], linestyle="", label=f"{name} weight: never")
    mean = curve.mean() / weight if weight else 0.0
    ax.set_title(f"λ = {weight:g} × ramp(t // {every}, {length:g})     mean over the training: {mean:.0%} of "
                 f"{weight:g}", fontsize=TEXT + 1, color=INK, loc="left")
    ax.set(xlim=(0, iterations), ylim=(0, max(weight, 1e-3) * 1.12))
    ax.legend(fontsize=SMALL, frameon=True, facecolor="white", edgecolor="none", loc="lower right")
    return figure
