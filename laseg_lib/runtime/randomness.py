"""Where chance comes in.  Each stream has a generator of its own, so that an arm without one leaves the others as
they were, and a checkpoint can hold them all."""

import random

import numpy as np
import torch

from ..sampler import TwoStreamBatchSampler
from ..transforms import Compose, RandomAffine, RandomCrop, RandomRotFlip, ToTensor


class Streams:
    """The generators of one process: which volumes, how each is turned and cropped, noise, dropout.

    ``rank`` of ``world`` processes draws every world-th labelled and unlabelled case.  ``restart``: the iteration at
    which the streams begin anew, when they can't be those of a checkpoint.
    """

    def __init__(self, config, device, rank=0, world=1, restart=0):
        draws = np.random.default_rng([config.seed, rank, restart]).spawn(5)
        self.device = device
        self.sampler = TwoStreamBatchSampler(
            range(config.labelnum)[rank::world], range(config.labelnum, config.max_samples)[rank::world],
            config.labelled_in_batch + config.unlabeled_bs, config.unlabeled_bs, generator=draws[0])
        self.augment_rngs = {"labelled": draws[1], "unlabelled": draws[2]}
        self.augment = {stream: Compose(augmentation(config, rng)) for stream, rng in self.augment_rngs.items()}
        self.noise = torch.Generator(device).manual_seed(int(draws[3].integers(2**62)))
        if rank or restart:  # the global generator, which dropout draws from, goes on after the weights were drawn
            torch.manual_seed(int(draws[4].integers(2**62)))

    def state_dict(self):
        """Where every stream stands."""
        return {"sampler": self.sampler.state_dict(),
                "augment": {stream: rng.bit_generator.state for stream, rng in self.augment_rngs.items()},
                "noise": self.noise.get_state(), "dropout": torch.get_rng_state(),
                "dropout_cuda": torch.cuda.get_rng_state(self.device) if self.device.type == "cuda" else None}

    def load_state_dict(self, state):
        """Put every stream back there."""
        self.sampler.load_state_dict(state["sampler"])
        for stream, rng in self.augment_rngs.items():
            rng.bit_generator.state = state["augment"][stream]
        self.noise.set_state(state["noise"])
        torch.set_rng_state(state["dropout"])
        if state["dropout_cuda"] is not None and self.device.type == "cuda":
            torch.cuda.set_rng_state(state["dropout_cuda"], self.device)


def augmentation(config, rng):
    """What every volume goes through on its way into a batch, as ``config`` has it: a list of transforms."""
    turns = [RandomRotFlip(flip_probability=config.flip_probability, rng=rng)] if config.turns else []
    affine = [RandomAffine(config.affine, 1.2 ** (config.affine / 15), rng=rng)] if config.affine else []
    crop = RandomCrop(config.patch_size, walkthrough_offsets=config.walkthrough_offsets, rng=rng)
    return [*turns, crop, *affine, ToTensor()]


def seed_everything(seed, deterministic=True):
    """Python's, NumPy's and torch's global generators; ``deterministic`` also forbids cuDNN to choose by timing."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = bool(deterministic)
    torch.backends.cudnn.benchmark = not deterministic
