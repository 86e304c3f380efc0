"""Scans whose headers or voxels are not what SimpleITK takes them for: each is one that it reads without a word."""

import gzip
import re
import shutil
import struct

import numpy as np
import pytest
import SimpleITK as sitk
from scan_files import blob_scan, write_dicom

from laseg_lib.data.headers import numbers
from laseg_lib.data.prepare import prepare
from laseg_lib.data.scans import array_of, image_of, read_case, read_scan, require_spacing
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
        refused(path, "not as many are there, or they are damaged")


def test_a_packed_metaimage_larger_than_a_block_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr("laseg_lib.data.headers.BLOCK", 1000)
    flat = image_of(np.zeros((40, 40, 20), np.int16), spacing=(2, 2, 2), origin=(0, 0, 0))
    flat[3, 3, 3] = 1
    assert array_of(read_scan(saved(tmp_path / "s.mha", flat, True)).image).sum() == 1
    assert array_of(read_scan(saved(tmp_path / "s.nii.gz", flat)).image).sum() == 1


@pytest.mark.parametrize("data, files, words", [
    ("LIST\n{}", 10, None), ("LIST\n{}", 7, "tells of 10 slices and names 7 files"),
    ("LIST 2D\n{}", 10, None), ("LIST 3\n{}", 10, "tells of 1 slices and names 10 files"),
    ("s%d.raw 0 9 1", 10, None), ("s%d.raw 0 9 1", 8, r"not there.*\(s8.raw\)"),
    ("s%d.raw 0 6 1", 10, "tells of 10 slices and names 7 files"), ("gone.raw", 10, r"not there.*\(gone.raw\)")])
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
        refused(tmp_path / "s.mhd", "not as many are there")


@pytest.mark.parametrize("line, words", [
    ("TransformMatrix = 2 0 0 0 2 0 0 0 2", "directions of its axes are .2, 2, 2. long, which must be 1"),
    ("TransformMatrix = 1 0.2 0 0 1 0 0 0 1", "long, which must be 1"),
    ("TransformMatrix = 1 0 0 0.6 0.8 0 0 0 1", "not at right angles"),
    ("TransformMatrix = 0 0 0 0 0 0 0 0 0", "not at right angles"),
    ("Offset = nan 0 0", "lay the scan nowhere"), ("DistanceUnits = cm", "gives lengths in cm, and mm are read")])
def test_a_metaimage_lies_somewhere_at_right_angles_in_mm(line, words, scan, tmp_path):
    held = saved(tmp_path / "s.mha", scan).read_bytes()
    name = line.split(" =")[0].encode()
    lines = [part for part in held[:held.index(b"ElementDataFile")].split(b"\n") if not part.startswith(name)]
    (tmp_path / "s.mha").write_bytes(b"\n".join([*lines[:-1], line.encode(), held[held.index(b"ElementDataFile"):]]))
    refused(tmp_path / "s.mha", words)


@pytest.mark.parametrize("text, found", [
    ("1 2.5 3", [1, 2.5, 3]), ("2.0E+00 -1e-3", [2, -0.001]), ("- 1-2 none nan", [np.nan] * 4), (None, [])])
def test_numbers_of_a_text(text, found):
    np.testing.assert_array_equal(numbers(text), found)


# --- NRRD -----------------------------------------------------------------------------------------

@pytest.mark.parametrize("lines, words", [
    (['space units: "cm" "cm" "cm"'], "gives lengths in cm"), (['space units: "mm" "mm" "mm"'], None),
    (["space directions: (2,0,0) (1,2.5,0) (0,0,3)"], "not at right angles")])
def test_an_nrrd_in_other_units_or_aslant_is_told(lines, words, tmp_path):
    head = ["NRRD0004", "type: uint8", "dimension: 3", "sizes: 8 7 6", "space: left-posterior-superior",
            *(["space directions: (2,0,0) (0,2.5,0) (0,0,3)"] if "directions" not in lines[0] else []), *lines,
            "encoding: raw", "", ""]
    (tmp_path / "s.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 2)
    if words:
        refused(tmp_path / "s.nrrd", words)
    else:
        np.testing.assert_allclose(read_scan(tmp_path / "s.nrrd").spacing, (2, 2.5, 3))


def test_an_nrrd_with_an_axis_that_is_none_of_space_says_its_three_sides(tmp_path):
    head = ["NRRD0004", "type: uint8", "dimension: 4", "sizes: 1 8 7 6", "space: left-posterior-superior",
            "space directions: none (2,0,0) (0,2.5,0) (0,0,3)", "kinds: list domain domain domain", "encoding: raw", "",
            ""]
    (tmp_path / "s.nrrd").write_bytes("\n".join(head).encode() + bytes(range(168)) * 2)
    np.testing.assert_allclose(read_scan(tmp_path / "s.nrrd").spacing, (2, 2.5, 3))


# --- NIfTI ----------------------------------------------------------------------------------------

@pytest.mark.parametrize("where, what, words", [
    (80, struct.pack("<3f", 1, 1, 1), r"sides twice, as 1 x 1 x 1 mm \(pixdim\) and as 2 x 2.5 x 3 mm \(sform\)"),
    (280, struct.pack("<f", np.nan), r"\(sform\) holds numbers that lay the scan nowhere"),
    (292, struct.pack("<f", np.inf), r"\(sform\) holds numbers that lay the scan nowhere")])
@pytest.mark.parametrize("qform", [0, 1])
def test_a_nifti_that_contradicts_itself_is_told(where, what, words, qform, scan, tmp_path):
    def change(head):
        head[where:where + len(what)] = what
        head[252:254] = struct.pack("<h", qform)

    path = saved(tmp_path / "s.nii", scan)
    assert read_scan(edited(path, lambda head: None)).spacing.tolist() == [2, 2.5, 3]
    refused(edited(path, change), words)


@pytest.mark.parametrize("kind", [np.float32, np.float64])
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_nifti_with_voxels_that_are_no_numbers_is_told(kind, suffix, value, tmp_path):
    """Its reader turns them into 0, of a label too."""
    values = np.random.default_rng(0).random(SIZE).astype(kind)
    good = saved(tmp_path / f"good{suffix}", image_of(values, spacing=(2, 2, 2), origin=(0, 0, 0)))
    assert array_of(read_scan(good).image).dtype == kind
    values[3, 4, 5] = value
    refused(saved(tmp_path / f"s{suffix}", image_of(values, spacing=(2, 2, 2), origin=(0, 0, 0))),
            "voxels are no finite numbers")


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
    held = bytearray(files[0].read_bytes())
    kind = held.index(b"\x02\x00\x02\x00UI") + 8
    held[kind + 20:kind + 22] = b"88"  # of another class, as a report is, and without an image
    (series / "IM0999.dcm").write_bytes(held[:700])
    assert read_scan(series).image.GetSize() == (20, 18, 12)
    lost = files[at]
    lost.write_bytes(spoil(lost.read_bytes()))
    with pytest.raises(LasegError, match=rf"{lost.name}: looks like a slice of the series.*copy it again"):
        read_scan(series)


def test_a_tilted_gantry_is_told(tmp_path):
    from laseg_lib.data.scans import dicom_geometry

    class Reader:
        """Of slices of x and y, each a millimetre further back than the one below it."""

        def SetFileName(self, name):
            self.k = int(name)

        def LoadPrivateTagsOff(self): pass
        def ReadImageInformation(self): pass
        def HasMetaDataKey(self, name): return True

        def GetMetaData(self, name):
            return {"0020|0032": f"-30\\{-20 + self.shift * self.k}\\{10 + 4 * self.k}", "0028|0030": "2\\2",
                    "0020|0037": "1\\0\\0\\0\\1\\0"}[name]

    reader = Reader()
    for reader.shift in (0, 0.01):
        assert dicom_geometry("series", list("0123456789"), reader, None) == (True, True, True)
    reader.shift = 1
    with pytest.raises(LasegError, match=r"stacked aslant, as with a tilted gantry \(9.0 mm from first to last\)"):
        dicom_geometry("series", list("0123456789"), reader, None)


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
    with pytest.raises(LasegError, match="doesn't say how large a voxel is along x, y, z.*--spacing"):
        require_spacing(read_scan(path))


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
    assert "p1: its scan or its label has changed since it was prepared; it is made anew" in told
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
    with pytest.raises(LasegError, match="--label-value 0 is what isn't atrium"):
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
    with pytest.raises(LasegError, match="p2_la.nrrd: is a link to something that isn't there"):
        ready(raw, tmp_path / "other")
    (raw / "p2_la.nrrd").unlink()
    (raw / "p7_mri.nrrd").symlink_to(tmp_path / "gone")
    with pytest.raises(LasegError, match="p7_mri.nrrd: is a link to something that isn't there"):
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
    assert "train.list is not used: train.list and test.list decide together" in told
    with pytest.raises(LasegError, match="nowhere.list: no such list; it must name one case a line.*p0, p1, p2"):
        ready(raw, tmp_path / "other", test_list=tmp_path / "nowhere.list")
    (tmp_path / "file").touch()
    with pytest.raises(LasegError, match="file: is a file; name a folder"):
        ready(raw, tmp_path / "file")
