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
