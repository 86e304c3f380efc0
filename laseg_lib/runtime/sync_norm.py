"""BatchNorm and Dice over the batches of all processes: 1+1 volumes on each of two ranks count as one batch of 2+2."""

from functools import partial

import torch
import torch.distributed as dist
from torch import nn

from ..losses import segmentation_loss
from .distributed import world


class _Sum(torch.autograd.Function):
    """The sum over the ranks.  Each rank's loss depends on it, so the backward pass sums their gradients."""

    @staticmethod
    def forward(ctx, x):
        dist.all_reduce(x := x.clone(memory_format=torch.contiguous_format))
        return x

    backward = forward


def total(x):
    """The sum of ``x`` over the batches of all ranks, as ``torch.sum`` over one batch.  Differentiable."""
    return torch.sum(x) if world() == 1 else _Sum.apply(torch.sum(x))


def sum_over_batch(config):
    """The function that sums in a training's losses: over all ranks with ``--sync_norm``, else over its own rank."""
    return total if config.sync_norm else torch.sum


def segmentation_loss_for(config):
    """``losses.segmentation_loss`` with the sums of ``sum_over_batch``."""
    return partial(segmentation_loss, total=sum_over_batch(config))


class SyncBatchNorm(nn.BatchNorm3d):
    """BatchNorm with mean and variance over the batches of all ranks.  torch's own works on GPUs only."""

    def forward(self, x):
        if not self.training or world() == 1:
            return super().forward(x)
        axes, shape, count = (0, 2, 3, 4), (1, -1, 1, 1, 1), x.numel() // x.shape[1] * world()
        wide = x.to(self.weight.dtype)  # under autocast x is bfloat16
        mean = _Sum.apply(wide.sum(axes)) / count
        centred = wide - mean.view(shape)
        variance = _Sum.apply((centred ** 2).sum(axes)) / count
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean, self.momentum)
            self.running_var.lerp_(variance * count / (count - 1), self.momentum)
        scale = self.weight * torch.rsqrt(variance + self.eps)
        return (centred * scale.view(shape) + self.bias.view(shape)).to(x.dtype)


def synchronise_norm(network, device):
    """``network`` with every BatchNorm synchronised; the names in its state dict don't change."""
    if device.type == "cuda":
        return nn.SyncBatchNorm.convert_sync_batchnorm(network)
    for module in network.modules():
        if type(module) is nn.BatchNorm3d:
            module.__class__ = SyncBatchNorm
    return network
