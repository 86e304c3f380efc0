"""What must not be lost or mixed: lists, histories, trainings in one folder, trainings cut in the middle of a step."""

import contextlib
import gc
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from children import tiny_config

from laseg_lib.data import download
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.volumes import case_names, read_list, read_volume, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.runtime import machine
from laseg_lib.training import Trainer

SIZE = (24, 20, 12)


def phantoms(dest, **changes):
    return write_phantoms(dest, **{**dict(train=8, test=1, size=SIZE, seed=0), **changes})


# -- lists ------------------------------------------------------------------------------------------

def test_another_data_sets_lists_are_not_overwritten_and_nothing_is_made(tmp_path):
    (tmp_path / "train.list").write_text("PATIENT_7\nPATIENT_3\n")
    with pytest.raises(LasegError, match="PATIENT_7.*another folder"):
        phantoms(tmp_path)
    assert (tmp_path / "train.list").read_text() == "PATIENT_7\nPATIENT_3\n"
    assert not list(tmp_path.rglob("*.h5"))


def test_a_list_that_somebody_changed_stays_and_it_is_said(tmp_path, capsys):
    root = phantoms(tmp_path)
    chosen = case_names(root)[::-1]
    (tmp_path / "train.list").write_text("\n".join(chosen))
    phantoms(tmp_path)
    assert case_names(root) == chosen and "kept as it is" in capsys.readouterr().err
    (tmp_path / "test.list").unlink()
    phantoms(tmp_path)
    assert case_names(root, "test") == ["PHANTOM_0008"], "what is missing is written"


def test_fetch_keeps_a_list_that_somebody_edited(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(download, "fetch_file", lambda url, path, *rest: (
        path.parent.mkdir(parents=True, exist_ok=True), path.write_text("")))
    names = read_list(download.PUBLIC / "train.list")
    root = download.fetch(tmp_path, progress=False)
    assert case_names(root) == names
    (tmp_path / "train.list").write_text("\n".join(names[1:3]))
    download.fetch(tmp_path, progress=False)
    assert case_names(root) == names[1:3] and "kept as it is" in capsys.readouterr().err


# -- a training's files -----------------------------------------------------------------------------

@pytest.fixture
def trained(tmp_path):
    """(settings, folder) of a training stopped after two of four iterations."""
    config = dict(root=str(phantoms(tmp_path / "data")), snapshot_path=str(tmp_path / "run"), max_iterations=4)
    trainer = Trainer(tiny_config(**config))
    trainer.run(2, progress=False)
    trainer.log.close()
    return config, tmp_path / "run"


@pytest.mark.parametrize("change", ["edited", "cut", "CRLF", "deleted"])
def test_a_history_that_is_not_as_it_was_left_is_kept_and_it_is_said(trained, change, capsys):
    config, folder = trained
    path = folder / "history.csv"
    text = path.read_bytes()
    other = {"edited": text.replace(b"0.0", b"0.5", 1), "cut": text[:-9], "CRLF": text.replace(b"\n", b"\r\n")}
    assert other.get(change) != text
    path.write_bytes(other[change]) if change in other else path.unlink()
    trainer = Trainer(tiny_config(**config), resume=True)
    trainer.run(progress=False)
    assert "edited, cut or deleted" in capsys.readouterr().err
    if change in other:
        assert (folder / "history.old.csv").read_bytes() == other[change]
    assert [row["iteration"] for row in trainer.history] == [3, 4] and trainer.iteration == 4


def test_an_untouched_history_goes_on(trained, capsys):
    config, folder = trained
    trainer = Trainer(tiny_config(**config), resume=True)
    trainer.run(progress=False)
    assert [row["iteration"] for row in trainer.history] == [1, 2, 3, 4]
    assert "history" not in capsys.readouterr().err and not (folder / "history.old.csv").exists()


def test_an_empty_checkpoint_is_none_and_nothing_is_cut(trained):
    config, folder = trained
    (folder / "previous.pth").unlink(missing_ok=True)
    torch.save({}, folder / "last.pth")
    before = (folder / "history.csv").read_bytes()
    with pytest.raises(LasegError, match="not a checkpoint of a training"):
        Trainer(tiny_config(**config), resume=True)
    assert (folder / "history.csv").read_bytes() == before


def test_two_processes_do_not_train_in_one_folder_and_a_killed_one_keeps_no_lock(trained):
    config, folder = trained
    code = ("import sys, json, time; from children import tiny_config; from laseg_lib.training import Trainer; "
            "t = Trainer(tiny_config(**json.loads(sys.argv[1])), resume=True); print('there', flush=True); "
            "time.sleep(60)")
    child = subprocess.Popen([sys.executable, "-c", code, json.dumps(config)], stdout=subprocess.PIPE,
                             env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    try:
        assert child.stdout.readline() == b"there\n"
        with pytest.raises(LasegError, match="another process is training in this folder"):
            Trainer(tiny_config(**config), resume=True)
    finally:
        child.kill()
        child.communicate()
    assert Trainer(tiny_config(**config), resume=True).iteration == 2
    assert Trainer(tiny_config(**config), resume=True).iteration == 2, "in one process a second trainer may follow"


# -- other cases ------------------------------------------------------------------------------------

def test_a_training_goes_on_with_the_cases_it_began_with_wherever_they_are(trained, tmp_path):
    config, _ = trained
    (tmp_path / "data").rename(tmp_path / "moved")
    moved = {**config, "root": str(tmp_path / "moved" / "phantoms")}
    assert Trainer(tiny_config(**moved), resume=True).iteration == 2
    listed = tmp_path / "moved" / "train.list"
    names = listed.read_text()
    listed.write_text("\n".join(reversed(names.split())))
    with pytest.raises(LasegError, match="number 1 .*is PHANTOM_0007 now, it was PHANTOM_0000"):
        Trainer(tiny_config(**moved), resume=True)
    listed.write_text(names)
    path = tmp_path / "moved" / "phantoms" / "PHANTOM_0000" / "mri_norm2.h5"
    image, label = read_volume(path)
    write_volume(path, image, 1 - label)
    with pytest.raises(LasegError, match="PHANTOM_0000 has other contents"):
        Trainer(tiny_config(**moved), resume=True)


def test_an_older_checkpoint_goes_on_and_says_that_its_cases_are_not_known(trained, capsys):
    config, folder = trained
    state = torch.load(folder / "last.pth", weights_only=True)
    del state["cases"]
    state["files"] = {name: size for name, size in state["files"].items() if "sha256" not in name}
    torch.save(state, folder / "last.pth")
    assert Trainer(tiny_config(**config), resume=True).iteration == 2
    assert "not checked" in capsys.readouterr().err


# -- signals ----------------------------------------------------------------------------------------

@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="a system without SIGHUP")
def test_a_closed_terminal_ends_a_training_with_a_checkpoint(trained):
    config, folder = trained
    trainer = Trainer(tiny_config(**{**config, "max_iterations": 100}), resume=True)
    trainer.run(progress=False, callback=lambda t: os.kill(os.getpid(), signal.SIGHUP) if t.iteration == 5 else None)
    assert trainer.iteration == 5
    trainer.log.close()
    assert torch.load(folder / "last.pth", weights_only=True)["iteration"] == 5


def test_a_hangup_that_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with machine.StopRequest() as stop:
            os.kill(os.getpid(), signal.SIGHUP)
        assert stop.signal is None
    finally:
        signal.signal(signal.SIGHUP, before)


def test_a_training_that_was_cut_inside_a_step_does_not_go_on_as_another(trained):
    config, folder = trained
    trainer = Trainer(tiny_config(**config), resume=True)
    optimiser_step = trainer.optimizer.step

    def interrupted():
        optimiser_step()
        raise KeyboardInterrupt

    trainer.optimizer.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        trainer.run(progress=False)
    trainer.optimizer.step = optimiser_step
    with pytest.raises(LasegError, match="in the middle of a step"):
        trainer.run(progress=False)
    assert torch.load(folder / "last.pth", weights_only=True)["iteration"] == 2


@pytest.mark.parametrize("fails", [False, True])
def test_dropped_trainers_leave_no_threads_or_open_files(trained, fails):
    config, folder = trained

    def counted():
        gc.collect()
        files = Path("/proc/self/fd")
        return threading.active_count(), len(list(files.iterdir())) if files.exists() else 0

    before = counted()
    for number in range(5):
        place = folder / str(number)
        place.mkdir()
        if fails:
            (place / "history.csv").mkdir()
        with pytest.raises(LasegError) if fails else contextlib.nullcontext():
            Trainer(tiny_config(**{**config, "snapshot_path": str(place)}))
    now = counted()
    assert now[0] <= before[0] and now[1] <= before[1]


# -- memory -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("version", [1, 2])
def test_the_memory_of_a_container_is_what_its_groups_leave(tmp_path, version):
    base = tmp_path / "memory" if version == 1 else tmp_path
    limit, used, cache = (("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file") if version == 1 else
                          ("memory.max", "memory.current", "inactive_file"))
    unlimited = "max" if version == 2 else str(2**63 - 4096)
    for folder, most, now in ((base, unlimited, "900"), (base / "job", "2000", "700"),
                              (base / "job" / "step", "5000", "600")):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / limit).write_text(most + "\n")
        (folder / used).write_text(now + "\n")
        (folder / "memory.stat").write_text(f"anon 1\n{cache} 100\n")
    own = tmp_path / "own"
    own.write_text("0::/job/step\n" if version == 2 else "9:cpu:/x\n8:memory:/job/step\n")
    assert sorted(machine.container_memory(tmp_path, own)) == [1400, 4500]
    assert machine.container_memory(tmp_path, tmp_path / "none") == []


@pytest.mark.parametrize("error", [OSError(524, "Unknown error 524"), OSError(37, "No locks available"),
                                   NotImplementedError("flock")])
def test_a_file_system_without_locks_is_told_and_trained_on(phantom_root, tmp_path, monkeypatch, capsys, error):
    def refuse(self, *args, **kwargs):
        raise error
    monkeypatch.setattr("laseg_lib.runtime.runlog.FileLock.acquire", refuse)
    Trainer(tiny_config(phantom_root, snapshot_path=str(tmp_path / "run"))).run(1, progress=False)
    said = capsys.readouterr().err
    assert str(tmp_path / "run") in said and "--snapshot_path" in said and (tmp_path / "run/last.pth").exists()


def test_the_history_can_be_followed_from_outside(phantom_root, tmp_path):
    trainer = Trainer(tiny_config(phantom_root, snapshot_path=str(tmp_path / "run"), save_every=500))
    for done in (1, 2):
        trainer.step()
        assert len((tmp_path / "run/history.csv").read_text().splitlines()) == 1 + done
