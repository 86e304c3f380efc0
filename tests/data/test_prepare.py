import functools
import shutil
import zlib

import nrrd
import numpy as np
import pytest
import torch

from laseg_lib import VNet
from laseg_lib.config import TrainConfig
from laseg_lib.data.phantom import make_phantom, write_phantoms
from laseg_lib.data.prepare import crop_box, listed
from laseg_lib.data.prepare import prepare as prepare_at
from laseg_lib.data.scans import read_pair
from laseg_lib.data.volumes import (
    LAHeart,
    find_root,
    read_geometry,
    read_list,
    read_volume,
    training_names,
)
from laseg_lib.errors import LasegError
from laseg_lib.evaluate import evaluate_checkpoint

SMALL = (32, 24, 16)
prepare = functools.partial(prepare_at, voxel_mm=None)  # these phantoms' voxels are wide; in 0.625 mm they are millions


@pytest.fixture(scope="module")
def four(tmp_path_factory):
    dest = tmp_path_factory.mktemp("raw")
    write_phantoms(dest, 3, 1, SMALL, raw=True)
    return dest


@pytest.fixture
def raw(four, tmp_path):
    """Four raw phantoms, with lists; a copy to spoil."""
    return shutil.copytree(four, tmp_path / "raw")


def case(raw, k=0):
    return raw / "phantoms" / f"PHANTOM_{k:04d}"


def test_prepared_is_what_training_reads(raw, tmp_path):
    root = prepare(raw, tmp_path / "out", progress=False)
    assert root == find_root(tmp_path / "out")
    assert read_list(tmp_path / "out/train.list") == [f"PHANTOM_000{k}" for k in range(3)]
    assert len(LAHeart(root, "train")) == 3 and len(LAHeart(root, "test")) == 1
    image, label = read_volume(root / "PHANTOM_0000/mri_norm2.h5")
    assert image.shape == label.shape and image.shape[2] == SMALL[2]


def test_nothing_of_the_atrium_is_cut_off(raw, tmp_path):
    root = prepare(raw, tmp_path / "out", progress=False)
    for k in range(4):
        label = read_volume(root / f"PHANTOM_{k:04d}/mri_norm2.h5")[1]
        assert label.sum() == (nrrd.read(str(case(raw, k) / "laendo.nrrd"))[0] == 255).sum()
        assert 0.04 < label.mean() < 0.15


def test_normalised_over_the_whole_scan_before_the_crop(raw, tmp_path):
    image, _, _ = read_pair(case(raw))
    assert image.dtype == np.float32 and abs(image.mean()) < 1e-4 and abs(image.std() - 1) < 1e-4
    cropped = read_volume(prepare(raw, tmp_path / "out", progress=False) / "PHANTOM_0000/mri_norm2.h5")[0]
    assert cropped.mean() > 0.2    # dark lungs and air are outside the crop, as in the public files
    assert set(np.unique(cropped)) <= set(np.unique(image))


def test_crop_margins_and_least_size():
    label = np.zeros((400, 400, 20), np.uint8)
    label[150:300, 180:220, 5:9] = 1
    drawn = set()
    for seed in range(40):
        x, y, z = crop_box(label, (0.625, 0.625, 0.625), np.random.default_rng(seed))
        assert 130 <= x.start <= 140 and 310 <= x.stop <= 320
        assert 124 <= y.start <= 134 and 266 <= y.stop <= 276    # 40 voxels widened to 112, then the margins
        assert z == slice(None)
        drawn.add((x.start, x.stop, y.start, y.stop))
    assert len(drawn) > 30


def test_crop_stops_at_the_edge_and_measures_in_mm():
    label = np.zeros((100, 100, 4), np.uint8)
    label[:2, 50:60] = 1
    x, y, _ = crop_box(label, (2.5, 2.5, 2.5), np.random.default_rng(0), margin_mm=(10, 10), least_mm=50)
    assert x == slice(0, 15)
    assert y == slice(41, 69)    # 25 mm widened to 50, then 10 on each side


def test_the_last_voxel_of_the_label_is_kept():
    label = np.zeros((30, 30, 4), np.uint8)
    label[10:20, 10:20] = 1
    box = crop_box(label, (1, 1, 1), np.random.default_rng(0), margin_mm=(0, 0), least_mm=0)
    assert box[:2] == (slice(10, 20), slice(10, 20))


def test_margins_do_not_depend_on_the_other_cases(raw, tmp_path):
    whole = prepare(raw, tmp_path / "a", progress=False)
    for name in ("train", "test"):
        (raw / f"{name}.list").unlink()
    for file in case(raw, 1).iterdir():
        file.unlink()
    fewer = prepare(raw, tmp_path / "b", progress=False)
    for a, b in zip(read_volume(whole / "PHANTOM_0002/mri_norm2.h5"), read_volume(fewer / "PHANTOM_0002/mri_norm2.h5")):
        np.testing.assert_array_equal(a, b)
    other = prepare(raw, tmp_path / "c", seed=1, progress=False)
    shapes = [[read_volume(root / f"PHANTOM_000{k}/mri_norm2.h5")[0].shape for k in (0, 2, 3)]
              for root in (fewer, other)]
    assert shapes[0] != shapes[1]


def test_split_is_drawn_where_there_are_no_lists(raw, tmp_path):
    for name in ("train", "test"):
        (raw / f"{name}.list").unlink()
    prepare(raw, tmp_path / "out", test_share=0.5, progress=False)
    train, test = (read_list(tmp_path / "out" / f"{name}.list") for name in ("train", "test"))
    assert len(train) == len(test) == 2 and len({*train, *test}) == 4


def test_label_of_ones_will_do(raw, tmp_path):
    label, header = nrrd.read(str(case(raw) / "laendo.nrrd"))
    before = read_pair(case(raw))[1]
    nrrd.write(str(case(raw) / "laendo.nrrd"), label // 255, header)
    np.testing.assert_array_equal(read_pair(case(raw))[1], before)


def test_the_challenges_files_give_what_they_gave(tmp_path):
    """UA-MT's arithmetic, written down once more: nothing is interpolated where voxels are 0.625 mm and straight."""
    rng = np.random.default_rng(0)
    header = {"space": "left-posterior-superior", "space directions": np.eye(3) * 0.625, "space origin": [3, -40, 7]}
    arrays = {}
    for name in ("A", "B"):
        scan = rng.integers(0, 256, (240, 230, 12)).astype(np.uint8)
        label = np.zeros(scan.shape, np.uint8)
        x, y = rng.integers(60, 100, 2)
        label[x:x + 50, y:y + 30, 3:9] = 255
        (tmp_path / "raw" / name).mkdir(parents=True)
        nrrd.write(str(tmp_path / "raw" / name / "lgemri.nrrd"), scan, header)
        nrrd.write(str(tmp_path / "raw" / name / "laendo.nrrd"), label, header)
        arrays[name] = scan, label
    root = prepare_at(tmp_path / "raw", tmp_path / "out", progress=False)
    for name, (scan, label) in arrays.items():
        scan = scan.astype(np.float64)
        image, gold = np.float32((scan - scan.mean()) / scan.std()), np.uint8(label > 0)
        box = crop_box(gold, (0.625,) * 3, np.random.default_rng([1337, zlib.crc32(name.encode())]))
        got = read_volume(root / name / "mri_norm2.h5")
        np.testing.assert_array_equal(got[0], image[box])
        np.testing.assert_array_equal(got[1], gold[box])
        geometry = read_geometry(root / name / "mri_norm2.h5")
        np.testing.assert_allclose(geometry["spacing"], 0.625)
        np.testing.assert_allclose(geometry["origin"], np.array([3, -40, 7]) + 0.625 * np.array(
            [box[0].start, box[1].start, 0]))


def test_goes_on_where_it_was(raw, tmp_path):
    root = prepare(raw, tmp_path / "out", progress=False)
    kept, cut = (root / f"PHANTOM_000{k}/mri_norm2.h5" for k in (0, 1))
    before = kept.stat().st_mtime_ns
    cut.write_bytes(cut.read_bytes()[:500])
    prepare(raw, tmp_path / "out", progress=False)
    assert kept.stat().st_mtime_ns == before and read_volume(cut)
    with pytest.raises(LasegError, match="seed.*choose another folder"):
        prepare(raw, tmp_path / "out", seed=3, progress=False)


# --- what is wrong, in which file, and what to do ---------------------------------------------------

def fails(raw, tmp_path, *words):
    with pytest.raises(LasegError) as error:
        prepare(raw, tmp_path / "out", progress=False)
    for word in words:
        assert word in str(error.value)
    assert not list((tmp_path / "out").glob("*.list")), "a list although a case is missing"
    assert not list(tmp_path.rglob("*.partial"))


def test_no_scan_at_all(tmp_path):
    (tmp_path / "raw").mkdir()
    fails(tmp_path / "raw", tmp_path, "raw", "lgemri.nrrd")
    fails(tmp_path / "nowhere", tmp_path, "nowhere: no such folder; give the folder that holds the scans")
    (tmp_path / "file").touch()
    fails(tmp_path / "file", tmp_path, "file: is a file; give the folder")


def test_a_case_without_a_label_is_an_unlabelled_one(raw, tmp_path):
    (case(raw) / "laendo.nrrd").unlink()
    root = prepare(raw, tmp_path / "out", progress=False)
    assert read_list(tmp_path / "out" / "train.list") == ["PHANTOM_0001", "PHANTOM_0002", "PHANTOM_0000"]
    with pytest.raises(LasegError, match="PHANTOM_0000.*holds no label"):
        read_volume(root / "PHANTOM_0000" / "mri_norm2.h5")
    image, none = read_volume(root / "PHANTOM_0000" / "mri_norm2.h5", with_label=False)
    assert none is None and min(image.shape) >= 12


def test_a_test_case_without_a_label_is_told(raw, tmp_path):
    (case(raw, 3) / "laendo.nrrd").unlink()
    fails(raw, tmp_path, "test.list", "PHANTOM_0003", "no label")


def test_no_label_at_all_is_told(raw, tmp_path):
    for k in range(4):
        (case(raw, k) / "laendo.nrrd").unlink()
    fails(raw, tmp_path, "none of the 4 scans has a label", "--label")


def test_listed_case_without_a_scan(raw, tmp_path):
    (case(raw, 2) / "lgemri.nrrd").unlink()
    fails(raw, tmp_path, "PHANTOM_0002", "only PHANTOM_0000, PHANTOM_0001, PHANTOM_0003", "remove it from the list")


def test_case_in_both_lists(raw, tmp_path):
    (raw / "test.list").write_text("PHANTOM_0000\n")
    fails(raw, tmp_path, "PHANTOM_0000", "train.list", "test.list")


def test_same_name_twice(raw, tmp_path):
    again = raw / "again" / "PHANTOM_0001"
    again.mkdir(parents=True)
    (again / "lgemri.nrrd").write_bytes((case(raw, 1) / "lgemri.nrrd").read_bytes())
    fails(raw, tmp_path, "PHANTOM_0001", "second case", "rename")


def test_one_case_can_not_be_split(raw, tmp_path):
    fails(case(raw), tmp_path, "add another")


@pytest.mark.parametrize("content", [b"", b"not an nrrd", b"NRRD0004\n", b"NRRD0004\ntype: wobble\n\n"])
@pytest.mark.parametrize("name", ["lgemri.nrrd", "laendo.nrrd"])
def test_not_nrrd(raw, tmp_path, name, content):
    (case(raw) / name).write_bytes(content)
    fails(raw, tmp_path, "PHANTOM_0000", name, "NRRD", "copy it again")


def test_truncated_nrrd(raw, tmp_path):
    path = case(raw) / "lgemri.nrrd"
    path.write_bytes(path.read_bytes()[:2000])
    fails(raw, tmp_path, "PHANTOM_0000", "lgemri.nrrd", "copy it again")


def rewrite(path, change):
    data, header = nrrd.read(str(path))
    changed = change(data)
    keys = ("space", "space directions", "space origin") if changed.ndim == data.ndim else ()
    nrrd.write(str(path), changed, {key: header[key] for key in keys})


def test_shapes_differ(raw, tmp_path):
    path = case(raw) / "laendo.nrrd"
    nrrd.write(str(path), nrrd.read(str(path))[0][:-1])  # without a word about where it lies
    fails(raw, tmp_path, "PHANTOM_0000", "(96, 66, 16)", "(95, 66, 16)")


def test_not_three_dimensional(raw, tmp_path):
    for name in ("lgemri.nrrd", "laendo.nrrd"):
        rewrite(case(raw) / name, lambda a: a[:, :, 0])
    fails(raw, tmp_path, "PHANTOM_0000", "W x H x D")


def test_empty_label(raw, tmp_path):
    rewrite(case(raw) / "laendo.nrrd", lambda a: a * 0)
    fails(raw, tmp_path, "PHANTOM_0000", "laendo.nrrd", "empty")


@pytest.mark.parametrize("change", [lambda a: a | (np.indices(a.shape)[0] > 90).astype(a.dtype) * 7,
                                    lambda a: a // 255 * 3, lambda a: a | 255])
def test_other_label_values(raw, tmp_path, change):
    rewrite(case(raw) / "laendo.nrrd", change)
    fails(raw, tmp_path, "PHANTOM_0000", "laendo.nrrd", "expected 0 and 255")


@pytest.mark.parametrize("change", [lambda a: a * 0, lambda a: np.where(a > 100, np.nan, a).astype(np.float32)])
def test_scan_without_content(raw, tmp_path, change):
    rewrite(case(raw) / "lgemri.nrrd", change)
    fails(raw, tmp_path, "PHANTOM_0000", "lgemri.nrrd", "not finite")


def test_the_prepared_phantom_is_close_to_the_direct_one(raw, tmp_path):
    """Both roads to a phantom show the same anatomy in about the same field of view."""
    label = read_volume(prepare(raw, tmp_path / "out", progress=False) / "PHANTOM_0001/mri_norm2.h5")[1]
    direct = make_phantom(1, SMALL)[1]
    assert abs(int(label.sum()) - int(direct.sum())) <= 0.06 * direct.sum()
    assert np.allclose(label.shape, direct.shape, atol=5)


def test_a_given_list_in_a_code_page_is_read_where_each_line_names_a_scan(tmp_path):
    cases = {"Größe": None, "b": None}
    path = tmp_path / "mine.list"
    path.write_bytes("Größe\r\nb\r\n".encode("cp1252"))
    assert listed(path, cases) == ["Größe", "b"]
    path.write_bytes("Größe\r\nJäger\r\n".encode("cp1252"))
    with pytest.raises(LasegError, match="code page in which every line names a case; .*save it as UTF-8"):
        listed(path, cases)


def folders_of(raw, tmp_path):
    """The raw phantoms as NAME_mri.nrrd and NAME_la.nrrd in one folder."""
    flat = tmp_path / "flat"
    flat.mkdir()
    for k in range(4):
        for kind, file in (("mri", "lgemri"), ("la", "laendo")):
            shutil.copy(case(raw, k) / f"{file}.nrrd", flat / f"p{k}_{kind}.nrrd")
    return flat


PATTERNS = dict(scan="*_mri.nrrd", label="*_la.nrrd", progress=False)


@pytest.mark.parametrize("folder", ["#recycle", "@Recycle", "$RECYCLE.BIN/S-1-5", "lost+found", "@eaDir", "__MACOSX"])
def test_what_a_file_system_keeps_for_itself_is_no_case(folder, raw, tmp_path):
    flat = folders_of(raw, tmp_path)
    (flat / folder).mkdir(parents=True)
    for name in ("p0_mri.nrrd", "p0_la.nrrd", "deleted_mri.nrrd"):
        shutil.copy(flat / "p0_mri.nrrd", flat / folder / name)
    prepare(flat, tmp_path / "out", **PATTERNS)
    names = [name for split in ("train", "test") for name in read_list(tmp_path / f"out/{split}.list")]
    assert sorted(names) == ["p0", "p1", "p2", "p3"]


def test_a_folder_with_the_name_of_its_file_is_no_second_case(raw, tmp_path):
    flat = folders_of(raw, tmp_path)
    for file in list(flat.iterdir()):
        file.rename(tmp_path / "one")
        file.mkdir()
        (tmp_path / "one").rename(file / file.name)
    prepare(flat, tmp_path / "out", scan="*_mri.nrrd/*_mri.nrrd", label="*_la.nrrd/*_la.nrrd", progress=False)
    assert len(read_list(tmp_path / "out/train.list")) == 3


def test_a_pattern_that_begins_with_a_dot_means_the_given_folder_itself(raw, tmp_path):
    """MONAI Label keeps the final labels and the first ones under the names of the scans."""
    flat = folders_of(raw, tmp_path)
    for folder in ("labels/final", "labels/original"):
        (flat / folder).mkdir(parents=True)
        for k in range(4):
            shutil.copy(flat / f"p{k}_la.nrrd", flat / folder / f"p{k}_mri.nrrd")
    with pytest.raises(LasegError, match="a second case with the name p0.*begin the patterns with './'"):
        prepare(flat, tmp_path / "out", scan="*_mri.nrrd", label="labels/final/*_mri.nrrd", progress=False)
    prepare(flat, tmp_path / "out", scan="./*_mri.nrrd", label="./labels/final/*_mri.nrrd", progress=False)
    assert len(read_list(tmp_path / "out/train.list")) == 3
    prepare(flat, tmp_path / "one", scan="./p0_mri.nrrd", label="./p0_la.nrrd", test_share=0, progress=False)
    assert read_list(tmp_path / "one/train.list") == ["flat"]
    with pytest.raises(LasegError, match=r"no file in it or below it matches \./lgemri.nrrd"):
        prepare(raw, tmp_path / "two", scan="./lgemri.nrrd", label="./laendo.nrrd", progress=False)


def test_names_that_differ_in_capitals_alone_are_told(raw, tmp_path):
    """On many disks they are one folder."""
    flat = folders_of(raw, tmp_path)
    for kind in ("mri", "la"):
        shutil.copy(flat / f"p0_{kind}.nrrd", flat / f"P0_{kind}.nrrd")
    with pytest.raises(LasegError, match="second case with the name P0"):
        prepare(flat, tmp_path / "out", **PATTERNS)


def test_a_patient_moved_to_the_other_list_is_told(raw, tmp_path):
    flat = folders_of(raw, tmp_path)
    root = prepare(flat, tmp_path / "out", patient="p*", **PATTERNS)
    (tmp_path / "out/patients.list").write_text("".join(f"p{k}\tone\n" for k in range(4)))
    train, test = tmp_path / "out/train.list", tmp_path / "out/test.list"
    words = "is a scan of the patient one, as is p. in test.list.*remove one of them"
    with pytest.raises(LasegError, match=words):
        training_names(TrainConfig(root_path=str(root)))
    torch.save({"student": VNet(1, 2, 2).state_dict()}, tmp_path / "net.pth")
    with pytest.raises(LasegError, match="is a scan of the patient one, as is p. in train.list"):
        evaluate_checkpoint(tmp_path / "net.pth", root, patch_size=(16, 16, 8), downsample=1)
    (tmp_path / "out/patients.list").unlink()
    assert training_names(TrainConfig(root_path=str(root))) == read_list(train) and read_list(test)
