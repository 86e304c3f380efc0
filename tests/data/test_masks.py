"""Another tool's masks against labels: by name, on one grid, with our metrics."""

import struct

import numpy as np
import pytest
import SimpleITK as sitk
from scan_files import blob_scan

from laseg_lib.cli import main
from laseg_lib.data.grid import array_of, image_of
from laseg_lib.data.masks import by_case, evaluate_masks
from laseg_lib.data.prepare import prepare
from laseg_lib.data.volumes import write_volume
from laseg_lib.errors import LasegError
from laseg_lib.metrics import case_metrics


@pytest.fixture
def label():
    return blob_scan(np.eye(3), (1.25, 1.25, 2), (50, 48, 30))[1]


def saved(path, image):
    path.parent.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(path))
    return path


def smaller(label):
    return sitk.BinaryErode(label, (1, 1, 1))


def test_a_mask_is_measured_as_its_arrays_are(label, tmp_path):
    want = case_metrics(array_of(smaller(label)), array_of(label), label.GetSpacing())
    saved(tmp_path / "labels" / "LA_1.nii.gz", label)
    saved(tmp_path / "masks" / "LA_1_0000.nrrd", smaller(label))
    assert evaluate_masks(tmp_path / "masks", tmp_path / "labels") == [
        {"case": "LA_1", **{name: pytest.approx(value) for name, value in want.items()}}]


def test_a_mask_stored_in_another_order_of_axes_lies_on_the_same_grid(label, tmp_path):
    saved(tmp_path / "labels" / "p1_label.nrrd", label)
    saved(tmp_path / "masks" / "p1_la.nii.gz", sitk.DICOMOrient(smaller(label), "RAI"))
    row, = evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    assert row["dice"] == pytest.approx(case_metrics(array_of(smaller(label)), array_of(label))["dice"])


def test_distances_have_the_sides_of_their_axes_whatever_the_files_order(tmp_path):
    """Sagittal files, whose sides are very different."""
    mask = np.zeros((20, 24, 16), np.uint8)
    mask[4:15, 6:18, 5:11] = 1
    moved = np.roll(mask, 2, 0)
    for folder, values in (("labels", mask), ("masks", moved)):
        image = image_of(values, spacing=(6, 1, 1.5), origin=(0, 0, 0))
        saved(tmp_path / folder / "p1.nrrd", sitk.PermuteAxes(image, [1, 2, 0]))
    row, = evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    want = case_metrics(moved, mask, (6, 1, 1.5))
    assert (row["hd95_mm"], row["asd_mm"]) == pytest.approx((want["hd95_mm"], want["asd_mm"])) and row["hd95_mm"] == 12


@pytest.mark.parametrize("change", [
    lambda mask: mask[2:], lambda mask: mask.SetOrigin((0, 0, 0)), lambda mask: mask.SetSpacing((1, 1, 2))])
def test_a_mask_that_is_not_on_the_grid_of_its_label_is_told(change, label, tmp_path):
    mask = sitk.Image(label)
    mask = change(mask) or mask
    saved(tmp_path / "labels" / "p1.nrrd", label)
    saved(tmp_path / "masks" / "p1.nrrd", mask)
    with pytest.raises(LasegError, match="masks/p1.nrrd: has another grid than its label .*labels/p1.nrrd.*export"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")


def test_an_empty_mask_is_a_failure_and_several_values_are_taken_as_one(label, tmp_path):
    saved(tmp_path / "labels" / "a.nrrd", label * 2)
    saved(tmp_path / "labels" / "b.nrrd", label * 2)
    saved(tmp_path / "masks" / "a.nrrd", label * 0)
    saved(tmp_path / "masks" / "b.nrrd", smaller(label) + label)
    rows = evaluate_masks(tmp_path / "masks", tmp_path / "labels", label_value=[1, 2])
    assert rows[0]["empty"] and rows[0]["dice"] == 0 and rows[1]["dice"] == 1
    saved(tmp_path / "masks" / "b.nrrd", label)  # no voxel has the wanted value
    assert [row["dice"] for row in evaluate_masks(tmp_path / "masks", tmp_path / "labels", label_value=2)] == [0, 0]
    saved(tmp_path / "masks" / "b.nrrd", label * 2)
    saved(tmp_path / "labels" / "b.nrrd", label)
    with pytest.raises(LasegError, match="b.nrrd: no voxel is left atrium.*--label-value"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels", label_value=2)
    with pytest.raises(LasegError, match="2 of 2 cases can't be measured: a, b.*holds .0, 2.*--label-value"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")


def test_every_case_that_can_not_be_measured_is_told_and_a_matrix_can_be_chosen(label, tmp_path, capsys):
    for name in "abc":
        saved(tmp_path / "labels" / f"{name}.nii", label)
        head = bytearray(saved(tmp_path / "masks" / f"{name}.nii", label).read_bytes())
        head[268:272] = struct.pack("<f", 40.0)  # qoffset_x
        (tmp_path / "masks" / f"{name}.nii").write_bytes(head)
    with pytest.raises(LasegError, match="3 of 3 cases .*: a, b, c.*--orientation qform or sform"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    told = capsys.readouterr().err
    assert all(f"{name}.nii: its header has two positions" in told for name in "abc")
    words = ["evaluate", "--masks", tmp_path / "masks", "--labels", tmp_path / "labels", "--orientation", "sform"]
    assert main(list(map(str, words))) == 0 and "Dice 1.0000" in capsys.readouterr().out


def test_names_without_a_partner_are_told(label, tmp_path, capsys):
    for name in ("labels/a", "labels/b", "masks/b", "masks/c"):
        saved(tmp_path / f"{name}.nrrd", label)
    assert [row["case"] for row in evaluate_masks(tmp_path / "masks", tmp_path / "labels")] == ["b"]
    told = capsys.readouterr().err
    assert "labels/a.nrrd" in told and "masks/c.nrrd" in told
    with pytest.raises(LasegError, match="no mask has the name of a label: c.*x"):
        (tmp_path / "masks" / "b.nrrd").unlink()
        (tmp_path / "labels" / "a.nrrd").rename(tmp_path / "labels" / "x.nrrd")
        (tmp_path / "labels" / "b.nrrd").unlink()
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    with pytest.raises(LasegError, match="nowhere: no such folder"):
        evaluate_masks(tmp_path / "nowhere", tmp_path / "labels")
    with pytest.raises(LasegError, match="a second file for the case p"):
        by_case([tmp_path / "p_la.nrrd", tmp_path / "p.nii.gz"])


@pytest.mark.parametrize("masks, labels", [
    (["P0_la.nii.gz"], ["P0/lgemri.nrrd", "P0/laendo.nrrd"]), (["P0.nii.gz", "P0_la.nii.gz"], ["P0.nrrd"]),
    (["P0_0000.nii.gz", "P0.nii.gz"], ["P0.nrrd"]), (["P0_la.nrrd", "P1_la.nrrd"], ["P0/la.nrrd", "P1/la.nrrd"]),
    (["Mu\u0308ller/laendo.nrrd"], ["M\u00fcller_la.nrrd"]), (["P0_mri_la.nrrd", "P1_mri_la.nrrd"], ["P0_la.nrrd",
                                                                                              "P1_la.nrrd"]),
    (["P0_0000_la.nrrd"], ["P0.nrrd"]), (["P0.seg.nrrd"], ["P0_la.nrrd"])])
def test_a_mask_is_found_beside_its_scan_and_by_its_folders_name(masks, labels, label, tmp_path):
    for folder, names in (("masks", masks), ("labels", labels)):
        for name in names:
            scan = f"{name[:2]}_la.nii.gz" in names or "_0000" in name or "lgemri" in name
            saved(tmp_path / folder / name, label * 50 + 7 if scan and "_la" not in name else label)
    rows = evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    assert [row["dice"] for row in rows] == [1] * len({name[:2] for name in masks})


@pytest.mark.parametrize("names", [["c1.nii.gz", "c1_gt.nii.gz"], ["c1.nii.gz", "c1_pred.nii.gz", "c1_gt.nii.gz"]])
def test_a_truth_beside_a_prediction_is_not_measured_against_itself(names, label, tmp_path):
    for name in names:
        saved(tmp_path / "masks" / name, label if "_gt" in name else smaller(label))
    saved(tmp_path / "labels/c1.nii.gz", label)
    with pytest.raises(LasegError, match="a second file for the case c1"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")


def test_a_mask_whose_scan_is_elsewhere_counts_too_and_so_do_folds(label, tmp_path):
    for name in ("masks/a.nii.gz", "masks/a_la.nii.gz", "masks/b_la.nii.gz", "labels/a.nii.gz", "labels/b.nii.gz",
                 "folds/0/a.nii.gz", "folds/0/b.nii.gz", "folds/1/a.nii.gz"):
        saved(tmp_path / name, label)
    assert [row["case"] for row in evaluate_masks(tmp_path / "masks", tmp_path / "labels")] == ["a", "b"]
    with pytest.raises(LasegError, match="a second file for the case a"):
        evaluate_masks(tmp_path / "folds", tmp_path / "labels")


def test_a_folder_without_masks_and_a_case_without_a_label_are_told(label, tmp_path, capsys):
    saved(tmp_path / "labels" / "a.nrrd", label)
    (tmp_path / "masks").mkdir()
    (tmp_path / "masks" / "a.npy").touch()
    with pytest.raises(LasegError, match="masks: no masks in this folder; found no NIfTI"):
        evaluate_masks(tmp_path / "masks", tmp_path / "labels")
    for name in "AB":
        write_volume(tmp_path / "d" / name / "mri_norm2.h5", np.random.default_rng(0).normal(size=label.GetSize()),
                     array_of(label) if name == "A" else None)
        saved(tmp_path / "masks" / f"{name}.nrrd", label)
    (tmp_path / "test.list").write_text("A\nB\n")
    assert [row["case"] for row in evaluate_masks(tmp_path / "masks", root_path=tmp_path / "d")] == ["A"]
    assert "1 times a mask has no label" in capsys.readouterr().err


def test_masks_of_whole_scans_are_measured_on_prepared_volumes(label, tmp_path, capsys):
    for k in range(3):
        scan, gold = blob_scan(np.eye(3), (1.25,) * 3, (50, 48, 46 + k))
        saved(tmp_path / "raw" / f"p{k}_mri.nrrd", scan)
        saved(tmp_path / "raw" / f"p{k}_la.nrrd", gold)
        saved(tmp_path / "masks" / f"p{k}.nii.gz", gold)
    root = prepare(tmp_path / "raw", tmp_path / "out", scan="*_mri.nrrd", label="*_la.nrrd", voxel_mm=1.25,
                   margin_mm=(1, 1), least_mm=1, progress=False)
    row, = evaluate_masks(tmp_path / "masks", root_path=root)
    assert row["dice"] == 1 and row["asd_mm"] == 0 and "outside" not in capsys.readouterr().err
    false = sitk.ReadImage(str(tmp_path / "masks" / f"{row['case']}.nii.gz"))
    false[:3, :, :] = 1  # outside of the crop
    saved(tmp_path / "masks" / f"{row['case']}.nii.gz", false)
    evaluate_masks(tmp_path / "masks", root_path=root)
    assert "% of it lies outside" in capsys.readouterr().err
    moved = sitk.ReadImage(str(tmp_path / "masks" / f"{row['case']}.nii.gz"))
    moved.SetOrigin((900, 0, 0))
    saved(tmp_path / "masks" / f"{row['case']}.nii.gz", moved)
    with pytest.raises(LasegError, match="lies elsewhere than"):
        evaluate_masks(tmp_path / "masks", root_path=root)


def test_where_a_volume_does_not_say_where_it_lies_voxels_are_compared_one_by_one(label, tmp_path):
    """The public volumes' masks are written with any header."""
    gold = array_of(label)
    write_volume(tmp_path / "d" / "A" / "mri_norm2.h5", np.random.default_rng(0).normal(size=gold.shape), gold)
    (tmp_path / "test.list").write_text("A\n")
    mask = image_of(gold, spacing=(1, 1, 1), origin=(0, 0, 0))
    mask.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    saved(tmp_path / "masks" / "A.nii.gz", mask)
    row, = evaluate_masks(tmp_path / "masks", root_path=tmp_path / "d")
    assert row["dice"] == 1 and np.isnan(row["hd95_mm"])
    saved(tmp_path / "masks" / "A.nii.gz", mask[1:])
    with pytest.raises(LasegError, match="no position; give --labels"):
        evaluate_masks(tmp_path / "masks", root_path=tmp_path / "d")


def test_the_command_writes_a_table_and_says_what_is_missing(label, tmp_path, capsys):
    saved(tmp_path / "labels" / "a.nrrd", label)
    saved(tmp_path / "masks" / "a.nrrd", label)
    assert main(["evaluate", "--masks", str(tmp_path / "masks"), "--labels", str(tmp_path / "labels"), "--csv",
                 str(tmp_path / "t.csv")]) == 0
    assert "1 mask of" in capsys.readouterr().out
    assert (tmp_path / "t.csv").read_text().splitlines()[1].startswith("a,1.0,1.0,0.0")
    for words in ([], ["x.pth"], ["--masks", "m"], ["x.pth", "--masks", "m", "--root_path", "r"]):
        assert main(["evaluate", *words]) == 1
        assert "--masks FOLDER" in capsys.readouterr().err
