"""The small experiments of notebooks 05 to 07 show what their pages say."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from laseg_lib.cli import main
from laseg_lib.config import TrainConfig
from laseg_lib.course import nb05_ema_teacher as nb05
from laseg_lib.course import nb06_ramp_up as nb06
from laseg_lib.course import nb07_train_mean_teacher as nb07
from laseg_lib.training import Trainer

SMALL = dict(patch_size=(32, 32, 16), n_filters=2, has_dropout=False, labelnum=2, max_samples=6, val_num=2,
             labeled_bs=1, batch_size=2, precision="fp32", device="cpu")


@pytest.fixture(scope="module")
def trainer(phantom_root):
    return Trainer(TrainConfig(root_path=str(phantom_root), **SMALL))


def test_the_average_is_nearer_to_the_minimum_than_the_student():
    student, teacher, loss = nb05.fit_line(lr=0.1, alpha=0.98)
    above = [nb05.above_minimum(path, loss)[300:].mean() for path in (student, teacher)]
    assert student.shape == teacher.shape == (600, 2) and (student[0] == teacher[0]).all()
    assert 0 < above[1] < above[0] / 5


def test_an_outcome_is_a_number_a_warning_or_an_error():
    assert nb05.outcome(lambda t, s: t.mul_(0.9).add_(s, alpha=0.1), 4.0, 2.0) == "3.80"
    assert nb05.outcome(lambda t, s: t.add_(s, 0.1), 4.0, 2.0) == "TypeError"
    for _ in range(2):  # torch warns once a process unless told otherwise
        assert nb05.outcome(lambda t, s: t.mul_(0.9).add_(0.1, s), 4.0, 2.0) == "3.80, and a warning: deprecated"


def test_three_teachers_share_their_weights_and_differ_in_their_buffers(phantom_root):
    config = TrainConfig(root_path=str(phantom_root), **{**SMALL, "model": "supervised", "max_iterations": 2})
    teachers, trainer, rows = nb05.train_three_teachers(config, every=1)
    kept, averaged, copied = (teachers[rule].state_dict() for rule in ("keep", "average", "copy"))
    assert torch.equal(kept["out_conv.weight"], averaged["out_conv.weight"])
    buffer = next(name for name in kept if name.endswith("running_mean"))
    assert (kept[buffer] == 0).all() and torch.equal(copied[buffer], trainer.student.state_dict()[buffer])
    assert not torch.equal(averaged[buffer], copied[buffer])
    assert [row["iteration"] for row in rows] == [1, 2] and not any(t.training for t in teachers.values())
    assert nb05.draw_teachers(rows).axes[0].get_ylim()[1] == 1


def test_only_eval_mode_agrees_with_itself(trainer):
    volumes = torch.randn(3, 1, 32, 32, 16, generator=torch.Generator().manual_seed(0))
    network = nb05.with_dropout(trainer.student)
    network.out_conv.bias.data[1] += 1  # something must be predicted for a Dice
    assert nb05.agreement(network.eval(), *volumes) == 1
    assert nb05.agreement(network.train(), *volumes) < 1


def test_the_walkthroughs_ramp_never_reaches_its_full_weight():
    mean = pytest.approx(0.038, abs=1e-3)
    assert nb06.ramp_report(TrainConfig()) == {"half": 3900, "full": None, "mean": mean}
    assert nb06.ramp_report(TrainConfig(consistency_rampup=0))["full"] == 0


def test_ramp_shapes_end_at_one():
    at, shapes = nb06.ramp_shapes(5)
    assert len(shapes) == 4 and all(len(v) == len(at) and v[-1] == pytest.approx(1) for v in shapes.values())


def test_the_command_names_what_differs_and_is_understood(phantom_root, tmp_path):
    told = nb07.command(TrainConfig(root_path="x", snapshot_path="y", labelnum=3, patch_size=(32, 32, 16)))
    assert "--labelnum 3" in told and "--patch_size 32 32 16" in told and "--base_lr" not in told
    words = nb07.command(TrainConfig(max_iterations=1, **SMALL)).replace("\\\n", " ").split()[1:]
    folders = iter([str(phantom_root), str(tmp_path / "run")])
    assert main([next(folders) if word == "FOLDER" else word for word in words]) in (0, None)


def test_the_guard_keeps_gradients_from_the_teacher(trainer):
    image, _ = trainer.next_batch()
    for guarded, reached in ((True, 0), (False, len(list(trainer.teacher.parameters())))):
        assert nb07.reached_by_gradient(trainer.teacher, trainer.student, image, guarded) == reached


def test_measuring_leaves_the_training_as_it_was(phantom_root):
    def train(measure):
        trainer = Trainer(TrainConfig(root_path=str(phantom_root), **SMALL))
        trainer.run(1, progress=False)
        if measure:
            noise = [nb07.measure_distance(trainer, 1, noise_on=on) for on in ("none", "teacher")]
            assert 0 <= noise[0] != noise[1]
        trainer.run(1, progress=False)
        return trainer

    plain, measured = train(False), train(True)
    assert nb07.same_weights(plain.student, measured.student)
    assert not nb07.same_weights(plain.student, plain.teacher)


def test_two_kernels_have_two_scratch_folders_and_leave_none(tmp_path):
    code = ("import sys, pathlib, laseg_lib.course as c; c.HOME = pathlib.Path(sys.argv[1]); "
            "a, b = c.scratch_folder('07'), c.scratch_folder('07'); (a / 'old').write_text(''); "
            "print(a != b, len(list(a.parent.iterdir())))")
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "2"] and list((tmp_path / "data").iterdir()) == []


def test_a_record_that_is_not_made_says_how(monkeypatch):
    import pandas as pd

    empty = pd.DataFrame(columns=["arm", "labels", "seed", "weights", "dice"])
    monkeypatch.setattr(nb07, "load_metrics", lambda record: empty)
    assert nb07.recorded("full") == ["not recorded yet: make record RECORD=full"]
    rows = empty.assign(arm=["MT"] * 2, labels=8, seed=[0, 1], weights="student", dice=np.array([0.8, 0.9]))
    monkeypatch.setattr(nb07, "load_metrics", lambda record: rows)
    assert nb07.recorded("full") == ["MT, 8 labelled, 2 seeds: mean test Dice 0.850"]
