"""What notebook 00_start_here draws."""

import numpy as np

from ..figures.style import LOOKS, TEXT, dress, line_style, new_axes
from .alt import ALT_TEXTS

ALT = ALT_TEXTS["00_start_here"]


def draw_learning(history):
    """Loss over the iterations, and Dice of student and teacher on the validation cases."""
    figure, (left, right) = new_axes(2, height=3.6, xlabel="iteration")
    dress(left, "iteration", "loss", "how wrong the student is")
    dress(right, "iteration", "Dice on validation cases", "how well both segment")
    loss = np.array([row["loss"] for row in history], float)
    left.plot(np.arange(1, len(loss) + 1), loss, color=LOOKS["supervised"].colour, linewidth=2)
    scored = [row for row in history if "val_dice_student" in row]
    for who, arm in (("student", "supervised"), ("teacher", "MT")):
        given = LOOKS[arm]
        at, values = [row["iteration"] for row in scored], [row[f"val_dice_{who}"] for row in scored]
        right.plot(at, values, marker=given.marker, markersize=9, **line_style(given._replace(label=who), 2.6))
    left.set_ylim(0, None)
    left.set_xlim(0, max(len(loss), 10))
    right.set(xlim=(0, 1.03 * max(len(loss), 10)), ylim=(-0.03, 1))
    right.legend(fontsize=TEXT, frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    return figure
