"""Checkpoints are written whole or not at all, and read with suspicion."""

import errno
import os
import pickle
import zipfile

import numpy as np
import pytest
import torch
from children import POSIX, same, tiny_config
from torch import nn

from laseg_lib import VNet
from laseg_lib.config import TrainConfig
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.errors import LasegError
from laseg_lib.runtime import checkpoints
from laseg_lib.runtime.checkpoints import (
    load_checkpoint,
    load_last,
    load_network,
    read_weights,
    save_checkpoint,
    write_weights,
)
from laseg_lib.runtime.runlog import read_history
from laseg_lib.training import Trainer

STATE = {"student": {"weight": torch.arange(5000.0)}, "iteration": 7, "generator": 2**120, "name": "Vorhof"}


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("data"), train=8, test=1, size=(24, 20, 12), seed=0)


@pytest.fixture(scope="module")
def trained(root, tmp_path_factory):
    """The folder of a training of three iterations; copy what you change."""
    folder = tmp_path_factory.mktemp("trained") / "run"
    Trainer(tiny_config(root, snapshot_path=str(folder))).run(3, progress=False)
    return folder


@pytest.fixture
def run(trained, tmp_path):
    (tmp_path / "run").mkdir()
    for path in trained.glob("*.*"):
        (tmp_path / "run" / path.name).write_bytes(path.read_bytes())
    return tmp_path / "run"


def test_what_is_saved_is_loaded(tmp_path):
    save_checkpoint(tmp_path / "deep" / "x.pth", STATE)
    assert same(load_checkpoint(tmp_path / "deep" / "x.pth"), STATE)
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["x.pth"]


def test_the_last_two_are_kept(tmp_path):
    for iteration in range(4):
        save_checkpoint(tmp_path / "last.pth", {"iteration": iteration}, keep_previous=True)
    assert load_checkpoint(tmp_path / "last.pth") == {"iteration": 3}
    assert load_checkpoint(tmp_path / "previous.pth") == {"iteration": 2}


# -- a disk that refuses ----------------------------------------------------------------------------

def half_then(error):
    def save(state, file):
        file.write(b"half of it")
        raise error
    return save


@pytest.mark.parametrize("patch", [
    lambda m: m.setattr(torch, "save", half_then(OSError(errno.ENOSPC, "No space left on device"))),
    lambda m: m.setattr(torch, "save", half_then(RuntimeError("[enforce fail at inline_container.cc:603] . "
                                                              "PytorchStreamWriter failed writing file data/12"))),
    lambda m: m.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device"))),
    lambda m: m.setattr(os, "replace", lambda *_: (_ for _ in ()).throw(PermissionError(errno.EACCES, "denied"))),
], ids=["full while writing", "torch's zip writer", "full while flushing", "rename refused"])
def test_a_refused_checkpoint_leaves_the_one_before_whole(tmp_path, monkeypatch, patch):
    save_checkpoint(tmp_path / "last.pth", STATE, keep_previous=True)
    with monkeypatch.context() as m, pytest.raises(LasegError, match="can't be written.*--resume"):
        patch(m)
        save_checkpoint(tmp_path / "last.pth", {"iteration": 8}, keep_previous=True)
    assert same(load_last(tmp_path, warn=pytest.fail), STATE)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]


@pytest.mark.skipif(not POSIX, reason="limits of POSIX")
def test_a_disk_that_really_takes_no_more(tmp_path):
    """The system refuses to let any file grow beyond 8 kB: the error is the one of torch's own writer."""
    import resource

    save_checkpoint(tmp_path / "last.pth", {"iteration": 1}, keep_previous=True)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (8192, before[1]))
    try:
        with pytest.raises(LasegError, match="can't be written"):
            save_checkpoint(tmp_path / "last.pth", STATE, keep_previous=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert load_checkpoint(tmp_path / "last.pth") == {"iteration": 1}
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]


def test_what_a_killed_process_left_half_written_is_overwritten(tmp_path):
    """Otherwise every kill would leave a hundred megabytes behind."""
    with pytest.MonkeyPatch.context() as m:
        m.setattr(checkpoints.Path, "unlink", lambda *a, **k: None)  # a killed process tidies nothing up
        m.setattr(torch, "save", half_then(OSError(errno.ENOSPC, "No space left on device")))
        with pytest.raises(LasegError):
            save_checkpoint(tmp_path / "last.pth", STATE)
    assert len(list(tmp_path.iterdir())) == 1
    save_checkpoint(tmp_path / "last.pth", STATE)
    assert [path.name for path in tmp_path.iterdir()] == ["last.pth"]


def test_weights_that_are_not_finite_replace_no_good_ones(root, tmp_path):
    """The last step of a training that diverges spoils the weights before the next loss shows it."""
    trainer = Trainer(tiny_config(root, snapshot_path=str(tmp_path / "run"), save_every=500))
    trainer.run(2, progress=False)
    trainer.step()
    next(trainer.student.parameters()).data[0] = float("inf")
    with pytest.raises(LasegError, match="diverged; the last good checkpoint is in"):
        trainer.save()
    assert load_checkpoint(tmp_path / "run/last.pth")["iteration"] == 2


# -- damage -----------------------------------------------------------------------------------------

def flip_a_weight(data):
    """One bit in the middle of the largest tensor: the file still opens."""
    place = len(data) // 2
    return data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1:]


DAMAGE = {"empty": lambda data: b"", "truncated": lambda data: data[:-2000], "half": lambda data: data[:len(data) // 2],
          "zeros": lambda data: bytes(len(data)), "a bit of a weight": flip_a_weight,
          "text": lambda data: b"404: not found\n", "of another kind": lambda data: b"\x89HDF\r\n\x1a\n" + data[8:]}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE.keys())
def test_a_damaged_last_checkpoint_gives_way_to_the_one_before_loudly(root, run, damage, capsys):
    whole = (run / "last.pth").read_bytes()
    (run / "last.pth").write_bytes(damage(whole))
    config = tiny_config(root, snapshot_path=str(run))
    trainer = Trainer(config, resume=True)
    told = capsys.readouterr().err
    assert "last.pth" in told and "The checkpoint before it is used" in told
    assert trainer.iteration == 2 and len(trainer.history) == 2
    trainer.run(1, progress=False)  # and does the lost iteration again, exactly
    (run / "whole.pth").write_bytes(whole)
    again, before = (load_checkpoint(run / name) for name in ("last.pth", "whole.pth"))
    assert all(same(again[part], before[part]) for part in before if part != "config")  # it names another folder


def test_a_changed_bit_that_torch_itself_would_load(tmp_path):
    save_checkpoint(tmp_path / "x.pth", STATE)
    (tmp_path / "x.pth").write_bytes(flip_a_weight((tmp_path / "x.pth").read_bytes()))
    assert not same(torch.load(tmp_path / "x.pth", weights_only=True), STATE)  # silently wrong
    with pytest.raises(LasegError, match="x.pth: the checkpoint is damaged"):
        load_checkpoint(tmp_path / "x.pth")


def test_two_damaged_checkpoints_are_an_error_that_names_both(root, run, capsys):
    for name in ("last.pth", "previous.pth"):
        (run / name).write_bytes(b"damaged")
    with pytest.raises(LasegError, match="previous.pth"):
        Trainer(tiny_config(root, snapshot_path=str(run)), resume=True)
    assert "last.pth" in capsys.readouterr().err


def test_a_damaged_history_is_told_and_kept(root, run, capsys):
    damaged = b"iteration,loss\n" + b"x,y\n" * (run / "history.csv").stat().st_size
    (run / "history.csv").write_bytes(damaged)
    assert Trainer(tiny_config(root, snapshot_path=str(run)), resume=True).history == []
    assert "history.csv: was edited, cut or deleted" in capsys.readouterr().err
    assert (run / "history.old.csv").read_bytes() == damaged
    with pytest.raises(LasegError, match="history.old.csv: not a history of numbers"):
        read_history(run / "history.old.csv")


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize("write", [lambda bomb, path: torch.save({"student": bomb}, path),
                                   lambda bomb, path: path.write_bytes(pickle.dumps({"student": bomb}))],
                         ids=["as torch saves", "plain pickle"])
def test_a_checkpoint_with_code_in_it_is_not_run(tmp_path, write):
    write(Bomb(tmp_path / "pwned"), tmp_path / "x.pth")
    with pytest.raises(LasegError, match="x.pth"):
        load_checkpoint(tmp_path / "x.pth")
    assert not (tmp_path / "pwned").exists()


@pytest.mark.parametrize("config", [{"patch_size": "abc"}, {"downsample": -1}, {"unheard_of": 1}, [1, 2], 3])
def test_settings_that_make_no_sense_are_refused_when_evaluated(trained, tmp_path, config):
    state = load_checkpoint(trained / "last.pth")
    torch.save({**state, "config": config}, tmp_path / "x.pth")
    with pytest.raises(LasegError, match=r"^.*x\.pth"):
        load_network(tmp_path / "x.pth")


@pytest.mark.parametrize("more", [{"spacing": torch.ones(3)}, {"spacing": "iso"}, {"spacing": [1, 2]}, {"cases": 5},
                                  {"config": {"lr": 0.1}}, {"config": None}])
def test_another_tools_student_and_teacher_are_told_with_a_way_out(more, tmp_path):
    weights = VNet(1, 2, 2, "batchnorm").state_dict()
    torch.save({"student": weights, "teacher": weights, **more}, tmp_path / "x.pth")
    with pytest.raises(LasegError, match=r"x.pth: .*another tool.*Save the weights alone: torch.save.network.state_d"):
        load_network(tmp_path / "x.pth")


def test_a_folder_in_place_of_a_checkpoint_is_told(trained, tmp_path):
    for folder, told in ((trained, "is a training's folder; give its last.pth"), (tmp_path, "is a folder; give the f")):
        with pytest.raises(LasegError, match=told):
            load_network(folder)


def test_weights_that_no_setting_fits_are_told_without_one(tmp_path):
    torch.save(VNet(1, 2, 2, "batchnorm", bottom_stride=2).state_dict(), tmp_path / "x.pth")
    with pytest.raises(LasegError, match="with bottom_stride 2 .*which LASeg doesn't train"):
        checkpoints.start_from_weights(VNet(1, 2, 2, "batchnorm"), tmp_path / "x.pth")


def test_two_networks_under_other_names_are_told(tmp_path):
    state = VNet(1, 2, 2, "batchnorm").state_dict()
    torch.save({f"{name}.{key}": value for name in ("net", "ema") for key, value in state.items()}, tmp_path / "x.pth")
    with pytest.raises(LasegError, match="x.pth: holds 2 networks .net, ema"):
        load_network(tmp_path / "x.pth")


@pytest.mark.parametrize("compiled", [False, True])
def test_of_a_student_and_a_teacher_in_one_module_the_wanted_one_is_read(compiled, tmp_path):
    networks = {name: VNet(1, 2, 2, "batchnorm") for name in ("student", "teacher")}
    state = nn.ModuleDict(networks).state_dict()
    state = {key.replace(".", "._orig_mod.", 1): value for key, value in state.items()} if compiled else state
    torch.save({"state_dict": state}, tmp_path / "x.ckpt")
    for name, network in networks.items():
        found = load_network(tmp_path / "x.ckpt", name)[0].state_dict()
        assert all(torch.equal(found[key], value) for key, value in network.state_dict().items())


def test_a_legacy_file_without_checksums_loads(tmp_path):
    """Public checkpoints of old were no zip archives."""
    torch.save({"weight": torch.arange(3.0)}, tmp_path / "x.pth", _use_new_zipfile_serialization=False)
    assert not zipfile.is_zipfile(tmp_path / "x.pth")
    assert load_checkpoint(tmp_path / "x.pth")["weight"].tolist() == [0, 1, 2]


@pytest.mark.parametrize("wrap", [
    lambda state: state, lambda state: {"state_dict": state}, lambda state: {"net": state, "opt": {"lr": 0.1}},
    lambda state: {f"module.{key}": value for key, value in state.items()},
    lambda state: {"epoch": 3, "model": {f"module._orig_mod.{key}": value for key, value in state.items()}},
    lambda state: {"a": {"b": {f"_orig_mod.{key}": value for key, value in state.items()}}},
    lambda state: {key.replace(".conv.", "._orig_mod.conv."): value for key, value in state.items()},
    lambda state: {key.replace(".conv.", "._checkpoint_wrapped_module.conv."): value for key, value in state.items()},
    lambda state: {key.replace(".conv.", "._fsdp_wrapped_module.conv."): value for key, value in state.items()},
    lambda state: {"state_dict": {f"model.{key}": value for key, value in state.items()} | {"weight": torch.ones(1)},
                   "epoch": np.int64(3), "best": np.float64(0.9), "seen": np.float32(1.5)}])
def test_other_tools_wrappings_are_taken_off(wrap, tmp_path):
    want = VNet(1, 2, 2, "batchnorm").state_dict()
    torch.save(wrap(want), tmp_path / "x.pth")
    network, config = load_network(tmp_path / "x.pth")
    assert config == {} and all(torch.equal(value, want[key]) for key, value in network.state_dict().items())


def test_a_newer_pickle_protocol_is_told(tmp_path):
    torch.save(VNet(1, 2, 2).state_dict(), tmp_path / "x.pth", pickle_protocol=4)
    with pytest.raises(LasegError, match="x.pth: is written in a newer pickle protocol.*no pickle_protocol"):
        load_network(tmp_path / "x.pth")


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_file_system_that_can_not_flush_keeps_a_checkpoint(number, tmp_path, monkeypatch):
    def fails(descriptor):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(os, "fsync", fails)
    checkpoints.save_checkpoint(tmp_path / "x.pth", {"a": torch.ones(2)})
    assert load_checkpoint(tmp_path / "x.pth")["a"].tolist() == [1, 1]
    monkeypatch.setattr(os, "fsync", lambda descriptor: (_ for _ in ()).throw(OSError(errno.EIO, "broken")))
    with pytest.raises(LasegError, match="can't be written"):
        checkpoints.save_checkpoint(tmp_path / "x.pth", {"a": torch.ones(2)})


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_no_numbers_are_told(value, tmp_path):
    """They would predict nothing, and that would look like a scan without an atrium."""
    state = VNet(1, 2, 2, "batchnorm").state_dict()
    state["block_one.conv.1.running_var"][0] = value
    torch.save(state, tmp_path / "last.pth")
    with pytest.raises(LasegError, match="NaN or infinite.*earlier checkpoint"):
        load_network(tmp_path / "last.pth")


def test_a_teacher_of_an_earlier_version_that_kept_its_buffers_is_still_read(tmp_path):
    weights = VNet(1, 2, 2, "batchnorm").state_dict()
    config = {**TrainConfig(n_filters=2).to_dict(), "ema_buffers": "keep"}
    torch.save({"config": config, "student": weights, "teacher": weights}, tmp_path / "last.pth")
    assert load_network(tmp_path / "last.pth", "teacher")[1]["ema_buffers"] == "keep"


def test_a_list_in_place_of_the_weights_is_told(trained, tmp_path):
    torch.save({**load_checkpoint(trained / "last.pth"), "student": [1]}, tmp_path / "x.pth")
    with pytest.raises(LasegError, match="x.pth: holds a list where"):
        load_network(tmp_path / "x.pth")


def test_a_link_that_leads_nowhere_is_no_missing_checkpoint(tmp_path):
    (tmp_path / "log.txt").touch()
    (tmp_path / "last.pth").symlink_to(tmp_path / "nowhere")
    with pytest.raises(LasegError, match="a link to a missing file"):
        load_last(tmp_path, print)


def test_a_key_cannot_steer_the_terminal(tmp_path):
    state = {"\x1b]0;owned\x07\x1b[31m": torch.zeros(1)}
    torch.save({**VNet(1, 2, 2, "batchnorm").state_dict(), **state}, tmp_path / "last.pth")
    with pytest.raises(LasegError) as told:
        load_network(tmp_path / "last.pth")
    assert "\x1b" not in str(told.value) and "\\x1b" in str(told.value)


@pytest.mark.skipif(not POSIX, reason="a system without a umask")
def test_weights_have_the_permissions_that_any_new_file_has(tmp_path):
    before = os.umask(0o027)
    try:
        write_weights(tmp_path / "a.safetensors", VNet(1, 2, 1), {"n_filters": 1})
    finally:
        os.umask(before)
    assert (tmp_path / "a.safetensors").stat().st_mode & 0o777 == 0o640
    assert read_weights(tmp_path / "a.safetensors")["config"] == {"n_filters": 1}
