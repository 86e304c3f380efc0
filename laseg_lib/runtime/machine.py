"""The machine: device, precision, memory, threads, and the signals that end a long run."""

import contextlib
import ctypes
import os
import re
import signal
import sys
import threading
from pathlib import Path

import psutil
import torch

from ..errors import LasegError, visible


def pick_device(name="auto"):
    """The ``torch.device`` for 'auto', 'cpu', 'cuda' or 'cuda:1'.  LasegError if it doesn't exist."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise LasegError(f"--device {name}: must be auto, cpu, cuda or cuda:N")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise LasegError("--device cuda: PyTorch finds no GPU; use --device cpu, or install PyTorch's CUDA build")
    device = torch.device(name)
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise LasegError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    return device


def has_fast_bf16(device):
    """Whether ``device`` computes bfloat16 in hardware; otherwise it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    checks = [getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    return device.type == "cpu" and any(check() for check in checks if check)


def uses_bf16(device, precision="auto", patch_size=None):
    """Whether ``precision`` ('fp32', 'bf16' or 'auto': bf16 if the hardware has it) means bf16 on ``device``.

    ``patch_size``: of a training.  If W is 32 or less, V-Net's deepest convolutions see 2 voxels of W or 1.
    There oneDNN (PyTorch 2.13, CPU, bf16) computes weight gradients from uninitialised memory: numbers of 1e30, then
    NaN.  The forward pass is right.  So 'auto' is float32 there, and 'bf16' raises LasegError.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise LasegError(f"--precision must be auto, fp32 or bf16, not {precision!r}")
    wrong = device.type == "cpu" and patch_size is not None and patch_size[0] < 48
    if precision == "bf16" and wrong:
        raise LasegError(f"--precision bf16: wrong on a CPU for --patch_size {tuple(patch_size)}; "
                         "use a patch of at least 48 voxels in W, or --precision fp32")
    return precision == "bf16" or (precision == "auto" and has_fast_bf16(device) and not wrong)


def autocast(device, precision="auto"):
    """The autocast context in which networks run; see ``uses_bf16``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(device, precision))


@contextlib.contextmanager
def explain_memory():
    """Turn an out-of-memory error into a LasegError that names the settings to change."""
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        text = str(error).lower()
        words = ("can't allocate memory", "not enough memory", "alloc_cpu", "out of memory",
                 "could not create a primitive")  # the last is oneDNN's
        if not isinstance(error, (MemoryError, torch.OutOfMemoryError)) and not any(word in text for word in words):
            raise
        raise LasegError("not enough memory for this step: lower --patch_size, --batch_size or --n_filters, "
                         "or use --downsample 2 (and --cache none if the volumes themselves don't fit)") from error


def available_memory(device):
    """Bytes that a program can still allocate on ``device``."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    return min([psutil.virtual_memory().available, *container_memory()])


def container_memory(root="/sys/fs/cgroup", own="/proc/self/cgroup"):
    """The bytes that each memory limit of this process's control groups leaves: a container's, a batch system's.

    A group's limits are in its folder and in all folders above it; version 1 of control groups names them in another
    way than version 2.  The cache of files is not counted as used, because the system can free it.
    """
    found = []
    for line in _read(own).splitlines():
        _, controllers, group = line.split(":", 2)
        if controllers == "":
            base, names = Path(root), ("memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            base = Path(root) / "memory"
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
        else:
            continue
        folder = base / group.lstrip("/")
        for place in [folder, *folder.parents]:
            limit, used = (_read(place / name).strip() for name in names[:2])
            if limit.isdigit() and used.isdigit() and int(limit) < 2**60:  # "max", or version 1's enormous number
                stat = dict(line.split() for line in _read(place / "memory.stat").splitlines())
                found.append(int(limit) - int(used) + int(stat.get(names[2], 0)))
            if place == base:
                break
    return found


def _read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def require_memory(needed, device, what, remedy):
    """LasegError if ``what`` needs more bytes than are free.  Otherwise the system would kill the process silently."""
    there = available_memory(device)
    if needed > there:
        raise LasegError(f"not enough memory: {what} needs {needed / 1e9:.1f} GB, {there / 1e9:.1f} GB are free "
                         f"on this machine ({device}); {remedy}")


def training_bytes(config):
    """A lower bound of a training's memory in bytes, at any precision: four copies of the weights (student, teacher,
    gradient, momentum), and about ten activations of the patch's size for each filter."""
    weights, voxels = 36_000 * config.n_filters**2, config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
    batch = config.labelled_in_batch + config.unlabeled_bs
    return 16 * weights + 20 * config.n_filters * voxels * batch


def keep_memory():
    """Let this process keep freed memory for its next step.

    glibc returns blocks above 32 MB to the system, which clears the pages again: at 112 x 112 x 80 for up to
    a third of a step.  Blocks above 192 MB are still returned; to keep them raises the peak by a fifth.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError, TypeError):
        return
    trim_threshold, mmap_threshold = -1, -3  # names of malloc.h
    mallopt(mmap_threshold, 192 * 2**20)
    mallopt(trim_threshold, 2**31 - 1)


class StopRequest:
    """Within ``with StopRequest() as stop``, Ctrl-C sets ``stop.signal``; so do a scheduler's SIGTERM or SIGUSR1 and a
    closed terminal's SIGHUP.  The loop reads it between two steps, so no step is interrupted.

    A second Ctrl-C raises KeyboardInterrupt, but not under torchrun, which sends a terminal's signal once more.
    Outside the main thread Python allows no handlers, and ``stop.signal`` is never set.
    """

    def __init__(self):
        self.signal, self._before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # Windows has the first two only
            for number in (getattr(signal, name, None) for name in names):
                # nohup ignores SIGHUP on purpose; a handler that Python didn't install (None) can't be restored
                if number and signal.getsignal(number) not in (signal.SIG_IGN, None):
                    self._before[number] = signal.signal(number, self._handle)
        return self

    def _handle(self, number, frame):
        self.signal = signal.Signals(number)
        if "TORCHELASTIC_RUN_ID" not in os.environ:
            signal.signal(number, self._before[number])

    def __exit__(self, *exception):
        for number, handler in self._before.items():
            signal.signal(number, handler)


def notify(message):
    print(visible(str(message)), file=sys.stderr, flush=True)


@contextlib.contextmanager
def one_thread():
    """Compute with one thread: for small volumes, and for results that must not depend on the number of cores, which
    changes the order in which sums are rounded."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
