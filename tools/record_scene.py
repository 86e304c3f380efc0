#!/usr/bin/env python3
"""To record the scenes of notebook 10 again: data/recorded/scene, phantoms with voxels small enough for veins.

    nice python tools/record_scene.py            some minutes on a core; an existing record is refused

Supervised and mean teacher, both with InstanceNorm, trained at half resolution on phantoms of 64 x 48 x 40 voxels.
Their probabilities are brought back to full size. Kept are the test cases' predictions, as packed bits; the label is
the phantom's formula.
"""

import argparse
import json
import sys
from pathlib import Path

import numpy as np

from laseg_lib.config import TrainConfig
from laseg_lib.course.nb10_atria_in_3d import SCENE, SCENE_DATA, SCENE_SETTINGS
from laseg_lib.data.atomic import replacing, write_whole
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.data.volumes import LAHeart
from laseg_lib.inference import predict_volume
from laseg_lib.metrics import case_metrics
from laseg_lib.records.make import current_provenance
from laseg_lib.records.read import HOME
from laseg_lib.runtime.machine import pick_device
from laseg_lib.runtime.program import one_line_errors
from laseg_lib.training import Trainer


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0])
    parser.add_argument("--output", type=Path, default=SCENE)
    args = parser.parse_args(argv)
    if (args.output / "config.json").exists():
        sys.exit(f"{args.output} is there already: take it away first to record it anew")
    packed, dice = {}, {}
    made = current_provenance(pick_device("auto"))  # of the code that was loaded, not of what it becomes
    for seed in args.seeds:
        root = write_phantoms(HOME / "data" / "scene_phantoms" / f"seed{seed}", seed=seed, **SCENE_DATA)
        for arm in ("supervised", "MT"):
            trainer = Trainer(TrainConfig(root_path=str(root), model=arm, seed=seed, **SCENE_SETTINGS))
            trainer.run()
            if trainer.iteration < trainer.config.max_iterations:
                sys.exit("stopped: nothing is kept of half a record")
            for name, mask, score in predictions(trainer, root):
                packed[f"{arm}/{seed}/{name}"], dice[f"{arm}/{seed}/{name}"] = np.packbits(mask), score
    write(args.output, packed, {"data": SCENE_DATA, "config": SCENE_SETTINGS, "dice": dice,
                                **made})


def predictions(trainer, root):
    """(name, mask at full size, its Dice) of each test case."""
    test = LAHeart(root, "test")
    for name, sample in zip(test.image_list, test):
        mask, _ = predict_volume(trainer.student.eval(), sample["image"], trainer.config.patch_size,
                                 downsample=trainer.config.downsample, enlarge=True)
        yield name, mask, round(case_metrics(mask, sample["label"])["dice"], 4)


def write(folder, packed, config):
    with replacing(folder / "predictions.npz") as partial, open(partial, "wb") as file:
        np.savez_compressed(file, **packed)
    write_whole(folder / "config.json", json.dumps(config, indent=1) + "\n")
    print(*config["dice"].items(), sep="\n")


if __name__ == "__main__":
    sys.exit(main())
