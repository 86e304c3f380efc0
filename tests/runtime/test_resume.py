"""A training that was killed, interrupted or told to stop goes on as if nothing had happened, bit for bit."""

import copy
import os
import random
import shutil
import signal
import time
from dataclasses import replace

import pytest
import torch
from children import POSIX, Child, same, tiny_config, train

from laseg_lib.data.phantom import write_phantoms
from laseg_lib.errors import LasegError
from laseg_lib.runtime.checkpoints import load_checkpoint
from laseg_lib.training import Trainer

DONE = 32  # iterations of the killed training and of the one that never was
IN_WRITING = [("save", 1), ("save", 2), ("replace", 1), ("replace", 2), ("replace", 3), ("fsync", 1), ("fsync", 3),
              ("replace", 5)]
posix = pytest.mark.skipif(not POSIX, reason="POSIX signals")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("data"), train=8, test=1, size=(24, 20, 12), seed=0)


@pytest.fixture(scope="module")
def reference(root, tmp_path_factory):
    """The folder that an uninterrupted training leaves."""
    folder = tmp_path_factory.mktemp("reference")
    child = Child(folder, train, tiny_config(root, snapshot_path="run"), DONE)
    assert child.join() == 0, child.text()
    return folder / "run"


def assert_same_run(folder, reference):
    """Weights, optimiser, every generator, best-so-far, history and log: all as in ``reference``."""
    for name in ("last.pth", "previous.pth", "best.pth"):
        assert same(load_checkpoint(folder / name), load_checkpoint(reference / name)), name
    for name in ("history.csv", "log.txt"):
        assert (folder / name).read_bytes() == (reference / name).read_bytes(), name
    assert {path.name for path in folder.iterdir()} == {path.name for path in reference.iterdir()}


@posix
@pytest.mark.slow
def test_killed_at_many_moments_it_ends_as_if_never_killed(root, reference, tmp_path):
    config = tiny_config(root, snapshot_path="run")
    chance = random.Random(20)
    moments = IN_WRITING + [None] * 4  # None: at a random moment
    chance.shuffle(moments)
    run, reached, kills = tmp_path / "run", 0, 0
    while kills < len(moments):
        deadly = moments[kills]
        child = Child(tmp_path, train, config, DONE, (run / "log.txt").exists(), deadly)
        if deadly is None:
            child.wait_for(min(reached + chance.choice([0, 0, 1]), DONE - 6))
            time.sleep(chance.random() * 0.1)
            code = child.kill()
        else:
            code = child.join()
        if code == 0:  # a slow parent on a busy machine: it had ended before it could be killed
            break
        assert code == -signal.SIGKILL, child.text()
        reached, kills = max(reached, child.progress.value), kills + 1
    assert kills == len(moments), f"ended after {kills} kills"
    child = Child(tmp_path, train, config, DONE, True)
    assert child.join() == 0, child.text()
    assert_same_run(run, reference)


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT] + [signal.SIGUSR1] * POSIX)
def test_a_signal_ends_after_the_step_in_hand_with_a_checkpoint_and_a_word(root, reference, tmp_path, number):
    config = tiny_config(root, snapshot_path="run", save_every=500)  # so that only the signal writes one
    child = Child(tmp_path, train, config, DONE)
    child.wait_for(2)
    os.kill(child.process.pid, number)
    assert child.join() == 0, child.text()
    stopped = load_checkpoint(tmp_path / "run" / "last.pth")["iteration"]
    assert 2 <= stopped < DONE
    assert f"{number.name}: stopped after iteration {stopped} of 1000; nothing is lost" in child.text()
    child = Child(tmp_path, train, config, DONE, True)
    assert child.join() == 0, child.text()
    assert (tmp_path / "run/history.csv").read_bytes() == (reference / "history.csv").read_bytes()
    ours, theirs = (load_checkpoint(path / "last.pth") for path in (tmp_path / "run", reference))
    assert all(same(ours[part], theirs[part]) for part in ("student", "teacher", "optimizer", "streams", "best"))


def test_after_an_interrupt_run_goes_on_where_it_was(root, capsys):
    plain, trainer = Trainer(tiny_config(root)), None
    plain.run(5, progress=False)
    trainer = Trainer(tiny_config(root))
    trainer.run(5, progress=False, callback=lambda t: t.iteration == 2 and signal.raise_signal(signal.SIGINT))
    assert trainer.iteration == 2 and "run() continues from here" in capsys.readouterr().err
    trainer.run(3, progress=False)
    assert trainer.history == plain.history
    assert same(trainer.student.state_dict(), plain.student.state_dict())


def test_stopped_before_its_first_checkpoint_it_begins_anew_and_says_so(root, tmp_path, capsys):
    config = tiny_config(root, snapshot_path=str(tmp_path / "run"), save_every=500)
    Trainer(config).step()  # the process is gone now
    trainer = Trainer(config, resume=True)
    assert trainer.iteration == 0 and trainer.history == []
    assert "before its first checkpoint" in capsys.readouterr().err
    with pytest.raises(LasegError, match="start without --resume"):
        Trainer(tiny_config(root, snapshot_path=str(tmp_path / "mistyped")), resume=True)


@pytest.mark.parametrize("name", ["last.pth", "previous.pth"])
def test_a_folder_with_any_checkpoint_is_not_begun_again(root, tmp_path, name):
    """Between the two renames of a checkpoint only previous.pth is there."""
    config = tiny_config(root, snapshot_path=str(tmp_path / "run"))
    Trainer(config).run(2, progress=False)
    [path.unlink() for path in (tmp_path / "run").glob("*.pth") if path.name != name]
    with pytest.raises(LasegError, match="holds a training already"):
        Trainer(config)
    assert Trainer(config, resume=True).iteration == {"last.pth": 2, "previous.pth": 1}[name]


def test_a_best_checkpoint_alone_is_kept_and_the_training_begins_anew(root, tmp_path, capsys):
    """As after a kill between the first validation and the first checkpoint."""
    config = tiny_config(root, snapshot_path=str(tmp_path / "run"), val_num=1, val_every=2)
    Trainer(config).run(2, progress=False)
    [path.unlink() for path in (tmp_path / "run").glob("*.pth") if path.name != "best.pth"]
    before = (tmp_path / "run" / "best.pth").read_bytes()
    assert Trainer(config, resume=True).iteration == 0
    assert "best.pth.before keeps the earlier weights" in capsys.readouterr().err
    assert (tmp_path / "run" / "best.pth.before").read_bytes() == before


# -- what a checkpoint must hold --------------------------------------------------------------------

@pytest.fixture(scope="module")
def halfway(root):
    """(state in the second epoch, that of a training just begun, the end of the training)."""
    trainer = Trainer(tiny_config(root))
    trainer.run(5, progress=False)
    state = copy.deepcopy(trainer.state_dict())
    trainer.run(4, progress=False)
    end = copy.deepcopy((trainer.state_dict(), trainer.history[-4:]))
    return state, copy.deepcopy(Trainer(tiny_config(root)).state_dict()), end


def end_from(root, state):
    trainer = Trainer(tiny_config(root))
    trainer.load_state_dict(copy.deepcopy(state))
    trainer.run(4, progress=False)
    return trainer.state_dict(), trainer.history


PARTS = [("student",), ("teacher",), ("optimizer",), ("best",), ("streams", 0, "dropout"), ("streams", 0, "noise"),
         ("streams", 0, "augment", "labelled"), ("streams", 0, "augment", "unlabelled"),
         ("streams", 0, "sampler", "start", 0), ("streams", 0, "sampler", "start", 1),
         ("streams", 0, "sampler", "batches")]


def find(state, path):
    for key in path:
        state = state[key]
    return state


def test_a_checkpoint_gives_the_rest_of_the_training_again(root, halfway):
    state, _, end = halfway
    assert same(end_from(root, state), end)


@pytest.mark.parametrize("path", PARTS, ids=lambda path: "-".join(map(str, path)))
def test_without_any_one_part_the_training_would_be_another(root, halfway, path):
    """Each part is needed: with that of a training just begun in its place, the end differs."""
    state, begun, end = halfway
    state = copy.deepcopy(state)
    assert not same(find(state, path), find(begun, path)), "the part has not moved: this shows nothing"
    find(state, path[:-1])[path[-1]] = find(begun, path)
    assert not same(end_from(root, state), end)


@pytest.mark.parametrize("path", [*PARTS, ("streams",), ("config",), ("iteration",), ("files",)],
                         ids=lambda path: "-".join(map(str, path)))
def test_a_checkpoint_that_lacks_a_part_is_refused(root, tmp_path, path):
    import torch

    config = tiny_config(root, snapshot_path=str(tmp_path / "run"), val_every=500)
    Trainer(config).run(1, progress=False)
    state = load_checkpoint(tmp_path / "run/last.pth")
    del find(state, path[:-1])[path[-1]]
    torch.save(state, tmp_path / "run/last.pth")
    with pytest.raises(LasegError, match="not a checkpoint that this training can continue from"):
        Trainer(config, resume=True)


def test_with_every_lever_of_the_strong_recipe_too(root):
    """Rotations, intensities and the schedule draw from the same generators, or from the iteration alone."""
    config = tiny_config(root, consistency_type="pseudo", intensity=1.0, affine=15.0, student_affine=10.0,
                         schedule="poly")
    whole = Trainer(config)
    whole.run(3, progress=False)
    state = copy.deepcopy(whole.state_dict())
    whole.run(3, progress=False)
    rest = Trainer(config)
    rest.load_state_dict(copy.deepcopy(state))
    rest.run(3, progress=False)
    assert same(rest.state_dict(), whole.state_dict()) and rest.history == whole.history[3:]
    with pytest.raises(LasegError, match="--max_iterations 1000"):
        Trainer(replace(config, max_iterations=2000)).load_state_dict(state)


def test_saved_again_before_the_first_step_it_is_still_the_same(root, halfway):
    """A signal may come between resuming and the first batch."""
    state, _, end = halfway
    trainer = Trainer(tiny_config(root))
    trainer.load_state_dict(copy.deepcopy(state))
    assert same(end_from(root, trainer.state_dict()), end)


def test_other_settings_are_refused_and_touch_no_file(root, tmp_path):
    config = tiny_config(root, snapshot_path=str(tmp_path / "run"), save_every=2)
    trainer = Trainer(config)
    trainer.run(2, progress=False)
    trainer.step()
    trainer.log.close()
    before = (tmp_path / "run/history.csv").read_bytes()
    with pytest.raises(LasegError, match=r"--base_lr 0.05 \(now 0.01\)"):
        Trainer(tiny_config(root, snapshot_path=str(tmp_path / "run"), save_every=2, base_lr=0.01), resume=True)
    assert (tmp_path / "run/history.csv").read_bytes() == before


def test_scalars_up_to_a_checkpoint_are_on_the_disk_with_it(root, tmp_path, monkeypatch):
    """TensorBoard writes in a thread of its own; a kill must not lose what won't be trained again."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
    from tensorboard.summary.writer.record_writer import RecordWriter

    write = RecordWriter.write
    monkeypatch.setattr(RecordWriter, "write", lambda self, data: (time.sleep(0.05), write(self, data)))  # a slow disk

    trainer = Trainer(tiny_config(root, snapshot_path=str(tmp_path / "run"), val_every=500))
    trainer.run(3, progress=False)
    shutil.copytree(tmp_path / "run/log", tmp_path / "seen")  # as a kill at this moment would leave it
    events = EventAccumulator(str(tmp_path / "seen")).Reload()
    assert [event.step for event in events.Scalars("loss/loss")] == [1, 2, 3]


def test_a_checkpoint_of_another_kind_of_device_goes_on_with_new_random_generators(root, tmp_path, capsys):
    """A GPU's generator has a state of 16 bytes."""
    config = tiny_config(root, snapshot_path=str(tmp_path / "run"), max_iterations=4)
    Trainer(config).run(2, progress=False)
    state = load_checkpoint(tmp_path / "run/last.pth")
    for stream in state["streams"]:
        stream["noise"] = stream["dropout_cuda"] = torch.zeros(16, dtype=torch.uint8)
    torch.save(state, tmp_path / "run/last.pth")
    trainer = Trainer(config, resume=True)
    assert trainer.iteration == 2 and same(trainer.student.state_dict(), state["student"])
    assert "written on another kind of device: the weights are the same" in capsys.readouterr().err
    assert len(trainer.run(progress=False)) == 4


@posix
def test_a_signal_that_another_program_handles_is_left_to_it(root, monkeypatch):
    """Python can't put back a handler that it didn't install."""
    known = signal.getsignal
    monkeypatch.setattr(signal, "getsignal", lambda number: None if number == signal.SIGUSR1 else known(number))
    before = known(signal.SIGUSR1)
    trainer = Trainer(tiny_config(root, max_iterations=1))
    trainer.run(progress=False)
    assert trainer.iteration == 1 and known(signal.SIGUSR1) == before
