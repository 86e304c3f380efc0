"""Mean teacher trained in bfloat16 and in float32 from the same seed: the same losses, the same Dice."""

import numpy as np
import pytest
import torch

from laseg_lib.config import TrainConfig
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.volumes import LAHeart
from laseg_lib.inference import mean_dice
from laseg_lib.records.plans import QUICK
from laseg_lib.runtime.machine import has_fast_bf16
from laseg_lib.training import Trainer

# The quick record's network at the smallest patch for which a CPU's bf16 is right (machine.py), on patients that
# differ less.
PATCH = (48, 32, 16)
SETTINGS = {**QUICK, "patch_size": PATCH, "labelnum": 8, "max_samples": 12, "val_num": 0, "consistency": 0.1,
            "teacher_view": "same", "max_iterations": 200, "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{precision: (loss of each iteration, Dice of the student and of the teacher on the test phantoms)}

    Both start from weights that 200 iterations in float32 made: from random ones, chance decides when a run leaves the
    plateau of its start, and any rounding (one thread or two) moves the Dice after 200 iterations by up to 0.02.
    """
    root = write_phantoms(tmp_path_factory.mktemp("phantoms"), train=12, test=8, size=PATCH, progress=False)
    test_set = LAHeart(root, "test", cache="memory")

    def train(weights=None, **settings):
        folder = tmp_path_factory.mktemp("run")
        trainer = Trainer(TrainConfig(root_path=str(root), snapshot_path=str(folder), **{**SETTINGS, **settings}))
        for network in (trainer.student, trainer.teacher) if weights else ():
            network.load_state_dict(weights)
        losses = np.array([row["loss"] for row in trainer.run(progress=False)])
        return trainer, losses

    start = train(base_lr=0.05, seed=0, precision="fp32")[0].teacher.state_dict()
    done = {}
    for precision in ("fp32", "bf16"):
        trainer, losses = train(start, seed=1, precision=precision)
        assert trainer.precision == precision
        done[precision] = losses, [mean_dice(network.eval(), test_set, PATCH)
                                   for network in (trainer.student, trainer.teacher)]
    return done


@pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this processor has no bf16")
def test_bf16_and_float32_agree(trained):
    (losses, dice), (rounded, rounded_dice) = trained["fp32"], trained["bf16"]
    assert np.abs(losses - rounded)[:20].max() < 0.001, "before rounding has grown, iteration by iteration"
    assert abs(losses[-50:].mean() - rounded[-50:].mean()) < 0.003
    assert not np.array_equal(losses, rounded), "both ran in one precision"
    assert losses[-50:].mean() < losses[:10].mean() - 0.003 and min(dice) > 0.8, "nothing learnt, nothing compared"
    assert np.abs(np.subtract(dice, rounded_dice)).max() < 0.01
