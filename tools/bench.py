#!/usr/bin/env python3
"""The seed's way and ours, side by side, in turn, in one process.

    python tools/bench.py [--rounds 3] [--json build/bench.json] [--only step] [--quick]

Prints a row a task: median seconds of either way, and the ratio seed/ours of each round as median and range.
The seed's way is what the walkthrough and its family do: float32, contiguous tensors, one HDF5 file read for each
sample, whole volumes turned before they are cropped, score maps on the host, one window at a time, metrics on whole
volumes.  LASEG_DATA names real volumes; without it phantoms of the same size are made in memory.
"""

import argparse
import copy
import json
import math
import os
import statistics
import tempfile
import time
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from medpy.metric import binary

from laseg_lib import LAHeart, RandomCrop, RandomRotFlip, ToTensor, VNet, losses, update_ema_variables
from laseg_lib.config import TrainConfig
from laseg_lib.inference import predict_volume
from laseg_lib.machine import autocast, pick_device
from laseg_lib.metrics import case_metrics
from laseg_lib.phantom import make_phantom
from laseg_lib.records import provenance
from laseg_lib.training import mean_teacher_loss
from laseg_lib.transforms import Compose
from laseg_lib.volumes import FILE, find_root, write_volume

FULL, QUICK = (112, 112, 80), (48, 48, 32)


def volumes(folder, count=4):
    """A data folder with ``count`` training cases of real size, and one test case."""
    if os.environ.get("LASEG_DATA"):
        return find_root(os.environ["LASEG_DATA"])
    root = Path(folder) / "phantoms"
    names = [f"P{i}" for i in range(count)]
    for i, name in enumerate(names):
        write_volume(root / name / FILE, *make_phantom(i, size=(190, 140, 88)))
    for split, chosen in (("train", names), ("test", names[:1])):
        (Path(folder) / f"{split}.list").write_text("\n".join(chosen) + "\n")
    return root


# --- a training step ------------------------------------------------------------------------------

def seed_step(device, patch, filters):
    student = VNet(1, 2, filters, "batchnorm", True).to(device).train()
    teacher = copy.deepcopy(student)
    optimizer = torch.optim.SGD(student.parameters(), 0.01, momentum=0.9, weight_decay=1e-4, foreach=False)
    image, label = torch.randn(4, 1, *patch, device=device), torch.randint(0, 2, (4, *patch), device=device)

    def step():
        noise = torch.clamp(torch.randn_like(image[2:]) * 0.1, -0.2, 0.2)
        outputs = student(image)
        with torch.no_grad():
            ema_output = teacher(image[2:] + noise)
        soft = F.softmax(outputs, dim=1)
        loss = 0.5 * (F.cross_entropy(outputs[:2], label[:2]) + losses.dice_loss(soft[:2, 1], label[:2] == 1))
        loss = loss + 0.1 * torch.mean((F.softmax(outputs[2:], dim=1) - F.softmax(ema_output, dim=1)) ** 2)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        seed_ema(student, teacher)
        loss.item()

    return step


def our_step(device, patch, filters):
    config = TrainConfig(patch_size=patch, n_filters=filters)
    student = VNet(1, 2, filters, "batchnorm", True).to(device, memory_format=torch.channels_last_3d).train()
    teacher = copy.deepcopy(student).eval()
    optimizer = torch.optim.SGD(student.parameters(), 0.01, momentum=0.9, weight_decay=1e-4)
    image = torch.randn(4, 1, *patch, device=device).to(memory_format=torch.channels_last_3d)
    label = torch.randint(0, 2, (4, *patch), device=device)

    def step():
        with autocast(device):
            loss, row = mean_teacher_loss(student, teacher, image, label, config, 10_000)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        update_ema_variables(student, teacher, 0.99, 10_000, buffers="average")
        row["loss"].item()

    return step


# --- the other tasks ------------------------------------------------------------------------------

def seed_ema(student, teacher, alpha=0.99):
    for ema_param, param in zip(teacher.parameters(), student.parameters()):
        ema_param.data.mul_(alpha).add_(param.data, alpha=1 - alpha)


def seed_fetch(path, patch):
    with h5py.File(path, "r") as file:
        image, label = file["image"][:], file["label"][:]
    k, axis = np.random.randint(0, 4), np.random.randint(0, 2)
    image, label = (np.flip(np.rot90(v, k), axis).copy() for v in (image, label))
    missing = [max((want - have) // 2 + 3, 0) if have <= want else 0 for want, have in zip(patch, image.shape)]
    image, label = (np.pad(v, [(m, m) for m in missing]) for v in (image, label))
    corner = [np.random.randint(0, have - want) for want, have in zip(patch, image.shape)]
    window = tuple(slice(c, c + size) for c, size in zip(corner, patch))
    image, label = image[window].astype(np.float32), label[window]
    return torch.from_numpy(image.reshape(1, *patch).copy()), torch.from_numpy(label.copy()).long()


def seed_inference(model, image, patch, device):
    """Stride 18/18/4, one window at a time, softmax summed in NumPy."""
    starts = [[min(stride * i, side - size) for i in range(math.ceil((side - size) / stride) + 1)]
              for side, size, stride in zip(image.shape, patch, (18, 18, 4))]
    score, count = np.zeros((2, *image.shape), np.float32), np.zeros(image.shape, np.float32)
    with torch.no_grad():
        for x in starts[0]:
            for y in starts[1]:
                for z in starts[2]:
                    window = (slice(x, x + patch[0]), slice(y, y + patch[1]), slice(z, z + patch[2]))
                    piece = torch.from_numpy(image[window][None, None].astype(np.float32)).to(device)
                    score[(slice(None), *window)] += F.softmax(model(piece), dim=1)[0].cpu().numpy()
                    count[window] += 1
    return np.argmax(score / count, axis=0)


def compare(name, theirs, ours, rounds, device, repeat=1):
    """Time both ways in turn; a row of the table."""
    def seconds(function):
        begun = time.perf_counter()
        for _ in range(repeat):
            function()
        if device.type == "cuda":
            torch.cuda.synchronize()
        return (time.perf_counter() - begun) / repeat

    if rounds > 1:
        theirs(), ours()  # warm-up
    pairs = [(seconds(theirs), seconds(ours)) for _ in range(rounds)]
    ratios = [a / b for a, b in pairs]
    row = {"task": name, "seed_s": statistics.median(a for a, _ in pairs),
           "ours_s": statistics.median(b for _, b in pairs), "ratio": statistics.median(ratios),
           "low": min(ratios), "high": max(ratios), "rounds": rounds}
    print(f"{name:<52}{row['seed_s']:>10.4g} s{row['ours_s']:>10.4g} s{row['ratio']:>9.1f} x   "
          f"({row['low']:.1f} to {row['high']:.1f}, {rounds} rounds)", flush=True)
    return row


def machine_limit(device, dtype):
    """(operations a second of a large matrix product, bytes a second of a large copy)."""
    n = 8192 if device.type == "cuda" else 2048
    a = torch.randn(n, n, device=device, dtype=dtype)
    big = torch.empty(64 * 2**20, device=device)

    def rate(function, amount):
        function()
        times = []
        for _ in range(5):
            begun = time.perf_counter()
            function()
            if device.type == "cuda":
                torch.cuda.synchronize()
            times.append(time.perf_counter() - begun)
        return amount / min(times)

    return rate(lambda: a @ a, 2 * n**3), rate(lambda: big.clone(), 2 * big.numel() * 4)


def step_operations(patch, filters):
    """Floating-point operations of one mean-teacher step at 2+2, counted by torch's own counter."""
    from torch.utils.flop_counter import FlopCounterMode

    step = our_step(torch.device("cpu"), patch, filters)
    with FlopCounterMode(display=False) as counter:
        step()
    return counter.get_total_flops()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--only", default="", help="only tasks whose name contains this")
    parser.add_argument("--quick", action="store_true",
                        help="leave out what takes minutes: the full-size step and inference")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    device, rows = pick_device(args.device), []

    def task(name, theirs, ours, rounds=args.rounds, repeat=1):
        if args.only in name:
            rows.append(compare(name, theirs, ours, rounds, device, repeat))

    with tempfile.TemporaryDirectory() as folder:
        root = volumes(folder)
        train_set = LAHeart(root, "train", num=4, cache="memory",
                            transform=Compose([RandomRotFlip(), RandomCrop(FULL), ToTensor()]))
        image, label = (LAHeart(root, "test", num=1)[0][key] for key in ("image", "label"))
        print(f"{'task':<52}{'seed':>12}{'ours':>12}{'ratio':>11}")
        paths = [train_set.path(name) for name in train_set.image_list]
        task("sample with augmentation, 112x112x80, cached", lambda: [seed_fetch(path, FULL) for path in paths],
             lambda: [train_set[i] for i in range(len(paths))], rounds=5 * args.rounds)
        prediction = np.roll(label, (2, 1, 1), (0, 1, 2))
        task("Dice, Jaccard, HD95, ASD of a case", lambda: [f(prediction, label) for f in (
            binary.dc, binary.jc, binary.hd95, binary.asd)], lambda: case_metrics(prediction, label))
        student, teacher = (VNet(1, 2, 16, "batchnorm", True).to(device) for _ in range(2))
        task("EMA update, 9.2 million parameters", lambda: seed_ema(student, teacher),
             lambda: update_ema_variables(student, teacher, 0.99, 10_000), rounds=5 * args.rounds, repeat=10)
        task("training step 2+2, 48x48x32, 8 filters", seed_step(device, QUICK, 8), our_step(device, QUICK, 8),
             rounds=5 * args.rounds)
        if not args.quick:
            student.eval()
            fast = student.to(memory_format=torch.channels_last_3d)
            task("whole volume, fast window against stride 18/4", lambda: seed_inference(student, image, FULL, device),
                 lambda: predict_volume(fast, image, FULL, window="fast"), rounds=1)
            task("training step 2+2, 112x112x80, 16 filters", seed_step(device, FULL, 16), our_step(device, FULL, 16))
        print_limit(device, rows, args)
    if args.json:
        args.json.parent.mkdir(parents=True, exist_ok=True)
        args.json.write_text(json.dumps({"rows": rows, **provenance(device)}, indent=1) + "\n", encoding="utf-8")


def print_limit(device, rows, args):
    """How far the quick training step is from what the machine could do at best."""
    rate, bandwidth = machine_limit(device, torch.float32)
    print(f"machine: {rate / 1e9:.0f} Gop/s in a float32 matrix product, {bandwidth / 1e9:.1f} GB/s in a copy")
    for name, patch, filters in (("training step 2+2, 48x48x32, 8 filters", QUICK, 8),
                                 ("training step 2+2, 112x112x80, 16 filters", FULL, 16)):
        row = next((row for row in rows if row["task"] == name), None)
        if row:
            row["operations"] = step_operations(patch, filters)
            row["limit_s"] = row["operations"] / rate
            print(f"{name}: {row['operations'] / 1e9:.0f} Gop, at that rate {row['limit_s']:.3g} s; ours takes "
                  f"{row['ours_s'] / row['limit_s']:.1f} times that")


if __name__ == "__main__":
    main()
