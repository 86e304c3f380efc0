"""What a training draws: the volumes of each batch, and how each is changed on its way into it."""

import torch

from .runtime.randomness import Generators
from .sampler import TwoStreamBatchSampler
from .transforms import Compose, RandomAffine, RandomCrop, RandomRotFlip, ToTensor


class Batches:
    """Batches of labelled and unlabelled volumes, one after the other without end.

    ``config``: a TrainConfig whose split is decided.  ``volumes``: the dataset, labelled cases first.
    Of several processes each (``rank`` of ``world``) draws every world-th labelled and unlabelled case.
    ``restart``: the iteration at which all draws begin anew, where they can't go on from a checkpoint.
    ``next(batches)`` gives image (B, 1, W, H, D) float32 and label (B, W, H, D) int64 on ``device``, labelled volumes
    first; the labels of unlabelled volumes mean nothing.
    """

    def __init__(self, config, volumes, device, rank=0, world=1, restart=0):
        self.volumes, self.device, self.labelled = volumes, device, config.labelled_in_batch
        self.generators = Generators(config.seed, device, rank, restart)
        self.sampler = TwoStreamBatchSampler(
            range(config.labelnum)[rank::world], range(config.labelnum, config.max_samples)[rank::world],
            config.labelled_in_batch + config.unlabeled_bs, config.unlabeled_bs, generator=self.generators.order)
        self.augment = {stream: Compose(augmentation(config, rng)) for stream, rng in self.generators.augment.items()}
        self.epoch = iter(self.sampler)

    def __iter__(self):
        return self

    def __next__(self):
        indices = next(self.epoch, None)
        if indices is None:
            self.epoch = iter(self.sampler)
            indices = next(self.epoch)
        samples = [self.augment["labelled" if i < self.labelled else "unlabelled"](self.volumes[k])
                   for i, k in enumerate(indices)]
        image, label = (torch.stack([sample[key] for sample in samples]) for key in ("image", "label"))
        return image.to(self.device, memory_format=torch.channels_last_3d), label.to(self.device)

    def state_dict(self):
        """Where the sampler and every generator stand."""
        return {"sampler": self.sampler.state_dict(), **self.generators.state_dict()}

    def load_state_dict(self, state):
        """Go back there: the next batch is the one that would have come then."""
        self.sampler.load_state_dict(state["sampler"])
        self.generators.load_state_dict(state)
        self.epoch = iter(self.sampler)


def augmentation(config, rng):
    """What every volume goes through on its way into a batch, as ``config`` has it: a list of transforms."""
    turns = [RandomRotFlip(flip_probability=config.flip_probability, rng=rng)] if config.turns else []
    affine = [RandomAffine(config.affine, 1.2 ** (config.affine / 15), rng=rng)] if config.affine else []
    crop = RandomCrop(config.patch_size, walkthrough_offsets=config.walkthrough_offsets, rng=rng)
    return [*turns, crop, *affine, ToTensor()]
