"""InstanceNorm as the rows of a matrix: this file exists for speed alone.

PyTorch's layer copies a channels-last tensor to the usual order and back.  In channels-last order the voxels of a
volume are the rows of a matrix with a column for each channel, so sums over rows need no copy.  ``F.group_norm`` needs
none either, but its sums lose digits.  Times and errors: tools/bench_norms.py.
"""

import torch
from torch import nn
from torch.autograd.function import once_differentiable

WIDE = 128  # numbers in a row, enough for every vector register


def by_rows(network):
    """``network`` with its InstanceNorm layers computed by rows.  Names, buffers and weights stay."""
    for layer in network.modules():
        if type(layer) is nn.InstanceNorm3d and not layer.affine and not layer.track_running_stats:
            layer.__class__ = InstanceNorm
    return network


class InstanceNorm(nn.InstanceNorm3d):
    """PyTorch's layer.  In training in float32 on a processor its values and gradients are PyTorch's to 1e-5.

    Otherwise (bfloat16, a GPU, prediction, export) it is PyTorch's own.
    """

    def forward(self, x):
        if x.requires_grad and x.dtype == torch.float32 and x.device.type == "cpu" and x.shape[2:].numel() > 1:
            return Rows.apply(x, self.eps)
        return super().forward(x)


class Rows(torch.autograd.Function):
    """(B, C, W, H, D) float32, normalised over W, H and D; the result is in channels-last order."""

    @staticmethod
    def forward(ctx, x, eps):
        batch, channels, *size = x.shape
        rows = x.permute(0, 2, 3, 4, 1).reshape(batch, -1, channels)
        n, voxels = rows.shape[1], 1
        while channels * voxels < WIDE and n % (2 * voxels) == 0:  # several voxels share a row, so that it is wide
            voxels *= 2
        rows = rows.reshape(batch, n // voxels, voxels * channels)
        mean = fold(rows.sum(1), channels) / n
        apart = rows - tile(mean, voxels)
        rstd = torch.rsqrt(fold(torch.linalg.vecdot(apart, apart, dim=1), channels) / n + eps)
        ctx.save_for_backward(apart, rstd)
        ctx.shape, ctx.n, ctx.voxels = (batch, *size, channels), n, voxels
        out = torch.empty_like(x, memory_format=torch.channels_last_3d)  # no view of another: ReLU works in place
        torch.mul(apart, tile(rstd, voxels), out=out.permute(0, 2, 3, 4, 1).view(apart.shape))
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gradient):
        apart, rstd = ctx.saved_tensors
        rows, channels = gradient.permute(0, 2, 3, 4, 1).reshape(apart.shape), ctx.shape[-1]
        mean = fold(rows.sum(1), channels) / ctx.n
        slope = fold(torch.linalg.vecdot(rows, apart, dim=1), channels) / ctx.n
        out = torch.addcmul(rows, apart, tile(-slope * rstd**2, ctx.voxels))
        out = out.sub_(tile(mean, ctx.voxels)).mul_(tile(rstd, ctx.voxels))
        return out.view(ctx.shape).permute(0, 4, 1, 2, 3), None


def fold(sums, channels):
    """Sums of the columns of wide rows (B, voxels x C), as sums of the channels (B, C)."""
    return sums.view(len(sums), -1, channels).sum(1)


def tile(values, voxels):
    """Numbers of the channels (B, C), repeated for each voxel of a wide row: (B, 1, voxels x C)."""
    return values.repeat(1, voxels)[:, None]
