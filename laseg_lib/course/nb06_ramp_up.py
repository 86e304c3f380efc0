"""What notebook 06_ramp_up draws, its exercises and their answers."""

import numpy as np

from .. import ramps
from ..figures.style import INK, LOOKS, SMALL, TEXT, dress, line_style, new_axes
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["06_ramp_up"]


_ONE = {"left": 0.1, "right": 0.97, "bottom": 0.15, "top": 0.91}  # of the figure: nothing moves from step to step


def draw_collapse(histories):
    """Validation Dice of the student and the consistency distance; ``histories``: {name of a training: history}."""
    figure, (left, right) = new_axes(2, height=3.9, xlabel="iteration")
    dress(left, "iteration", "Dice of the student", "does it segment?")
    dress(right, "iteration", "consistency distance (MSE)", "do the two agree?")
    for (name, rows), arm in zip(histories.items(), ("strong", "MT")):
        style = line_style(LOOKS[arm]._replace(label=name), 2.6)
        scored = [(row["iteration"], row["val_dice_student"]) for row in rows if "val_dice_student" in row]
        left.plot(*np.reshape(scored, (-1, 2)).T, marker=LOOKS[arm].marker, markersize=8, **style)
        distance = np.array([row["consistency_dist"] for row in rows])
        if len(distance) >= 5:  # an interrupted training may have fewer
            right.plot(np.arange(5, len(distance) + 1) - 2, np.convolve(distance, np.ones(5) / 5, "valid"), **style)
    left.set_ylim(0, 1)
    right.set_yscale("log")
    left.legend(fontsize=TEXT, frameon=False)
    return figure


def consistency_weights(iterations=6000, weight=0.1, length=40.0, every=150, shape="sigmoid"):
    """λ at each iteration, 0 to ``iterations`` − 1, as the training computes it: weight × ramp(t // every, length)."""
    ramp = {"sigmoid": ramps.sigmoid_rampup, "linear": ramps.linear_rampup}[shape]
    return np.array([weight * ramp(t // every, length) for t in range(iterations)])


def draw_ramp(iterations=6000, weight=0.1, length=40, every=150, shape="sigmoid"):
    """λ(t) of one ramp, the iterations of half and full weight, and the other shape for comparison."""
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


# --- Exercises -----------------------------------------------------------------------------------


def ramp_length(share, t):
    """The length T of a sigmoid ramp that has reached this share of its full weight at t."""
    return t / (1 - np.sqrt(-np.log(share) / 5))


check_length = Exercise(
    ramp_length, [(float(np.exp(-5 / 4)), 20), (float(np.exp(-5 * 0.75**2)), 3), (1.0, 10), (0.5, 26)],
    {"The square is missing: ln(share) / -5 is (1 - t/T) squared, so take its root.":
        lambda share, t: t / (1 + np.log(share) / 5),
     "You have divided t by the rest of the ramp. The root is 1 - t/T, so t/T is 1 minus the root.":
        lambda share, t: t / np.sqrt(-np.log(share) / 5) if share < 1 else 0.0,
     "That is a straight ramp. This one is an exponential of a square: solve share = exp(-5 (1 - t/T)^2) for T.":
        lambda share, t: t / share,
     "T need not be a whole number: don't round it.": lambda share, t: round(ramp_length(share, t)),
     "That is t/T, the part of the ramp that is over. T is t divided by it.":
        lambda share, t: 1 - np.sqrt(-np.log(share) / 5)}, tolerance=0.01)


def half_weight(length, every):
    """The first iteration at which a sigmoid ramp is at half or more.

    It has ``length`` steps of ``every`` iterations."""
    return every * int(np.ceil(length * (1 - np.sqrt(np.log(2) / 5))))


check_half = Exercise(
    half_weight, [(40, 150), (12, 10), (10, 1), (0, 10)],
    {"Half of the time is not half of the weight: there exp(-5/4) = 0.29. Solve exp(-5 (1 - x)^2) = 1/2 for x = t/T.":
        lambda length, every: length * every // 2,
     "That is a number of ramp steps; an iteration is `every` times as many.":
        lambda length, every: int(np.ceil(length * (1 - np.sqrt(np.log(2) / 5)))),
     "λ changes in steps: until the next multiple of `every` it keeps its old value, a little below one half.":
        lambda length, every: int(np.ceil(every * length * (1 - np.sqrt(np.log(2) / 5)))),
     "With length 0, λ has its full weight at iteration 0: round up, don't add a step.":
        lambda length, every: every * (int(length * (1 - np.sqrt(np.log(2) / 5))) + 1),
     "One step too early: there λ is still a little below one half. Round the number of steps up.":
        lambda length, every: every * int(length * (1 - np.sqrt(np.log(2) / 5)))})
