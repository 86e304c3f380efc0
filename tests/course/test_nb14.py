"""The hospital of notebook 14: files in any order of axes, labels that lie where their scans do."""

import json
import re

import nbformat
import numpy as np
import pandas as pd

from laseg_lib.course.nb14_your_own_scans import write_hospital
from laseg_lib.data.grid import array_of, same_grid
from laseg_lib.data.phantom import DEFAULTS, FIELD_MM, scan
from laseg_lib.data.scans import read_case, read_scan
from laseg_lib.metrics import dice_of
from laseg_lib.records.read import HOME, RECORDED

PAGE = HOME / "notebooks" / "14_your_own_scans.ipynb"


def test_each_patient_is_stored_in_another_way_and_lies_the_same(tmp_path):
    truth = write_hospital(tmp_path, cases=3, labelled=2, voxel=(2.5, 2.5, 5.0))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "p00_la.nii.gz", "p00_mri.nii.gz", "p01_la.nii.gz", "p01_mri.nii.gz", "p02_mri.nii.gz"]
    middles = []
    for name in ("p00", "p01"):
        scan, label = (read_scan(tmp_path / f"{name}_{kind}.nii.gz") for kind in ("mri", "la"))
        assert same_grid(scan.image, label.image) and same_grid(label.image, truth[name])
        straight, mask = read_case(scan.path, label.path, voxel_mm=2.5)
        middles.append(np.argwhere(mask).mean(0) / mask.shape)
        assert array_of(straight)[mask > 0].mean() > 0.5  # blood is bright, and the mask lies on it
    assert np.allclose(*middles, atol=0.12)
    assert dice_of(array_of(truth["p02"]), array_of(truth["p02"])) == 1


def test_what_the_page_says_of_coarse_to_fine():
    record = json.loads((RECORDED / "own_scans.json").read_text(encoding="utf-8"))
    chest, noise = ([list(dice.values()) for dice in record[name].values()] for name in ("chest", "noise"))
    page = PAGE.read_text(encoding="utf-8")
    readme = (HOME / "data" / "README.md").read_text(encoding="utf-8").replace("\n", " ")
    for found, box in (chest, noise):
        assert len(found) == len(box) == 10
        assert f"{np.mean(found):.3f} against {np.mean(box):.3f}" in readme
    for found, box in (chest, noise):
        assert f"it reaches {np.mean(found):.3f}, the true box {np.mean(box):.3f}" in page
    mean = {}
    for kind in ("stored", "stored_real"):
        assert all(np.array(list(record[kind][way].values())).min() == 1 for way in ("flipped", "sagittal"))
        mean[kind] = [np.mean(list(record[kind][way].values()))
                      for way in ("slices twice as thick", "on an oblique grid")]
    (thick, oblique), (thick_real, oblique_real) = mean["stored"], mean["stored_real"]
    assert f"has Dice {thick:.3f} with that of the original scan (real volumes: {thick_real:.3f})" in readme
    assert f"about each axis {oblique:.3f} (real volumes: {oblique_real:.3f})." in readme


def test_what_the_page_says_of_the_included_network():
    """Its score is the record's; what it makes of the phantom is what the stored output says."""
    run, = RECORDED.glob("weights/*")
    dice = 100 * pd.read_csv(run / "metrics.csv").dice
    trained = json.loads((run / "config.json").read_text(encoding="utf-8"))["config"]["max_samples"]
    cells = {cell.id: cell for cell in nbformat.read(PAGE, 4).cells}
    words, seen = cells["14-a0"].source, cells["14-a4"].source
    assert f"On the 20 public test cases its mean Dice is {dice.mean():.1f} ± {dice.std():.1f} %" in words
    assert f"{trained} of the 80 public training cases" in words
    said = cells["14-a1"].outputs[0].text
    ml, true_ml, found = re.fullmatch(r"p21: (\d+) ml of (\d+) ml; Dice with the truth (\S+)\s", said).groups()
    voxel = (1.25, 1.25, 2.5)
    size = tuple(int(n) for n in np.round(np.divide(np.multiply(FIELD_MM, (1.3, 1.3, 1)), voxel)))
    label = scan(521, size, np.multiply(size, voxel), **{**DEFAULTS, "scanner": 0.5})[1]
    assert f"Dice is {found}, where real test scans have {dice.mean() / 100:.2f}" in seen
    assert true_ml == f"{(label > 0).sum() * np.prod(voxel) / 1000:.0f}"
    assert f"The mask has {ml} ml, the true atrium {true_ml} ml" in seen
