#!/usr/bin/env python3
"""Dice of the included network on scans changed on purpose, data/recorded/changed_scans.json (for its model card).

    python tools/changed_scans.py      with LASEG_DATA; a few minutes on a core

The scans are the four public training cases that chose the iteration of the included network.  It wasn't trained on
them, but their own Dice is a little too good.  So what counts is the difference between a changed scan and the scan as
it is.  Each change stands for a difference between scanners, sequences or patients.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import SimpleITK as sitk
import torch
from scipy import ndimage
from tqdm.auto import tqdm

from laseg_lib.data.atomic import write_whole
from laseg_lib.data.grid import array_of, back_to, image_of
from laseg_lib.data.volumes import FILE, SPACING_MM, read_list, read_volume
from laseg_lib.metrics import dice_of
from laseg_lib.predict import Predictor
from laseg_lib.records.make import current_provenance, find_data
from laseg_lib.records.read import HOME, RECORDED
from laseg_lib.runtime import places
from laseg_lib.runtime.machine import pick_device
from laseg_lib.runtime.program import one_line_errors

LOW, HIGH = 0.7, 1.5  # under a coil the signal falls, here from HIGH of its own in front to LOW at the back


def noisy(image, share):
    """Normal noise of a ``share`` of the scan's standard deviation."""
    return image + np.random.default_rng(1).normal(0, share * image.std(), image.shape).astype(np.float32)


def curved(image, gamma):
    """Intensities between the scan's smallest and largest, to the power ``gamma``."""
    low, high = image.min(), image.max()
    return ((image - low) / (high - low)) ** gamma


def shaded(image):
    """The signal falls from front to back, as under a surface coil."""
    return (image - image.min()) * np.linspace(HIGH, LOW, image.shape[1], dtype=np.float32)[:, None]


def turned(values, degrees, order):
    """Turned about z; outside, the border is repeated."""
    return ndimage.rotate(values, degrees, (0, 1), reshape=False, order=order, mode="nearest")


def averaged(image, voxels):
    """The scan with voxels that are means of ``voxels`` (three numbers), in the same place."""
    sides, middle = SPACING_MM * np.array(voxels), SPACING_MM * (np.array(voxels) - 1) / 2
    part = image[tuple(slice(n // k * k) for n, k in zip(image.shape, voxels))]
    split = part.reshape([n for side, k in zip(part.shape, voxels) for n in (side // k, k)])
    return image_of(split.mean((1, 3, 5)), spacing=sides, origin=middle)


def scan_of(image, side=SPACING_MM):
    return image_of(np.float32(image), spacing=(side,) * 3, origin=(0, 0, 0))


# {change: a function of the image and the label, W x H x D, that gives the changed scan and its label}
CHANGES = {
    "as it is": lambda image, label: (scan_of(image), label),
    "noise, half of the scan's standard deviation": lambda image, label: (scan_of(noisy(image, 0.5)), label),
    "noise, the scan's standard deviation": lambda image, label: (scan_of(noisy(image, 1.0)), label),
    "blurred, standard deviation 1.5 mm": lambda image, label: (
        scan_of(ndimage.gaussian_filter(image, 1.5 / SPACING_MM)), label),
    "slices of 2.5 mm": lambda image, label: (averaged(image, (1, 1, 4)), label),
    "slices of 5 mm": lambda image, label: (averaged(image, (1, 1, 8)), label),
    "voxels of 1.25 x 1.25 x 2.5 mm": lambda image, label: (averaged(image, (2, 2, 4)), label),
    "dark tissue brighter (power 0.5)": lambda image, label: (scan_of(curved(image, 0.5)), label),
    "dark tissue darker (power 2)": lambda image, label: (scan_of(curved(image, 2.0)), label),
    "bright in front, dark behind (1.5 to 0.7)": lambda image, label: (scan_of(shaded(image)), label),
    "dark and bright exchanged": lambda image, label: (scan_of(-image), label),
    "turned by 15 degrees about z": lambda image, label: (scan_of(turned(image, 15, 1)), turned(label, 15, 0)),
    "turned by 30 degrees about z": lambda image, label: (scan_of(turned(image, 30, 1)), turned(label, 30, 0)),
    "a heart of 0.8 of its size": lambda image, label: (scan_of(image, 0.8 * SPACING_MM), label),
    "a heart of 1.25 of its size": lambda image, label: (scan_of(image, 1.25 * SPACING_MM), label),
}


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RECORDED / "changed_scans.json")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    found = {"command": "python tools/changed_scans.py", **current_provenance(pick_device("cpu")), "dice": {}}
    predictor, root = Predictor(places.weights("atrium"), weights="any", device="cpu"), Path(find_data("real"))
    path = HOME / "data" / "own_scans" / "changed.nii.gz"
    path.parent.mkdir(parents=True, exist_ok=True)
    cases = read_list(root.parent / "train.list")[-4:]
    for name in tqdm(cases, desc="changed scans", unit="case"):
        image, label = read_volume(root / name / FILE)
        for change, of in CHANGES.items():
            scan, gold = of(image, label)
            sitk.WriteImage(scan, str(path))
            grid = scan if scan.GetSize() == gold.shape else scan_of(gold)
            mask = array_of(back_to(predictor(path).probability, grid)) > 0.5
            found["dice"].setdefault(change, {})[name] = round(dice_of(mask, gold > 0), 4)
    path.unlink()
    write_whole(args.output, json.dumps(found, indent=1) + "\n")
    for change, dice in found["dice"].items():
        values = list(dice.values())
        print(f"{change:48} {100 * np.mean(values):5.1f}   worst {100 * min(values):5.1f}")


if __name__ == "__main__":
    main()
