"""The loop: what each arm does in an iteration, and that nothing is lost when it ends early."""

import csv
import math
import shutil
import signal

import h5py
import numpy as np
import pytest
import torch
from torch import nn

from laseg_lib import losses, ramps
from laseg_lib.config import ARMS, WALKTHROUGH_RECIPE, TrainConfig
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.volumes import LAHeart, case_names
from laseg_lib.errors import LasegError
from laseg_lib.inference import mean_dice
from laseg_lib.losses import segmentation_loss
from laseg_lib.mean_teacher import consistency_weight, mean_teacher_loss
from laseg_lib.records.plans import QUICK
from laseg_lib.runtime.checkpoints import load_checkpoint, load_network, read_weights, write_weights
from laseg_lib.runtime.machine import has_fast_bf16
from laseg_lib.runtime.runlog import RunLog
from laseg_lib.training import Trainer
from laseg_lib.vnet import VNet


@pytest.fixture(autouse=True)
def closed_logs(monkeypatch):
    """What a run writes to is closed when the test ends."""
    opened = []
    original = RunLog.__init__
    monkeypatch.setattr(RunLog, "__init__", lambda self, *a, **k: (original(self, *a, **k), opened.append(self))[0])
    yield
    for log in opened:
        log.close()


@pytest.fixture
def config(phantom_root):
    """A function: a training small enough for a test, with these settings."""
    def make(**settings):
        return TrainConfig(**{**dict(
            root_path=str(phantom_root), labelnum=3, max_samples=6, val_num=2, patch_size=(32, 32, 16), n_filters=4,
            max_iterations=6, device="cpu", precision="fp32"), **settings})
    return make


# --- one batch ------------------------------------------------------------------------------------

class Recorder(nn.Module):
    """A network of two lines that remembers what it was shown."""

    def __init__(self, factor):
        super().__init__()
        self.factor = nn.Parameter(torch.tensor(factor))

    def forward(self, x):
        self.seen = x.detach().clone()
        return torch.cat([-self.factor * x, self.factor * x], dim=1)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    image = torch.randn(4, 1, 16, 16, 8, generator=generator)
    return image, (torch.rand(4, 16, 16, 8, generator=generator) < 0.2).long()


def test_the_loss_is_the_walkthroughs(batch, config):
    image, label = batch
    student, teacher = Recorder(1.0), Recorder(2.0)
    settings = config(noise_on="none", consistency=0.1)
    loss, row = mean_teacher_loss(student, teacher, image, label, settings, 3000)
    logits = torch.cat([-image, image], 1)
    supervised = segmentation_loss(logits[:2], label[:2])[0]
    distance = losses.softmax_mse_loss(logits[2:], 2 * logits[2:])
    weight = 0.1 * math.exp(-5 * (1 - 20 / 40) ** 2)
    assert row["consistency_weight"] == pytest.approx(weight)
    assert loss.item() == pytest.approx((supervised + weight * distance).item(), rel=1e-5)
    assert row["consistency_dist"].item() == pytest.approx(distance.item(), rel=1e-5) and distance > 0
    kl = mean_teacher_loss(student, teacher, image, label, config(noise_on="none", consistency_type="kl"), 0)[1]
    assert kl["consistency_dist"].item() == pytest.approx(losses.softmax_kl_loss(logits[2:],
        2 * logits[2:]).item(), rel=1e-5)


def test_the_labels_of_unlabelled_volumes_are_never_looked_at(batch, config):
    image, label = batch
    results = []
    for wrong in (label[2:], 1 - label[2:]):
        torch.manual_seed(0)
        loss, _ = mean_teacher_loss(Recorder(1.0), Recorder(2.0), image, torch.cat([label[:2], wrong]),
                                    config(), 6000)
        results.append(loss.item())
    assert results[0] == results[1]


def test_consistency_moves_the_student_and_not_the_teacher(batch, config):
    student, teacher = Recorder(1.0), Recorder(2.0)
    mean_teacher_loss(student, teacher, *batch, config(consistency=100.0), 6000)[0].backward()
    alone = Recorder(1.0)
    mean_teacher_loss(alone, teacher, *batch, config(model="lambda0"), 6000)[0].backward()
    assert teacher.factor.grad is None and student.factor.grad != alone.factor.grad


@pytest.mark.parametrize("noise_on, on_student, on_teacher", [
    ("teacher", False, True), ("both", True, True), ("none", False, False)])
def test_noise_is_bounded_and_on_unlabelled_volumes_of_the_side_asked_for(noise_on, on_student, on_teacher,
    batch, config):
    student, teacher = Recorder(1.0), Recorder(1.0)
    mean_teacher_loss(student, teacher, *batch, config(noise_on=noise_on), 0)
    image = batch[0]
    noises = student.seen[2:] - image[2:], teacher.seen - image[2:]
    assert torch.equal(student.seen[:2], image[:2])
    for noise, there in zip(noises, (on_student, on_teacher)):
        assert bool(noise.any()) == there
        assert noise.abs().max() <= 0.2 + 1e-6 and (not there or noise.std() == pytest.approx(0.096, abs=0.01))
    if noise_on == "both":
        assert not torch.allclose(*noises)


def test_only_the_student_sees_other_intensities(batch, config):
    student, teacher = Recorder(1.3), Recorder(0.9)
    mean_teacher_loss(student, teacher, *batch, config(intensity=1.0, noise_on="none"), 0)
    assert not torch.allclose(student.seen, batch[0], atol=0.01) and torch.equal(teacher.seen, batch[0][2:])


def test_the_teacher_predicts_before_the_student_keeps_memory_for_its_gradient(batch, config):
    order = []
    student, teacher = Recorder(1.0), Recorder(1.0)
    for name, network in (("student", student), ("teacher", teacher)):
        network.register_forward_hook(lambda *_, name=name: order.append(name))
    mean_teacher_loss(student, teacher, *batch, config(), 0)
    assert order == ["teacher", "student"]


def test_the_learning_rate_falls_to_nothing(config):
    trainer = Trainer(config(schedule="poly", base_lr=0.02))
    trainer.run(progress=False)
    assert [row["lr"] for row in trainer.history] == pytest.approx([0.02 * (1 - i / 6) ** 0.9 for i in range(6)])


@pytest.mark.parametrize("arm", ["supervised_equal", "lambda0"])
def test_every_lever_works_in_the_controls_too(arm, config):
    strong = config(model=arm, labelnum=4, consistency_type="pseudo", intensity=1.0, affine=15.0, turns=False,
                    student_affine=10.0, schedule="poly")
    assert math.isfinite(Trainer(strong).run(progress=False)[-1]["loss"])


@pytest.mark.parametrize("hardware", [False, True])
def test_bf16_is_not_used_where_a_cpus_weight_gradients_are_wrong(hardware, config, monkeypatch):
    from laseg_lib.runtime import machine

    monkeypatch.setattr(machine, "has_fast_bf16", lambda device: hardware)
    assert Trainer(config(precision="auto")).precision == "fp32"  # a bottom of 2 x 2 x 2
    wide = Trainer(config(precision="auto", patch_size=(48, 48, 16)))
    assert wide.precision == ("bf16" if hardware else "fp32")
    with pytest.raises(LasegError, match="bf16: wrong on a CPU for --patch_size .32, 32, 16."):
        Trainer(config(precision="bf16"))


def test_lambda_climbs_every_150_iterations_to_its_end_at_the_last(config):
    settings = config(consistency=0.1, consistency_rampup=40.0)
    for iteration in (0, 149, 150, 3000, 5999, 6000):
        want = 0.1 * ramps.sigmoid_rampup(iteration // 150, 40.0)
        assert consistency_weight(settings, iteration) == pytest.approx(want)
    assert consistency_weight(settings, 149) == consistency_weight(settings, 0) < consistency_weight(settings, 150)
    assert consistency_weight(settings, 5999) < consistency_weight(settings, 6000) == 0.1  # trap 4
    assert consistency_weight(config(ramp_every=1), 40) == 0.1
    for arm in set(ARMS) - {"MT"}:
        assert consistency_weight(config(model=arm), 6000) == 0


# --- the arms -------------------------------------------------------------------------------------

@pytest.mark.parametrize("arm, labelled, unlabelled", [
    ("supervised", 2, 0), ("supervised_equal", 3, 0), ("lambda0", 2, 1), ("MT", 2, 1)])
def test_the_volumes_in_a_batch(arm, labelled, unlabelled, config):
    trainer = Trainer(config(model=arm, batch_size=3))
    seen = []
    trainer.train_set = type("Spy", (), {"__getitem__": lambda self, i, volumes=trainer.train_set: (
        seen.append(i), volumes[i])[1]})()
    image, label = trainer.next_batch()
    assert image.shape == (labelled + unlabelled, 1, 32, 32, 16) and label.shape == (labelled + unlabelled, 32,
        32, 16)
    assert image.dtype == torch.float32 and label.dtype == torch.int64
    assert all(i < 3 for i in seen[:labelled]) and all(3 <= i < 6 for i in seen[labelled:])


def histories(config, *settings):
    trainers, rows = [], []
    for one in settings:  # one after the other: dropout draws from torch's global generator, which a Trainer seeds
        trainers.append(Trainer(config(**one)))
        rows.append([trainers[-1].step() for _ in range(4)])
    return trainers, rows


def test_with_instancenorm_and_no_dropout_lambda_0_is_supervised_step_by_step(config):
    control = {"normalization": "instancenorm", "has_dropout": False}
    trainers, (alone, beside) = histories(config, {"model": "supervised", **control}, {"model": "lambda0", **control})
    for a, b in zip(alone, beside):
        assert a["loss_seg"] == pytest.approx(b["loss_seg"], rel=5e-4)
        assert a["loss_seg_dice"] == pytest.approx(b["loss_seg_dice"], rel=5e-4)
        assert a["loss"] == pytest.approx(b["loss"], rel=5e-4)
    # Another batch may be summed in another order, and rounding grows from step to step: after four, on one thread of
    # some processors, to a tenth of the way that the weights have gone.
    first = torch.cat([p.flatten() for p in Trainer(config(model="lambda0", **control)).student.parameters()])
    one, two = (torch.cat([p.flatten() for p in trainer.student.parameters()]) for trainer in trainers)
    assert (one - two).norm() < 0.3 * (one - first).norm()
    assert all(row["consistency_dist"] > 0 for row in beside) and not any(row["consistency_dist"] for row in alone)


def test_with_batchnorm_unlabelled_volumes_get_in_even_at_lambda_0(config):
    control = {"normalization": "batchnorm", "has_dropout": False}
    _, (alone, beside) = histories(config, {"model": "supervised", **control}, {"model": "lambda0", **control})
    assert abs(alone[0]["loss"] - beside[0]["loss"]) > 1e-4  # trap 5; rounding is a thousand times less


def test_mean_teacher_without_weight_is_lambda_0_and_with_weight_is_not(config):
    _, (zero, without, with_it) = histories(config, {"model": "lambda0"}, {"consistency": 0.0},
                                            {"consistency": 50.0, "consistency_rampup": 0.0})
    assert [row["loss"] for row in zero] == [row["loss"] for row in without]
    assert with_it[0]["loss_seg"] == zero[0]["loss_seg"] and with_it[-1]["loss_seg"] != zero[-1]["loss_seg"]


def test_the_same_seed_is_the_same_training_and_another_is_not(config):
    _, (first, second, other) = histories(config, {}, {}, {"seed": 2})
    assert first == second and first != other


def test_the_teacher_is_the_average_of_the_students(config):
    trainer = Trainer(config(ema_decay=0.6, has_dropout=False))
    want = None
    for step in range(5):
        trainer.step()
        alpha = min(1 - 1 / (step + 1), 0.6)
        now = torch.cat([p.detach().flatten() for p in trainer.student.parameters()])
        want = now if want is None else alpha * want + (1 - alpha) * now
        teacher = torch.cat([p.flatten() for p in trainer.teacher.parameters()])
        assert torch.allclose(teacher, want, atol=1e-6)
    assert not any(p.requires_grad for p in trainer.teacher.parameters())
    assert not torch.equal(teacher, now)


def test_the_recipes_differ_in_the_traps(config):
    right, seed = Trainer(config()), Trainer(config(**WALKTHROUGH_RECIPE))
    assert not right.teacher.training and seed.teacher.training and right.student.training
    for trainer in (right, seed):
        trainer.step()
        trainer.step()
    mean = "block_one.conv.1.running_mean"
    assert torch.allclose(right.teacher.state_dict()[mean], right.student.state_dict()[mean], atol=0.1)
    assert not torch.equal(seed.teacher.state_dict()[mean], seed.student.state_dict()[mean])
    assert seed.teacher.state_dict()["block_one.conv.1.num_batches_tracked"] == 2  # its own two batches


def test_it_learns_a_tiny_case_by_heart(config):
    settings = config(model="supervised", labelnum=1, max_samples=1, val_num=0, batch_size=1, labeled_bs=1,
                      max_iterations=50, base_lr=0.05, has_dropout=False, patch_size=(48, 32, 16), n_filters=4,
                      flip_probability=0.0, normalization="instancenorm")
    trainer = Trainer(settings)
    sample = trainer.train_set[0]  # always the same way up, to be learnt by heart
    trainer.next_batch = lambda: (torch.from_numpy(sample["image"])[None, None],
                                  torch.from_numpy(sample["label"]).long()[None])
    history = trainer.run(progress=False)
    assert history[0]["loss"] > 0.5 and history[-1]["loss"] < 0.5 * history[0]["loss"]
    assert history[-1]["loss_seg_dice"] < 0.3


# --- a run ----------------------------------------------------------------------------------------

def test_a_run_can_be_driven_in_pieces_with_a_callback(config):
    seen, trainer = [], Trainer(config(max_iterations=5))
    trainer.step()
    assert len(trainer.run(2, callback=lambda t: seen.append((t.iteration, t.history[-1]["loss"])),
                           progress=False)) == 3
    assert trainer.run(progress=False) is trainer.history and trainer.iteration == 5
    assert [iteration for iteration, _ in seen] == [2, 3]
    assert [row["iteration"] for row in trainer.history] == [1, 2, 3, 4, 5]
    assert trainer.run(progress=False) == trainer.history and trainer.iteration == 5  # no further than the end
    whole = Trainer(config(max_iterations=5))
    assert whole.run(progress=False) == trainer.history  # the pieces are the whole


def test_an_interrupt_ends_after_the_step_in_hand_and_keeps_everything(config, tmp_path, capsys):
    def interrupt(trainer):
        if trainer.iteration == 2:
            signal.raise_signal(signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    trainer = Trainer(config(snapshot_path=str(tmp_path / "run")))
    trainer.run(callback=interrupt, progress=False)
    assert trainer.iteration == 2 and len(trainer.history) == 2
    assert signal.getsignal(signal.SIGINT) is before
    assert load_checkpoint(tmp_path / "run" / "last.pth")["iteration"] == 2
    assert "SIGINT: stopped after iteration 2 of 6" in capsys.readouterr().err
    trainer.run(progress=False)
    assert trainer.iteration == 6 and trainer.history == Trainer(config()).run(progress=False)


def test_a_broken_callback_loses_nothing_in_memory(config):
    def broken(trainer):
        raise ZeroDivisionError

    trainer = Trainer(config())
    with pytest.raises(ZeroDivisionError):
        trainer.run(callback=broken, progress=False)
    assert len(trainer.run(progress=False)) == 6


def test_files_under_the_walkthroughs_names(config, tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    trainer = Trainer(config(max_iterations=4, val_every=2, snapshot_path=str(tmp_path)))
    history = trainer.run(progress=False)
    trainer.log.scalars.file.flush()
    lines = (tmp_path / "log.txt").read_text(encoding="utf-8").splitlines()
    assert "base_lr=0.01" in lines[0] and len(lines) == 5
    assert lines[1] == ("iteration 1 : loss : {loss:f} cons_dist: {consistency_dist:f}, "
                        "loss_weight: {consistency_weight:f}").format(**history[0])
    with open(tmp_path / "history.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["loss"]) for row in rows] == [row["loss"] for row in history]
    assert [bool(row["val_dice_student"]) for row in rows] == [False, True, False, True]
    events = EventAccumulator(str(tmp_path / "log"))
    events.Reload()
    assert {"lr", "loss/loss", "loss/loss_seg", "loss/loss_seg_dice", "train/consistency_weight",
            "train/consistency_dist", "Var_dice/Dice", "Var_dice/Best_dice"} <= set(events.Tags()["scalars"])
    assert [e.step for e in events.Scalars("loss/loss")] == [1, 2, 3, 4]
    assert events.Scalars("loss/loss")[2].value == pytest.approx(history[2]["loss"])


def test_the_best_is_chosen_on_cases_held_out_of_the_training_ones(config, tmp_path, phantom_root, monkeypatch):
    scores = iter([0.3, 0.5, 0.6, 0.1, 0.4, 0.9])  # student, teacher, student, ...
    seen = []
    monkeypatch.setattr("laseg_lib.training.mean_dice", lambda network, volumes, *a, **k: (
        seen.append((volumes.image_list, network.training)), next(scores))[1])
    trainer = Trainer(config(val_every=2, snapshot_path=str(tmp_path)))
    history = trainer.run(progress=False)
    names = case_names(phantom_root)
    assert all(cases == names[-2:] and not training for cases, training in seen)
    assert not set(names[-2:]) & set(trainer.train_set.image_list) and trainer.train_set.image_list == names[:6]
    assert trainer.best == 0.6 and history[3]["best_dice"] == 0.6 and trainer.student.training
    assert load_checkpoint(tmp_path / "best.pth")["iteration"] == 4
    assert load_checkpoint(tmp_path / "last.pth")["iteration"] == 6


def test_a_checkpoint_holds_student_and_teacher(config, tmp_path):
    trainer = Trainer(config(max_iterations=2, snapshot_path=str(tmp_path)))
    trainer.run(progress=False)
    image = torch.from_numpy(trainer.train_set[0]["image"])[None, None, :32, :32, :16]
    for weights in ("student", "teacher"):
        network, settings = load_network(tmp_path / "last.pth", weights)
        with torch.no_grad():
            assert torch.allclose(network(image), getattr(trainer, weights).eval()(image), atol=1e-6)
        assert settings["patch_size"] == [32, 32, 16]


@pytest.mark.parametrize("poison", ["weights", "gradient"])
def test_a_loss_that_turns_nan_stops_and_keeps_the_last_good_checkpoint(poison, config, tmp_path):
    def spoil(trainer):
        if trainer.iteration == 3:
            with torch.no_grad():
                trainer.student.out_conv.weight.fill_(math.nan)

    trainer = Trainer(config(save_every=2 if poison == "weights" else 3, snapshot_path=str(tmp_path)))
    trainer.run(2, progress=False)
    if poison == "weights":
        with pytest.raises(LasegError, match="is nan at iteration 4.*last good checkpoint.*--base_lr") as error:
            trainer.run(callback=spoil, progress=False)
    else:  # a finite loss whose step gives weights that aren't: they must not replace good ones
        trainer.optimizer.register_step_post_hook(lambda *args: spoil_now(trainer))
        with pytest.raises(LasegError, match="is nan at iteration 3.*last good checkpoint") as error:
            trainer.run(progress=False)
    assert str(tmp_path) in str(error.value)
    state = load_checkpoint(tmp_path / "last.pth")
    assert state["iteration"] == 2 and all(torch.isfinite(v).all() for v in state["student"].values())


def spoil_now(trainer):
    with torch.no_grad():
        trainer.student.out_conv.weight.fill_(math.nan)


def test_volumes_smaller_than_the_patch_are_padded(config):
    trainer = Trainer(config(patch_size=(64, 64, 24), val_every=1))
    row = trainer.step()
    assert math.isfinite(row["loss"]) and 0 <= row["val_dice_student"] <= 1


@pytest.mark.parametrize("settings", [{"cache": "none"}, {"cache": "device"}, {"cache": "memory"}])
def test_where_volumes_are_kept_changes_no_number(settings, config):
    assert Trainer(config(**settings)).run(2, progress=False) == Trainer(config()).run(2, progress=False)


def test_half_resolution(config, phantom_root):
    trainer = Trainer(config(downsample=2, patch_size=(16, 16, 8)))
    assert trainer.train_set[0]["image"].shape == (24, 16, 8) and math.isfinite(trainer.step()["loss"])


def test_an_unsound_training_volume_is_named(config, phantom_root, monkeypatch):
    def unsound(self, name, *rest):
        raise LasegError(f"{self.path(name)}: unsound")

    monkeypatch.setattr(LAHeart, "_read", unsound)
    with pytest.raises(LasegError, match="PHANTOM_000.*unsound"):
        Trainer(config()).step()


def test_real_volumes_train(config, real_root):
    trainer = Trainer(config(root_path=str(real_root), downsample=2, max_samples=3, labelnum=2, val_num=1,
                             labeled_bs=2,
                             batch_size=3, val_every=3))
    history = trainer.run(3, progress=False)
    assert np.isfinite([row["loss"] for row in history]).all() and 0 <= history[-1]["val_dice_student"] <= 1


# --- cases without a label ------------------------------------------------------------------------

def test_unlabelled_cases_need_no_label_and_theirs_is_never_read(phantom_root, tmp_path):
    """Missing, or rubbish: the same weights, bit for bit."""
    weights = {}
    for kind in ("as it is", "missing", "rubbish"):
        root = shutil.copytree(phantom_root.parent, tmp_path / kind) / phantom_root.name
        for name in case_names(root)[3:] if kind != "as it is" else []:
            with h5py.File(root / name / "mri_norm2.h5", "r+") as file:
                del file["label"]
                if kind == "rubbish":
                    file["label"] = np.full((3, 3), b"rubbish")
        trainer = Trainer(TrainConfig(
            root_path=str(root), labelnum=3, val_num=0, patch_size=(16, 16, 8), n_filters=2, affine=15, downsample=2,
            consistency_rampup=0, max_iterations=5, device="cpu", precision="fp32"))
        trainer.run(progress=False)
        weights[kind] = trainer.student.state_dict() | {f"t.{k}": v for k, v in trainer.teacher.state_dict().items()}
    for kind in ("missing", "rubbish"):
        assert all(torch.equal(value, weights["as it is"][key]) for key, value in weights[kind].items())


def test_a_training_begins_from_given_weights(config, tmp_path):
    first = Trainer(config(snapshot_path=str(tmp_path / "first")))
    first.run(2, progress=False)
    given = str(tmp_path / "first/last.pth")
    second = Trainer(config(init_weights=given, snapshot_path=str(tmp_path / "second")))
    for network in (second.student, second.teacher):
        for mine, theirs in zip(network.state_dict().values(), first.teacher.state_dict().values()):
            assert torch.equal(mine, theirs)
    second.run(1, progress=False)
    (tmp_path / "first/last.pth").unlink()  # a resumed training needs it no more
    assert Trainer(config(snapshot_path=str(tmp_path / "second")), resume=True).iteration == 1


def test_weights_of_another_network_are_told_with_its_settings(config, tmp_path):
    write_weights(tmp_path / "given.safetensors", VNet(1, 3, 4, "instancenorm"), {})
    with pytest.raises(LasegError, match="given.safetensors.*--normalization instancenorm .here batchnorm"):
        Trainer(config(init_weights=str(tmp_path / "given.safetensors")))
    trainer = Trainer(config(init_weights=str(tmp_path / "given.safetensors"), normalization="instancenorm"))
    given = read_weights(tmp_path / "given.safetensors")["student"]
    mine = trainer.student.state_dict()
    assert mine["out_conv.weight"].shape[0] == 2, "three classes there, two here: the last layer is new"
    assert all(torch.equal(mine[name], value) for name, value in given.items() if not name.startswith("out_conv"))


# --- precision ------------------------------------------------------------------------------------

@pytest.mark.skipif(not has_fast_bf16(torch.device("cpu")), reason="this processor has no bf16")
def test_bf16_and_float32_agree(tmp_path):
    """Mean teacher from the same seed: the same losses, the same Dice.

    The quick record's network at the smallest patch for which a CPU's bf16 is right (machine.py), on patients that
    differ less.  Both trainings start from weights that 200 iterations in float32 made: from random ones, chance
    decides when a run leaves the plateau of its start, and any rounding moves the Dice by up to 0.02.
    """
    patch = (48, 32, 16)
    root = write_phantoms(tmp_path / "phantoms", train=12, test=8, size=patch, progress=False)
    test_set = LAHeart(root, "test", cache="memory")

    def train(precision, weights=None, **settings):
        trainer = Trainer(TrainConfig(**{
            **QUICK, "root_path": str(root), "snapshot_path": str(tmp_path / f"run{settings['seed']}{precision}"),
            "patch_size": patch, "labelnum": 8, "max_samples": 12, "val_num": 0, "consistency": 0.1,
            "teacher_view": "same", "device": "cpu", "precision": precision, **settings}))
        assert trainer.precision == precision
        for network in (trainer.student, trainer.teacher) if weights else ():
            network.load_state_dict(weights)
        losses = np.array([row["loss"] for row in trainer.run(progress=False)])
        return trainer, losses

    def learnt(precision):
        trainer, losses = train(precision, start, seed=1, max_iterations=100)
        return losses, [mean_dice(network.eval(), test_set, patch) for network in (trainer.student, trainer.teacher)]

    start = train("fp32", base_lr=0.05, seed=0, max_iterations=200)[0].teacher.state_dict()
    (losses, dice), (rounded, rounded_dice) = learnt("fp32"), learnt("bf16")
    assert np.abs(losses - rounded)[:20].max() < 0.001, "before rounding has grown, iteration by iteration"
    assert abs(losses[-50:].mean() - rounded[-50:].mean()) < 0.003
    assert not np.array_equal(losses, rounded), "both ran in one precision"
    assert losses[-50:].mean() < losses[:10].mean() - 0.003 and min(dice) > 0.8, "nothing learnt, nothing compared"
    assert np.abs(np.subtract(dice, rounded_dice)).max() < 0.01
