"""The random generators of a training, one for each purpose: a new purpose changes no other's draws.

The functions below draw a transform's random numbers.  Each worker of a DataLoader draws different ones.
"""

import random

import numpy as np
import torch
from torch.utils.data import get_worker_info

_OF_WORKER = {}  # in a DataLoader's worker: id(rng) -> (rng, kept alive; this worker's generator)


class Generators:
    """The generators of process ``rank``.

    ``order``: the order of the volumes (NumPy).  ``augment``: how labelled and unlabelled volumes are augmented
    (NumPy).  ``noise``: the noise on the networks' inputs (torch, on ``device``).  Dropout draws from torch's global
    generator.  ``restart``: the iteration at which they are seeded anew, if a checkpoint can't continue them.
    """

    def __init__(self, seed, device, rank=0, restart=0):
        children = np.random.default_rng([seed, rank, restart]).spawn(5)
        self.device, self.order = device, children[0]
        self.augment = {"labelled": children[1], "unlabelled": children[2]}
        self.noise = torch.Generator(device).manual_seed(int(children[3].integers(2**62)))
        if rank or restart:  # the first weights are drawn by then, and must be the same on every rank
            torch.manual_seed(int(children[4].integers(2**62)))

    def state_dict(self):
        return {"augment": {stream: rng.bit_generator.state for stream, rng in self.augment.items()},
                "noise": self.noise.get_state(), "dropout": torch.get_rng_state(),
                "dropout_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None}

    def fits(self, state):
        """Whether ``state`` is of the same kind of device: a GPU's generator has another state than a CPU's."""
        return len(state["noise"]) == len(self.noise.get_state())

    def load_state_dict(self, state):
        for stream, rng in self.augment.items():
            rng.bit_generator.state = state["augment"][stream]
        self.noise.set_state(state["noise"])
        torch.set_rng_state(state["dropout"])
        if state["dropout_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["dropout_cuda"], self.device)


def seed_everything(seed, deterministic=True):
    """Seed Python's, NumPy's and torch's global generators.  ``deterministic``: cuDNN may not choose by timing."""
    random.seed(int(seed))
    np.random.seed(seed % 2**32)
    torch.manual_seed(int(seed))
    torch.backends.cudnn.deterministic = bool(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def _of_worker(rng):
    """``rng`` itself; in a DataLoader's worker a generator for this worker and epoch.  Each worker gets a copy of
    ``rng``, and all copies would draw the same numbers in every epoch."""
    info = get_worker_info()
    if info is None:
        return rng
    if id(rng) not in _OF_WORKER:
        _OF_WORKER[id(rng)] = rng, np.random.default_rng([info.seed, int(rng.integers(2**32))])
    return _OF_WORKER[id(rng)][1]


def checked(rng):
    """``rng``; TypeError if it is neither a Generator nor None, such as a seed."""
    if rng is not None and not isinstance(rng, np.random.Generator):
        raise TypeError(f"rng must be a numpy.random.Generator, as np.random.default_rng(seed) makes one, or None; not "
                        f"{type(rng).__name__}")
    return rng


def integer(rng, low, high):
    """A random integer in [low, high), from a Generator or from NumPy's global state."""
    return int(np.random.randint(low, high) if rng is None else _of_worker(rng).integers(low, high))


def uniform(rng):
    """A random number in [0, 1), from a Generator or from NumPy's global state."""
    return np.random.random() if rng is None else _of_worker(rng).random()
