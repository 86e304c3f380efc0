"""What passed without a word, or cost something, and is told now: files that would be written over, cases that are not
what they were, sizes that contradict each other, arguments that broadcasting would swallow."""

import copy
import json

import h5py
import numpy as np
import pytest
import torch
from children import tiny_config
from test_training import closed_logs  # noqa: F401

from laseg_lib import LAHeart, RandomCrop, VNet, losses, update_ema_variables
from laseg_lib.cli import main
from laseg_lib.config import TrainConfig
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.volumes import FILE, read_list, read_volume, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.evaluate import evaluate_checkpoint
from laseg_lib.inference import predict_volume
from laseg_lib.metrics import case_metrics, dice_of, jaccard_of
from laseg_lib.predict import Predictor
from laseg_lib.runtime.checkpoints import load_checkpoint
from laseg_lib.training import Trainer


@pytest.fixture
def root(tmp_path):
    return write_phantoms(tmp_path / "data", train=8, test=2, size=(24, 20, 12), seed=0)


def train(root, folder, iterations=4, **changes):
    trainer = Trainer(tiny_config(root, snapshot_path=str(folder), max_iterations=4, **changes))
    trainer.run(iterations, progress=False)
    trainer.log.close()
    return trainer


def again(root, folder, **changes):
    return Trainer(tiny_config(root, snapshot_path=str(folder), max_iterations=4, **changes), resume=True)


def spoil(root, name, *, label=None, image=None, spacing=None):
    """Write a case with other contents, or give it another voxel's size."""
    path = root / name / FILE
    if spacing is not None:
        with h5py.File(path, "r+") as file:
            file.attrs["spacing"] = np.broadcast_to(np.asarray(spacing, float), 3)
        return
    values, mask = read_volume(path)
    with h5py.File(path, "r") as file:
        attributes = {key: np.array(file.attrs[key]) for key in ("spacing", "origin", "centre") if key in file.attrs}
    write_volume(path, values if image is None else image(values), mask if label is None else label(mask), **attributes)


# --- files that would be written over -------------------------------------------------------------

@pytest.mark.parametrize("name", ["run/last.pth", "data/train.list", "data/phantoms/PHANTOM_0008/mri_norm2.h5"])
def test_a_table_replaces_nothing_but_a_table(name, root, tmp_path, capsys):
    train(root, tmp_path / "run")
    before = (tmp_path / name).read_bytes()
    words = ["evaluate", str(tmp_path / "run" / "last.pth"), "--root_path", str(root), "--window", "fast", "--csv"]
    assert main([*words, str(tmp_path / name)]) == 1
    assert "exists already and is no table of metrics" in capsys.readouterr().err
    assert (tmp_path / name).read_bytes() == before
    for _ in range(2):  # one that is there may be made anew
        assert main([*words, str(tmp_path / "table.csv")]) == 0
        assert "2 cases of test.list, student" in capsys.readouterr().out


def test_a_best_checkpoint_alone_is_not_written_over(root, tmp_path):
    train(root, tmp_path / "run")
    for name in ("last.pth", "previous.pth"):
        (tmp_path / "run" / name).unlink()
    before = (tmp_path / "run" / "best.pth").read_bytes()
    with pytest.raises(LasegError, match="holds a training already"):
        train(root, tmp_path / "run")
    assert (tmp_path / "run" / "best.pth").read_bytes() == before


def test_an_unsound_test_case_is_told_before_the_work(root, tmp_path, monkeypatch):
    train(root, tmp_path / "run")
    spoil(root, "PHANTOM_0009", label=lambda mask: mask * 7)
    monkeypatch.setattr("laseg_lib.evaluate.predict_volume", lambda *_, **__: pytest.fail("was predicted"))
    with pytest.raises(LasegError, match="PHANTOM_0009"):
        evaluate_checkpoint(tmp_path / "run" / "last.pth", root)


def test_an_unsound_validation_case_is_told_before_the_first_step(root, tmp_path):
    spoil(root, "PHANTOM_0007", label=lambda mask: mask * 7)
    with pytest.raises(LasegError, match="PHANTOM_0007"):
        Trainer(tiny_config(root, snapshot_path=str(tmp_path / "run")))


# --- cases that are not what they were ------------------------------------------------------------

@pytest.mark.parametrize("weights", ["last", "best"])
def test_cases_that_were_trained_on_are_told_whatever_the_lists_say(weights, root, tmp_path, capsys):
    train(root, tmp_path / "run")
    lists, test = tmp_path / "data", read_list(tmp_path / "data" / "test.list")
    evaluate_checkpoint(tmp_path / "run" / f"{weights}.pth", root, window="fast")
    assert "was trained on" not in capsys.readouterr().err
    (lists / "train.list").write_text("\n".join(test))
    (lists / "test.list").write_text("PHANTOM_0000\nPHANTOM_0001\n")
    evaluate_checkpoint(tmp_path / "run" / f"{weights}.pth", root, window="fast")
    assert "was trained on 2 of these cases, such as PHANTOM_0000" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["another", "contents"])
def test_a_training_goes_on_with_the_validation_cases_it_began_with(change, root, tmp_path):
    train(root, tmp_path / "run", 2)
    assert again(root, tmp_path / "run").iteration == 2
    if change == "contents":
        spoil(root, "PHANTOM_0007", image=np.negative)
        words = "number 1 of the validation list: PHANTOM_0007 has other contents"
    else:
        names = read_list(tmp_path / "data" / "train.list")
        (tmp_path / "data" / "train.list").write_text("\n".join([*names[:-1], "PHANTOM_0008"]))
        (tmp_path / "data" / "test.list").write_text("PHANTOM_0009\n")
        words = "number 1 of the validation list: it is PHANTOM_0008 now, it was PHANTOM_0007"
    with pytest.raises(LasegError, match=words):
        again(root, tmp_path / "run")


def test_an_older_checkpoint_without_validation_cases_goes_on(root, tmp_path):
    train(root, tmp_path / "run", 2)
    state = load_checkpoint(tmp_path / "run" / "last.pth")
    del state["val_cases"]
    torch.save(state, tmp_path / "run" / "last.pth")
    assert again(root, tmp_path / "run").iteration == 2


def test_a_state_is_the_moment_at_which_it_was_taken(root):
    trainer = Trainer(tiny_config(root))
    for _ in range(2):
        trainer.step()
    state, kept = trainer.state_dict(), None
    kept = copy.deepcopy(state)
    went_on = [trainer.step()["loss"] for _ in range(2)]
    assert all(torch.equal(state["student"][name], kept["student"][name]) for name in state["student"])
    trainer.load_state_dict(state)
    assert [trainer.step()["loss"] for _ in range(2)] == went_on


# --- sizes ----------------------------------------------------------------------------------------

def test_voxels_of_other_sizes_are_told_and_the_usual_one_is_kept(root, tmp_path, capsys):
    spoil(root, "PHANTOM_0000", spacing=5)
    trainer = train(root, tmp_path / "run")
    usual = trainer.spacing
    assert "PHANTOM_0000/mri_norm2.h5: its voxels are 5 x 5 x 5 mm, those of most cases" in capsys.readouterr().err
    assert usual != [5.0, 5.0, 5.0] and json.dumps(usual)
    spoil(root, "PHANTOM_0009", spacing=0.5)
    evaluate_checkpoint(tmp_path / "run" / "last.pth", root, window="fast", spacing=(9, 9, 9))
    said = capsys.readouterr().err
    assert "PHANTOM_0009/mri_norm2.h5: its voxels are 0.5 x 0.5 x 0.5 mm, those that" in said
    assert "--spacing is not used for 2 cases, such as PHANTOM_0008" in said
    predictor = Predictor(tmp_path / "run" / "last.pth")
    predictor(root / "PHANTOM_0008" / FILE)
    assert "WARNING" not in capsys.readouterr().err
    predictor(root / "PHANTOM_0009" / FILE)
    assert "PHANTOM_0009/mri_norm2.h5: its voxels are 0.5 x 0.5 x 0.5 mm, those that the network" in (
        capsys.readouterr().err)


def test_a_size_that_cannot_be_is_told_wherever_it_stands(root):
    spoil(root, "PHANTOM_0003", spacing=-1)
    with pytest.raises(LasegError, match="PHANTOM_0003.*sides must be more than 0"):
        Trainer(tiny_config(root))


# --- settings -------------------------------------------------------------------------------------

@pytest.mark.parametrize("model", ["MT", "lambda0"])
def test_a_mean_teacher_needs_unlabelled_volumes_in_a_batch(model):
    with pytest.raises(LasegError, match="--labeled_bs 2 of --batch_size 2 leaves no unlabelled volume.*supervised"):
        TrainConfig(model=model, batch_size=2)
    assert TrainConfig(model="supervised", batch_size=2).labelled_in_batch == 2


@pytest.mark.parametrize("settings, words", [
    ({"val_num": 8, "max_samples": None}, "--val_num 8 must be 0 or more, and leave some for training"),
    ({"val_num": 99, "max_samples": None}, "--val_num 99 must be 0 or more"),
    ({"val_num": -1}, "--val_num -1 must be 0 or more"),
    ({"train_list": "nope.list"}, "--train_list nope.list: no such")])
def test_the_setting_that_was_given_is_the_one_that_is_named(settings, words, root):
    with pytest.raises(LasegError, match=words) as error:
        Trainer(tiny_config(root, **settings))
    assert "--max_samples" not in str(error.value) and "--root_path" not in str(error.value)


def test_resume_needs_a_folder(root):
    with pytest.raises(LasegError, match="resume needs a --snapshot_path"):
        Trainer(tiny_config(root), resume=True)


@pytest.mark.skipif(torch.cuda.is_available(), reason="here it may be there")
@pytest.mark.parametrize("number", ["7", "banana"])
def test_a_gpu_that_is_not_there_is_told(number, root, capsys, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert main(["train", "--root_path", str(root), "--gpu", number]) == 1
    assert f"--gpu {number}: there is no such GPU" in capsys.readouterr().err


# --- arguments that would be swallowed ------------------------------------------------------------

@pytest.mark.parametrize("options, words", [
    ({"cache": True}, "cache=True"), ({"cache": "disk"}, "cache='disk'"), ({"num": -1}, "num=-1")])
def test_lahearts_arguments(options, words, root):
    with pytest.raises(LasegError, match=words):
        LAHeart(root, **options)
    assert len(LAHeart(root, num=3, cache="cpu")) == 3


def test_losses_take_what_belongs_together_only():
    logits, label = torch.randn(2, 2, 4, 4, 4), torch.randint(0, 2, (2, 4, 4, 4))
    assert torch.isfinite(losses.segmentation_loss(logits, label)[0])
    for other in (label.float(), label[:, None], label[:1], torch.stack([1 - label, label], 1)):
        with pytest.raises(ValueError, match="the label must be"):
            losses.segmentation_loss(logits, other)
    with pytest.raises(ValueError, match="differ in shape"):
        losses.dice_loss(logits.softmax(1)[:, 1:], label)


@pytest.mark.parametrize("measure", [dice_of, jaccard_of, case_metrics])
def test_measures_take_masks_only(measure):
    mask = np.zeros((10, 10, 10), np.uint8)
    mask[2:6, 3:7, 4:8] = 1
    want = measure(mask, mask)
    for same in (mask.astype(bool), 255 * mask, torch.from_numpy(mask), mask.astype(float)):
        assert str(measure(same, mask)) == str(want)
    broken = mask.astype(float)
    broken[0, 0, 0] = np.nan
    for other in (0.9 * mask + 0.1 * (1 - mask), broken, mask + 2 * (mask > 0) * (np.arange(10) > 5), -1.0 * mask):
        with pytest.raises(ValueError, match="a mask holds 0 and one other value"):
            measure(other, mask)
    with pytest.raises(ValueError, match="differ in shape"):
        measure(mask, mask[:, :, :1])


def test_a_side_is_above_zero():
    mask = np.ones((4, 4, 4), bool)
    with pytest.raises(ValueError, match="above 0 mm"):
        case_metrics(mask, mask, (1, -1, 1))


@pytest.mark.parametrize("buffers", ["keep", "average", "copy"])
def test_a_teacher_is_the_students_network(buffers):
    student, teacher = VNet(1, 2, 2, "batchnorm"), VNet(1, 3, 2, "batchnorm")
    before = copy.deepcopy(teacher.state_dict())
    for pair in ((student, teacher), (VNet(1, 1, 2, "batchnorm"), teacher)):
        with pytest.raises(ValueError, match="must be the same network"):
            update_ema_variables(*pair, 0.9, 5, buffers=buffers)
    if buffers != "keep":  # as many weights, of the same shapes, but none of BatchNorm's statistics
        with pytest.raises(ValueError, match="must be the same network"):
            update_ema_variables(VNet(1, 3, 2, "groupnorm"), teacher, 0.9, 5, buffers=buffers)
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())


def test_a_volume_has_three_sides_and_so_has_a_patch():
    network = VNet(1, 2, 1).eval()
    for shape in ((1, 16, 16, 8), (16, 16)):
        with pytest.raises(ValueError, match="image must be W x H x D"):
            predict_volume(network, np.zeros(shape, np.float32), (16, 16, 8))
    with pytest.raises(ValueError, match="output_size must be three sides"):
        RandomCrop((8,))
    with pytest.raises(ValueError, match="has 2 sides"):
        RandomCrop((8, 8))({"image": np.zeros((9, 9, 9)), "label": np.zeros((9, 9, 9))})
    with pytest.raises(ValueError, match="differ in shape"):
        RandomCrop(8)({"image": np.zeros((9, 9, 9)), "label": np.zeros((9, 9, 8))})
