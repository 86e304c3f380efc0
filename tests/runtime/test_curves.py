"""TensorBoard's file: in its order whatever the clock says, and a full disk is one word."""

import os
import threading

import pytest
from children import tiny_config

from laseg_lib.data.phantom import write_phantoms
from laseg_lib.errors import LasegError
from laseg_lib.runtime import curves
from laseg_lib.runtime.curves import Curves
from laseg_lib.training import Trainer


def steps(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def write(folder, points, **options):
    found = Curves(folder, **options)
    for step, value in points:
        found.add_scalar("loss", value, step)
    found.close()


@pytest.mark.parametrize("later", [3600, 0, -3600], ids=["an hour later", "at once", "clock set back"])
def test_a_resumed_run_takes_the_place_of_what_came_after_its_checkpoint(later, tmp_path, monkeypatch):
    threads = threading.active_count()
    monkeypatch.setattr(curves.time, "time", lambda: 1_700_000_000)
    write(tmp_path, [(1, 0.5), (2, 0.25), (3, 9)])
    monkeypatch.setattr(curves.time, "time", lambda: 1_700_000_000 + later)
    write(tmp_path, [(3, 0.125), (4, 1)], going_on=3)
    assert steps(tmp_path) == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 1)]
    assert threading.active_count() == threads


def test_a_clock_before_1970_gives_each_file_a_name_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(curves.time, "time", lambda: -86_400)
    for step in (1, 2):
        write(tmp_path, [(step, 0.5)], going_on=step)
    assert steps(tmp_path) == [(1, 0.5), (2, 0.5)]


def test_a_full_disk_is_told_once_and_training_goes_on(tmp_path, capsys):
    found = Curves(tmp_path)
    os.dup2(full := os.open("/dev/full", os.O_WRONLY), found.file.fileno())
    for step in range(3):
        found.add_scalar("loss", 1, step)
        found.flush()
    os.close(full)
    assert capsys.readouterr().err.count("can't be written (No space left on device); training goes on") == 1
    (tmp_path / "file").touch()
    Curves(tmp_path / "file").add_scalar("loss", 1, 1)
    assert "can't be written" in capsys.readouterr().err


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("data"), train=8, test=1, size=(24, 20, 12), seed=0, progress=False)


def test_files_that_no_training_wrote_are_kept(root, tmp_path, capsys):
    (tmp_path / "log.txt").write_text("my diary")
    (tmp_path / "secret").write_text("a,b")
    (tmp_path / "history.csv").symlink_to(tmp_path / "secret")
    trainer = Trainer(tiny_config(root, snapshot_path=str(tmp_path)))
    trainer.run(1, progress=False)
    assert (tmp_path / "log.old.txt").read_text() == "my diary" and (tmp_path / "secret").read_text() == "a,b"
    assert capsys.readouterr().err.count("no training wrote it; it is kept as") == 2
    (tmp_path / "last.pth").unlink()
    trainer.log.close()
    Trainer(tiny_config(root, snapshot_path=str(tmp_path))).log.close()  # its own begin anew
    assert not (tmp_path / "log.old2.txt").exists() and "no training" not in capsys.readouterr().err


def test_a_full_disk_ends_a_training_with_a_sentence_and_its_checkpoint_whole(root, tmp_path):
    trainer = Trainer(tiny_config(root, snapshot_path=str(tmp_path)))
    trainer.run(1, progress=False)
    os.dup2(full := os.open("/dev/full", os.O_WRONLY), trainer.log.text.fileno())
    os.close(full)
    with pytest.raises(LasegError, match="No space left on device.*then --resume"):
        trainer.run(1, progress=False)
    trainer.log.close()
    assert Trainer(tiny_config(root, snapshot_path=str(tmp_path)), resume=True).iteration == 1
