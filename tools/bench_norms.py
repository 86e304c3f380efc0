#!/usr/bin/env python3
"""Before the normalisation is changed: the time of a training step with other ways to compute it, side by side.

    python tools/bench_norms.py [--rounds 10] [--json data/recorded/norms.json]

Forward, loss and backward of V-Net on four volumes of 48x48x40.  A round times every way once, in turn.  The ways:

- ``channels last``: PyTorch's layers in the memory format of the library, as it is today;
- ``contiguous``: PyTorch's layers in the usual memory format;
- ``group_norm``: InstanceNorm as ``F.group_norm`` with one group a channel;
- ``rows``: means and variances as sums over the rows of the channels-last matrix, and one pass to scale (``Rows``).
"""

import argparse
import copy
import json
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

from laseg_lib import VNet
from laseg_lib.data.atomic import require_writable, write_whole
from laseg_lib.losses import segmentation_loss
from laseg_lib.records.make import current_provenance
from laseg_lib.records.read import HOME
from laseg_lib.runtime.machine import has_fast_bf16
from laseg_lib.runtime.program import one_line_errors, positive_integer

CPU, LAST, WIDE = torch.device("cpu"), torch.channels_last_3d, 128  # numbers in a row, enough for every vector register


class Rows(torch.autograd.Function):
    """Normalise x (B, C, W, H, D; channels last) over each volume, or over the batch.

    The voxels are the rows of a matrix with C columns.  Several voxels share a row, so that a row is wide.
    Returns the normalised x, the means and the variances (volumes or 1, C).
    """

    @staticmethod
    def forward(ctx, x, weight, bias, eps, over_batch):
        batch, channels, *size = x.shape
        rows = x.permute(0, 2, 3, 4, 1).reshape(1 if over_batch else batch, -1, channels)
        n, voxels = rows.shape[1], 1
        while channels * voxels < WIDE and n % (2 * voxels) == 0:
            voxels *= 2
        rows = rows.reshape(len(rows), n // voxels, -1)
        ctx.of, ctx.shape = (voxels, channels, n), (batch, *size, channels)
        mean = _fold(rows.sum(1, dtype=torch.float32), ctx.of) / n
        apart = rows - _tile(mean, ctx.of, x.dtype)
        variance = _fold(torch.linalg.vector_norm(apart, dim=1, dtype=torch.float32) ** 2, ctx.of) / n
        rstd = torch.rsqrt(variance + eps)
        ctx.save_for_backward(apart, rstd, weight)
        ctx.mark_non_differentiable(mean, variance)
        out = torch.empty(x.shape, dtype=x.dtype, memory_format=LAST)  # no view: ReLU works in place
        into = out.permute(0, 2, 3, 4, 1).view(apart.shape)
        if weight is None:
            torch.mul(apart, _tile(rstd, ctx.of, x.dtype), out=into)
        else:
            torch.addcmul(bias.to(x.dtype).repeat(voxels), apart, _tile(rstd * weight, ctx.of, x.dtype), out=into)
        return out, mean, variance

    @staticmethod
    def backward(ctx, gradient, *_):
        apart, rstd, weight = ctx.saved_tensors
        gradient, n = gradient.permute(0, 2, 3, 4, 1).reshape(apart.shape), ctx.of[2]
        of_bias = _fold(gradient.sum(1, dtype=torch.float32), ctx.of)
        of_weight = _fold((gradient * apart).sum(1, dtype=torch.float32), ctx.of) * rstd
        out = torch.addcmul(gradient, apart, _tile(-of_weight * rstd / n, ctx.of, gradient.dtype))
        out = out.sub_(_tile(of_bias / n, ctx.of, out.dtype))
        out = out.mul_(_tile(rstd if weight is None else rstd * weight, ctx.of, out.dtype))
        out = out.view(ctx.shape).permute(0, 4, 1, 2, 3)
        return (out, None, None, None, None) if weight is None else (out, of_weight.sum(0), of_bias.sum(0), None, None)


def _fold(sums, of):
    """Sums of the columns of wide rows, as sums of the channels."""
    voxels, channels, _ = of
    return sums.view(-1, voxels, channels).sum(1)


def _tile(values, of, dtype):
    """A number for each channel, repeated over a wide row."""
    return values.to(dtype).repeat(1, of[0])[:, None]


class RowInstanceNorm(nn.InstanceNorm3d):
    def forward(self, x):
        return Rows.apply(x, None, None, self.eps, False)[0]


class RowBatchNorm(nn.BatchNorm3d):
    def forward(self, x):
        if not self.training:
            return super().forward(x)
        out, mean, variance = Rows.apply(x, self.weight, self.bias, self.eps, True)
        n = x.numel() // x.shape[1]
        with torch.no_grad():
            self.num_batches_tracked += 1
            self.running_mean.lerp_(mean[0], self.momentum)
            self.running_var.lerp_(variance[0] * (n / (n - 1)), self.momentum)
        return out


class GroupInstanceNorm(nn.InstanceNorm3d):
    def forward(self, x):
        return F.group_norm(x, self.num_features, eps=self.eps)


WAYS = {"instancenorm": {"group_norm": GroupInstanceNorm, "rows": RowInstanceNorm}, "batchnorm": {"rows": RowBatchNorm}}


def networks(filters, normalization):
    """{way: (V-Net, its memory format)}, all with the same weights."""
    network = VNet(1, 2, filters, normalization)
    made = {"channels last": (network, LAST), "contiguous": (copy.deepcopy(network), torch.contiguous_format)}
    for way, layer in WAYS[normalization].items():
        other = copy.deepcopy(network)
        for module in other.modules():
            if isinstance(module, (nn.InstanceNorm3d, nn.BatchNorm3d)):
                module.__class__ = layer
        made[way] = other, LAST
    return {way: (net.to(memory_format=form), form) for way, (net, form) in made.items()}


def step(network, image, label, bf16):
    """(seconds, loss) of one forward, loss and backward."""
    begun = time.perf_counter()
    network.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        logits = network(image)
    loss = segmentation_loss(logits.float(), label)[0]
    loss.backward()
    return time.perf_counter() - begun, loss.item()


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive_integer, default=10)
    parser.add_argument("--json", type=Path, default=HOME / "build" / "norms.json")
    parser.add_argument("--size", type=int, nargs=3, default=(48, 48, 40), help=argparse.SUPPRESS)  # for a test
    args = parser.parse_args(argv)
    require_writable(args.json, "--json")
    draw, rows = torch.Generator().manual_seed(0), []
    image = torch.randn(4, 1, *args.size, generator=draw)
    label = (image[:, 0] > 1).long()
    for normalization in WAYS:
        for filters in (8, 16):
            for bf16 in (False, True)[:1 + has_fast_bf16(CPU)]:
                made = networks(filters, normalization)
                times = {way: [] for way in made}
                for _ in range(args.rounds + 1):
                    for way, (network, form) in made.items():
                        times[way].append(step(network, image.to(memory_format=form), label, bf16)[0])
                middle = {way: statistics.median(all_times[1:]) for way, all_times in times.items()}
                rows.append({"task": f"{normalization}, {filters} filters, {'bf16' if bf16 else 'fp32'}", **middle})
                print(rows[-1]["task"], {way: f"{seconds:.3f} s ({seconds / middle['channels last']:.2f})"
                                         for way, seconds in middle.items()}, flush=True)
    write_whole(args.json, json.dumps({"command": " ".join(["python tools/bench_norms.py", *sys.argv[1:]]),
                                       **current_provenance(CPU), "rows": rows}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
