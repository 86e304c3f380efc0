"""Trainings in processes of their own, for the tests that kill them.

Each is forked from one server that has imported everything already, so that it starts at once.
"""

import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path

import torch

from laseg_lib.config import TrainConfig

POSIX = os.name == "posix"
CONTEXT = multiprocessing.get_context("forkserver" if POSIX else "spawn")
CONTEXT.set_forkserver_preload(["laseg_lib.training", "torch.utils.tensorboard", "torch.nn.parallel"])

# Every source of chance is at work: dropout, noise that counts from the start, both streams, a second epoch soon.
TINY = dict(labelnum=3, max_samples=7, val_num=1, batch_size=2, labeled_bs=1, patch_size=(16, 16, 8), n_filters=1,
            max_iterations=1000, consistency=1.0, consistency_rampup=0, base_lr=0.05, save_every=1, val_every=4,
            device="cpu", precision="fp32")


def tiny_config(root, **changes):
    """A training of milliseconds an iteration."""
    return TrainConfig(root_path=str(root), **{**TINY, **changes})


def same(a, b):
    """Whether two checkpoints hold the same, bit for bit."""
    if isinstance(a, torch.Tensor):
        return isinstance(b, torch.Tensor) and a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return isinstance(b, dict) and a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


class Child:
    """``function(progress, *args)`` in a process; ``progress.value`` is what it reports, ``text()`` what it prints."""

    def __init__(self, folder, function, *args, rank=None, world=1, port=0):
        self.output = Path(folder) / f"output{rank or 0}.txt"
        self.progress = CONTEXT.Value("i", -1, lock=False)
        ranks = {} if rank is None else {"RANK": rank, "LOCAL_RANK": rank, "WORLD_SIZE": world,
                                         "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
        self.process = CONTEXT.Process(target=_child, args=(self.output, folder, ranks, function, self.progress, args))
        self.process.start()

    def wait_for(self, iteration, seconds=300):
        """Until it has done that iteration, or has ended."""
        until = time.monotonic() + seconds
        while self.progress.value < iteration and self.process.is_alive():
            assert time.monotonic() < until, f"no progress: {self.text()}"
            time.sleep(0.002)

    def join(self, seconds=600):
        """The exit code."""
        self.process.join(seconds)
        if self.process.is_alive():
            self.process.kill()
            raise AssertionError(f"the process hangs: {self.text()}")
        return self.process.exitcode

    def kill(self):
        os.kill(self.process.pid, signal.SIGKILL if POSIX else signal.SIGTERM)
        return self.join()

    def text(self):
        return self.output.read_text(encoding="utf-8", errors="replace") if self.output.exists() else ""


def _child(output, folder, ranks, function, progress, args):
    from laseg_lib.errors import LasegError

    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(file, stream)
    os.chdir(folder)  # so that a relative snapshot_path is the same everywhere, and so is what the log says
    os.environ.update({name: str(value) for name, value in ranks.items()})
    torch.set_num_threads(1)
    try:
        function(progress, *args)
    except LasegError as error:  # as the command line does
        print(error, file=sys.stderr)
        sys.exit(1)
    finally:
        sys.stderr.flush()


def start_two(folder, function, *args):
    port = free_port()
    return [Child(folder, function, *args, rank=rank, world=2, port=port) for rank in range(2)]


def two(folder, function, *args):
    """``function`` on two ranks; what each prints."""
    children = start_two(folder, function, *args)
    codes = [child.join() for child in children]
    texts = [child.text() for child in children]
    assert codes == [0, 0], texts
    return texts


def train(progress, config, iterations, resume=False, deadly=None):
    """Train (or go on) until ``iterations`` are done; ``deadly`` = (name, n): see ``plant``."""
    from laseg_lib.training import Trainer

    if deadly:
        plant(*deadly)
    trainer = Trainer(config, resume=resume)
    progress.value = trainer.iteration

    def report(trainer):
        progress.value = trainer.iteration

    trainer.run(iterations - trainer.iteration, callback=report, progress=False)


def plant(name, n):
    """Make the n-th ``os.replace``, ``os.fsync`` or ``torch.save`` from now on the process's last act."""
    module = {"replace": os, "fsync": os, "save": torch}[name]
    original, calls = getattr(module, name), [0]

    def deadly(*args, **options):
        calls[0] += 1
        if calls[0] == n:
            if name == "save":
                args[1].write(b"PK\x03\x04 half a checkpoint")
                args[1].flush()
            os.kill(os.getpid(), signal.SIGKILL)
        return original(*args, **options)

    setattr(module, name, deadly)
