"""One way of training in a process of its own, for tools/bench.py: one piece of work for each line of input.

    python tools/bench_step.py ROOT seed|fp32|bf16 W H D FILTERS DEVICE

Answers each line ``step`` (of training) or ``fetch`` (four samples) with a line of JSON: seconds of the clock and of
the processor, and the peak of memory in MB above what the imports took.
The line ``count`` makes steps too, and answers with a step's operations, the bytes that they read and write, and
the seconds that its convolutions take of themselves.
"""

import json
import resource
import sys
import time
from pathlib import Path

import torch
import walkthrough_way
from torch.profiler import profile
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.flop_counter import FlopCounterMode

from laseg_lib.config import TrainConfig
from laseg_lib.training import Trainer


class CountBytes(TorchDispatchMode):
    """Adds up the sizes of all tensors that go into and come out of operations (views move nothing)."""

    total = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        if not func.is_view:
            tensors = {id(t): t for t in tree_leaves((args, kwargs, out)) if torch.is_tensor(t)}
            CountBytes.total += sum(t.numel() * t.element_size() for t in tensors.values())
        return out


def our_work(root, way, patch, filters, device):
    """The library's own step, data included, and its own augmented samples."""
    cache = "device" if device.type == "cuda" else "memory"
    config = TrainConfig(root_path=str(root), labelnum=2, max_samples=4, val_num=0, patch_size=patch,
                         n_filters=filters, precision=way, cache=cache, device=str(device), deterministic=0)
    trainer = Trainer(config)
    augment = trainer.batches.augment["labelled"]
    return {"step": trainer.step, "fetch": lambda: [augment(trainer.train_set[i]) for i in range(4)]}


def count(step, device):
    """Operations, bytes and the seconds spent in convolutions, of one ``step()``."""
    with FlopCounterMode(display=False) as operations, CountBytes():
        step()
    return {"operations": operations.get_total_flops(), "bytes": CountBytes.total,
            "convolutions_s": min(convolution_seconds(step, device) for _ in range(2))}


def convolution_seconds(step, device):
    """What one ``step()`` spends in convolutions."""
    with profile() as profiled:
        step()
    clock = "self_device_time_total" if device.type == "cuda" else "self_cpu_time_total"
    return sum(getattr(row, clock) for row in profiled.key_averages() if "conv" in row.key.lower()) / 1e6


def peak_mb(device):
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 1e6
    status = Path("/proc/self/status")
    if status.exists():  # Linux's ru_maxrss would count what the process that started this one took
        return int(status.read_text().split("VmHWM:")[1].split()[0]) * 1024 / 1e6
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6


def main():
    root, way, *numbers, device = sys.argv[1:]
    *patch, filters = map(int, numbers)
    device, base = torch.device(device), peak_mb(torch.device(device))
    work = (walkthrough_way.work(Path(root), patch, filters, device) if way == "seed"
            else our_work(root, way, patch, filters, device))
    for line in sys.stdin:
        if line.strip() == "count":
            answer = count(work["step"], device)
        else:
            begun, cpu = time.perf_counter(), time.process_time()
            work[line.strip()]()
            if device.type == "cuda":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - begun, time.process_time() - cpu
            answer = {"seconds": seconds, "peak_mb": peak_mb(device) - base}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
