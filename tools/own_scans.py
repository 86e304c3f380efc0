#!/usr/bin/env python3
"""After a change of `predict`: Dice of its coarse-to-fine masks, data/recorded/own_scans.json (notebook 14).

    nice python tools/own_scans.py                         phantoms alone: some 15 minutes on a core
    nice python tools/own_scans.py --real RUN/last.pth     with LASEG_DATA: also test cases of that recorded run,
                                                           some 25 minutes more
    nice python tools/own_scans.py --steps                 with LASEG_DATA: what each step of `predict` is worth,
                                                           data/recorded/predict_steps.json

It makes three comparisons.  The networks were trained on volumes that were cropped around the atrium.
- Whole-chest phantoms: the mask of `laseg predict`, and the same network's mask in the label's own box.
- The same scans and real volumes, stored in other ways (flipped, sagittal, slices twice as thick, on a grid
  turned by 8, -12 and 15 degrees with zeros outside): their masks and the original's, both on its grid.
- Real volumes with 30 to 80 voxels of noise on each side in x and y: the mask of `laseg predict`, and that in
  the label's own box of the volume without noise.

With `--steps` each scan is segmented once more without each step.  The scans are the whole-chest phantoms,
and the four public training cases that chose the iteration of the included network.  Each of these four has
two borders of noise and two borders of its own mirrored tissue.
"""

import argparse
import json
import sys
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from unittest import mock

import numpy as np
import SimpleITK as sitk
import torch
from tqdm.auto import tqdm

from laseg_lib import predict
from laseg_lib.config import STRONG_RECIPE, TrainConfig
from laseg_lib.data.atomic import write_whole
from laseg_lib.data.grid import array_of, back_to, image_of, normalised_and_straight
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.prepare import prepare
from laseg_lib.data.volumes import FILE, read_list, read_volume
from laseg_lib.metrics import dice_of
from laseg_lib.predict import Predictor, boxes_across, crop_box, look_at, without_other_parts
from laseg_lib.records.make import current_provenance, find_data
from laseg_lib.records.read import HOME, RECORDED
from laseg_lib.runtime import places
from laseg_lib.runtime.machine import pick_device
from laseg_lib.runtime.program import one_line_errors
from laseg_lib.training import Trainer
from laseg_lib.transforms import rotation

PHANTOMS = dict(train=24, test=10, size=(96, 72, 48), seed=5, raw=True)
VOXEL_MM = 1.25
TRAINING = {**STRONG_RECIPE, "downsample": 2, "n_filters": 8, "patch_size": (48, 48, 24), "max_iterations": 1500,
            "labelnum": 22, "val_num": 2, "seed": 5}
NOISE_VOXELS = (30, 80)
TURN = (8, -12, 15)  # degrees about x, y and z


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=RECORDED / "own_scans.json", help="not for --steps")
    parser.add_argument("--real", type=Path, help="last.pth of a run of the record labels")
    parser.add_argument("--cases", type=int, default=10, help="how many real cases")
    parser.add_argument("--steps", action="store_true", help="measure the steps of `predict` instead")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    if args.steps:
        return measure_steps(RECORDED / "predict_steps.json")
    found = {"command": "python tools/own_scans.py" + (f" --real {args.real.parent.name}/last.pth" * bool(args.real)),
             **current_provenance(pick_device("cpu")), "phantoms": PHANTOMS, "voxel_mm": VOXEL_MM,
             "config": {name: TRAINING[name] for name in sorted(TRAINING)}}
    predictor, raw = on_phantoms(HOME / "data" / "own_scans")
    found["chest"], found["stored"] = chests(predictor, raw, HOME / "data" / "own_scans")
    if args.real:
        found["noise"], found["stored_real"] = in_noise(args.real, args.cases)
    write_whole(args.output, json.dumps(found, indent=1) + "\n")
    for name in ("chest", "stored", "noise", "stored_real"):
        if name in found:
            print(name, {way: round(float(np.mean(list(dice.values()))), 3) for way, dice in found[name].items()})


def on_phantoms(folder):
    """(a Predictor trained on prepared phantoms, the folder of the raw ones)."""
    raw = write_phantoms(folder / "raw", progress=False, **PHANTOMS)
    root = prepare(folder / "raw", folder / "prepared", voxel_mm=VOXEL_MM)
    config = TrainConfig(root_path=str(root), model="supervised", snapshot_path=str(folder / "run"), **TRAINING)
    trainer = Trainer(config, resume=(folder / "run" / "last.pth").exists())  # which refuses other settings
    trainer.run()
    if trainer.iteration < config.max_iterations:
        sys.exit("stopped; the same command goes on")
    return Predictor(folder / "run" / "last.pth"), raw


def chests(predictor, raw, folder):
    """Dice of each test phantom, coarse to fine and in the label's own box, and of the same scan stored in other ways
    with the mask of the scan as it was."""
    dice, stored = {"coarse to fine": {}, "the label's box": {}}, {}
    for name in tqdm(read_list(raw.parent / "test.list"), desc="chests", unit="scan"):
        scan, label = (sitk.ReadImage(str(raw / name / file)) for file in ("lgemri.nrrd", "laendo.nrrd"))
        gold, mask = array_of(label) > 0, array_of(predictor(raw / name / "lgemri.nrrd").mask) > 0
        dice["coarse to fine"][name] = round(dice_of(mask, gold), 4)
        dice["the label's box"][name] = round(dice_of(in_its_box(predictor, scan, label), gold), 4)
        stored_otherwise(stored, name, predictor, scan, mask, folder / "other.nii.gz")
    return dice, stored


def stored_otherwise(stored, name, predictor, scan, mask, path):
    """Add to ``stored`` how alike the masks of ``scan``, stored in each way, are to its ``mask``."""
    for way, image in ways(scan).items():
        sitk.WriteImage(image, str(path))
        other = array_of(back_to(predictor(path).probability, scan)) > 0.5
        stored.setdefault(way, {})[name] = round(dice_of(other, mask), 4)
    path.unlink()


def in_its_box(predictor, scan, label):
    """The mask (on the scan's grid) by the network in the box that its label gives."""
    straight = normalised_and_straight(scan, "scan", predictor.options["voxel_mm"])
    known = array_of(back_to(image_of(np.float32(array_of(label) > 0), label), straight)) > 0.5
    probability = image_of(probability_in_its_box(predictor, array_of(straight), known), straight)
    return array_of(back_to(probability, scan)) > 0.5


def probability_in_its_box(predictor, volume, label):
    """The probability of the largest part, as `predict` finds it where the box is the one of ``label``."""
    options = predictor.options
    box = crop_box(label, np.broadcast_to(options["voxel_mm"], 3))
    return without_other_parts(look_at(predictor.network, volume, [box], options["patch_size"], window="fast",
                                       downsample=options["downsample"]))[0]


def ways(scan):
    """{how it is stored: the same scan}."""
    spacing = np.array(scan.GetSpacing())
    thick = image_of(np.zeros(np.ceil(np.array(scan.GetSize()) / (1, 1, 2)).astype(int), np.float32),
                     spacing=spacing * (1, 1, 2), origin=np.array(scan.GetOrigin()) + spacing * (0, 0, 0.5))
    size = np.int64(1.6 * np.array(scan.GetSize()))
    oblique = image_of(np.zeros(size, np.float32), spacing=spacing, origin=(0, 0, 0))
    oblique.SetDirection(rotation(np.deg2rad(TURN)).ravel().tolist())
    oblique.SetOrigin(np.subtract(middle_of(scan), middle_of(oblique)).tolist())
    return {"flipped": sitk.Flip(scan, [True, False, True]), "sagittal": sitk.PermuteAxes(scan, [1, 2, 0]),
            **{name: sitk.Resample(sitk.Cast(scan, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear)
               for name, grid in (("slices twice as thick", thick), ("on an oblique grid", oblique))}}


def middle_of(image):
    return image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in image.GetSize()])


def found_at_first(network, volume, voxel, patch_size, downsample=1, **options):
    """``find_atrium`` without its second look."""
    weight = predict.near_middle(volume.shape, voxel)
    found = look_at(network, volume, boxes_across(volume.shape, voxel, patch_size, downsample), patch_size,
                    downsample=downsample, window="fast", **options)
    found = predict.cut_to_usual_size(predict.largest_component(found.sum(0) > 0.5, weight), weight, voxel)
    return found if found.any() else None


UNCUT = {"cut_to_usual_size": lambda found, weight, voxel: found}
# {the step that is left out: the names of laseg_lib.predict that are replaced, and by what}
WITHOUT = {
    "nothing": {},
    "the second look": {"find_atrium": found_at_first},
    "the cut to a usual size": UNCUT,
    "the second look and the cut": {"find_atrium": found_at_first, **UNCUT},
    "the weight by distance from the middle": {"near_middle": lambda shape, voxel: np.ones((*shape[:2], 1))},
    "coarse to fine: the whole scan at once": {"predict_scan": partial(predict.predict_scan, whole=True)},
}


def measure_steps(output):
    """Dice of every scan, with all steps and without each; added to the measurements in ``output``."""
    found = {"command": "python tools/own_scans.py --steps", **current_provenance(pick_device("cpu")),
             "phantoms": PHANTOMS, "dice": {}}
    chest, raw = on_phantoms(HOME / "data" / "own_scans")
    real = Predictor(places.weights("atrium"), weights="any")
    scans = [("chest", chest, *rest) for rest in raw_chests(raw)]
    scans += [(kind, real, *rest) for kind in ("noise", "mirrored") for rest in bordered_cases(kind)]
    for kind, predictor, name, path, label, inner in tqdm(scans, desc="steps", unit="scan"):
        for step, names in WITHOUT.items():
            with ExitStack() as stack:
                for replaced, by in names.items():
                    stack.enter_context(mock.patch.object(predict, replaced, by))
                mask = array_of(predictor(path).mask)[inner] > 0
            found["dice"].setdefault(kind, {}).setdefault(step, {})[name] = round(dice_of(mask, label), 4)
    earlier = json.loads(output.read_text(encoding="utf-8")) if output.exists() else []
    write_whole(output, json.dumps([*earlier, found], indent=1) + "\n")
    for kind, steps in found["dice"].items():
        print(kind, {step: round(float(np.mean(list(dice.values()))), 4) for step, dice in steps.items()})


def raw_chests(raw):
    """(name, scan file, label, the part of the scan that the label covers) of each test phantom."""
    for name in read_list(raw.parent / "test.list"):
        label = array_of(sitk.ReadImage(str(raw / name / "laendo.nrrd"))) > 0
        yield name, raw / name / "lgemri.nrrd", label, (slice(None),) * 3


def bordered_cases(kind, borders=2):
    """The same of the last four cases of the public train.list, each in several borders of noise, or mirrored ones."""
    root, rng = find_data("real"), np.random.default_rng(1)
    for name in read_list(Path(root).parent / "train.list")[-4:]:
        image, label = read_volume(Path(root) / name / FILE)
        for k in range(borders):
            scan, inner = in_border(image, rng, mirrored=kind == "mirrored")
            path = HOME / "data" / "own_scans" / f"{kind}_{name}_{k}.nii.gz"
            sitk.WriteImage(scan, str(path))
            yield f"{name}, border {k + 1}", path, label > 0, inner


def in_border(image, rng, mirrored=False):
    """(an image of ``image`` with a border in x and y, the part of it that ``image`` is).  The border is noise, or
    ``mirrored`` tissue, in which parts of the atrium and what is bright beside it come once more."""
    pad = [tuple(rng.integers(*NOISE_VOXELS, 2).tolist()) for _ in range(2)] + [(0, 0)]
    noise = rng.normal(image.min(), 0.1 * image.std(), np.add(image.shape, np.sum(pad, 1))).astype(np.float32)
    inner = tuple(slice(before, before + n) for (before, _), n in zip(pad, image.shape))
    noise[inner] = image
    if mirrored:
        noise = np.pad(image, pad, mode="reflect")
    return image_of(noise, spacing=(0.625,) * 3, origin=(0, 0, 0)), inner


def in_noise(checkpoint, count):
    """Dice of real test cases with a border of noise, by `predict` and in the label's own box without noise;
    Dice of the volumes stored in other ways, against the masks of the volumes as they are."""
    predictor, root, rng = Predictor(checkpoint), find_data("real"), np.random.default_rng(0)
    lists = checkpoint.parent.with_name(checkpoint.parent.name + "_lists")
    dice, stored = {"coarse to fine": {}, "the label's box": {}}, {}
    path = HOME / "data" / "own_scans" / "noise.nii.gz"
    for name in tqdm(read_list(lists / "test.list")[:count], desc="in noise", unit="case"):
        image, label = read_volume(Path(root) / name / FILE)
        scan, inner = in_border(image, rng)
        sitk.WriteImage(scan, str(path))
        dice["coarse to fine"][name] = round(dice_of(array_of(predictor(path).mask)[inner] > 0, label), 4)
        dice["the label's box"][name] = round(dice_of(probability_in_its_box(predictor, image, label) > 0.5, label), 4)
        scan = image_of(image, spacing=(0.625,) * 3, origin=(0, 0, 0))
        sitk.WriteImage(scan, str(path))
        stored_otherwise(stored, name, predictor, scan, array_of(predictor(path).mask) > 0, path)
    return dice, stored


if __name__ == "__main__":
    main()
