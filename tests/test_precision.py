"""Mean teacher trained in bfloat16 and in float32 from the same seed: the same losses, the same Dice."""

import numpy as np
import pytest
import torch

from laseg_lib.config import TrainConfig
from laseg_lib.inference import mean_dice
from laseg_lib.machine import has_fast_bf16
from laseg_lib.phantom import write_phantoms
from laseg_lib.plans import QUICK
from laseg_lib.training import Trainer
from laseg_lib.volumes import LAHeart

# The quick record's network at the smallest patch for which a CPU's bf16 is right (machine.py); patients that differ
# less and a larger step, so that 200 iterations get past the plateau of the start, where rounding decides when a run
# leaves it.
SETTINGS = {**QUICK, "patch_size": (48, 32, 16), "labelnum": 8, "max_samples": 12, "val_num": 0, "base_lr": 0.05,
            "consistency": 0.1, "teacher_view": "same", "max_iterations": 200, "device": "cpu"}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """{precision: (loss of each iteration, Dice of the teacher on the test phantoms)}"""
    root = write_phantoms(tmp_path_factory.mktemp("phantoms"), train=12, test=8, size=(48, 32, 16), progress=False)
    test_set, done = LAHeart(root, "test", cache="memory"), {}
    for precision in ("fp32", "bf16"):
        trainer = Trainer(TrainConfig(root_path=str(root), seed=0, **{**SETTINGS, "precision": precision}))
        losses = [row["loss"] for row in trainer.run(progress=False)]
        done[precision] = np.array(losses), mean_dice(trainer.teacher.eval(), test_set, SETTINGS["patch_size"])
    return done


@pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this processor has no bf16")
def test_bf16_and_float32_agree(trained):
    """The teacher's Dice: the student's, from the last iteration alone, scatters by more than the precision does."""
    (losses, dice), (rounded, rounded_dice) = trained["fp32"], trained["bf16"]
    assert np.abs(losses - rounded)[:20].max() < 0.02, "before rounding has grown, iteration by iteration"
    assert abs(losses[-50:].mean() - rounded[-50:].mean()) < 0.01
    assert losses[-50:].mean() < losses[:10].mean() / 3 and dice > 0.8, "nothing was learnt: nothing is compared"
    assert abs(dice - rounded_dice) < 0.01
