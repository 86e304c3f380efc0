"""What notebook 06 says of the ramp's ends."""

import numpy as np
import pytest

from laseg_lib.config import TrainConfig
from laseg_lib.course import nb06_ramp_up as nb06
from laseg_lib.course.nb06_ramp_up import half_weight
from laseg_lib.mean_teacher import consistency_weight


def test_the_walkthroughs_ramp_never_reaches_its_full_weight():
    config = TrainConfig()
    curve = np.array([consistency_weight(config, t) for t in range(config.max_iterations)])
    assert curve.max() < 0.1 and curve.mean() == pytest.approx(0.038, abs=1e-3)
    assert np.argmax(curve >= 0.05) == half_weight(40, 150) == 3900


def test_the_drawn_ramp_is_the_trainings():
    drawn = nb06.consistency_weights(6000, 0.1, 40, 150)
    assert drawn == pytest.approx([consistency_weight(TrainConfig(), t) for t in range(6000)])
    assert any("full weight: never" in text.get_text()
               for text in nb06.draw_ramp(iterations=3000).axes[0].get_legend().get_texts())


def test_one_slider_alone_brings_the_full_weight_to_the_middle():
    """What section 3 asks and answers, for every value that its sliders have."""
    start = {"iterations": 6000, "length": 40, "every": 150}
    values = {"iterations": [300, 1500, 3000, 6000, 15000], "length": range(81), "every": [1, 10, 50, 150]}
    ends = {name: {} for name in values}  # where the ramp ends, as a share of the training
    for name in values:
        for value in values[name]:
            given = start | {name: value}
            ends[name][value] = given["length"] * given["every"] / given["iterations"]
    assert [length for length, end in ends["length"].items() if end == 0.5] == [20]
    assert 0.5 not in ends["every"].values() and ends["every"][50] < 0.5 < ends["every"][150]
    assert 0.5 not in ends["iterations"].values() and ends["iterations"][15000] < 0.5 < ends["iterations"][6000]
