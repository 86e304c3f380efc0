#!/usr/bin/env python3
"""Before the normalisation is changed: the time of a training step with other ways to compute InstanceNorm.

    python tools/bench_norms.py [--rounds 10] [--json data/recorded/norms.json]

Forward, loss and backward of V-Net on four volumes of 48x48x40.  A round times every way once, in turn.  The ways:

- ``PyTorch's``: its layer in the memory format of the library, channels last;
- ``contiguous``: the same in the usual memory format;
- ``group_norm``: ``F.group_norm`` with one group a channel;
- ``ours``: ``laseg_lib.runtime.instance_norm.InstanceNorm``, by rows in float32; in bfloat16 it is PyTorch's.

Then the largest error of each way in float32, on a volume of 112x112x80 whose voxels have a standard deviation of 1.
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
from laseg_lib.runtime.instance_norm import InstanceNorm
from laseg_lib.runtime.machine import has_fast_bf16
from laseg_lib.runtime.program import one_line_errors, positive_integer

CPU, LAST, FIRST = torch.device("cpu"), torch.channels_last_3d, "PyTorch's"


class GroupInstanceNorm(nn.InstanceNorm3d):
    def forward(self, x):
        return F.group_norm(x, self.num_features, eps=self.eps)


WAYS = {"PyTorch's": (nn.InstanceNorm3d, LAST), "contiguous": (nn.InstanceNorm3d, torch.contiguous_format),
        "group_norm": (GroupInstanceNorm, LAST), "ours": (InstanceNorm, LAST)}


def networks(filters):
    """{way: (V-Net, its memory format)}, all with the same weights."""
    network, made = VNet(1, 2, filters, "instancenorm"), {}
    for way, (layer, form) in WAYS.items():
        made[way] = copy.deepcopy(network).to(memory_format=form), form
        for module in made[way][0].modules():
            if isinstance(module, nn.InstanceNorm3d):
                module.__class__ = layer
    return made


def largest_error(layer, mean, size):
    """The largest error of the layer's float32 output, against float64, on one volume with 8 channels."""
    draw = torch.Generator().manual_seed(0)
    x = (mean + torch.randn(1, 8, *size, generator=draw)).to(memory_format=LAST)
    exact = nn.InstanceNorm3d(8)(x.double())
    return (layer(8)(x.requires_grad_()).detach() - exact).abs().max().item()


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
    parser.add_argument("--large", type=int, nargs=3, default=(112, 112, 80), help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    require_writable(args.json, "--json")
    draw, rows = torch.Generator().manual_seed(0), []
    image = torch.randn(4, 1, *args.size, generator=draw)
    label = (image[:, 0] > 1).long()
    for filters in (8, 16):
        for bf16 in (False, True)[:1 + has_fast_bf16(CPU)]:
            made = networks(filters)
            times = {way: [] for way in made}
            for _ in range(args.rounds + 1):
                for way, (network, form) in made.items():
                    times[way].append(step(network, image.to(memory_format=form), label, bf16)[0])
            middle = {way: statistics.median(all_times[1:]) for way, all_times in times.items()}
            rows.append({"task": f"{filters} filters, {'bf16' if bf16 else 'fp32'}", **middle})
            print(rows[-1]["task"], {way: f"{seconds:.3f} s ({seconds / middle[FIRST]:.2f})"
                                     for way, seconds in middle.items()}, flush=True)
    errors = {f"mean {mean}": {way: largest_error(layer, mean, args.large) for way, (layer, _) in WAYS.items()}
              for mean in (0, 10)}
    print(errors)
    write_whole(args.json, json.dumps({"command": " ".join(["python tools/bench_norms.py", *sys.argv[1:]]),
                                       **current_provenance(CPU), "rows": rows, "errors": errors}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
