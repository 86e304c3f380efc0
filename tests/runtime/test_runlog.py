"""What a training writes beside its weights: a full disk is one sentence, and others' files are kept."""

import os

import pytest
from children import tiny_config

from laseg_lib.data.phantom import write_phantoms
from laseg_lib.errors import LasegError
from laseg_lib.runtime.runlog import RunLog, Scalars
from laseg_lib.training import Trainer


def steps(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder)).Reload()
    return [(event.step, event.value) for event in events.Scalars("loss")]


def test_a_resumed_run_takes_the_place_of_what_came_after_its_checkpoint(tmp_path):
    for points, options in (([(1, 0.5), (2, 0.25), (3, 9)], {}), ([(3, 0.125), (4, 1)], {"going_on": 3})):
        scalars = Scalars(tmp_path, **options)
        for step, value in points:
            scalars.add("loss", value, step)
        scalars.close()
    assert steps(tmp_path) == [(1, 0.5), (2, 0.25), (3, 0.125), (4, 1)]


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


@pytest.mark.parametrize("which", ["log.txt", "curves"])
def test_a_full_disk_ends_a_training_with_a_sentence_and_its_checkpoint_whole(which, root, tmp_path):
    trainer = Trainer(tiny_config(root, snapshot_path=str(tmp_path)))
    trainer.run(1, progress=False)
    file = trainer.log.text if which == "log.txt" else trainer.log.scalars.file
    os.dup2(full := os.open("/dev/full", os.O_WRONLY), file.fileno())
    os.close(full)
    with pytest.raises(LasegError, match="No space left on device.*then --resume"):
        trainer.run(1, progress=False)
    trainer.log.close()
    assert Trainer(tiny_config(root, snapshot_path=str(tmp_path)), resume=True).iteration == 1


def test_a_folder_that_can_not_be_written_or_is_missing_is_told_as_such(tmp_path):
    log = RunLog(tmp_path / "run")
    with pytest.raises(LasegError, match="log.txt: can't be written .Permission denied.*make this folder writable"):
        with log._explain_disk():
            raise PermissionError(13, "Permission denied", "log.txt")
    (tmp_path / "link").symlink_to(tmp_path / "unmounted")
    with pytest.raises(LasegError, match="link: is a link to a missing folder; --snapshot_path"):
        RunLog(tmp_path / "link")
