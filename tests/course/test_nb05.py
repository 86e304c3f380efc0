"""What notebook 05 draws is what the library's teacher does, and what it says of recorded teachers is so."""

import numpy as np
import pytest

from laseg_lib.course import nb05_ema_teacher as nb05
from laseg_lib.records.read import load_metrics


def test_the_drawn_teacher_is_a_plain_average_first():
    assert nb05.ema_of([4, 2, 6, 0], alpha=0.9) == pytest.approx([4, 3, 4, 3])
    assert nb05.ema_of([4, 2, 6, 0], alpha=0.9, warm_up=False) == pytest.approx([4, 3.8, 4.02, 3.618])


def test_the_teachers_are_drawn_on_one_scale():
    rows = [{"iteration": 1, "student": 0.1, "keep": 0.0, "copy": 0.2, "average": 0.3}]
    assert nb05.draw_teachers(rows).axes[0].get_ylim()[1] == 1


def test_an_ema_is_as_steady_as_a_plain_mean_of_about_twice_its_memory():
    share = 0.01 * 0.99 ** np.arange(10_000)
    assert 1 / (share**2).sum() == pytest.approx((1 + 0.99) / (1 - 0.99)) == pytest.approx(199)
    assert share[:100].sum() == pytest.approx(0.634, abs=1e-3)


def test_three_arms_gain_nothing_from_averaging():
    poor = 0
    for record in ("quick", "half"):
        means = load_metrics(record).groupby(["arm", "labels", "variant", "seed", "weights"]).dice.mean().unstack()
        poor += int(((means.teacher - means.student).groupby(level=[0, 1, 2]).mean() <= 0).sum())
    assert poor == 3
