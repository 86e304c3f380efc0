#!/usr/bin/env python3
"""After a new record: the pictures of the two READMEs, from phantoms and data/recorded only; `make figures`.

    python tools/figures.py
    python tools/figures.py --output elsewhere
"""

import argparse
import io
import sys
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image

from laseg_lib.data.atomic import write_whole
from laseg_lib.data.phantom import FIELD_MM, make_phantom
from laseg_lib.figures.meshes import atrium_scene
from laseg_lib.figures.method_diagram import pipeline_figure
from laseg_lib.figures.pictures import to_png
from laseg_lib.figures.plots import arm_comparison, label_curve
from laseg_lib.figures.slices import draw_slices
from laseg_lib.figures.stills import scene_still
from laseg_lib.figures.style import INK
from laseg_lib.records import statistics as compare
from laseg_lib.records.plans import SEEDS_A_FOLD
from laseg_lib.records.read import load_metrics, missing_runs, published_points
from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent
SIZE, SEED = (95, 70, 44), 0
RECORDS = {"half": ("real atria at half resolution, 8 labelled of 76", 8), "quick": ("phantoms, 4 labelled of 40", 4)}
FOUR = ["supervised", "supervised_equal", "lambda0", "MT"]


def hero():
    """A volume in three planes, the sampler and the two networks, and the atrium as a surface: a Figure."""
    image, label = make_phantom(SEED, SIZE)
    spacing = FIELD_MM[0] / SIZE[0]
    centre = dict(zip("xyz", np.argwhere(label).mean(0).astype(int)))
    slices = draw_slices(image, label, **centre, spacing=spacing, size=(660, 420))
    still = scene_still(atrium_scene({"gold": label}, spacing), width=6.4)
    page = Figure(figsize=(16, 8.2), dpi=100)
    for picture, box, title in (
            (slices, (0.01, 0.47, 0.355, 0.46), "a volume, and the label that costs hours"),
            (as_array(still), (0.01, 0.0, 0.355, 0.41), "the atrium that is to be found"),
            (as_array(pipeline_figure()), (0.38, 0.02, 0.61, 0.91),
             "a sampler of both kinds, a student, and a teacher: its average")):
        ax = page.add_axes(box)
        ax.imshow(picture)
        ax.set_axis_off()
        ax.set_title(title, fontsize=19, color=INK)
    return page


def results():
    """Dot per seed, mean and interval of the four arms, in the first record of RECORDS that is complete: a Figure."""
    record = next(name for name in RECORDS if not missing_runs(name))
    words, labels = RECORDS[record]
    return arm_comparison(compare.arm_rows(load_metrics(record), labels), arms=FOUR, title=f"{words}, BatchNorm")


def labels():
    """Dice over the number of labels, by the record `labels`, and what others published: a Figure."""
    return label_curve(compare.label_rows(load_metrics("labels"), SEEDS_A_FOLD), published_points(),
                       title="real atria, four folds, half resolution scored at full")


def public():
    """The same on the public split, by the record `public`, the split of the published results: a Figure."""
    return label_curve(compare.label_rows(load_metrics("public")), published_points(),
                       title="real atria, the public split, half resolution scored at full")


def as_array(figure, dpi=160):
    """A Figure's pixels, uint8 (height, width, 3)."""
    return np.asarray(Image.open(io.BytesIO(to_png(figure, dpi=dpi))).convert("RGB"))


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=REPO / "figures")
    folder = parser.parse_args(argv).output
    folder.mkdir(parents=True, exist_ok=True)
    for draw, dpi in ((hero, 100), (results, 160), (labels, 160), (public, 160)):
        write_whole(folder / f"{draw.__name__}.png", to_png(draw(), dpi=dpi, small=True))


if __name__ == "__main__":
    sys.exit(main())
