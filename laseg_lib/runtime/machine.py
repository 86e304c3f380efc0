"""What the machine can do, and how a long run ends politely on it."""

import contextlib
import ctypes
import os
import signal
import sys
import threading
from pathlib import Path

import torch

from ..errors import LasegError, visible


def pick_device(name="auto"):
    """The ``torch.device`` for 'auto', 'cpu', 'cuda' or 'cuda:1'.  LasegError when it isn't there."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    if name.startswith("cuda") and not torch.cuda.is_available():
        raise LasegError("--device cuda: PyTorch sees no GPU here; use --device cpu, or install PyTorch's CUDA build")
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise LasegError(f"--device {name}: must be auto, cpu, cuda or cuda:N") from error
    if device.type not in ("cpu", "cuda"):
        raise LasegError(f"--device {name}: must be auto, cpu, cuda or cuda:N")
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise LasegError(f"--device {name}: there are {torch.cuda.device_count()} GPUs, counted from 0")
    return device


def has_fast_bf16(device):
    """Whether bfloat16 is done in hardware here: without that it is slower than float32."""
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device)[0] >= 8
    checks = [getattr(torch.cpu, name, None) for name in ("_is_amx_tile_supported", "_is_avx512_bf16_supported")]
    return device.type == "cpu" and any(check() for check in checks if check)


def uses_bf16(device, precision="auto", patch_size=None):
    """Whether 'fp32', 'bf16' or 'auto' (bf16 where hardware has it) comes to bf16 here.

    ``patch_size``: of a training.  Where a 3 x 3 x 3 convolution sees 2 voxels along W, as V-Net does for a W of 32 or
    less, a CPU's bf16 gives weight gradients out of memory that nobody wrote (oneDNN in PyTorch 2.13: numbers of
    1e30, then NaN); the forward pass is right.  There 'auto' is float32, and 'bf16' raises LasegError.
    """
    if precision not in ("auto", "fp32", "bf16"):
        raise LasegError(f"--precision must be auto, fp32 or bf16, not {precision!r}")
    wrong = device.type == "cpu" and patch_size is not None and patch_size[0] < 48
    if precision == "bf16" and wrong:
        raise LasegError(f"--precision bf16: wrong on a CPU for --patch_size {tuple(patch_size)}; "
                         "use a patch of at least 48 voxels in W, or --precision fp32")
    return precision == "bf16" or (precision == "auto" and has_fast_bf16(device) and not wrong)


def autocast(device, precision="auto"):
    """The context in which networks run, by ``uses_bf16``."""
    return torch.autocast(device.type, torch.bfloat16, enabled=uses_bf16(device, precision))


@contextlib.contextmanager
def explain_memory():
    """Turn 'out of memory' into a sentence that names the settings to change."""
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
    """Bytes that a program may still take on ``device``; None where the system doesn't tell."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    there = [free_memory(), *container_memory(), address_space()]
    return min((number for number in there if number is not None), default=None)


def free_memory():
    """What the system has free; None where it doesn't tell."""
    try:
        import psutil  # comes with Jupyter

        return psutil.virtual_memory().available
    except ImportError:
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")  # all there is, free or not
        except (AttributeError, ValueError, OSError):
            return None


def container_memory(root="/sys/fs/cgroup", own="/proc/self/cgroup"):
    """What the control groups of this process leave it: a container's limit, a batch system's.  Bytes, one a limit.

    Version 2 has ``memory.max``, version 1 ``memory/.../memory.limit_in_bytes``, each in the group's own folder and in
    all above it; the cache of files, which gives way, is not counted as used.
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


def address_space():
    """What ``ulimit -v`` leaves this process; None without one."""
    try:
        import resource  # not on Windows

        limit = resource.getrlimit(resource.RLIMIT_AS)[0]
        if limit == resource.RLIM_INFINITY:
            return None
        return limit - int(_read("/proc/self/statm").split()[0]) * os.sysconf("SC_PAGE_SIZE")
    except (ImportError, IndexError, ValueError, OSError):
        return None


def _read(path):
    try:
        return Path(path).read_text()
    except OSError:
        return ""


def require_memory(needed, device, what, remedy):
    """LasegError when ``what`` needs more bytes than there are; a system would kill the process without a word."""
    there = available_memory(device)
    if there is not None and needed > there:
        raise LasegError(f"not enough memory: {what} needs {needed / 1e9:.1f} GB, {there / 1e9:.1f} GB are free "
                         f"on this machine ({device}); {remedy}")


def require_room_for(library, megabytes):
    """LasegError where ``library`` isn't imported yet and ``ulimit -v`` leaves less than its import takes: where memory
    ends in the middle of an import, Python itself may crash."""
    left = address_space()
    if library not in sys.modules and left is not None and left < megabytes * 10**6:
        raise LasegError(f"not enough memory: the library {library} needs {megabytes} MB, this process's limit "
                         f"(ulimit -v) leaves {max(left, 0) // 10**6} MB; raise the limit")


def training_bytes(config):
    """The least that a training takes, whatever the precision: four copies of the weights (student, teacher, gradient,
    momentum) and about ten activations of the patch's size a filter, in bytes."""
    weights, voxels = 36_000 * config.n_filters**2, config.patch_size[0] * config.patch_size[1] * config.patch_size[2]
    batch = config.labelled_in_batch + config.unlabeled_bs
    return 16 * weights + 20 * config.n_filters * voxels * batch


def keep_memory():
    """Let this process keep what it frees, for its next step.

    glibc hands each block above 32 MB back to the system, which then clears its pages anew: at 112 x 112 x 80 up to a
    third of a step.  Blocks above 192 MB still go back: kept, they would lie between smaller ones, and the peak grow by
    a fifth.  Elsewhere than with glibc nothing happens.
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
    closed terminal's SIGHUP.

    Nothing is torn apart: the loop looks at it between two steps.  A second Ctrl-C is the ordinary one
    (but not under torchrun, which passes each on to processes that had it from the terminal already).
    Outside the main thread Python allows no handlers; then it never fires.
    """

    def __init__(self):
        self.signal, self._before = None, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            names = ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1")  # Windows has the first two only
            for number in (getattr(signal, name, None) for name in names):
                if number and signal.getsignal(number) != signal.SIG_IGN:  # nohup: whoever said so means it
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
    """For small volumes, where a second thread gains little and loses much on a machine that does something else; and
    for results that must not depend on the number of cores: sums are rounded in another order for each."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
