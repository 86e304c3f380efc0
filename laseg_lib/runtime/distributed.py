"""One training on several processes, started by ``torchrun`` and joined by PyTorch's DistributedDataParallel.

    torchrun --nproc-per-node 2 -m laseg_lib train ...

Each process (a *rank*) draws its own volumes and has its own copy of the networks.  Gradients are averaged between
``backward`` and the optimiser's step.  With a single process the functions here do nothing.
"""

import atexit
import contextlib
import inspect
import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.nn.parallel import DistributedDataParallel

from ..errors import LasegError
from .machine import pick_device

# Statistics are shared once a step, before the teacher's update, not at each forward.  torch 2.13 renamed the argument.
BUFFERS = "forward_sync_buffers"
if BUFFERS not in inspect.signature(DistributedDataParallel).parameters:
    BUFFERS = "broadcast_buffers"
TIMEOUT = timedelta(minutes=10)  # longer than the first rank's validation, for which the others wait


def world():
    """The number of processes that train together."""
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def rank():
    """This process's number.  Only the first, 0, validates, writes and prints."""
    return dist.get_rank() if world() > 1 else 0


def join_processes(device="auto"):
    """Join the processes that torchrun started.  Returns this process's device: with GPUs, one for each process of a
    machine.  LasegError if the processes can't connect, or GPUs are missing."""
    device = pick_device(device)
    if os.environ.get("WORLD_SIZE", "1") == "1" or "MASTER_ADDR" not in os.environ or not dist.is_available():
        return device
    if device.type == "cuda":
        device = pick_device(f"cuda:{os.environ.get('LOCAL_RANK', 0)}")
        torch.cuda.set_device(device)
    if not dist.is_initialized():
        try:
            dist.init_process_group("cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo", timeout=TIMEOUT)
        except (RuntimeError, ValueError) as error:
            raise LasegError(f"the {os.environ['WORLD_SIZE']} processes can't connect ({first_line(error)}); "
                             "start them with torchrun") from error
        atexit.register(leave_processes)
    return device


def leave_processes():
    """Leave the group before Python ends.

    DistributedDataParallel keeps the group's threads alive.  One of them may still hold a tensor of the last exchange;
    if it gives it back while Python is ending, the process aborts (SIGABRT; torch's pull request 179291).  So it gets
    time for that.
    """
    if dist.is_initialized():
        dist.destroy_process_group()
        time.sleep(0.3)


def replicate(network, device):
    """``network`` with gradients averaged over the ranks; all begin with the first's weights."""
    if world() == 1 or not any(parameter.requires_grad for parameter in network.parameters()):
        return network
    devices = [device] if device.type == "cuda" else None
    return DistributedDataParallel(network, devices, **{BUFFERS: False})


@torch.no_grad()
def share_buffers(*networks):
    """Copy the first rank's BatchNorm statistics to all; otherwise the teachers would differ."""
    buffers = [buffer for network in networks for buffer in network.buffers()
               if buffer.is_floating_point()]
    if world() > 1 and buffers:
        dist.broadcast(flat := torch.cat([buffer.flatten() for buffer in buffers]), 0)
        for buffer, value in zip(buffers, flat.split([buffer.numel() for buffer in buffers])):
            buffer.copy_(value.view_as(buffer))


def mean_over_ranks(x):
    """The mean of a tensor over the ranks, for the log.  NaN on one rank gives NaN on all: all stop together."""
    if world() > 1:
        dist.all_reduce(x := x / world())
    return x


def max_over_ranks(number):
    """The highest of the ranks' integers.  If one rank gets a signal, all ranks stop after the same step."""
    if world() > 1:
        dist.all_reduce(shared := torch.tensor(int(number)), dist.ReduceOp.MAX)
        return int(shared)
    return int(number)


def gather(thing):
    """A list of every rank's ``thing``, in the order of the ranks, on all ranks."""
    things = [thing] * world()
    if world() > 1:
        dist.all_gather_object(things, thing)
    return things


@contextlib.contextmanager
def explain_lost_rank():
    """Turn gloo's and NCCL's errors about a lost process into a LasegError."""
    try:
        yield
    except RuntimeError as error:
        if world() == 1 or not any(word in str(error) for word in ("gloo", "NCCL", "onnection", "peer", "imed out")):
            raise
        raise LasegError(f"rank {rank()} of {world()} lost the connection to another process, which has ended or hangs "
                         f"({first_line(error)}). The last checkpoint is complete: start again with --resume, "
                         "on any number of processes") from error


def first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
