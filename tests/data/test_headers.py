"""Files of scans that are broken, contradict themselves, or are something else: each format by its own library."""

import gzip
import re
import shutil
import struct
import tempfile

import nibabel
import numpy as np
import pydicom
import pytest
import SimpleITK as sitk
from scan_files import blob_scan, write_dicom

from laseg_lib.data.files import data_files
from laseg_lib.data.grid import array_of, image_of
from laseg_lib.data.prepare import prepare
from laseg_lib.data.scans import read_case, read_scan, require_spacing, whole_numbers
from laseg_lib.data.volumes import read_volume
from laseg_lib.errors import LasegError

SIZE = (12, 11, 10)


@pytest.fixture
def scan():
    values = np.random.default_rng(0).integers(0, 900, SIZE, dtype=np.int16)
    return image_of(values, spacing=(2, 2.5, 3), origin=(-10, 5, 7))


def saved(path, image, packed=False):
    sitk.WriteImage(image, str(path), useCompression=packed)
    return path


def edited(path, change):
    """A file of the same kind, with its bytes changed in place by ``change``."""
    held = bytearray(path.read_bytes())
    change(held)
    other = path.with_name(f"edited{''.join(path.suffixes)}")
    other.write_bytes(held)
    return other


def refused(path, words):
    with pytest.raises(LasegError, match=words) as error:
        read_scan(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


# --- MetaImage ------------------------------------------------------------------------------------

@pytest.mark.parametrize("suffix", ["mha", "mhd"])
@pytest.mark.parametrize("packed", [True, False])
def test_a_metaimage_is_read_whole_or_not_at_all(suffix, packed, scan, tmp_path):
    path = saved(tmp_path / f"s.{suffix}", scan, packed)
    np.testing.assert_array_equal(array_of(read_scan(path).image), array_of(scan))
    data = path if suffix == "mha" else next(file for file in tmp_path.iterdir() if "raw" in file.suffix)
    whole = data.read_bytes()
    for change in (whole[:-200], *([whole[:-900] + bytes(64) + whole[-836:]] if packed else [])):
        data.write_bytes(change)
        refused(path, "cut off or damaged.*copy it again")


@pytest.mark.parametrize("data, files, words", [
    ("LIST\n{}", 10, None), ("LIST\n{}", 7, "10 slices, but 7 of its files"), ("LIST 2D\n{}", 10, None),
    ("s%d.raw 0 9 1", 10, None), ("s%d.raw 0 9 1", 8, "cut off or damaged"),
    ("gone.raw", 10, "data file that its header names is missing.*gone.raw.*beside")])
def test_a_metaimage_has_a_file_a_slice(data, files, words, scan, tmp_path):
    values = array_of(scan)
    for k in range(files):
        (tmp_path / f"s{k}.raw").write_bytes(values[:, :, k].T.tobytes())
    (tmp_path / "s.mhd").write_text(
        "ObjectType = Image\nNDims = 3\nDimSize = 12 11 10\nElementType = MET_SHORT\nElementSpacing = 2 2.5 3\n"
        "ElementDataFile = " + data.format("".join(f"s{k}.raw\n" for k in range(files))))
    if words:
        refused(tmp_path / "s.mhd", words)
    else:
        np.testing.assert_array_equal(array_of(read_scan(tmp_path / "s.mhd").image), values)
        (tmp_path / "s4.raw").write_bytes(bytes(100))
        refused(tmp_path / "s.mhd", "cut off or damaged")


@pytest.mark.parametrize("line, words", [
    ("TransformMatrix = 2 0 0 0 2 0 0 0 2", "directions of its axes.*length 1.*correct the header"),
    ("TransformMatrix = 1 0.2 0 0 1 0 0 0 1", "length 1.*correct the header"),
    ("DistanceUnits = cm", "gives lengths in cm, but mm are needed"),
    ("TransformMatrix = 1 0 0 0.6 0.8 0 0 0 1", "not at right angles"),
    ("TransformMatrix = 0 0 0 0 0 0 0 0 0", "copy it again"),
    ("ElementSpacing = 2,5 2,4 5", "header is wrong.*export it again")])
def test_a_metaimage_lies_somewhere_at_right_angles_in_mm(line, words, scan, tmp_path):
    held = saved(tmp_path / "s.mha", scan).read_bytes()
    name = line.split(" =")[0].encode()
    lines = [part for part in held[:held.index(b"ElementDataFile")].split(b"\n") if not part.startswith(name)]
    (tmp_path / "s.mha").write_bytes(b"\n".join([*lines[:-1], line.encode(), held[held.index(b"ElementDataFile"):]]))
    refused(tmp_path / "s.mha", words)


def test_a_packed_metaimage_that_does_not_say_its_length_is_told(scan, tmp_path):
    """SimpleITK would return what happens to lie in memory."""
    path = saved(tmp_path / "s.mha", scan, True)
    held = path.read_bytes()
    path.write_bytes(re.sub(rb"CompressedDataSize[^\n]*\n", b"", held))
    refused(path, "the line 'CompressedDataSize = " + re.search(rb"DataSize = (\d+)", held)[1].decode())


@pytest.mark.parametrize("name", ["my%20scan.raw", "100%.raw", "s%d.raw"])
def test_a_data_file_whose_name_looks_like_a_pattern_is_told(name, scan, tmp_path):
    """SimpleITK would end the process."""
    path = saved(tmp_path / "s.mhd", scan)
    (tmp_path / "s.raw").rename(tmp_path / name)
    path.write_text(path.read_text().replace("s.raw", name))
    refused(path, f"{name}, has a '%'.*rename the data file.*header")


@pytest.mark.parametrize("suffix", ["mhd", "nhdr"])
def test_a_data_file_may_have_any_letters(suffix, scan, tmp_path):
    path = saved(tmp_path / f"Müller.{suffix}", scan)
    (tmp_path / "other.raw").touch()
    np.testing.assert_array_equal(array_of(read_scan(path).image), array_of(scan))
    assert [file.name for file in data_files(path)] == ["Müller.raw"]


# --- NRRD -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("lines, words", [
    (['space units: "cm" "cm" "cm"'], "gives lengths in cm"), (['space units: "mm" "mm" "mm"'], None),
    (['space units: "millimeters" "millimeters" "millimeters"'], None), (["# from the LIST of all scans"], None),
    (["space directions: (2,0,0) (1,2.5,0) (0,0,3)"], "not at right angles")])
def test_an_nrrd_in_other_units_or_aslant_is_told(lines, words, tmp_path):
    head = ["NRRD0004", "type: uint8", "dimension: 3", "space: left-posterior-superior", *lines,
            *(["space directions: (2,0,0) (0,2.5,0) (0,0,3)"] if "directions" not in lines[0] else []), "sizes: 8 7 6",
            "encoding: raw", "", ""]
    (tmp_path / "s.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 2)
    if words:
        refused(tmp_path / "s.nrrd", words)
    else:
        np.testing.assert_allclose(read_scan(tmp_path / "s.nrrd").spacing, (2, 2.5, 3))


@pytest.mark.parametrize("lines", [
    ["space: left-posterior-superior", "space directions: none (2,0,0) (0,2.5,0) (0,0,3)",
     "kinds: list domain domain domain"],
    ["space: left-posterior-superior-time", "space directions: (0,0,0,40) (2,0,0,0) (0,2.5,0,0) (0,0,3,0)"]])
def test_an_nrrd_with_an_axis_that_is_none_of_space_says_its_three_sides(lines, tmp_path):
    head = ["NRRD0004", "type: uint8", "dimension: 4", "sizes: 1 8 7 6", *lines, "encoding: raw", "", ""]
    (tmp_path / "s.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 2)
    np.testing.assert_allclose(read_scan(tmp_path / "s.nrrd").spacing, (2, 2.5, 3))


def test_keys_of_other_tools_in_an_nrrd_may_be_there_twice_or_have_the_name_of_a_field(scan, tmp_path):
    path = saved(tmp_path / "s.nrrd", scan)
    head, data = path.read_bytes().split(b"\n\n", 1)
    path.write_bytes(head + b"\nspace:=other\na:=1\na:=2\n\n" + data)
    found = read_scan(path)
    np.testing.assert_array_equal(array_of(found.image), array_of(scan))
    assert found.oriented and found.spacing == pytest.approx((2, 2.5, 3))


# --- NIfTI ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("qform", [0, 1])
def test_a_slanted_sform_beside_a_qform_is_told_with_the_remedy(qform, scan, tmp_path):
    def change(head):
        head[284:288] = struct.pack("<f", 0.05)  # the sform's x grows a little with the second axis
        head[252:254] = struct.pack("<h", qform)

    path = edited(saved(tmp_path / "s.nii", scan), change)
    with pytest.raises(LasegError, match="not at right angles") as error:
        read_scan(path)
    assert ("or give --orientation qform" in str(error.value)) == qform
    if qform:
        assert read_scan(path, orientation="qform").spacing == pytest.approx((2, 2.5, 3))


@pytest.mark.parametrize("where, what, words", [
    (80, struct.pack("<3f", 1, 1, 1), "two positions|gives a voxel's sides twice"),
    (280, struct.pack("<f", np.nan), "axis that is not finite"),
    (292, struct.pack("<f", np.inf), "axis that is not finite")])
@pytest.mark.parametrize("qform", [0, 1])
def test_a_nifti_that_contradicts_itself_is_told(where, what, words, qform, scan, tmp_path):
    def change(head):
        head[where:where + len(what)] = what
        head[252:254] = struct.pack("<h", qform)

    path = saved(tmp_path / "s.nii", scan)
    assert read_scan(edited(path, lambda head: None)).spacing.tolist() == [2, 2.5, 3]
    refused(edited(path, change), words)


def two_matrices(path, qform, sform, shape=SIZE, units="mm"):
    """A NIfTI with two matrices; None leaves one out."""
    image = nibabel.Nifti1Image(np.random.default_rng(0).integers(0, 99, shape).astype(np.int16), None)
    image.header.set_zooms((2, 2.5, 3) + (1,) * (len(shape) - 3))
    image.header.set_xyzt_units(units)
    image.header.set_qform(qform, 1 if qform is not None else 0)
    image.header.set_sform(sform, 1 if sform is not None else 0)
    nibabel.save(image, path)
    return path


AT = np.array([[2, 0, 0, -10], [0, 2.5, 0, 5], [0, 0, 3, 7], [0, 0, 0, 1.0]])
MIRRORED = np.diag([-1.0, 1, 1, 1]) @ AT


def test_a_nifti_that_says_twice_where_it_lies_is_told_and_one_can_be_chosen(tmp_path):
    path = two_matrices(tmp_path / "s.nii.gz", MIRRORED, AT)
    refused(path, r"\(32, 30, 34\) mm by the qform|\(-12, .* mm by the qform.*--orientation qform or sform")
    for name, matrix in (("qform", MIRRORED), ("sform", AT)):
        image = read_scan(path, orientation=name).image
        np.testing.assert_allclose(image.GetOrigin(), matrix[:3, 3] * (-1, -1, 1))
        assert image.GetDirection()[0] == -np.sign(matrix[0, 0])
    near = AT.copy()
    near[0, 3] += 1.5
    assert read_scan(two_matrices(tmp_path / "near.nii.gz", near, AT)).image.GetOrigin()[0] == 10
    only = two_matrices(tmp_path / "only.nii.gz", MIRRORED, None)
    assert read_scan(only, orientation="sform").image.GetOrigin() == read_scan(only).image.GetOrigin()


def test_a_sign_that_is_not_written_is_plus(tmp_path):
    """pixdim[0] = 0, as old tools wrote it, counts as 1 by the standard of NIfTI."""
    path = two_matrices(tmp_path / "s.nii", AT, None)
    want = read_scan(path).image
    found = read_scan(edited(path, lambda head: head.__setitem__(slice(76, 80), bytes(4)))).image
    assert found.GetDirection() == want.GetDirection() and found.GetOrigin() == want.GetOrigin()


def test_a_matrix_of_zeros_is_told_with_the_other_as_remedy(tmp_path):
    path = edited(two_matrices(tmp_path / "s.nii", AT, AT), lambda head: head.__setitem__(slice(280, 328), bytes(48)))
    refused(path, r"twice.*0 x 0 x 0 mm \(sform\).*--orientation qform")
    assert read_scan(path, orientation="qform").spacing.tolist() == [2, 2.5, 3]


@pytest.mark.parametrize("qform, sform, remedy", [
    (None, AT, "or give --orientation sform"), (AT, AT, "or give --orientation qform or sform"),
    (None, np.diag([1, 1, 0, 1]) * AT, "correct the other")])
def test_a_nifti_that_says_its_size_twice_names_what_can_be_chosen(qform, sform, remedy, tmp_path):
    path = edited(two_matrices(tmp_path / "s.nii", qform, sform), lambda head: head.__setitem__(
        slice(80, 92), struct.pack("<3f", 1, 1, 1)))
    refused(path, f"twice, as 1 x 1 x 1 mm.*find out which is right.*{remedy}$")
    for name in set(remedy.split()) & {"qform", "sform"}:
        assert read_scan(path, orientation=name).spacing.tolist() == ([1, 1, 1] if name == "qform" else [2, 2.5, 3])


def test_a_quaternion_may_be_rounded_to_six_digits(tmp_path):
    path = edited(two_matrices(tmp_path / "s.nii", AT, None), lambda head: head.__setitem__(
        slice(256, 268), struct.pack("<3f", 0.707107, 0.707107, 0)))
    np.testing.assert_allclose(read_scan(path).image.GetDirection(), sitk.ReadImage(str(path)).GetDirection(),
                               atol=1e-5)


def test_the_checksum_of_a_packed_nifti_counts(tmp_path):
    path = tmp_path / "s.nii.gz"
    path.write_bytes(gzip.compress(two_matrices(tmp_path / "a.nii", None, AT).read_bytes()))
    read_scan(path)
    refused(edited(path, lambda head: head.__setitem__(-6, head[-6] ^ 1)), "cut off or damaged.*copy it again")


def test_a_nifti_in_metres_is_read_in_mm(tmp_path):
    metres = np.diag([0.001, 0.001, 0.001, 1]) @ AT
    image = nibabel.Nifti1Image(np.ones(SIZE, np.int16), metres)
    image.header.set_xyzt_units("meter")
    nibabel.save(image, tmp_path / "s.nii")
    found = read_scan(tmp_path / "s.nii")
    np.testing.assert_allclose(found.spacing, (2, 2.5, 3), rtol=1e-5)
    np.testing.assert_allclose(found.image.GetOrigin(), (10, -5, 7), rtol=1e-5)


@pytest.mark.parametrize("shape, dtype, words", [
    ((*SIZE, 2), np.int16, "12 x 11 x 10 x 2 voxels, several images.*export one"),
    (SIZE, np.complex64, "complex numbers"),
    (SIZE, [("R", "u1"), ("G", "u1"), ("B", "u1")], "several numbers for each voxel")])
def test_a_nifti_that_is_no_single_image_is_told(shape, dtype, words, tmp_path):
    nibabel.save(nibabel.Nifti1Image(np.zeros(shape, dtype), AT), tmp_path / "s.nii")
    refused(tmp_path / "s.nii", words)


@pytest.mark.parametrize("held, words", [
    (b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 123\n", "git-lfs.*git lfs pull"),
    (b"<!DOCTYPE html>\n<html>Please log in</html>", "web page.*download it again|web page.*again"),
    ("<!DOCTYPE html><title>Anmeldung – Universität</title>".encode(), "web page"), (b'<html lang="de">', "web page"),
    ('{"Fehler": "ungültig"}'.encode("latin-1"), "is text, not a"), (b"hello\n" * 9, "is text, not a"),
    (b"", "is empty, not a")])
@pytest.mark.parametrize("name", ["s.nii.gz", "s.nii", "s.nrrd", "s.mha"])
def test_a_file_of_another_kind_is_named_for_what_it_is(held, words, name, tmp_path):
    (tmp_path / name).write_bytes(held)
    refused(tmp_path / name, words)


def test_a_name_that_says_gz_and_a_file_that_is_not_are_told(scan, tmp_path):
    (tmp_path / "s.nii.gz").write_bytes(saved(tmp_path / "a.nii", scan).read_bytes())
    refused(tmp_path / "s.nii.gz", "rename it to s.nii")
    (tmp_path / "s.nii.gz").write_bytes(b"PK\3\4" + bytes(500))
    refused(tmp_path / "s.nii.gz", "is not a NIfTI file")


def test_layers_of_a_segmentation_are_told_and_one_layer_is_read(tmp_path):
    head = ["NRRD0004", "type: uint8", "dimension: 4", "sizes: 2 8 7 6", "space: left-posterior-superior",
            "space directions: none (2,0,0) (0,2.5,0) (0,0,3)", "kinds: list domain domain domain", "encoding: raw",
            "Segment0_LabelValue:=1", "Segment0_Layer:=0", "", ""]
    (tmp_path / "s.seg.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 4)
    refused(tmp_path / "s.seg.nrrd", "2 layers.*label map")
    head[3] = "sizes: 1 8 7 6"
    (tmp_path / "s.seg.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 2)
    assert read_scan(tmp_path / "s.seg.nrrd").image.GetSize() == (8, 7, 6)


@pytest.mark.parametrize("space, signs", [
    ("left-posterior-superior", (1, 1)), ("right-anterior-superior", (-1, -1)), ("LAS", (1, -1))])
def test_an_nrrds_space_is_turned_to_left_posterior_superior(space, signs, tmp_path):
    head = ["NRRD0004", "type: uint8", "dimension: 3", "sizes: 8 7 6", f"space: {space}", "encoding: raw",
            "space directions: (2,0,0) (0,2.5,0) (0,0,3)", "space origin: (4,5,6)", "", ""]
    (tmp_path / "s.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 2)
    image, want = read_scan(tmp_path / "s.nrrd").image, sitk.ReadImage(str(tmp_path / "s.nrrd"))
    np.testing.assert_allclose(image.GetOrigin(), (4 * signs[0], 5 * signs[1], 6))
    assert image.GetDirection() == want.GetDirection() and image.GetSpacing() == want.GetSpacing()


@pytest.mark.parametrize("space", ["space: scanner-xyz", "space: 3D-right-handed", "space dimension: 3"])
def test_an_nrrd_in_no_space_of_a_patient_is_doubted(space, tmp_path, capsys):
    head = ["NRRD0004", "type: uint8", "dimension: 3", "sizes: 8 7 6", space, "encoding: raw",
            "space directions: (9,0,0) (0,9,0) (0,0,9)", "", ""]
    (tmp_path / "s.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 2)
    found = read_scan(tmp_path / "s.nrrd")
    require_spacing(found)
    assert not found.oriented and "doesn't say how its axes lie" in capsys.readouterr().err


def values_of(tmp_path, label, **options):
    """The label that ``read_case`` makes of an array's values."""
    scan = two_matrices(tmp_path / "s.nii.gz", None, AT)
    nibabel.save(nibabel.Nifti1Image(label, AT), tmp_path / "l.nii.gz")
    return read_case(scan, tmp_path / "l.nii.gz", voxel_mm=None, **options)[1]


def test_values_of_a_label_count_as_whole_numbers_but_for_rounding(tmp_path):
    label = np.zeros(SIZE, np.float32)
    label[3:9, 3:8, 2:8] = 1.0000002
    assert values_of(tmp_path, label).sum() == (label > 0).sum() == values_of(tmp_path, label, label_value=1).sum()
    with pytest.raises(LasegError, match="l.nii.gz: holds 0.7, no whole numbers.*nearest-neighbour"):
        values_of(tmp_path, label * np.float32(0.7))


@pytest.mark.parametrize("options", [{}, {"label_value": 1}, {"label_value": {"wall": 1, "cavity": 2}}])
def test_a_label_that_was_interpolated_is_told_whatever_value_is_wanted(options, tmp_path):
    """Only its inner voxels have the wanted value: the mask would be smaller, silently."""
    label = np.zeros(SIZE, np.float32)
    label[2:10, 2:9, 1:9], label[3:9, 3:8, 2:8], label[5:7, 5:6, 4:5] = 0.4, 1, 2
    with pytest.raises(LasegError, match="l.nii.gz: holds 0.4, no whole numbers.*nearest-neighbour"):
        values_of(tmp_path, label, **options)


@pytest.mark.parametrize("matrix", [
    np.eye(4), AT @ np.diag([1, 1, 2, 1]), np.array([[1.6, -1.5, 0, -10], [1.2, 2, 0, 5], [0, 0, 3, 7], [0, 0, 0, 1]])])
def test_a_label_with_the_size_of_its_scan_lies_where_the_scan_does(matrix, tmp_path):
    """Tools that save a mask without the scan's header give it voxels of 1 mm."""
    scan, label = two_matrices(tmp_path / "s.nii.gz", None, AT), np.zeros(SIZE, np.uint8)
    label[3:9, 3:8, 2:8] = 1
    nibabel.save(nibabel.Nifti1Image(label, matrix), tmp_path / "l.nii.gz")
    with pytest.raises(LasegError, match="has the size of its scan.* mm away.*--label-as-scan"):
        read_case(scan, tmp_path / "l.nii.gz", voxel_mm=None)
    assert read_case(scan, tmp_path / "l.nii.gz", voxel_mm=None, label_as_scan=True)[1].sum() == label.sum()


@pytest.mark.parametrize("where, what", [
    (80, struct.pack("<3f", 1, 1, 1)), (292, struct.pack("<f", np.nan)), (284, struct.pack("<f", 1.5))])
def test_a_labels_header_can_be_ignored_whatever_it_says(where, what, tmp_path):
    scan, label = two_matrices(tmp_path / "s.nii.gz", None, AT), np.zeros(SIZE, np.uint8)
    label[3:9, 3:8, 2:8] = 1
    nibabel.save(nibabel.Nifti1Image(label, AT), tmp_path / "l.nii")
    path = edited(tmp_path / "l.nii", lambda head: head.__setitem__(slice(where, where + len(what)), what))
    refused(path, "its header")
    assert read_case(scan, path, voxel_mm=None, label_as_scan=True)[1].sum() == label.sum()


def test_a_label_with_swapped_axes_is_told(tmp_path):
    label = np.zeros(SIZE, np.uint8)
    label[3:9, 3:8, 2:8] = 1
    with pytest.raises(LasegError, match="l.nii.gz: has the size of its scan with swapped axes.*Write it again"):
        values_of(tmp_path, label.transpose(1, 0, 2))


def test_a_label_of_most_of_its_scan_is_doubted(tmp_path, capsys):
    label = np.zeros(SIZE, np.uint8)
    label[3:9, 3:8, 2:8] = 1
    values_of(tmp_path, label)
    assert "is atrium" not in capsys.readouterr().err
    values_of(tmp_path, 1 - label)
    assert "86 % of the scan is atrium" in capsys.readouterr().err


def test_several_values_of_a_label_are_taken_as_one(tmp_path):
    label = np.zeros(SIZE, np.float32)
    label[3:9, 3:8, 2:8], label[4:8, 4:7, 3:7], label[0] = 1, 2, 5
    assert values_of(tmp_path, label, label_value=[1, 2]).sum() == ((label > 0) & (label < 5)).sum()
    assert values_of(tmp_path, label, label_value=[2, 7]).sum() == (label == 2).sum()
    for wanted, words in (([3, 4], "no voxel has --label-value 3 4.*0, 1, 2, 5"), ([0, 1], "--label-value 0")):
        with pytest.raises(LasegError, match=words):
            values_of(tmp_path, label, label_value=wanted)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nifti_with_voxels_that_are_no_numbers_is_told(kind, suffix, value, tmp_path):
    """Its reader turns them into 0, of a label too."""
    values = np.random.default_rng(0).random(SIZE).astype(kind)
    good = saved(tmp_path / f"good{suffix}", image_of(values, spacing=(2, 2, 2), origin=(0, 0, 0)))
    assert array_of(read_scan(good).image).dtype == np.float32
    values[3, 4, 5] = value
    refused(saved(tmp_path / f"s{suffix}", image_of(values, spacing=(2, 2, 2), origin=(0, 0, 0))),
            "voxels are not finite numbers")


def test_a_nifti_that_is_packed_in_secret_is_told(scan, tmp_path):
    path = tmp_path / "s.nii"
    path.write_bytes(gzip.compress(saved(path, scan).read_bytes()))
    refused(path, "rename it to s.nii.gz")


@pytest.mark.parametrize("suffix", [".nii.gz", ".nrrd", ".mha"])
def test_one_slice_is_no_scan(suffix, tmp_path):
    refused(saved(tmp_path / f"s{suffix}", image_of(np.ones((9, 9, 1)), spacing=(1, 1, 1), origin=(0, 0, 0))),
            r"holds one slice \(9 x 9 x 1 voxels\)")


# --- DICOM ----------------------------------------------------------------------------------------

@pytest.fixture
def series(tmp_path):
    return write_dicom(blob_scan(np.eye(3), (2.0, 2.0, 4.0), (20, 18, 12))[0], tmp_path / "series")


@pytest.mark.parametrize("spoil", [
    lambda held: held[:-400], lambda held: held[:700], lambda held: b"", lambda held: b"rubbish" * 99])
@pytest.mark.parametrize("at", [0, -1])
def test_a_slice_lost_at_an_end_of_a_series_is_told(spoil, at, series):
    """A slice lost in the middle leaves a gap; one at an end leaves nothing."""
    assert read_scan(series).image.GetSize() == (20, 18, 12)
    for other in (".DS_Store", "DICOMDIR", "README", "notes.txt"):
        (series / other).write_bytes(b"x" * 200)
    assert read_scan(series).image.GetSize() == (20, 18, 12)
    files = sorted(path for path in series.iterdir() if path.suffix == ".dcm")
    report = pydicom.dcmread(files[0], stop_before_pixels=True)
    report.SOPClassUID, report.SOPInstanceUID = pydicom.uid.BasicTextSRStorage, "1.2.3.4.99"
    del report.Rows, report.Columns
    report.save_as(series / "IM0999.dcm")
    assert read_scan(series).image.GetSize() == (20, 18, 12)
    lost = files[at]
    lost.write_bytes(spoil(lost.read_bytes()))
    with pytest.raises(LasegError, match=rf"{lost.name}: .*(looks like a slice of|was cut off).*copy it again"):
        read_scan(series)


@pytest.mark.parametrize("places, words", [
    (lambda k: (-30, -20, 10 + 4 * k), None), (lambda k: (-30, -20 + 0.01 * k, 10 + 4 * k), None),
    (lambda k: (-30, -20 + k, 10 + 4 * k), r"slanted stack.*\(11.0 mm from first to last\).*resample"),
    (lambda k: (-30, -20, 10 + 4 * k + 4 * (k > 5)), "4.00 to 8.00 mm apart; some are missing"),
    (lambda k: (-30, -20, 10 + 4 * (k % 6)), "12 at 6 positions: time points")])
@pytest.mark.parametrize("frames", [False, True])
def test_slices_that_make_no_stack_are_told(places, words, frames, series, tmp_path):
    """In files of their own, and as frames of one file, of which dcm2niix itself takes each for a stack."""
    heads = sorted((pydicom.dcmread(file) for file in series.iterdir()), key=lambda head: int(head.InstanceNumber))
    for k, head in enumerate(heads):
        head.ImagePositionPatient = list(places(k))
        head.save_as(series / f"{k}.dcm")
    path = series
    for file in series.glob("IM*.dcm"):
        file.unlink()
    if frames:
        path = enhanced(heads, tmp_path / "all.dcm")
    if words:
        refused(path, words)
    else:
        found = read_scan(path)
        assert found.image.GetSize() == (20, 18, 12) and found.spacing == pytest.approx([2, 2, 4], rel=1e-3)
        np.testing.assert_allclose(found.image.GetOrigin(), (-30, -20, 10), atol=1e-3)
        np.testing.assert_array_equal(array_of(found.image)[..., 7], heads[7].pixel_array.T)


def enhanced(heads, path):
    """The slices as frames of one enhanced MR file."""
    from pydicom.dataset import Dataset

    def item(**values):
        made = Dataset()
        for name, value in values.items():
            setattr(made, name, value)
        return made

    whole = heads[0]
    whole.SOPClassUID = whole.file_meta.MediaStorageSOPClassUID = pydicom.uid.EnhancedMRImageStorage
    whole.PerFrameFunctionalGroupsSequence = [item(PlanePositionSequence=[item(
        ImagePositionPatient=head.ImagePositionPatient)]) for head in heads]
    whole.SharedFunctionalGroupsSequence = [item(
        PixelMeasuresSequence=[item(PixelSpacing=[2, 2], SliceThickness=4, SpacingBetweenSlices=4)],
        PlaneOrientationSequence=[item(ImageOrientationPatient=[1, 0, 0, 0, 1, 0])])]
    whole.NumberOfFrames, whole.PixelData = len(heads), b"".join(head.PixelData for head in heads)
    del whole.ImagePositionPatient, whole.ImageOrientationPatient, whole.PixelSpacing, whole.SliceThickness
    whole.save_as(path)
    return path


@pytest.mark.parametrize("storage", ["SegmentationStorage", "RTStructureSetStorage"])
def test_a_segmentation_in_dicom_is_named_with_what_to_export(storage, series, tmp_path):
    head = pydicom.dcmread(next(series.iterdir()))
    head.SOPClassUID = head.file_meta.MediaStorageSOPClassUID = getattr(pydicom.uid, storage)
    if storage.startswith("RT"):
        del head.Rows, head.Columns, head.PixelData
    (tmp_path / "label").mkdir()
    head.save_as(tmp_path / "label" / "s.dcm")
    for path in (tmp_path / "label", tmp_path / "label" / "s.dcm"):
        refused(path, "SEG or RTSTRUCT.*label map")


@pytest.mark.parametrize("change, words", [
    (lambda head, k: setattr(head, "SeriesInstanceUID", f"1.2.{k % 2}"), "holds 2 DICOM series .*folder"),
    (lambda head, k: setattr(head, "SeriesInstanceUID", f"1.2.{k}"), "each of its 12 files.*one SeriesInstanceUID"),
    (lambda head, k: setattr(head, "ImageOrientationPatient", [1, 0, 0, 0, 0, 1] if k > 9 else [1, 0, 0, 0, 1, 0]),
     "localizer.*export one stack"),
    (lambda head, k: damaged_jpeg(head), "compression.*dcmdjpeg")])
def test_a_series_that_is_no_single_image_is_told(change, words, series):
    for file in sorted(series.iterdir()):
        head = pydicom.dcmread(file)
        change(head, int(head.InstanceNumber))
        head.save_as(file)
    refused(series, words)


def changed(series, change):
    """The series, with ``change`` called with the tags and the number of each slice, from 1."""
    for file in sorted(series.iterdir()):
        head = pydicom.dcmread(file)
        change(head, int(head.InstanceNumber))
        head.save_as(file)
    return series


@pytest.mark.parametrize("change, words", [
    (lambda head, k: setattr(head, "PhotometricInterpretation", "MONOCHROME1"), "MONOCHROME1.*export.*MONOCHROME2"),
    (lambda head, k: setattr(head, "PhotometricInterpretation", "PALETTE COLOR"), "table.*export.*MONOCHROME2"),
    (lambda head, k: setattr(head, "ModalityLUTSequence", [pydicom.Dataset()]), "table.*export.*MONOCHROME2"),
    (lambda head, k: setattr(head, "BitsStored", 12), "shifted .HighBit 15, BitsStored 12.*export"),
    (lambda head, k: (delattr(head, "ImagePositionPatient"), delattr(head, "InstanceNumber")), "order isn't known"),
    (lambda head, k: (delattr(head, "ImagePositionPatient"), setattr(head, "InstanceNumber", 1)), "order isn't known"),
    (lambda head, k: setattr(head, "PixelSpacing", [1, 1] if k == 12 else [2, 2]), "pixels of 1 x 1 mm and .*2 x 2"),
    (lambda head, k: (setattr(head, "Rows", 9), setattr(head, "PixelData", head.PixelData[:360])) if k == 12 else None,
     "differ: 20 x 18 pixels and 20 x 9 pixels"),
    (lambda head, k: setattr(head, "ImagePositionPatient", [12 if k == 6 else 0, 0, 4 * k]), "4.00 to 12.65 mm apart")])
def test_slices_that_dcm2niix_would_read_wrongly_are_told(change, words, series):
    refused(changed(series, change), words)


@pytest.mark.parametrize("change", [
    lambda head, k: delattr(head, "BitsStored"), lambda head, k: delattr(head, "HighBit"),
    lambda head, k: setattr(head, "ModalityLUTSequence", [])])
def test_tags_that_say_nothing_are_no_reason(change, series):
    want = array_of(read_scan(series).image)
    np.testing.assert_array_equal(array_of(read_scan(changed(series, change)).image), want)


def test_an_overlay_is_left_out(series):
    """dcm2niix writes it as an image of its own."""
    want = array_of(read_scan(series).image)

    def drawn(head, k):
        for element, kind, value in ((0x10, "US", 18), (0x11, "US", 20), (0x40, "CS", "G"), (0x50, "SS", [1, 1]),
                                     (0x100, "US", 1), (0x102, "US", 0), (0x3000, "OW", b"\x0f\x00" * 23)):
            head.add_new(0x60000000 + element, kind, value)

    np.testing.assert_array_equal(array_of(read_scan(changed(series, drawn)).image), want)


@pytest.mark.parametrize("held, words", [
    ("version https://git-lfs.github.com/spec/v1\n", "git lfs pull"), ("<html>login</html>", "web page")])
def test_files_in_place_of_a_series_are_named_for_what_they_are(held, words, tmp_path):
    (tmp_path / "IM1.dcm").write_text(held)
    for path in (tmp_path, tmp_path / "IM1.dcm"):
        with pytest.raises(LasegError, match=f"IM1.dcm: is .*{words}"):
            read_scan(path)


def test_slices_with_one_identifier_are_all_read(series):
    """A tool that made the series anonymous gave all slices one SOPInstanceUID."""
    want = array_of(read_scan(series).image)
    shutil.copy(next(series.iterdir()), series / "copy.dcm")
    np.testing.assert_array_equal(array_of(read_scan(series).image), want)
    (series / "copy.dcm").unlink()
    changed(series, lambda head, k: setattr(head, "SOPInstanceUID", "1.2.3.4.1"))
    np.testing.assert_array_equal(array_of(read_scan(series).image), want)


def test_frames_with_slopes_of_their_own_are_read_by_them(series, tmp_path):
    """dcm2niix itself applies the last frame's slope to all."""
    from pydicom.dataset import Dataset

    path = enhanced(sorted(map(pydicom.dcmread, series.iterdir()), key=lambda head: int(head.InstanceNumber)),
                    tmp_path / "all.dcm")
    stored = array_of(read_scan(path).image)
    head = pydicom.dcmread(path)
    for k, frame in enumerate(head.PerFrameFunctionalGroupsSequence):
        frame.PixelValueTransformationSequence = [Dataset()]
        frame.PixelValueTransformationSequence[0].RescaleSlope = 1 + k
        frame.PixelValueTransformationSequence[0].RescaleIntercept = 0
    head.save_as(path)
    np.testing.assert_array_equal(array_of(read_scan(path).image), stored * np.arange(1, 13))


def test_frames_without_positions_of_their_own_are_told(series, tmp_path):
    path = enhanced(sorted(map(pydicom.dcmread, series.iterdir()), key=lambda head: int(head.InstanceNumber)),
                    tmp_path / "all.dcm")
    head = pydicom.dcmread(path)
    head.PerFrameFunctionalGroupsSequence = head.PerFrameFunctionalGroupsSequence[:11]
    head.save_as(path)
    refused(path, "has 12 frames, and the positions of 11")


def nested(head, k):
    """Tags of other pictures, as a PACS puts them beside a slice's own."""
    other = pydicom.Dataset()
    other.Rows, other.Columns, other.BitsAllocated, other.RescaleSlope, other.NumberOfFrames = 4, 4, 8, 7, 3
    other.PixelSpacing, other.ImagePositionPatient, other.PixelData = [9, 9], [0, 0, 0], bytes(16)
    other.ImageOrientationPatient = [0, 1, 0, 0, 0, 1]
    head.SourceImageSequence = [other]
    private = head.private_block(0x2005, "Philips MR Imaging DD 005", create=True)
    private.add_new(0x0F, "SQ", [other])
    thumbnail = head.private_block(0x0009, "GEIIS", create=True)
    thumbnail.add_new(0x10, "SQ", [other])


def counts(head, k):
    """Of a GE scanner: half of the slices."""
    head.Manufacturer, head.ImagesInAcquisition, head.NumberOfTemporalPositions = "GE MEDICAL SYSTEMS", 6, 2
    head.private_block(0x0021, "GEMS_RELA_01", create=True).add_new(0x4F, "SS", 6)


def interleaved(head, k):
    """Numbers that aren't in the order of the positions, of a Siemens scan without a repetition time."""
    head.Manufacturer, head.InstanceNumber = "SIEMENS", 1 + (k - 1) // 2 + 6 * ((k - 1) % 2)


def small_slopes(head, k):
    head.RescaleSlope, head.RescaleIntercept = f"{k}e-9", 0


def without_uids(head, k):
    del head.SeriesInstanceUID, head.SOPClassUID, head.SOPInstanceUID


def padded(head, k):
    head.add_new("PixelSpacing", "UT", "2 \\2")
    head.RescaleSlope = head.RescaleIntercept = None


def one_spacing(head, k):
    head.PixelSpacing = [2]


@pytest.mark.parametrize("change", [nested, counts, interleaved, small_slopes, without_uids, padded, one_spacing])
def test_what_tags_of_other_pictures_and_of_makers_say_changes_no_voxel(change, series):
    want = array_of(read_scan(series).image)
    changed(series, change)
    found = read_scan(series)
    factor = np.arange(1, 13) * 1e-9 if change is small_slopes else 1
    np.testing.assert_allclose(array_of(found.image), want * factor, rtol=1e-5)
    assert found.spacing == pytest.approx([2, 2, 4]) and found.oriented


def test_pixels_of_size_zero_have_no_known_size(series):
    found = read_scan(changed(series, lambda head, k: setattr(head, "PixelSpacing", [0, 0])))
    assert found.said == (False, False, True) and found.image.GetSize() == (20, 18, 12)


@pytest.mark.parametrize("syntax", ["ImplicitVRLittleEndian", "ExplicitVRBigEndian", "DeflatedExplicitVRLittleEndian",
                                    "RLELossless"])
def test_however_a_slice_is_encoded_it_is_the_same(syntax, series):
    want = array_of(read_scan(series).image)
    for file in series.iterdir():
        head, uid = pydicom.dcmread(file), getattr(pydicom.uid, syntax)
        if syntax == "RLELossless":
            head.compress(uid)
        head.file_meta.TransferSyntaxUID = uid
        if syntax == "ExplicitVRBigEndian":
            head.PixelData = np.frombuffer(head.PixelData, "<i2").astype(">i2").tobytes()
            head = pydicom.Dataset(head)
            head.file_meta = pydicom.dataset.FileMetaDataset()
            head.file_meta.TransferSyntaxUID = uid
            head.save_as(file, implicit_vr=False, little_endian=False, enforce_file_format=True)
        else:
            head.save_as(file)
    np.testing.assert_array_equal(array_of(read_scan(series).image), want)


def test_each_slice_has_its_own_bits_and_its_own_sign(series):
    """Unused bits may hold anything; a sign reaches no further than BitsStored."""
    for file in series.iterdir():
        head = pydicom.dcmread(file)
        k = int(head.InstanceNumber) - 1
        bits, signed = (12, 1) if k % 2 else (16, k % 4 // 2)
        stored = np.full((18, 20), -3 if signed else 40000 if bits == 16 else 3, np.int32) & ((1 << bits) - 1)
        stored[0] |= 0x5000 if bits == 12 else 0
        head.BitsStored, head.HighBit, head.PixelRepresentation = bits, bits - 1, signed
        head.PixelData = stored.astype("<u2").tobytes()
        head.save_as(file)
    found = array_of(read_scan(series).image)
    assert found[..., 1::2].max() == found[..., 1::2].min() == -3
    assert found[..., 0::4].max() == found[..., 0::4].min() == 40000 and (found[..., 2::4] == -3).all()


@pytest.mark.parametrize("bits", [8, 32])
def test_signed_voxels_of_8_and_32_bits_are_exact(bits, series):
    far = 2**30 if bits == 32 else 0

    def change(head, k):
        values = (np.arange(360).reshape(18, 20) % 200 - 100 - far).astype(f"<i{bits // 8}")
        head.BitsAllocated = head.BitsStored = bits
        head.HighBit, head.PixelRepresentation, head.PixelData = bits - 1, 1, values.tobytes()
        head.RescaleSlope, head.RescaleIntercept = 1, far

    want = (np.arange(360).reshape(18, 20) % 200 - 100).T
    assert (array_of(read_scan(changed(series, change)).image) == want[..., None]).all()


@pytest.mark.parametrize("spoil, words", [
    (lambda voxels: voxels, None), (lambda voxels: voxels[:-300], "copy it again"),
    (lambda voxels: voxels[:-8], "no end mark, as when it was cut off; copy it again")])
def test_a_compressed_slice_in_pieces_is_read_and_one_that_was_cut_off_is_told(spoil, words, series):
    """The offset table lists each piece, as some tools write it."""
    want = array_of(read_scan(series).image)
    for file in series.iterdir():
        head = pydicom.dcmread(file)
        head.compress(pydicom.uid.RLELossless)
        frame, = pydicom.encaps.generate_frames(head.PixelData, number_of_frames=1)
        head.PixelData = pydicom.encaps.encapsulate([frame], fragments_per_frame=2)
        table = struct.pack("<4H", 0xFFFE, 0xE000, 8, 0) + struct.pack("<2I", 0, 8 + len(frame) // 2)
        head.PixelData = table + head.PixelData[8 + 4:]
        head["PixelData"].is_undefined_length = True
        head.save_as(file)
    if words:
        file = next(series.iterdir())
        file.write_bytes(spoil(file.read_bytes()))
        with pytest.raises(LasegError, match=words):
            read_scan(series)
    else:
        np.testing.assert_array_equal(array_of(read_scan(series).image), want)


def test_a_folder_for_temporary_files_that_can_not_be_written_is_told(series, monkeypatch):
    """Only compressed slices need it."""
    monkeypatch.setattr(tempfile, "tempdir", "/nowhere")
    read_scan(series)
    for file in series.iterdir():
        head = pydicom.dcmread(file)
        head.compress(pydicom.uid.RLELossless)
        head.save_as(file)
    refused(series, "folder for temporary files can't be written .No such file.*set TMPDIR")


def test_directions_are_made_unit_vectors_and_zeros_are_none(series):
    want = read_scan(series)
    tilted = [0.97, 0, 0, 0, 1.05, 0]
    found = read_scan(changed(series, lambda head, k: setattr(head, "ImageOrientationPatient", tilted)))
    np.testing.assert_array_equal(array_of(found.image), array_of(want.image))
    assert found.spacing == pytest.approx(want.spacing) and found.oriented
    found = read_scan(changed(series, lambda head, k: setattr(head, "ImageOrientationPatient", [0] * 6)))
    assert not found.oriented and found.said == (True, True, False)


def test_a_position_of_one_number_is_none(series):
    assert not read_scan(changed(series, lambda head, k: setattr(head, "ImagePositionPatient", [5]))).oriented


def test_slices_in_a_form_of_their_maker_are_told(series):
    for file in series.iterdir():
        assert (held := file.read_bytes()).count(b"1.2.840.10008.1.2\0") == 1
        file.write_bytes(held.replace(b"1.2.840.10008.1.2\0", b"1.2.840.113619.5.2"))
    with pytest.raises(LasegError, match="in a form of its maker's own .1.2.840.113619.5.2.; export it again"):
        read_scan(series)


def test_the_size_of_a_voxel_may_stand_with_each_frame(series, tmp_path):
    path = enhanced(sorted(map(pydicom.dcmread, series.iterdir()), key=lambda head: int(head.InstanceNumber)),
                    tmp_path / "all.dcm")
    head = pydicom.dcmread(path)
    for frame in head.PerFrameFunctionalGroupsSequence:
        frame.PixelMeasuresSequence = head.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    del head.SharedFunctionalGroupsSequence[0].PixelMeasuresSequence
    head.save_as(path)
    assert read_scan(path).spacing == pytest.approx([2, 2, 4])


@pytest.mark.parametrize("order", [range(12)[::-1], [0, 3, 6, 9, 1, 4, 7, 10, 2, 5, 8, 11]], ids=["down", "packages"])
@pytest.mark.parametrize("syntax", [None, pydicom.uid.RLELossless])
@pytest.mark.parametrize("numbers", [None, lambda k: [1 + k % 3, 1 + k // 3], lambda k: [1, 1 + 5 * k % 12]])
def test_frames_are_ordered_by_position_alone(order, syntax, numbers, series, tmp_path):
    """Compressed or not, whatever order the file and its dimensions say.  ``numbers``: of a frame's content."""
    from pydicom.dataset import Dataset

    heads = sorted(map(pydicom.dcmread, series.iterdir()), key=lambda head: int(head.InstanceNumber))
    want, first = np.stack([head.pixel_array.T for head in heads], -1), list(heads[0].ImagePositionPatient)
    path = enhanced([heads[k] for k in order], tmp_path / "all.dcm")
    whole = pydicom.dcmread(path)
    for k, frame in enumerate(whole.PerFrameFunctionalGroupsSequence):
        if numbers:
            content = Dataset()
            content.StackID, content.InStackPositionNumber = str(numbers(k)[0]), numbers(k)[1]
            content.DimensionIndexValues = numbers(k)
            frame.FrameContentSequence = [content]
    if syntax:
        whole.compress(syntax)
    whole.save_as(path)
    found = read_scan(path).image
    np.testing.assert_allclose(found.GetOrigin(), first, atol=1e-3)
    np.testing.assert_array_equal(array_of(found), want)


def test_several_images_by_simpleitk_are_no_damaged_file(tmp_path):
    image = sitk.JoinSeries([sitk.Image(6, 5, 4, sitk.sitkUInt8)] * 2)
    sitk.WriteImage(image, str(tmp_path / "a.nrrd"))
    refused(tmp_path / "a.nrrd", "6 x 5 x 4 x 2 voxels, several images")


def test_classes_behind_a_rounded_slope_are_whole():
    """Six classes that nibabel stored as 0 to 255."""
    values = np.array([0.0, 0.98824, 2.0, 2.98824, 4.0, 4.98824, 6.0])
    assert whole_numbers(values, "a").tolist() == list(range(7))


def test_a_label_with_one_value_that_a_slope_made_is_one_class(tmp_path):
    assert np.unique(whole_numbers(np.array([0, 10.921457, 0, 10.921457]), "a")).tolist() == [0, 11]
    for values in ([0, 0.5], [0, 10.5, 11.2], [3, 10.5]):
        with pytest.raises(LasegError, match="no whole numbers"):
            whole_numbers(np.array(values), "a")


def test_an_empty_slope_is_no_slope_of_zero(series):
    changed(series, lambda head, k: setattr(head, "RescaleSlope", "" if k == 3 else 1 + 1e-4 * k))
    assert array_of(read_scan(series).image)[..., 2].std() > 0


def test_a_file_of_all_slices_that_was_cut_off_is_told(series, tmp_path):
    path = enhanced(sorted(map(pydicom.dcmread, series.iterdir()), key=lambda head: int(head.InstanceNumber)),
                    tmp_path / "all.dcm")
    path.write_bytes(path.read_bytes()[:-3000])
    refused(path, "all.dcm: was cut off; copy it again")


@pytest.mark.parametrize("keep, tag, words", [
    (lambda k: k % 2, {}, "lie 8.00 mm apart, but by its header 4.00 mm; are some missing"),
    (lambda k: k < 9, {"ImagesInAcquisition": 12}, "holds 8 slices.*there are 12; are some missing")])
def test_a_regular_part_of_a_series_is_doubted(keep, tag, words, series, capsys):
    changed(series, lambda head, k: [setattr(head, name, value) for name, value in tag.items()])
    read_scan(series)
    assert "WARNING" not in capsys.readouterr().err
    for file in sorted(series.iterdir()):
        if not keep(int(pydicom.dcmread(file).InstanceNumber)):
            file.unlink()
    read_scan(series)
    assert re.search(f"WARNING: {series}: .*{words}", capsys.readouterr().err)


@pytest.mark.parametrize("missing", [["Position", "Orientation"], ["Position"], ["Orientation"]])
def test_slices_without_positions_keep_their_rows_and_are_doubted(missing, series, capsys):
    want = array_of(read_scan(series).image)
    changed(series, lambda head, k: [delattr(head, f"Image{what}Patient") for what in missing])
    found = read_scan(series, spacing=(9, 9, 4))
    np.testing.assert_array_equal(array_of(found.image), want)
    assert found.image.GetSpacing() == (2, 2, 4) and not found.oriented
    require_spacing(found)
    assert "doesn't say how its axes lie" in capsys.readouterr().err


def test_an_error_of_the_converted_series_names_the_series(series):
    def coloured(head, k):
        head.SamplesPerPixel, head.PhotometricInterpretation, head.PlanarConfiguration = 3, "RGB", 0
        head.BitsAllocated, head.BitsStored, head.HighBit, head.PixelData = 8, 8, 7, bytes(20 * 18 * 3)

    refused(changed(series, coloured), "several numbers for each voxel, such as colours.*grey image")
    refused(enhanced(list(map(pydicom.dcmread, sorted(series.iterdir()))), series.parent / "all.dcm"),
            "several numbers for each voxel, such as colours.*grey image")


def test_a_mosaic_is_refused(series):
    """Each file would count as one slice."""
    def mosaic(head, k):
        head.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]

    refused(changed(series, mosaic), "all slices of a volume in one picture .a Siemens mosaic")


def damaged_jpeg(head):
    head.file_meta.TransferSyntaxUID = pydicom.uid.JPEGLosslessSV1
    head.PixelData = pydicom.encaps.encapsulate([b"no JPEG at all"])
    head["PixelData"].is_undefined_length, head["PixelData"].VR = True, "OB"


def test_a_slope_of_each_slice_counts(series):
    """The first slice has slope 1 and the others a thousandth: as one integer type they would be 0."""
    for file in series.iterdir():
        head = pydicom.dcmread(file)
        k = int(head.InstanceNumber)
        head.RescaleSlope, head.RescaleIntercept = 1 if k == 1 else round(0.001 + 0.00001 * k, 6), 0
        head.save_as(file)
    heads = sorted((pydicom.dcmread(file) for file in series.iterdir()), key=lambda head: head.ImagePositionPatient[2])
    want = np.stack([head.pixel_array.T * float(head.RescaleSlope) for head in heads], -1)
    np.testing.assert_allclose(array_of(read_scan(series).image), want, rtol=1e-5)


def test_times_that_differ_from_file_to_file_make_no_other_series(series):
    """Tools that write a series slice by slice note the time of each."""
    before = array_of(read_scan(series).image)
    for k, file in enumerate(sorted(series.iterdir())):
        head = pydicom.dcmread(file)
        head.StudyTime = f"1200{k:02d}"
        head.save_as(file)
    np.testing.assert_array_equal(array_of(read_scan(series).image), before)


def test_many_slices_in_one_dicom_file_say_their_size_or_are_asked(scan, tmp_path):
    path = saved(tmp_path / "s.dcm", sitk.Cast(scan, sitk.sitkUInt16))
    found = read_scan(path)
    assert found.image.GetSize() == SIZE
    said = np.array(found.said)
    np.testing.assert_allclose(found.spacing[said], np.array((2, 2.5, 3))[said])
    held = path.read_bytes()
    for group, element in ((0x28, 0x30), (0x18, 0x50), (0x18, 0x88), (0x28, 0x9110), (0x5200, 0x9229)):
        held = held.replace(struct.pack("<2H", group, element), struct.pack("<2H", group, element | 0x0F00))
    path.write_bytes(held)
    with pytest.raises(LasegError, match="doesn't give a voxel's size along x, y, z.*--spacing"):
        require_spacing(read_scan(path))


@pytest.mark.parametrize("pixdim, given, told", [
    ((0, 0, 0), (2, 2.5, 3), False), ((0, 0, 0), (1, 1, 2), True), ((2, 2.5, 3), (2, 2.5, 2), True)])
def test_a_spacing_that_the_header_overrules_is_told(pixdim, given, told, scan, tmp_path, capsys):
    """Also where the sides are only those of the sform, which may be a placeholder."""
    def change(head):
        head[80:92] = struct.pack("<3f", *pixdim)

    found = read_scan(edited(saved(tmp_path / "s.nii", scan), change), spacing=given)
    assert found.spacing == pytest.approx((2, 2.5, 3))
    assert ("--spacing is not used for the sides that its header gives: 2 x 2.5 x 3 mm" in capsys.readouterr().err
            ) == told


# --- how large, and which ------------------------------------------------------------------------

@pytest.mark.parametrize("spacing, words", [
    (0.25, "shows 12 x 12 x 12 mm.*does not fit"), (30, "shows 1500 x 1440 x 1380 mm.*is small in that")])
def test_a_scan_that_is_much_too_small_or_large_is_doubted(spacing, words, tmp_path, capsys):
    scan, _ = blob_scan(np.eye(3), (1.25,) * 3, (50, 48, 46))
    saved(tmp_path / "s.nii", scan)
    require_spacing(read_scan(tmp_path / "s.nii"))
    assert "WARNING" not in capsys.readouterr().err
    scan.SetSpacing((spacing,) * 3)
    require_spacing(read_scan(saved(tmp_path / "s.nii", scan)))
    assert "WARNING" in (said := capsys.readouterr().err)
    assert re.search(words, said)


def hospital(folder, outlined=3, unlabelled=2):
    folder.mkdir()
    for k in range(outlined + unlabelled):
        scan, label = blob_scan(np.eye(3), (1.25,) * 3, (50 + k, 48, 46))
        saved(folder / f"p{k}_mri.nrrd", scan)
        if k < outlined:
            saved(folder / f"p{k}_la.nrrd", label, True)
    return folder


def ready(raw, dest, **options):
    told = []
    root = prepare(raw, dest, scan="*_mri.nrrd", label="*_la.nrrd", voxel_mm=1.25, progress=False, say=told.append,
                   **options)
    return root, "\n".join(told)


def test_what_has_changed_is_prepared_anew_and_nothing_else(tmp_path):
    raw = hospital(tmp_path / "raw")
    root, told = ready(raw, tmp_path / "out")
    assert "has changed" not in told
    before = {path.parent.name: path.stat().st_mtime_ns for path in root.glob("*/*.h5")}
    image = sitk.ReadImage(str(raw / "p1_la.nrrd"))
    image[20:30, 20:30, 20:30] = 0
    saved(raw / "p1_la.nrrd", image, True)
    root, told = ready(raw, tmp_path / "out")
    assert "p1: its scan or its label has changed since it was prepared; it is prepared again" in told
    after = {path.parent.name: path.stat().st_mtime_ns for path in root.glob("*/*.h5")}
    assert {name for name in before if before[name] != after[name]} == {"p1"}
    assert "has changed" not in ready(raw, tmp_path / "out")[1]


def test_another_way_to_crop_or_to_lay_the_label_is_another_folder(tmp_path):
    raw = hospital(tmp_path / "raw")
    ready(raw, tmp_path / "out")
    for options in ({"label_as_scan": True}, {"found_by": "a checkpoint"}):
        with pytest.raises(LasegError, match="were made with.*choose another folder"):
            ready(raw, tmp_path / "out", **options)


def test_settings_of_a_folder_without_a_case_are_replaced(tmp_path):
    """So that what an error asks for can be given: nothing has been made with the first ones."""
    raw = hospital(tmp_path / "raw")
    for k in range(3):
        image = sitk.ReadImage(str(raw / f"p{k}_la.nrrd"))
        saved(raw / f"p{k}_la.nrrd", image + sitk.Cast(image, image.GetPixelID()) * 2)  # 0 and 3
    with pytest.raises(LasegError, match="give --label-value"):
        ready(raw, tmp_path / "out")
    with pytest.raises(LasegError, match="--label-value 0 is the background"):
        ready(raw, tmp_path / "out", label_value=0)
    root, _ = ready(raw, tmp_path / "out", label_value=3)
    assert read_volume(root / "p0" / "mri_norm2.h5")[1].any()


def test_links_are_followed_and_dangling_ones_told(tmp_path):
    raw = hospital(tmp_path / "raw")
    far = tmp_path / "archive" / "q"
    far.mkdir(parents=True)
    for kind in ("mri", "la"):
        shutil.copy(raw / f"p0_{kind}.nrrd", far / f"q9_{kind}.nrrd")
    (raw / "linked").symlink_to(far, target_is_directory=True)
    (raw / "loop").symlink_to(raw, target_is_directory=True)
    (far / "loop").symlink_to(far, target_is_directory=True)
    root, told = ready(raw, tmp_path / "out")
    assert "6 scans (*_mri.nrrd), 4 with a label" in told and (root / "q9" / "mri_norm2.h5").is_file()
    (raw / "p2_la.nrrd").unlink()
    (raw / "p2_la.nrrd").symlink_to(tmp_path / "gone")
    with pytest.raises(LasegError, match="p2_la.nrrd: is a link to a missing file"):
        ready(raw, tmp_path / "other")
    (raw / "p2_la.nrrd").unlink()
    (raw / "p7_mri.nrrd").symlink_to(tmp_path / "gone")
    with pytest.raises(LasegError, match="p7_mri.nrrd: is a link to a missing file"):
        ready(raw, tmp_path / "other")


def test_labels_may_be_folders_of_dicom(tmp_path):
    raw = tmp_path / "raw"
    for k in range(2):
        scan, label = blob_scan(np.eye(3), (1.25,) * 3, (50, 48, 46 + k))
        write_dicom(scan, raw / f"p{k}" / "mri")
        write_dicom(sitk.Cast(label, sitk.sitkUInt16), raw / f"p{k}" / "la")
    root = prepare(raw, tmp_path / "out", scan="mri", label="la", voxel_mm=1.25, progress=False)
    want = read_case(raw / "p0" / "mri", raw / "p0" / "la", voxel_mm=1.25)[1]
    assert read_volume(root / "p0" / "mri_norm2.h5")[1].sum() == want.sum() > 0


def test_what_is_not_used_is_told(tmp_path):
    raw = hospital(tmp_path / "raw")
    shutil.copy(raw / "p0_mri.nrrd", raw / "p8.nrrd")
    (raw / "train.list").write_text("p2\n")
    _, told = ready(raw, tmp_path / "out")
    assert "files that no pattern fits, not used: 1 (p8.nrrd)" in told
    assert "train.list is not used, because train.list and test.list are used only together" in told
    with pytest.raises(LasegError, match="nowhere.list: no such list; it must have one case in each line.*p0, p1, p2"):
        ready(raw, tmp_path / "other", test_list=tmp_path / "nowhere.list")
    (tmp_path / "file").touch()
    with pytest.raises(LasegError, match="file: is a file; name a folder"):
        ready(raw, tmp_path / "file")


@pytest.mark.parametrize("begin", ["\ufeff", ""])
@pytest.mark.parametrize("equals", [" = ", "\t=\t"])
def test_a_metaimage_header_may_begin_with_a_mark_and_have_tabs(begin, equals, tmp_path):
    lines = {"ObjectType": "Image", "NDims": "3", "DimSize": "4 3 2", "ElementSpacing": "1 1 2",
             "ElementType": "MET_SHORT", "ElementDataFile": "a.raw"}
    header = begin + "".join(f"{name}{equals}{value}\n" for name, value in lines.items())
    (tmp_path / "a.mhd").write_text(header, encoding="utf-8")
    np.arange(24, dtype="<i2").tofile(tmp_path / "a.raw")
    assert read_scan(tmp_path / "a.mhd").image.GetSize() == (4, 3, 2)


@pytest.mark.parametrize("pattern", ["s_%d.raw", "s_%03d.raw", "s_%3.3d.raw", "s_%03i.raw"])
def test_a_metaimage_may_name_its_slices_by_a_pattern(pattern, tmp_path):
    for k in (1, 2, 3):
        np.full(12, k, "<i2").tofile(tmp_path / (pattern % k))
    (tmp_path / "a.mhd").write_text("ObjectType = Image\nNDims = 3\nDimSize = 4 3 3\nElementSpacing = 1 1 2\n"
                                    f"ElementType = MET_SHORT\nElementDataFile = {pattern} 1 3 1\n")
    assert array_of(read_scan(tmp_path / "a.mhd").image)[0, 0].tolist() == [1, 2, 3]
