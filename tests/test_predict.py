"""A mask for a scan as it comes, in the scan's own geometry: judged by SimpleITK through the headers alone."""

import shutil
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from scan_files import Bright, blob_scan, bright, random_geometry, write_dicom

from laseg_lib import VNet
from laseg_lib.cli import main
from laseg_lib.data.files import files_below, network_and_scans, scans_of, scans_of_all
from laseg_lib.data.grid import array_of, image_of
from laseg_lib.data.masks import mask_names, predict_files
from laseg_lib.data.volumes import write_volume
from laseg_lib.errors import LasegError
from laseg_lib.inference import largest_component, predict_volume
from laseg_lib.metrics import dice_of
from laseg_lib.predict import (
    Found,
    box_with_structure,
    boxes_across,
    find_atrium,
    look_at,
    near_middle,
    predict_scan,
    without_other_parts,
)
from laseg_lib.transforms import rotation

PATCH = (48, 48, 40)


def overlay(mask, on):
    """``mask`` on the grid of ``on``, as a viewer lays it there: by headers alone."""
    return array_of(sitk.Resample(sitk.Cast(mask, sitk.sitkFloat32), on, sitk.Transform(), sitk.sitkLinear, 0.0)) >= 0.5


def same_header(one, two):
    said = [(image.GetSpacing(), image.GetOrigin(), image.GetDirection()) for image in (one, two)]
    return one.GetSize() == two.GetSize() and all(np.allclose(a, b, atol=1e-4) for a, b in zip(*said))


@pytest.mark.parametrize("seed", range(20))
def test_the_mask_overlays_its_scan(seed, tmp_path):
    direction, spacing, size = random_geometry(seed)
    suffix = (".nii.gz", ".nrrd", ".mha", "dicom")[seed % 4]
    if suffix == "dicom" and np.linalg.det(direction) < 0:
        direction = direction * [1, 1, -1]
    scan, label = blob_scan(direction, spacing, size)
    path = tmp_path / f"scan{suffix}"
    if suffix == "dicom":
        write_dicom(scan, path)
        reader = sitk.ImageSeriesReader()
        reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(path)))
        scan = reader.Execute()
    else:
        sitk.WriteImage(scan, str(path))
    network = bright(scan)
    assert not predict_files(lambda s, **o: predict_scan(network, s, PATCH, voxel_mm=1.0, **o), [path],
                             tmp_path / "out", say=lambda line: None, progress=False)
    mask = sitk.ReadImage(str(tmp_path / "out" / ("scandicom_la.nii.gz" if suffix == "dicom" else "scan_la.nii.gz")))
    assert same_header(mask, scan)
    fine = blob_scan(np.eye(3), (0.5,) * 3, (124,) * 3)[1]  # the same patient, by formula
    assert dice_of(array_of(mask), array_of(label)) > 0.94  # shifted by one voxel it would be 0.9
    assert dice_of(overlay(mask, fine), array_of(fine)) > 0.93
    assert mask.GetPixelID() == sitk.sitkUInt8 and set(np.unique(array_of(mask))) == {0, 1}


def test_volume_in_ml_and_probability(tmp_path):
    scan, label = blob_scan(np.eye(3), (1.0, 1.2, 0.9), (62, 54, 70))
    sitk.WriteImage(scan, str(tmp_path / "s.nii.gz"))
    found = predict_scan(bright(scan), tmp_path / "s.nii.gz", PATCH, voxel_mm=1.0)
    assert found.volume_ml == pytest.approx(array_of(label).sum() * 1.08 / 1000, rel=0.1)
    probability = array_of(found.probability)
    assert same_header(found.probability, scan) and 0 <= probability.min() and probability.max() <= 1
    assert np.array_equal(probability > 0.5, array_of(found.mask) > 0)


def test_the_second_look_is_around_what_the_first_found(tmp_path):
    """Far from the atrium the network calls everything atrium, in small parts; no trace of them is in the mask."""
    scan, label = blob_scan(np.eye(3), (1.5,) * 3, (140, 120, 40))
    values = array_of(scan).copy()
    values[:10, ::7, ::3] = values[-8:, ::5, ::4] = 2000
    noisy = image_of(values, scan)
    sitk.WriteImage(noisy, str(tmp_path / "s.nrrd"))
    network = bright(noisy)
    found = predict_scan(network, tmp_path / "s.nrrd", PATCH, voxel_mm=1.5)
    assert dice_of(array_of(found.mask), array_of(label)) > 0.97
    seen = []
    network.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0].shape))
    every = predict_scan(network, tmp_path / "s.nrrd", PATCH, voxel_mm=1.5, whole=True, keep_largest=False)
    assert dice_of(array_of(every.mask), array_of(label)) < 0.9 and seen


@pytest.mark.parametrize("spacing", [(1.25, 1.25, 2.5), (1.1, 1.2, 1.3)])
def test_a_mask_is_no_smaller_on_another_grid(spacing, tmp_path):
    """Interpolated between the mask and zeros around it, the border would lie half a voxel further in."""
    scan, label = blob_scan(rotation(np.deg2rad((8, -12, 15))), spacing, np.int64(np.ceil(62 / np.array(spacing))))
    sitk.WriteImage(scan, str(tmp_path / "s.nrrd"))
    found = predict_scan(bright(scan), tmp_path / "s.nrrd", PATCH, voxel_mm=1.25)
    assert array_of(found.mask).sum() == pytest.approx(array_of(label).sum(), rel=0.025)
    assert dice_of(array_of(found.mask), array_of(label)) > 0.985


def test_of_the_other_parts_nothing_is_left():
    probability = np.full((9, 9, 9), 0.3, np.float32)
    probability[1:4, 1:8, 1:8], probability[6:8, 6:8, 6:8] = 0.9, 0.8
    left = without_other_parts(probability[None])[0]
    assert (left[6:8, 6:8, 6:8] == 0).all() and left.dtype == np.float32
    left[6:8, 6:8, 6:8] = 0.8
    assert np.array_equal(left, probability)
    assert not without_other_parts(np.zeros((1, 4, 4, 4), np.float32)).any()


@pytest.mark.parametrize("shape, patch, factor", [((300, 200, 40), (48, 48, 24), 2), ((60, 90, 20), (48, 48, 24), 2),
                                                  ((500, 400, 30), (32, 32, 16), 1)])
def test_the_first_boxes_hold_the_middle_of_the_scan(shape, patch, factor):
    seen = np.zeros(shape, np.uint8)
    for box in boxes_across(shape, (1.25,) * 3, patch, factor):
        assert all(side.stop - side.start <= min(n, p * factor) for side, n, p in zip(box[:2], shape, patch))
        seen[box] += 1
    middle = tuple(slice(max(n // 2 - 60, 0), n // 2 + 60) for n in shape[:2])
    assert seen[middle].min() >= 1 and seen[middle].max() <= 4


def test_the_mean_is_of_the_boxes_that_hold_a_voxel():
    volume = np.random.default_rng(0).normal(size=(16, 8, 8)).astype(np.float32)
    boxes = [(slice(first, last), slice(None), slice(None)) for first, last in ((0, 10), (6, 12))]
    found, = look_at(Bright(0), volume, boxes, (8, 8, 8), window="fast")
    each = predict_volume(Bright(0), volume, (8, 8, 8), window="fast")[1]  # of each voxel alone
    assert np.allclose(found[:12], each[:12], atol=1e-6) and (found[12:] == 0).all()


@pytest.mark.parametrize("bright", [1, 30])
def test_a_larger_part_further_out_is_not_the_atrium(bright):
    """A network that calls the chest wall atrium, and more of it than there is of the atrium: the middle counts, and
    a wall that is brighter by far does not make noise of the atrium."""
    scan = np.zeros((200, 160, 24), np.float32)
    scan[90:112, 70:88, 6:18] = 1  # near the middle
    scan[5:60, 5:40] = bright  # a corner, over three times as large
    scan += np.random.default_rng(0).normal(0, 0.05, scan.shape).astype(np.float32)
    found = find_atrium(Bright(0.5), scan, (1.5, 1.5, 1.5), (48, 48, 24))
    assert found[92:110, 72:86, 7:17].all() and not found[:70].any() and not found[:, :50].any()
    assert largest_component(scan > 0.5)[10:50, 10:30].all(), "the largest part is the other one"


def test_what_the_first_looks_cut_off_is_found_again():
    """An atrium of 105 mm: 90 mm of it are kept at first, and the box around these holds the rest."""
    scan = np.random.default_rng(0).normal(0, 0.05, (150, 90, 24)).astype(np.float32)
    scan[40:110, 36:54, 6:18] += 1
    found = find_atrium(Bright(0.5), scan, (1.5, 1.5, 1.5), (48, 48, 24))
    assert found[41:109, 37:53, 7:17].all() and not found[:39].any() and not found[:, :34].any()


def test_parts_are_weighed_by_how_near_they_are_to_the_middle():
    weight = near_middle((101, 81, 5), (2.0, 1.0, 3.0))
    assert weight.shape == (101, 81, 1) and weight[50, 40] == 1
    assert weight[75, 40] == pytest.approx(np.exp(-0.5)) and weight[50, 0] == pytest.approx(np.exp(-0.5 * 0.64))
    mask = np.zeros((101, 81, 5), np.uint8)
    mask[48:53, 40], mask[0:8, 0:3] = 1, 1  # 25 voxels in the middle, 120 in a corner
    assert np.array_equal(largest_component(mask, weight) > 0, (mask > 0) & (np.arange(101)[:, None, None] > 20))
    assert not largest_component(mask * 0, weight).any()


def test_a_border_of_noise_is_not_looked_at():
    """To a voxel or two; but air within a body is, and a scan without a border is whole."""
    x, y, z = np.meshgrid(*map(np.arange, (70, 60, 32)), indexing="ij")
    body = np.float32(np.sin(x / 4) * np.cos(y / 5 + z / 7))
    body[20:50, 20:40] = 0
    noisy = np.random.default_rng(0).normal(-1, 0.1, (140, 120, 32)).astype(np.float32)
    noisy[50:120, 40:100] = body
    box = box_with_structure(noisy, (1.25,) * 3)
    assert box[2] == slice(None) and all(abs(side.start - a) < 4 and abs(side.stop - b) < 4
                                         for side, (a, b) in zip(box, ((50, 120), (40, 100))))
    for whole in (body, np.zeros((9, 8, 7), np.float32)):
        assert whole[box_with_structure(whole, (1.25,) * 3)].shape == whole.shape


def test_a_prepared_volume_is_a_scan_too(tmp_path):
    scan, label = blob_scan(np.eye(3), (1.0,) * 3, (62, 60, 58))
    values = array_of(scan).astype(float)
    values = (values - values.mean()) / values.std()
    path = tmp_path / "CASE" / "mri_norm2.h5"
    write_volume(path, values[5:, 3:], spacing=(1, 1, 1), origin=scan.TransformIndexToPhysicalPoint((5, 3, 0)))
    found = predict_scan(bright(scan), path, PATCH)
    assert dice_of(overlay(found.mask, label), array_of(label)) > 0.99
    write_volume(path, values)
    unknown = predict_scan(bright(scan), path, PATCH)
    assert np.isnan(unknown.volume_ml)
    assert predict_scan(bright(scan), path, PATCH, spacing=(1, 1, 1)).volume_ml > 1
    assert mask_names([path, tmp_path / "x.nii.gz"]) == ["CASE", "x"]


def test_names_that_would_meet_are_told_apart(tmp_path):
    assert mask_names(["a/lgemri.nrrd", "b/lgemri.nrrd", "a/x.nii.gz", "b/x.mha", "c.d.nii"]) == [
        "a", "b", "a_x", "b_x", "c.d"]
    assert mask_names(["P1/ST0/SE0/a.nii", "P2/ST0/SE0/a.nii"]) == ["P1_ST0_SE0_a", "P2_ST0_SE0_a"]
    with pytest.raises(LasegError, match="would have the name of that of"):
        mask_names(["a/x.nii", "a/x.mha"])


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()
    return folder


@pytest.mark.parametrize("names, found", [
    (["c1_0000.nii.gz", "c2_0000.nii.gz", "c2_0001.nii.gz"], ["c1_0000.nii.gz", "c2_0000.nii.gz"]),
    (["a.nii.gz", "b.NRRD", "notes.txt", ".c.nii.gz"], ["a.nii.gz", "b.NRRD"]),
    (["a.nii.gz", "a_la.nii.gz", "b_la.nii.gz"], ["a.nii.gz", "b_la.nii.gz"]),
    (["p1/lgemri.nrrd", "p1/laendo.nrrd", "p2/lgemri.nrrd"], ["p1/lgemri.nrrd", "p2/lgemri.nrrd"]),
    (["IM1.dcm", "IM2.dcm"], ["."]), (["IM1", "IM2"], ["."]), ([], ["."]),
    (["p1/IM1", "p1/IM2", "p2/IM1.dcm"], ["p1", "p2"]),
    (["p_mri.nii.gz", "p_la.nii.gz", "q_la.nii.gz"], ["p_mri.nii.gz", "q_la.nii.gz"]),
    (["P_LA.nii.gz", "P_scan.nii.gz"], ["P_LA.nii.gz", "P_scan.nii.gz"]),  # the long axis
    (["c1_0000.nii.gz", "c1.nii.gz", "c1_probability.nii.gz"], ["c1_0000.nii.gz"]),
    (["mri.nii.gz", "la.nii.gz"], ["mri.nii.gz"]), (["p1/lge/1.dcm", "p1/la.nii.gz"], ["p1/lge"]),
    (["p1/a.nii.gz", "p2/b.nii.gz", "masks/a_la.nii.gz"], ["p1/a.nii.gz", "p2/b.nii.gz"]),  # of an earlier run
    (["_p1_mri.nii.gz", "_p1_la.nii.gz"], ["_p1_mri.nii.gz"]),
    (["p1/a_la.nii.gz", "p2/b_la.nii.gz"], ["p1/a_la.nii.gz", "p2/b_la.nii.gz"]),
    (["Mu\u0308ller_mri.nii.gz", "M\u00fcller_la.nii.gz"], ["Mu\u0308ller_mri.nii.gz"]),
    (["p1/IM1", "p1_la.nii.gz"], ["p1"]), (["p1/a.nii.gz", "patients.xlsx"], ["p1/a.nii.gz"]),
    (["p1/mri_norm2.h5", "settings.json"], ["p1/mri_norm2.h5"]),
    (["imagesTr/a_0000.nii.gz", "labelsTr/a.nii.gz", "dataset.json"], ["imagesTr/a_0000.nii.gz"])])
def test_a_folder_stands_for_the_scans_in_it(names, found, tmp_path):
    (tmp_path / "in").mkdir()
    assert scans_of(touch(tmp_path / "in", *names)) == [tmp_path / "in" / name for name in found]


@pytest.mark.parametrize("names, told", [(["a.nii.gz", "more/b.nii.gz"], True), (["1.dcm", "more/1.dcm"], True),
                                         (["a.nii.gz", "masks/a_la.nii.gz"], False)])
def test_scans_in_folders_beside_others_are_told(names, told, tmp_path, capsys):
    scans_of(touch(tmp_path, *names))
    assert ("not those in the folders beside them (more)" in capsys.readouterr().err) == told


def test_a_series_is_known_by_its_files_and_not_ignored_beside_other_scans(tmp_path):
    for name in ("p1/IM1", "DICOMDIR"):
        touch(tmp_path, name).joinpath(name).write_bytes(bytes(128) + b"DICM")
    assert scans_of(touch(tmp_path, "p1/small/x.png")) == [tmp_path / "p1"]
    for folder, name in (("p1", "IM1"), ("p2", "IM1.dcm")):
        with pytest.raises(LasegError, match=f"DICOM files .{name}. and other scans .Seg.seg.nrrd.; move one kind"):
            scans_of(touch(tmp_path / folder, *[name] * (folder == "p2"), "Seg.seg.nrrd"))


@pytest.mark.parametrize("head", [b"\x08\0\x05\0CS", b"\x02\0\0\0UL", b"\0\x08\0\x16"])
def test_a_series_without_preambles_is_one_beside_a_folder_too(head, tmp_path):
    touch(tmp_path, "IM1", "extra/a.nii.gz")
    (tmp_path / "IM1").write_bytes(head + bytes(200))
    assert scans_of(tmp_path) == [tmp_path]


@pytest.mark.parametrize("shape, voxel", [((200, 200, 5), (.15, .15, .2)), ((3, 3, 3), (.2,) * 3)])
def test_structure_is_looked_for_in_thin_scans_too(shape, voxel):
    volume = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    assert volume[box_with_structure(volume, voxel)].size


def test_links_are_followed_once_and_those_that_lead_nowhere_are_told(tmp_path, monkeypatch):
    scans = touch(tmp_path / "in", "p1/x/a.nii.gz", "p2/x/b.nii.gz", "q/c.nii.gz", "q/d/e.txt")
    for name in ("p1", "p2"):
        (scans / name / "all").symlink_to("..", target_is_directory=True)
    (scans / "far").symlink_to(scans / "q", target_is_directory=True)
    found = ["far/c.nii.gz", "p1/x/a.nii.gz", "p2/x/b.nii.gz", "q/c.nii.gz"]
    assert scans_of(scans) == [scans / name for name in found]
    monkeypatch.chdir(scans / "q")
    assert list(map(str, scans_of(".."))) == [f"../{name}" for name in found]
    assert [path.name for path in files_below("..") if path.is_file()][-2:] == ["c.nii.gz", "e.txt"]
    (scans / "site").symlink_to(tmp_path / "unmounted")
    with pytest.raises(LasegError, match="site: is a link to a missing file"):
        scans_of(scans)


def test_the_first_file_is_the_network_unless_it_is_a_scan(tmp_path, monkeypatch):
    monkeypatch.chdir(touch(tmp_path, "run[1]/last.pth", "net.pth", "x.mgz", "in/a.nii.gz"))
    for first in ("run[1]/last.pth", "net.pth", "run[1]", "weights"):
        assert network_and_scans([first, "in"]) == (Path(first), ["in"])
    assert network_and_scans(["run[1]"]) == (None, ["run[1]"])  # a folder alone holds scans
    for files in (["in"], ["*.nii.gz"], ["a.nii.gz", "b.nii.gz"], ["in", "net.pth"]):
        assert network_and_scans(files) == (None, files)
    for files in (["x.mgz"], ["x.mgz", "y.mgz"]):
        with pytest.raises(LasegError, match="x.mgz: is taken as the network, and no scan follows"):
            network_and_scans(files)


def test_a_pattern_is_expanded_where_no_shell_did(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(touch(tmp_path, "b.nii.gz", "a.nii.gz", "a_la.nii.gz", "c[1].nii.gz", "d/e.nrrd"))
    assert list(map(str, scans_of("*.nii.gz"))) == ["a.nii.gz", "a_la.nii.gz", "b.nii.gz", "c[1].nii.gz"]
    assert list(map(str, scans_of_all(["*.nii.gz"]))) == ["a.nii.gz", "b.nii.gz", "c[1].nii.gz"]
    assert "left out, because it has the name of a mask: a_la.nii.gz" in capsys.readouterr().err
    assert list(map(str, scans_of("**/*.nrrd"))) == ["d/e.nrrd"] and list(map(str, scans_of("x.nii"))) == ["x.nii"]
    assert list(map(str, scans_of("c[1].nii.gz"))) == ["c[1].nii.gz"]
    with pytest.raises(LasegError, match="no file matches this pattern"):
        scans_of("*.mha")


def test_masks_are_named_as_nnu_net_looks_for_them_where_the_folder_follows_it(tmp_path):
    touch(tmp_path, "imagesTs/LA_011_0000.nii.gz", "imagesTs/LA_011_0001.nii.gz", "other/LA_012_0000.nii.gz",
          "other/more.nii.gz")
    scans = [tmp_path / "imagesTs/LA_011_0000.nii.gz", tmp_path / "other/LA_012_0000.nii.gz"]
    image = image_of(np.ones((4, 4, 4), np.uint8), spacing=(1, 1, 1), origin=(0, 0, 0))
    assert not predict_files(lambda scan, **_: Found(image, sitk.Cast(image, sitk.sitkFloat32), 1.0), scans,
                             tmp_path / "out", keep_probability=True, say=lambda line: None, progress=False)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "LA_011.nii.gz", "LA_011_probability.nii.gz", "LA_012_0000_la.nii.gz", "LA_012_0000_probability.nii.gz"}
    touch(tmp_path, "imagesTs/LA_013_0000.nii.gz")
    for _ in range(2):  # into the folder of the scans, and once more
        scans = scans_of(tmp_path / "imagesTs")
        assert not predict_files(lambda scan, **_: Found(image, None, 1.0), scans, tmp_path / "imagesTs", force=True,
                                 say=lambda line: None, progress=False)
    assert {path.name for path in (tmp_path / "imagesTs").glob("*.nii.gz") if "_000" not in path.name} == {
        "LA_011.nii.gz", "LA_013.nii.gz"}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """A network of ours that nobody trained, with student and teacher."""
    from laseg_lib.config import TrainConfig

    torch.manual_seed(0)
    states = {who: VNet(1, 2, 2, "instancenorm").state_dict() for who in ("student", "teacher")}
    path = tmp_path_factory.mktemp("run") / "last.pth"
    config = TrainConfig(root_path="x", patch_size=(32, 32, 16)).to_dict()
    torch.save({"config": config, "spacing": [1.5] * 3, **states}, path)
    return path


def run(*words):
    return main(["predict", *map(str, words)])


def test_many_scans_at_a_time_and_one_that_cannot_be_read(checkpoint, tmp_path, capsys):
    scan = blob_scan(np.eye(3), (1.5,) * 3, (40, 36, 32))[0]
    sitk.WriteImage(scan, str(tmp_path / "good.nii.gz"))
    (tmp_path / "bad.nrrd").write_text("NRRD0004\n")
    out = tmp_path / "out"
    scans = [tmp_path / "bad.nrrd", tmp_path / "good.nii.gz", tmp_path / "gone.mha"]
    assert run(checkpoint, *scans, "--out", out, "--format", ".nrrd", "--probability") == 1
    assert {path.name for path in out.iterdir()} == {"good_la.nrrd", "good_probability.nrrd"}
    told = capsys.readouterr()
    assert "good_la.nrrd" in told.out and ("ml" in told.out or "EMPTY" in told.out)
    assert "bad.nrrd" in told.err and "gone.mha: no such file" in told.err and "2 of 3 scans" in told.err
    before = (out / "good_la.nrrd").read_bytes()
    for scans in (tmp_path / "good.nii.gz", tmp_path / "*.nii.gz"):
        assert run(checkpoint, scans, "--out", out, "--format", ".nrrd") == 1
    assert "exists already; give --force" in capsys.readouterr().err
    again = ["--out", tmp_path / "again"]
    assert run(checkpoint, tmp_path / "good.nii.gz", tmp_path / "out" / ".." / "*.nii.gz", *again) == 0
    assert (out / "good_la.nrrd").read_bytes() == before
    assert run(checkpoint, tmp_path / "good.nii.gz", "--out", out, "--format", ".nrrd", "--force", "--weights",
               "teacher", "--downsample", 2) == 0
    assert (out / "good_la.nrrd").read_bytes() != before and not list(out.glob("*.partial*"))


def test_masks_that_a_shell_expanded_with_their_scans_are_no_scans(checkpoint, tmp_path, capsys):
    scan = blob_scan(np.eye(3), (1.5,) * 3, (40, 36, 32))[0]
    for name in ("p1_mri", "p1_la", "p2"):
        sitk.WriteImage(scan, str(tmp_path / f"{name}.nii.gz"))
    assert run(checkpoint, *sorted(tmp_path.iterdir()), "--out", tmp_path / "out") == 0
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"p1_mri_la.nii.gz", "p2_la.nii.gz"}
    assert "left out, because it has the name of a mask" in capsys.readouterr().err
    assert run(checkpoint, tmp_path / "p1_la.nii.gz", "--out", tmp_path / "alone") == 0


@pytest.mark.parametrize("words, message", [
    (["--voxel", 1, 2], "--voxel.*one side in mm, or three"), (["--spacing", 0, 1, 1], "--spacing.*between"),
    (["--patch_size", 30, 32, 16], "--patch_size.*multiples"), (["--out", __file__], "--out.*name a folder")])
def test_a_wrong_argument_is_one_line(words, message, checkpoint, tmp_path, capsys):
    import re

    try:
        status = run(checkpoint, tmp_path / "x.nii.gz", "--out", tmp_path / "o", *words)
    except SystemExit as argparse_left:
        status = argparse_left.code
    assert status in (1, 2)
    assert re.search(message, capsys.readouterr().err)


def test_from_raw_nifti_to_a_mask_with_three_commands(tmp_path, monkeypatch, capsys):
    """Eight labelled scans and more without a label; nothing but patterns and the number of labels is said."""
    monkeypatch.chdir(tmp_path)
    scan, label = blob_scan(np.eye(3), (2.5,) * 3, (26, 25, 16))
    (tmp_path / "raw").mkdir()
    for k in range(12):
        sitk.WriteImage(scan, f"raw/p{k:02d}_mri.nii.gz")
        if k < 5:
            sitk.WriteImage(label, f"raw/p{k:02d}_la.nii.gz")
    assert main(["prepare", "raw", "data", "--scan", "*_mri.nii.gz", "--label", "*_la.nii.gz", "--voxel", "2.5"]) == 0
    assert "training, unlabelled: 7" in capsys.readouterr().out
    assert main(["train", "--root_path", "data/volumes", "--snapshot_path", "run", "--n_filters", "2", "--patch_size",
                 "16", "16", "16", "--max_iterations", "2", "--device", "cpu", "--precision", "fp32"]) == 0
    assert "4 labelled of 11 cases, 0 for validation" in capsys.readouterr().out
    assert main(["evaluate", "run/last.pth", "--root_path", "data/volumes", "--window", "fast"]) == 0
    assert " mm)" in capsys.readouterr().out
    assert run("run/last.pth", "raw/p11_mri.nii.gz", "--out", "masks") == 0
    assert same_header(sitk.ReadImage("masks/p11_mri_la.nii.gz"), scan)
    shutil.rmtree("data")
    assert main(["prepare", "raw", "data", "--scan", "*_mri.nii.gz", "--label", "*_la.nii.gz", "--voxel", "2.5",
                 "--checkpoint", "run/last.pth"]) == 0


def test_a_bright_network_is_what_it_says():
    network, ones = Bright(0.5), torch.ones(1, 1, 2, 2, 2)
    assert network(ones).argmax(1).all() and not network(0 * ones).argmax(1).any()


@pytest.mark.parametrize("error", [TypeError("in method 'SetSize'"), ValueError("x"), OverflowError])
def test_a_scan_that_breaks_a_tool_costs_that_scan_alone(error, tmp_path):
    image, _ = blob_scan(np.eye(3), (1.25,) * 3, (50, 48, 46))
    for name in "ab":
        sitk.WriteImage(image, str(tmp_path / f"{name}.nii.gz"))

    def predictor(scan, **_):
        if scan.name.startswith("a"):
            raise error
        return Found(sitk.Cast(image > 700, sitk.sitkUInt8), image, 1.0)

    told = []
    failed = predict_files(predictor, [tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"], tmp_path / "out", say=told.append,
                           complain=told.append, progress=False)
    assert failed == 1 and "a.nii.gz: can't be segmented" in told[0] and "b_la.nii.gz: 1.0 ml" in told[1]
    with pytest.raises(LasegError, match="--out .*out2/sub: can't be made .*name a folder"):
        (tmp_path / "out2").touch()
        predict_files(lambda *_, **__: pytest.fail("was predicted"), [tmp_path / "b.nii.gz"], tmp_path / "out2" / "sub",
                      progress=False)
