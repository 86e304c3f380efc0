"""Two processes on this machine, meeting as torchrun has them meet: over gloo, on loopback."""

import csv
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from children import POSIX, Child, same, start_two, tiny_config, train, two

from laseg_lib.config import TrainConfig
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.volumes import with_split
from laseg_lib.errors import LasegError
from laseg_lib.runtime import distributed
from laseg_lib.runtime.checkpoints import load_checkpoint
from laseg_lib.training import Trainer

posix = pytest.mark.skipif(not POSIX, reason="signals and torchrun as on POSIX")


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("data"), train=8, test=1, size=(24, 20, 12), seed=0)


# -- a whole training on two ranks ------------------------------------------------------------------

def train_and_tell(progress, config, iterations, resume=False):
    """As ``train``; each rank writes its networks, and which volumes it drew."""
    trainer = Trainer(config, resume=resume)
    drawn, read = [], trainer.train_set._read
    trainer.train_set._read = lambda name, *rest: drawn.append(name) or read(name, *rest)
    trainer.run(iterations - trainer.iteration, progress=False,
                callback=lambda trainer: setattr(progress, "value", trainer.iteration))
    names = trainer.train_set.image_list
    torch.save({"student": trainer.student.state_dict(), "teacher": trainer.teacher.state_dict(),
                "drawn": [names.index(name) for name in drawn], "best": trainer.best, "history": trainer.history,
                "streams": trainer.batches.state_dict(), "own": [net.state_dict() for net in trainer.own_networks]},
               f"rank{distributed.rank()}.pt")


def first_networks(progress, config):
    """Each rank writes its networks before any step."""
    trainer = Trainer(config)
    torch.save([network.state_dict() for network in (trainer.student, trainer.teacher, *trainer.own_networks)],
               f"first{distributed.rank()}.pt")


def test_before_the_first_step_both_ranks_have_the_same_networks_the_teacher_too(root, tmp_path):
    """The teacher gives targets in the first step; no later one tells, since the first makes it the student."""
    two(tmp_path, first_networks, tiny_config(root, patch_size=(32, 16, 8), method="cross_teaching"))
    one, other = (torch.load(tmp_path / f"first{rank}.pt") for rank in range(2))
    assert len(one) == 3 and all(same(*pair) for pair in zip(one, other)) and same(one[0], one[1])


@pytest.mark.parametrize("changes", [dict(), dict(teacher_mode="train", ema_buffers="keep"), dict(sync_norm=True)],
                         ids=["norm per rank", "teacher in train mode", "synchronised norm"])
def test_networks_are_bit_equal_on_both_ranks_and_their_volumes_disjoint(root, tmp_path, changes):
    config = tiny_config(root, cache="none", snapshot_path="run", save_every=6, patch_size=(32, 16, 8), **changes)
    texts = two(tmp_path, train_and_tell, config, 6)
    a, b = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert same(a["teacher"], b["teacher"])
    assert same(a["student"], b["student"])
    assert not set(a["drawn"]) & set(b["drawn"])
    assert all(i % 2 == 0 for i in a["drawn"] if i < 3) and all(i == 1 for i in b["drawn"] if i < 3)
    assert {i for i in a["drawn"] + b["drawn"] if i >= 3} <= {3, 4, 5, 6}
    assert not same(a["streams"]["dropout"], b["streams"]["dropout"])
    assert not same(a["streams"]["noise"], b["streams"]["noise"])
    # Only the first rank validates and writes; both log the mean of their losses.
    assert a["best"] is not None and b["best"] is None
    assert [row["loss"] for row in a["history"]] == [row["loss"] for row in b["history"]]
    with open(tmp_path / "run/history.csv", newline="") as file:
        assert [int(row["iteration"]) for row in csv.DictReader(file)] == [1, 2, 3, 4, 5, 6]
    state = load_checkpoint(tmp_path / "run/last.pth")
    assert len(state["streams"]) == 2 and same(state["teacher"], b["teacher"])
    assert "best" not in texts[1] and "iteration" not in texts[1]


def test_a_methods_own_network_is_one_on_both_ranks_and_learns(root, tmp_path):
    config = tiny_config(root, snapshot_path="run", save_every=6, method="cross_teaching")
    two(tmp_path, train_and_tell, config, 6)
    a, b = (torch.load(tmp_path / f"rank{rank}.pt") for rank in range(2))
    assert same(a["own"], b["own"]) and same(a["student"], b["student"]) and same(a["teacher"], b["teacher"])
    assert not same(a["own"][0]["second.out_conv.weight"], a["student"]["out_conv.weight"])
    state = load_checkpoint(tmp_path / "run/last.pth")
    assert same(state["method"], a["own"])
    momenta = [entry["momentum_buffer"] for entry in state["optimizer"]["state"].values()]
    assert len(momenta) == 2 * sum(1 for _ in Trainer(tiny_config(root)).student.parameters())
    assert all(momentum.abs().sum() > 0 for momentum in momenta[len(momenta) // 2:] if momentum.ndim > 1)


def test_two_ranks_resume_exactly_and_one_rank_goes_on_saying_what_changed(root, tmp_path):
    whole, cut = tmp_path / "whole", tmp_path / "cut"
    whole.mkdir(), cut.mkdir()
    config = tiny_config(root, snapshot_path="run", save_every=3)
    children = start_two(whole, train, config, 6) + start_two(cut, train, config, 3)
    assert [child.join() for child in children] == [0] * 4, [child.text() for child in children]
    two(cut, train, config, 6, True)
    for name in ("history.csv", "log.txt"):
        assert (cut / "run" / name).read_bytes() == (whole / "run" / name).read_bytes()
    assert same(*(load_checkpoint(folder / "run/last.pth") for folder in (whole, cut)))

    child = Child(cut, train, config, 8, True)
    assert child.join() == 0, child.text()
    assert "written by 2 processes, continued by 1" in child.text()
    assert "from seed 1337 and iteration 6" in child.text()
    state = load_checkpoint(cut / "run/last.pth")
    assert state["iteration"] == 8 and len(state["streams"]) == 1
    assert len((cut / "run/history.csv").read_text().splitlines()) == 9


@posix
def test_a_lost_rank_ends_the_other_with_a_clear_word_and_a_whole_checkpoint(root, tmp_path):
    config = tiny_config(root, snapshot_path="run")
    first, second = start_two(tmp_path, train, config, 500)
    first.wait_for(3)
    second.kill()
    assert first.join() == 1
    said = first.text().strip().splitlines()[-1]
    assert "rank 0 of 2 lost the connection to another process" in said
    assert "--resume, on any number of processes" in said
    saved = load_checkpoint(tmp_path / "run/last.pth")["iteration"]
    assert saved >= 3
    child = Child(tmp_path, train, config, saved + 2, True)
    assert child.join() == 0, child.text()
    assert load_checkpoint(tmp_path / "run/last.pth")["iteration"] == saved + 2


@posix
def test_a_signal_to_one_rank_stops_both_after_the_same_step(root, tmp_path):
    children = start_two(tmp_path, train, tiny_config(root, snapshot_path="run", save_every=500), 500)
    children[0].wait_for(2)
    os.kill(children[1].process.pid, signal.SIGTERM)
    assert [child.join() for child in children] == [0, 0], [child.text() for child in children]
    assert "SIGTERM: stopped after iteration" in children[0].text() and "stopped" not in children[1].text()
    assert children[0].progress.value == children[1].progress.value == load_checkpoint(
        tmp_path / "run/last.pth")["iteration"]


def diverge(progress, config):
    trainer = Trainer(config)
    if distributed.rank() == 1:  # NaN in the volumes of one rank only
        image, label = trainer.next_batch()
        trainer.next_batch = lambda: (image * float("nan"), label)
    trainer.run(3, progress=False)


def test_a_nan_on_one_rank_stops_both_with_the_same_word(root, tmp_path):
    children = start_two(tmp_path, diverge, tiny_config(root))
    assert [child.join() for child in children] == [1, 1]
    assert all("the loss is nan at iteration 1" in child.text() for child in children)


# -- settings, and the word that a researcher types -------------------------------------------------

@pytest.mark.parametrize("labelnum, processes, told", [(3, 2, None), (3, 4, ("3", "1 labelled volumes", "4 processes")),
                                                       (6, 2, ("6", "7", "1 of a batch on each of 2 processes"))])
def test_too_few_cases_for_the_processes_are_told_with_their_numbers(labelnum, processes, told):
    config = TrainConfig(labelnum=labelnum, max_samples=7, batch_size=2, labeled_bs=1, val_num=1)
    if told is None:
        assert with_split(config, 8, processes=processes).labelnum == 3
        return
    with pytest.raises(LasegError) as error:
        with_split(config, 8, processes=processes)
    assert all(number in str(error.value) for number in told)


@pytest.mark.parametrize("text", ["[../gloo/transport/tcp/pair.cc:534] Connection closed by peer [127.0.0.1]:1",
                                  "NCCL communicator was aborted on rank 0", "Timed out waiting 600000ms for recv"])
def test_what_gloo_and_nccl_say_of_a_lost_process_becomes_a_sentence(monkeypatch, text):
    monkeypatch.setattr(distributed, "world", lambda: 2)
    monkeypatch.setattr(distributed, "rank", lambda: 1)
    with pytest.raises(LasegError, match="rank 1 of 2 lost the connection"), distributed.explain_lost_rank():
        raise RuntimeError(text)
    with pytest.raises(RuntimeError, match="a bug"), distributed.explain_lost_rank():
        raise RuntimeError("a bug of ours")


def test_processes_that_never_meet_are_told(monkeypatch):
    for name, value in {"WORLD_SIZE": "2", "RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "none"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(LasegError, match="the 2 processes can't connect .*torchrun"):
        distributed.join_processes("cpu")


@posix
@pytest.mark.slow
def test_torchrun_with_the_command_line(root, tmp_path):
    """One more word than on one process; one voice, one history, and a checkpoint that evaluates."""
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1",
               "--nproc-per-node", "2", "-m", "laseg_lib", "train", "--root_path", str(root), "--labelnum", "3",
               "--max_samples", "7",
               "--batch_size", "2", "--labeled_bs", "1", "--patch_size", "16", "16", "8", "--n_filters", "1",
               "--max_iterations", "3",
               "--device", "cpu", "--sync_norm", "--snapshot_path", str(tmp_path / "run")]
    repo = Path(__file__).resolve().parents[2]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repo)}
    done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(re.findall("MT: 3 labelled of 7 cases", done.stdout)) == 1
    assert len(re.findall("done: ", done.stdout)) == 1
    assert len((tmp_path / "run/history.csv").read_text().splitlines()) == 4
    assert len(load_checkpoint(tmp_path / "run/last.pth")["streams"]) == 2
