"""Which volumes go into each batch, and how they are augmented."""

import torch

from .runtime.randomness import Generators
from .sampler import TwoStreamBatchSampler
from .transforms import Compose, RandomAffine, RandomCrop, RandomRotFlip, ToTensor


class Batches:
    """Batches of labelled and unlabelled volumes, one after another, without end.

    ``config``: a TrainConfig with a complete split.  ``volumes``: the dataset, labelled cases first.
    With several processes, process ``rank`` of ``world`` draws every world-th labelled and unlabelled case.
    ``restart``: the iteration at which all generators are seeded anew, if a checkpoint can't continue them.
    ``next(batches)`` gives image (B, 1, W, H, D) float32 and label (B, W, H, D) int64 on ``device``, labelled volumes
    first.  The labels of unlabelled volumes must not be used.  LasegError for a damaged file; ValueError if there are
    too few cases for a batch.
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
        """The states of the sampler and of every generator."""
        return {"sampler": self.sampler.state_dict(), **self.generators.state_dict()}

    def load_state_dict(self, state):
        """Return to a saved state: the next batch is the one that would have followed."""
        self.sampler.load_state_dict(state["sampler"])
        self.generators.load_state_dict(state)
        self.epoch = iter(self.sampler)


def augmentation(config, rng):
    """The list of a volume's transforms, as ``config`` sets them."""
    turns = [RandomRotFlip(flip_probability=config.flip_probability, rng=rng)] if config.turns else []
    affine = [RandomAffine(config.affine, 1.2 ** (config.affine / 15), rng=rng)] if config.affine else []
    crop = RandomCrop(config.patch_size, walkthrough_offsets=config.walkthrough_offsets, rng=rng)
    return [*turns, crop, *affine, ToTensor()]
