"""The hospital of notebook 12: files in any order of axes, labels that lie where their scans do."""

import numpy as np

from laseg_lib.course.nb12_your_own_scans import write_hospital
from laseg_lib.data.scans import array_of, read_case, read_scan, same_grid
from laseg_lib.metrics import dice_of


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
