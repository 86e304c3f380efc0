"""Reading scans as hospitals have them, with SimpleITK and the formula of the picture as oracles."""

import gzip
import locale
import os
import re
import shutil
import struct
import sys
import unicodedata
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk
from scan_files import blob_scan, random_geometry, write_dicom

from laseg_lib.data.atomic import replacing
from laseg_lib.data.files import require_text
from laseg_lib.data.grid import array_of, image_of, normalise, normalised_and_straight, same_grid, straighten
from laseg_lib.data.prepare import content_digest, prepare
from laseg_lib.data.scans import read_case, read_scan, require_spacing, write_image
from laseg_lib.data.volumes import read_list, read_patients, read_volume
from laseg_lib.errors import LasegError
from laseg_lib.metrics import dice_of
from laseg_lib.transforms import rotation

PLAIN = (np.eye(3), (1.25, 1.25, 1.25), (50, 48, 46))


def write(folder, name, image):
    folder.mkdir(parents=True, exist_ok=True)
    sitk.WriteImage(image, str(folder / name))
    return folder / name


@pytest.fixture(scope="module")
def straight():
    """(scan, label) of the plain geometry, normalised, as arrays and as SimpleITK's image."""
    return blob_scan(*PLAIN)


@pytest.mark.parametrize("seed", range(8))
def test_any_geometry_and_format_becomes_the_same_straight_volume(seed, tmp_path, straight):
    direction, spacing, size = random_geometry(seed)
    if seed % 4 == 3 and np.linalg.det(direction) < 0:
        direction = direction * [1, 1, -1]  # a DICOM series has no mirrored axes
    scan, label = blob_scan(direction, spacing, size)
    suffix = (".nii.gz", ".nrrd", ".mha", "dicom")[seed % 4]
    path = write_dicom(scan, tmp_path / "dicom") if suffix == "dicom" else write(tmp_path, f"s{suffix}", scan)
    image, found = read_case(path, write(tmp_path, "l.nii.gz", label), voxel_mm=0.8)
    assert np.allclose(np.reshape(image.GetDirection(), (3, 3)), np.eye(3)) and np.allclose(image.GetSpacing(), 0.8)
    fine = sitk.Cast(blob_scan(np.eye(3), (0.4,) * 3, (160,) * 3)[1], sitk.sitkFloat32)
    formula = array_of(sitk.Resample(fine, image)) >= 0.5
    assert dice_of(found, formula) > 0.97
    values = array_of(image)
    middle = (values[formula].max() + values.min()) / 2  # the picture's own level, whatever the normalisation
    assert dice_of(values > middle, formula) > 0.98


def test_reading_dicom_leaves_the_locale_as_it_was(tmp_path):
    """SimpleITK sets it to "C": every text that Python reads afterwards without a word on encoding would be ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    read_scan(write_dicom(blob_scan(*PLAIN)[0], tmp_path / "dicom"))
    assert locale.setlocale(locale.LC_ALL) == before


def test_axes_are_turned_without_touching_a_value(tmp_path, straight):
    scan, label = straight
    want = read_case(write(tmp_path, "a.nrrd", scan), write(tmp_path, "al.nrrd", label), voxel_mm=1.25)
    for order in ("RAS", "PIR", "ASL", "SPL"):
        turned = [sitk.DICOMOrient(image, order) for image in (scan, label)]
        assert turned[0].GetDirection() != scan.GetDirection()
        image, found = read_case(*(write(tmp_path, f"{n}{order}.nii.gz", t) for n, t in zip("sl", turned)),
                                 voxel_mm=1.25)
        assert np.array_equal(array_of(image), array_of(want[0])) and np.array_equal(found, want[1])
        assert same_grid(image, want[0])


def test_a_label_in_another_orientation_than_its_scan_is_not_mirrored(tmp_path, straight):
    scan, label = straight
    path = write(tmp_path, "scan.nii.gz", scan)
    want = read_case(path, write(tmp_path, "same.nii.gz", label))[1]
    assert dice_of(want, want[::-1]) < 0.9
    for order in ("RAS", "LAI"):
        other = write(tmp_path, f"{order}.nrrd", sitk.DICOMOrient(label, order))
        assert np.array_equal(read_case(path, other)[1], want)
    part = write(tmp_path, "part.nii.gz", label[8:45, 5:40, 4:44])  # a label that was cropped lies where it says
    assert np.array_equal(read_case(path, part)[1], want)


def test_a_label_elsewhere_is_told(tmp_path, straight):
    scan, label = straight
    path = write(tmp_path, "scan.nii.gz", scan)
    label.SetOrigin(np.add(label.GetOrigin(), (5, 0, 0)).tolist())
    moved = write(tmp_path, "moved.nii.gz", label)
    with pytest.raises(LasegError, match=r"moved.nii.gz: has the size of its scan.*5.0 mm away.*--label-as-scan"):
        read_case(path, moved)
    assert read_case(path, moved, label_as_scan=True)[1].any()
    far = label[10:40, 10:40, 10:40]
    far.SetOrigin((500, 0, 0))
    with pytest.raises(LasegError, match="100 % of the atrium lies outside"):
        read_case(path, write(tmp_path, "far.nii.gz", far))
    label.SetOrigin(scan.GetOrigin())


def nrrd(path, geometry, data="encoding: raw", body=bytes(range(8 * 7 * 6 // 2)) * 2):
    lines = ["NRRD0004", "type: uint8", "dimension: 3", "sizes: 8 7 6", *geometry, data, "", ""]
    path.write_bytes("\n".join(lines).encode() + body)
    return path


@pytest.mark.parametrize("geometry, known", [
    ([], [np.nan] * 3), (["spacings: 1 2 nan"], [1, 2, np.nan]), (["spacings: 1 2 3"], [1, 2, 3]),
    (["space: left-posterior-superior", "space directions: (1,0,0) (0,2,0) none"], [1, 2, np.nan]),
    (["space: left-posterior-superior", "space directions: (0,2,0) (1,0,0) (0,0,3)"], [2, 1, 3])])
def test_what_an_nrrd_says_is_kept_and_the_rest_is_asked_for(geometry, known, tmp_path):
    scan = read_scan(nrrd(tmp_path / "s.nrrd", geometry))
    np.testing.assert_array_equal(scan.spacing, known)
    assert scan.oriented == any("directions" in line for line in geometry)
    if np.isnan(known).any():
        with pytest.raises(LasegError, match=r"s.nrrd: its header doesn't give.*--spacing X Y Z"):
            require_spacing(scan)
    filled = read_scan(tmp_path / "s.nrrd", (9, 9, 9))
    np.testing.assert_array_equal(filled.image.GetSpacing(), np.where(np.isnan(known), 9, known))


@pytest.mark.parametrize("side", [0.0, np.nan, np.inf])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_what_a_nifti_says_is_kept_and_the_rest_is_asked_for(side, suffix, tmp_path):
    image = image_of(np.arange(8 * 7 * 6, dtype=np.int16).reshape(8, 7, 6), spacing=(1, 2, 3), origin=(0, 0, 0))
    head = bytearray(write(tmp_path, "a.nii", image).read_bytes())
    assert read_scan(tmp_path / "a.nii").spacing.tolist() == [1, 2, 3]
    head[88:92] = struct.pack("<f", side)  # pixdim[3]
    (tmp_path / "a.nii").write_bytes(head)
    assert read_scan(tmp_path / "a.nii").spacing.tolist() == [1, 2, 3]  # the sform says it too
    head[254:256] = bytes(2)  # sform_code
    (tmp_path / f"b{suffix}").write_bytes(gzip.compress(head) if suffix == ".nii.gz" else head)
    scan = read_scan(tmp_path / f"b{suffix}")
    np.testing.assert_array_equal(scan.spacing, [1, 2, np.nan])
    assert read_scan(tmp_path / f"b{suffix}", (9, 9, 9)).image.GetSpacing() == (1, 2, 9)


@pytest.mark.parametrize("data, words", [
    ("encoding: raw\ndata file: LIST\nd1.raw", "cut off or damaged"),
    ("encoding: raw\ndata file: gone.raw", "data file that its header names is missing.*gone.raw.*without a folder"),
    ("encoding: zstd", "compression isn't supported")])
def test_the_true_cause_is_named(data, words, tmp_path):
    with pytest.raises(LasegError, match=rf"s.nhdr: .*{words}") as error:
        read_scan(nrrd(tmp_path / "s.nhdr", ["spacings: 1 1 1"], data, b""))
    assert "\n" not in str(error.value)


META = "ObjectType = Image\nNDims = 3\nDimSize = 8 7 6\nElementType = MET_UCHAR\nElementSpacing = 1 1 1\n"


def test_slices_in_files_of_their_own_are_read(tmp_path):
    want = np.arange(8 * 7 * 6, dtype=np.uint16).astype(np.uint8)
    for k in range(6):
        (tmp_path / f"slice{k + 1}.raw").write_bytes(want[k * 56:(k + 1) * 56].tobytes())
    names = "".join(f"slice{k + 1}.raw\n" for k in range(6))
    for i, data in enumerate(("LIST\n" + names, "slice%d.raw 1 6 1\n")):
        (tmp_path / f"{i}.mhd").write_text(META + "ElementDataFile = " + data)
        path = nrrd(tmp_path / f"{i}.nhdr", ["spacings: 1 1 1"], "encoding: raw\ndata file: " + data.strip(), b"")
        path.write_bytes(path.read_bytes().rstrip() + b"\n")
        for file in (tmp_path / f"{i}.mhd", path):
            np.testing.assert_array_equal(sitk.GetArrayFromImage(read_scan(file).image).ravel(), want)
    (tmp_path / "slice3.raw").write_bytes(bytes(20))
    with pytest.raises(LasegError, match="1.nhdr: .*cut off.*copy it again"):
        read_scan(tmp_path / "1.nhdr")


@pytest.mark.parametrize("offset", [np.nan, np.inf, -1, 0, 1e30])
def test_a_nifti_whose_voxels_begin_nowhere_is_told(offset, tmp_path):
    head = bytearray(write(tmp_path, "a.nii", image_of(np.ones((8, 7, 6)), spacing=(1, 1, 1), origin=(0, 0, 0))
                           ).read_bytes())
    head[108:112] = struct.pack("<f", offset)
    (tmp_path / "a.nii").write_bytes(head)
    with pytest.raises(LasegError, match="a.nii: .*(header is wrong|vox_offset 0).*export it again"):
        read_scan(tmp_path / "a.nii")


def test_complex_numbers_are_no_scan(tmp_path):
    image = sitk.Cast(image_of(np.ones((8, 7, 6)), spacing=(1, 1, 1), origin=(0, 0, 0)), sitk.sitkComplexFloat32)
    with pytest.raises(LasegError, match="complex numbers"):
        read_scan(write(tmp_path, "a.nii", image))


def test_detached_and_compressed_data_are_read(tmp_path):
    want = np.arange(8 * 7 * 6, dtype=np.uint16).astype(np.uint8)
    (tmp_path / "d.raw").write_bytes(want.tobytes())
    (tmp_path / "d.gz").write_bytes(gzip.compress(want.tobytes()))
    for i, data in enumerate(("encoding: raw\ndata file: d.raw", "encoding: gzip\ndata file: d.gz")):
        got = read_scan(nrrd(tmp_path / f"{i}.nhdr", ["spacings: 1 1 1"], data, b"")).image
        np.testing.assert_array_equal(sitk.GetArrayFromImage(got).ravel(), want)
    head = "ObjectType = Image\nNDims = 3\nDimSize = 8 7 6\nElementType = MET_UCHAR\n{}ElementDataFile = d.raw\n"
    (tmp_path / "m.mhd").write_text(head.format("ElementSpacing = 1 2 3\n"))
    assert read_scan(tmp_path / "m.mhd").spacing.tolist() == [1, 2, 3]
    (tmp_path / "m.mhd").write_text(head.format(""))
    assert np.isnan(read_scan(tmp_path / "m.mhd").spacing).all()


def test_dicom_that_cannot_be_a_volume_is_told(tmp_path, straight):
    folder = write_dicom(straight[0][:, :, :12], tmp_path / "series")
    files = sorted(folder.iterdir())
    with pytest.raises(LasegError, match="give the folder"):
        read_scan(files[0])
    files[3].unlink()
    with pytest.raises(LasegError, match=r"series: .*1.25 to 2.50 mm apart; some are missing"):
        read_scan(folder)
    (tmp_path / "empty").mkdir()
    write(tmp_path / "empty", "a.nii.gz", straight[0])
    with pytest.raises(LasegError, match="no DICOM series.*found 1 of .nii.gz, such as a.nii.gz"):
        read_scan(tmp_path / "empty")


# --- prepare --------------------------------------------------------------------------------------

@pytest.fixture
def mixed(tmp_path, straight):
    """Four outlined scans and three others, as NIfTI."""
    for k in range(7):
        write(tmp_path / "raw", f"p{k}_mri.nii.gz", straight[0])
        if k < 4:
            write(tmp_path / "raw", f"p{k}_la.nii.gz", straight[1])
    return tmp_path / "raw"


def ready(raw, dest, **options):
    names = {"scan": "*_mri.nii.gz", "label": "*_la.nii.gz"}
    return prepare(raw, dest, voxel_mm=1.25, progress=False, **{**names, **options})


def test_a_few_labels_and_many_scans_without(mixed, tmp_path):
    said = []
    root = ready(mixed, tmp_path / "out", say=said.append)
    assert read_list(tmp_path / "out" / "train.list")[3:] == ["p4", "p5", "p6"]
    assert len(read_list(tmp_path / "out" / "test.list")) == 1
    assert "7 scans" in said[0] and "4 with a label" in said[0]
    assert any("training, unlabelled: 3 (p4, p5, p6)" in line for line in said)
    for name in ("p4", "p5"):  # cropped where the labelled atria lie
        image, _ = read_volume(root / name / "mri_norm2.h5", with_label=False)
        assert image.shape[2] == 46 and image.max() > 2
    found = []
    ready(mixed, tmp_path / "found", find=lambda volume, voxel: found.append(volume.shape) or volume > 1)
    assert found == [(50, 48, 46)] * 3


def test_lists_decide_and_are_never_overwritten(mixed, tmp_path):
    (tmp_path / "l.list").write_text("p2\np0\n")
    (tmp_path / "t.list").write_text("p3\n")
    lists = {"labelled_list": tmp_path / "l.list", "test_list": tmp_path / "t.list"}
    ready(mixed, tmp_path / "out", **lists)
    assert read_list(tmp_path / "out" / "train.list") == ["p2", "p0", "p1", "p4", "p5", "p6"]
    (tmp_path / "out" / "train.list").write_text("p0\np2\n")
    with pytest.raises(LasegError, match="train.list: exists already, with other cases.*never overwritten"):
        ready(mixed, tmp_path / "out", **lists)
    assert read_list(tmp_path / "out" / "train.list") == ["p0", "p2"]


def test_prepare_into_the_scans_own_folder_keeps_its_lists(mixed):
    train, test = b"p6\r\np0\r\np1\r\np2\r\n", b"p3\r\n"
    (mixed / "train.list").write_bytes(train)
    (mixed / "test.list").write_bytes(test)
    with pytest.raises(LasegError, match="never overwritten"):  # it would list p6 behind the labelled ones
        ready(mixed, mixed)
    train = b"p0\r\np1\r\np2\r\np6\r\n"
    (mixed / "train.list").write_bytes(train)
    said = []
    ready(mixed, mixed, say=said.append)
    assert (mixed / "train.list").read_bytes() == train and (mixed / "test.list").read_bytes() == test
    assert any("left out, on neither list: 2 (p4, p5)" in line for line in said)


def test_names_are_the_same_with_letters_composed_or_not_and_suffixes_in_any_case(mixed, tmp_path):
    for k, (name, scan, label) in enumerate([("Müller", "NFD", "NFC"), ("Größe", "NFC", "NFD")]):
        (mixed / f"p{k}_mri.nii.gz").rename(mixed / f"{unicodedata.normalize(scan, name)}_mri.NII.gz")
        (mixed / f"p{k}_la.nii.gz").rename(mixed / f"{unicodedata.normalize(label, name)}_la.nii.GZ")
    said = []
    ready(mixed, tmp_path / "out", scan="*_mri.NII.GZ", say=said.append)
    assert "7 scans" in said[0] and "4 with a label" in said[0]
    assert {"M\u00fcller", "Gr\u00f6\u00dfe"} < {*read_list(tmp_path / "out/train.list"),
                                             *read_list(tmp_path / "out/test.list")}


def test_a_pattern_may_have_windows_separators_and_a_folder_may_be_a_link(mixed, tmp_path):
    for kind in ("mri", "la"):
        (mixed / "store" / kind).mkdir(parents=True)
        for file in mixed.glob(f"*_{kind}.nii.gz"):
            file.rename(mixed / "store" / kind / file.name)
        (mixed / kind).symlink_to(mixed / "store" / kind, target_is_directory=True)
    (mixed / "store" / "loop").symlink_to(mixed, target_is_directory=True)
    for scan, label in (("mri\\*_mri.nii.gz", "la\\*_la.nii.gz"), ("store/mri/*_mri.nii.gz", "store/la/*_la.nii.gz")):
        said = []
        ready(mixed, tmp_path / scan[:2], scan=scan, label=label, say=said.append)
        assert "7 scans" in said[0] and "4 with a label" in said[0] and not any("no pattern fits" in s for s in said)


def test_all_bad_cases_are_told_at_once_and_may_be_left_out(mixed, tmp_path, straight):
    write(mixed, "p1_la.nii.gz", straight[1] * 0)
    (mixed / "p2_mri.nii.gz").write_bytes((mixed / "p2_mri.nii.gz").read_bytes()[:3000])
    (mixed / "p5_mri.nii.gz").write_text("version https://git-lfs.github.com/spec/v1\n")
    said = []
    with pytest.raises(LasegError, match="3 cases can't be prepared: .*--skip-bad") as error:
        ready(mixed, tmp_path / "out", say=said.append, test_share=0)
    for name, file in (("p1", "p1_la.nii.gz"), ("p2", "p2_mri.nii.gz"), ("p5", "p5_mri.nii.gz")):
        assert name in str(error.value) and any(file in line for line in said)
    assert not list((tmp_path / "out").glob("*.list"))
    ready(mixed, tmp_path / "out", skip_bad=True, test_share=0)
    assert read_list(tmp_path / "out" / "train.list") == ["p0", "p3", "p4", "p6"]
    left = (tmp_path / "out" / "left_out.txt").read_text().splitlines()
    assert [line.split(":")[0] for line in left] == ["p1", "p2", "p5"] and "git lfs pull" in left[2]
    for k in (0, 3):
        write(mixed, f"p{k}_la.nii.gz", straight[1] * 0)
    with pytest.raises(LasegError, match="no labelled case is left"):
        ready(mixed, tmp_path / "none", skip_bad=True, test_share=0)


def test_a_list_that_nothing_is_left_of_is_told(mixed, tmp_path, straight):
    write(mixed, "p1_la.nii.gz", straight[1] * 0)
    (tmp_path / "test.txt").write_text("p1")
    said = []
    ready(mixed, tmp_path / "out", skip_bad=True, test_list=tmp_path / "test.txt", say=said.append)
    assert any("WARNING: test.list is not written" in line for line in said)
    assert not (tmp_path / "out" / "test.list").exists()


def test_the_label_that_was_looked_for_is_named(mixed, tmp_path):
    with pytest.raises(LasegError, match="none of the 7 scans has a label.*For p0_mri.nii.gz p0_gt.nii.gz was looked"):
        ready(mixed, tmp_path / "out", label="*_gt.nii.gz")


def two_visits(folder, straight, name, patients=6):
    """Two scans of each patient, of which the second has no label where the patient's number is even."""
    for k in range(patients):
        for visit in (1, 2):
            case = name.format(k, visit)
            write((folder / case).parent, f"{(folder / case).name}_mri.nii.gz", straight[0])
            if visit == 1 or k % 2:
                write((folder / case).parent, f"{(folder / case).name}_la.nii.gz", straight[1])
    return folder


@pytest.mark.parametrize("name, patient, options", [
    ("sub-{:02d}/ses-{}/sub-{:02d}_ses-{}", r"sub-\d+", {"scan": "sub-*_mri.nii.gz", "label": "sub-*_la.nii.gz"}),
    ("patient{:03d}_frame{:02d}", r"patient\d+", {}), ("la_{:03d}_t{}", r"la_\d+", {}),
    ("{:02d}x{}", r"^\d+", {"patient": "*x?"})])
@pytest.mark.parametrize("seed", range(3))
def test_the_scans_of_a_patient_are_on_one_side_of_the_split(name, patient, options, seed, tmp_path, straight):
    def case(k, visit):
        return name.format(k, visit, k, visit)

    raw = two_visits(tmp_path / "raw", straight, type("", (), {"format": staticmethod(case)}))
    said = []
    ready(raw, tmp_path / "out", seed=seed, say=said.append, test_share=0.3, **options)
    sides = []
    for which in ("train", "test"):
        names = read_list(tmp_path / "out" / f"{which}.list")
        sides.append({re.search(patient.replace("sub-", ""), name)[0] for name in names})
    assert len(sides[1]) == 2 and len(sides[0]) == 4 and not sides[0] & sides[1]
    assert not any("--patient" in line for line in said)
    rows = read_patients(tmp_path / "out" / "volumes")
    assert len(rows) == 12 and len(set(rows.values())) == 6
    assert all(re.search(patient.replace("sub-", ""), name)[0] in who for name, who in rows.items())


def test_where_names_say_nothing_of_patients_it_is_said_and_lists_may_not_share_one(mixed, tmp_path):
    said = []
    ready(mixed, tmp_path / "out", say=said.append)
    assert sum("--patient PATTERN" in line for line in said) == 1
    (tmp_path / "l.list").write_text("p0\np1\n")
    (tmp_path / "t.list").write_text("p2\n")
    lists = {"labelled_list": tmp_path / "l.list", "test_list": tmp_path / "t.list"}
    with pytest.raises(LasegError, match="--patient 'q.' doesn't fit the case p0"):
        ready(mixed, tmp_path / "other", patient="q*", **lists)
    for k in (1, 2):
        for kind in ("mri", "la"):
            (mixed / f"p{k}_{kind}.nii.gz").rename(mixed / f"same_t{k}_{kind}.nii.gz")
    (tmp_path / "l.list").write_text("p0\nsame_t1\n")
    (tmp_path / "t.list").write_text("same_t2\n")
    with pytest.raises(LasegError, match="t.list: .*patient same .*same_t1.*--patient"):
        ready(mixed, tmp_path / "other", **lists)
    ready(mixed, tmp_path / "other", patient="*", **lists)


def test_names_that_tell_some_patients_leave_the_others_to_be_told(mixed, tmp_path):
    for k in (1, 2):
        for kind in ("mri", "la"):
            (mixed / f"p{k}_{kind}.nii.gz").rename(mixed / f"same_t{k}_{kind}.nii.gz")
    said = []
    ready(mixed, tmp_path / "out", say=said.append)
    assert any("the patients of 5 scans (p0, p3, p4, ...)" in line and "--patient PATTERN" in line for line in said)
    patients = read_patients(tmp_path / "out" / "volumes")
    assert patients["same_t1"] == patients["same_t2"] and len(set(patients.values())) == 6


def test_a_corrected_list_of_patients_is_kept_and_new_cases_are_added(tmp_path, straight):
    raw, path = two_visits(tmp_path / "raw", straight, "sub-{}_ses-{}", patients=4), tmp_path / "out/patients.list"
    said = []
    ready(raw, tmp_path / "out", test_share=0, say=said.append)
    assert any("patients: 4 (sub-0, sub-1, sub-2, ...)" in line for line in said)
    mine = path.read_text().replace("\tsub-3", "\tsub-2")
    path.write_text(mine)
    for more in ("", "sub-4_ses-1\tsub-4\n", "sub-4_ses-1\tsub-4\n"):
        if more:
            write(raw, "sub-4_ses-1_mri.nii.gz", straight[0])
            (tmp_path / "out/train.list").unlink()
        said = []
        ready(raw, tmp_path / "out", test_share=0, say=said.append)
        told = [line for line in said if "patients.list" in line]
        assert path.read_text() == mine + more and len(told) == 1 and "the list counts" in told[0]
    (tmp_path / "out/train.list").unlink()
    ready(raw, tmp_path / "out", test_share=0, patient="sub-*_*")  # the user's own word counts more
    assert "sub-3_ses-1\t3\n" in path.read_text()


def test_a_corrected_list_of_patients_decides_the_split(tmp_path, straight):
    raw = two_visits(tmp_path / "raw", straight, "sub-{}_ses-{}", patients=4)
    ready(raw, tmp_path / "out")
    path = tmp_path / "out/patients.list"
    path.write_text(path.read_text().replace("\tsub-3", "\tsub-0").replace("\tsub-2", "\tsub-1"))
    patients = read_patients(tmp_path / "out/volumes")
    for name in ("train", "test"):
        (tmp_path / f"out/{name}.list").unlink()
    ready(raw, tmp_path / "out", test_share=0.5)
    train, test = ({patients[name] for name in read_list(tmp_path / f"out/{which}.list")}
                   for which in ("train", "test"))
    assert train and test and not train & test


def test_names_that_tell_one_patient_are_told_with_the_remedy(tmp_path, straight):
    raw = two_visits(tmp_path / "raw", straight, "atrium_scan_{}{}", patients=2)
    with pytest.raises(LasegError, match="of 1 patient can't be split.*--patient '[*]' if"):
        ready(raw, tmp_path / "out")
    ready(raw, tmp_path / "out", patient="*")


def test_a_folder_that_is_missing_or_can_not_be_read_loses_no_cases(mixed, tmp_path, monkeypatch):
    (mixed / "siteB").symlink_to(tmp_path / "unmounted")
    with pytest.raises(LasegError, match="siteB: is a link to a missing file"):
        ready(mixed, tmp_path / "out")
    (mixed / "siteB").unlink()
    (mixed / "siteC").mkdir()
    listed = os.scandir
    monkeypatch.setattr(os, "scandir", lambda path: listed(path if Path(path).name != "siteC" else "/denied/" * 999))
    with pytest.raises(LasegError, match="can't be read .*; make this folder readable"):
        ready(mixed, tmp_path / "out")


def test_scans_and_labels_by_one_pattern_are_told(mixed, tmp_path):
    with pytest.raises(LasegError, match="both name the same files"):
        ready(mixed, tmp_path / "out", scan="*_la.nii.gz")


def test_a_report_of_cases_left_out_is_removed_and_lost_settings_are_told(mixed, tmp_path, straight):
    good = (mixed / "p1_la.nii.gz").read_bytes()
    write(mixed, "p1_la.nii.gz", straight[1] * 0)
    ready(mixed, tmp_path / "out", skip_bad=True, test_share=0)
    (mixed / "p1_la.nii.gz").write_bytes(good)
    (tmp_path / "out/train.list").unlink()
    assert (tmp_path / "out/left_out.txt").exists()
    root = ready(mixed, tmp_path / "out", test_share=0)
    assert not (tmp_path / "out/left_out.txt").exists()
    (root / "settings.json").unlink()
    with pytest.raises(LasegError, match="settings.json: is missing"):
        ready(mixed, tmp_path / "out", test_share=0)


@pytest.mark.parametrize("number, told", [(28, LasegError), (5, OSError)])
def test_a_full_disk_is_told_with_the_file(number, told, tmp_path):
    with pytest.raises(told) as error, replacing(tmp_path / "a.h5"):
        raise OSError(number, "No space left on device")
    assert told is OSError or re.search("a.h5: can't be written .No space.*free some space", str(error.value))


def test_a_full_disk_leaves_out_no_case(mixed, tmp_path, monkeypatch):
    def full(path, *args, **geometry):
        with replacing(path):
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("laseg_lib.data.prepare.write_volume", full)
    with pytest.raises(LasegError, match=r"mri_norm2.h5: can't be written"):
        ready(mixed, tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out/left_out.txt").exists()


def test_a_name_that_the_language_setting_lacks_is_not_called_broken():
    name = "F\u00fc\u00dfe.nii.gz".encode().decode("ascii", "surrogateescape")
    with pytest.raises(LasegError, match="set LC_ALL=C.UTF-8"):
        require_text(name)


def test_copies_of_a_scan_on_both_sides_of_the_split_are_told(mixed, tmp_path):
    """All scans of ``mixed`` are the same; here they differ but for two."""
    for k in range(6):
        scan = sitk.ReadImage(str(mixed / f"p{k}_mri.nii.gz"))
        scan[0, 0, 0] = k
        write(mixed, f"p{k}_mri.nii.gz", scan)
    lists = {"labelled_list": tmp_path / "l.list", "test_list": tmp_path / "t.list"}
    for train, test, told in (("p0", "p1", None), ("p0", "p3", "p0 and p3 are copies of one scan")):
        shutil.copy(mixed / "p0_mri.nii.gz", mixed / ("p3_mri.nii.gz" if told else "p2_mri.nii.gz"))
        lists["labelled_list"].write_text(f"{train}\n")
        lists["test_list"].write_text(f"{test}\n")
        said = []
        ready(mixed, tmp_path / test, say=said.append, **lists)
        told_now = [line for line in said if "copies of one scan" in line]
        assert len(told_now) == bool(told) and all(told in line for line in told_now)


@pytest.mark.parametrize("before", ["./", "**/", ".\\", "./**/"])
def test_what_a_pattern_begins_with_needs_no_folder(before, mixed, tmp_path):
    said = []
    ready(mixed, tmp_path / "out", scan=f"{before}*_mri.nii.gz", label=f"{before}*_la.nii.gz", say=said.append)
    assert "7 scans" in said[0] and "4 with a label" in said[0]


def test_what_is_there_is_said_where_nothing_fits(mixed, tmp_path):
    with pytest.raises(LasegError, match=r"below it matches lgemri.nrrd; found 11 of .nii.gz, such as p0_la"):
        prepare(mixed, tmp_path / "out", progress=False)
    with pytest.raises(LasegError, match="same number of stars"):
        ready(mixed, tmp_path / "out", label="la.nii.gz")


def test_nnu_nets_folders_are_known(tmp_path, straight):
    for k in range(3):
        write(tmp_path / "raw" / "imagesTr", f"la_{k}_0000.nii.gz", straight[0])
        write(tmp_path / "raw" / "imagesTr", f"._la_{k}_0000.nii.gz", straight[0])
        if k < 2:
            write(tmp_path / "raw" / "labelsTr", f"la_{k}.nii.gz", straight[1] * 2 + (straight[1] == 0))
    with pytest.raises(LasegError, match=r"holds \[1, 2\].*--label-value"):
        prepare(tmp_path / "raw", tmp_path / "out", voxel_mm=1.25, progress=False)
    prepare(tmp_path / "raw", tmp_path / "out2", voxel_mm=1.25, progress=False, label_value=2)
    assert read_list(tmp_path / "out2" / "train.list")[1] == "la_2"


def test_labels_that_the_scans_pattern_fits_too_are_no_scans(mixed, tmp_path, straight):
    write(mixed, "alone_la.nii.gz", straight[1])
    for k in range(7):
        (mixed / f"p{k}_mri.nii.gz").rename(mixed / f"p{k}.nii.gz")
    said = []
    ready(mixed, tmp_path / "out", scan="*.nii.gz", say=said.append)
    assert "7 scans" in said[0] and any("labels without a scan, not used: 1 (alone_la" in line for line in said)


@pytest.mark.parametrize("name", ["a:b", "a\nb", " a", "x" * 220, "a\u202eb"])
def test_a_name_that_the_reader_would_refuse_is_told(name, mixed, tmp_path, straight):
    try:
        (mixed / "p0_mri.nii.gz").rename(mixed / f"{name}_mri.nii.gz")
    except OSError:
        pytest.skip("no such name on this system")
    with pytest.raises(LasegError, match="can't be a folder's name"):
        ready(mixed, tmp_path / "out")


@pytest.mark.parametrize("spoil, words", [
    (lambda image: image.SetSpacing((1e-30,) * 3), "side of 1e-30 mm is impossible"),
    (lambda image: image.SetSpacing((900.0,) * 3), "side of 900 mm is impossible")])
def test_voxels_that_cannot_be_are_told(spoil, words, mixed, tmp_path, straight):
    image = sitk.Image(straight[0])
    spoil(image)
    sitk.WriteImage(image, str(mixed / "p0_mri.nrrd"))
    with pytest.raises(LasegError, match=words):
        read_case(mixed / "p0_mri.nrrd")


@pytest.mark.parametrize("value", [1e300, np.inf, np.nan])
def test_intensities_that_cannot_be_are_told(value, tmp_path):
    values = np.random.default_rng(0).random((8, 7, 6))
    values[:4] = values[:4] * value
    path = write(tmp_path, "s.mha", image_of(values, spacing=(1, 1, 1), origin=(0, 0, 0)))
    with pytest.raises(LasegError, match="s.mha: .*voxels are not finite.*too large"):
        read_case(path)


@pytest.mark.parametrize("value", [-3.4e38, 1e10, 1e6])
def test_a_few_voxels_that_hide_all_others_are_told(value, tmp_path, straight, capsys):
    values = array_of(straight[0]).astype(np.float32)
    read_case(write(tmp_path, "s.mha", image_of(values, straight[0])))
    assert "WARNING" not in capsys.readouterr().err
    values[0, :2] = value
    read_case(write(tmp_path, "s.mha", image_of(values, straight[0])))
    assert re.search("WARNING: .*s.mha: a few voxels are so much larger or smaller", capsys.readouterr().err)


def test_a_mask_in_place_of_a_scan_is_told(tmp_path, straight, capsys):
    values = array_of(straight[0])
    read_case(write(tmp_path, "s.mha", image_of(np.uint8(values > np.median(values)), straight[0])))
    assert re.search("WARNING: .*s.mha: holds only a few different values, like a mask", capsys.readouterr().err)


@pytest.mark.parametrize("suffix", [".nii.gz", ".nii", ".nrrd", ".mha"])
@pytest.mark.parametrize("share", [0, 0.9])
@pytest.mark.parametrize("classes", [1, 2])
def test_a_file_that_a_full_disk_cut_off_replaces_no_good_one(suffix, share, classes, tmp_path, straight, monkeypatch):
    """SimpleITK reports no error.  Of several classes there is one probability for each, an image of four axes."""
    image = straight[0] if classes == 1 else sitk.JoinSeries([straight[0]] * classes)
    write_image(tmp_path / f"s{suffix}", image)
    good = (tmp_path / f"s{suffix}").read_bytes()
    monkeypatch.setattr(sitk, "WriteImage", lambda image, name, **_: Path(name).write_bytes(
        good[:int(share * len(good))]))
    with pytest.raises(LasegError, match=f"s{suffix}: can't be written .*free some space"):
        write_image(tmp_path / f"s{suffix}", image)
    assert [file.read_bytes() for file in tmp_path.iterdir()] == [good]


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd"])
def test_an_image_that_is_not_finite_is_not_written(suffix, tmp_path, straight):
    image = image_of(np.where(array_of(straight[0]) > 1, np.nan, 0).astype(np.float32), straight[0])
    with pytest.raises(LasegError, match="is not written, because the image has voxels that are NaN"):
        write_image(tmp_path / f"s{suffix}", image)
    assert not list(tmp_path.iterdir())


def test_what_a_file_manager_writes_into_a_folder_changes_no_scan(tmp_path):
    (tmp_path / "1.dcm").touch()
    before = content_digest(tmp_path)
    for name in (".DS_Store", "Thumbs.db", "desktop.ini"):
        (tmp_path / name).write_text(name)
    assert content_digest(tmp_path) == before
    (tmp_path / "2.dcm").touch()
    assert content_digest(tmp_path) != before


def test_straightening_keeps_what_is_straight(straight):
    assert same_grid(straighten(straight[0], 1.25), straight[0])
    assert straighten(straight[0], None).GetSize() == straight[0].GetSize()


def test_what_comes_in_from_outside_repeats_the_border():
    """An oblique scan, once straight, has corners that nobody scanned: they are as bright as the border beside them."""
    values = np.full((20, 18, 16), 50, np.float32)
    values[8:12, 8:12, 6:10] = 0  # the darkest is inside
    tilted = image_of(values, spacing=(1.5,) * 3, origin=(0, 0, 0))
    tilted.SetDirection(rotation(np.deg2rad((10, -12, 15))).ravel().tolist())
    straight = array_of(straighten(tilted, 1.5))
    assert min(straight.shape) > 19 and (straight[[0, -1]] == 50).all() and (straight[:, [0, -1]] == 50).all()
    assert straight.min() < 10


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_a_nifti_that_was_cut_off_is_told(suffix, tmp_path, straight):
    """SimpleITK fills up what is missing, without a word."""
    sitk.WriteImage(straight[0], str(tmp_path / f"s{suffix}"))
    assert read_scan(tmp_path / f"s{suffix}").image.GetSize() == straight[0].GetSize()
    whole = (tmp_path / f"s{suffix}").read_bytes()
    (tmp_path / f"cut{suffix}").write_bytes(whole[:len(whole) * 2 // 3])
    with pytest.raises(LasegError, match="it was cut off.*copy it again"):
        read_scan(tmp_path / f"cut{suffix}")


def turned(image, degrees, fill):
    """``image`` on an oblique grid that holds all of it, with ``fill`` outside."""
    around = rotation(np.deg2rad(degrees))
    corners = np.array([image.TransformContinuousIndexToPhysicalPoint((bits * np.array(image.GetSize()) - 0.5).tolist())
                        for bits in np.array(list(np.ndindex(2, 2, 2)))]) @ around
    spacing = np.array(image.GetSpacing())
    grid = image_of(np.zeros(np.ceil(np.ptp(corners, 0) / spacing).astype(int), np.float32), spacing=spacing,
                    origin=around @ (corners.min(0) + spacing / 2))
    grid.SetDirection(around.ravel().tolist())
    return sitk.Resample(sitk.Cast(image, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, float(fill))


def tissue(size=(48, 40, 36)):
    """A scan without air: smooth structure everywhere."""
    x, y, z = np.meshgrid(*map(np.arange, size), indexing="ij")
    return image_of(np.float32(300 + 100 * np.sin(x / 5) * np.cos(y / 6 + z / 9) + 2 * x), spacing=(1.25, 1.25, 1.5),
                    origin=(-30, 12, 5))


@pytest.mark.parametrize("degrees, fill", [((8, 0, 0), 0), ((8, -12, 15), 0), ((0, 0, 30), -1000),
                                           ((-20, 5, 3), 5000)])
def test_the_wedges_of_a_scan_that_was_turned_are_not_taken_for_tissue(degrees, fill):
    """They were: they moved mean and deviation, and a network found atria in them (Dice .5 with the straight scan)."""
    plain = tissue()
    before = normalised_and_straight(plain, "plain", 1.25)
    after = normalised_and_straight(turned(plain, degrees, fill), "turned", 1.25)
    assert np.abs(np.subtract(after.GetSize(), before.GetSize())).max() <= 3
    inner = tuple(slice(3, n - 3) for n in before.GetSize())
    one, two = (array_of(image)[inner] for image in (before, sitk.Resample(after, before)))
    assert np.abs(one - two).mean() < 0.05 and np.corrcoef(one.ravel(), two.ravel())[0, 1] > 0.999


def test_air_of_one_value_around_a_body_is_a_part_of_its_scan(straight):
    """A round body in an oblique scan, and any straight scan, are normalised over all of it, as ever."""
    air = array_of(tissue())
    air[:20, :15] = 0
    for image in (blob_scan(rotation(np.deg2rad((10, -8, 12))), (1.25,) * 3, (50, 48, 46))[0], straight[0],
                  image_of(air, tissue())):
        whole = straighten(image_of(normalise(array_of(image), "scan"), image), 1.25)
        assert np.array_equal(array_of(normalised_and_straight(image, "scan", 1.25)), array_of(whole))


@pytest.mark.skipif(sys.platform != "linux", reason="a system whose names are all text")
def test_a_name_that_is_no_text_is_told(tmp_path):
    """SimpleITK would end the whole program."""
    image = image_of(np.zeros((3, 3, 3), np.float32), spacing=(1, 1, 1), origin=(0, 0, 0))
    with pytest.raises(LasegError, match="not valid UTF-8; rename it"):
        write_image(tmp_path / "\udcff.nrrd", image)
    write_image(tmp_path / "scan.nrrd", image)
    (tmp_path / "scan.nrrd").rename(tmp_path / "\udcff.nrrd")
    (tmp_path / "\udcfe").mkdir()
    for scan in ("\udcff.nrrd", "\udcfe"):
        with pytest.raises(LasegError, match="not valid UTF-8; rename it"):
            read_scan(tmp_path / scan)
