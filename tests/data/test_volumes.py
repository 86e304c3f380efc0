"""Reading volumes: sound ones as they are, every kind of unsound one with its file and a remedy."""

import subprocess
import sys
import unicodedata

import h5py
import numpy as np
import pytest
import torch

from laseg_lib.config import TrainConfig
from laseg_lib.data.volumes import (
    LAHeart,
    case_names,
    downsample,
    find_root,
    keep_apart,
    public_cases,
    read_geometry,
    read_list,
    read_volume,
    split_of,
    write_volume,
)
from laseg_lib.errors import LasegError


def sound(shape=(20, 18, 10)):
    rng = np.random.default_rng(0)
    label = np.zeros(shape, np.uint8)
    label[5:12, 4:11, 3:7] = 1
    return rng.standard_normal(shape, dtype=np.float32), label


def write_raw(path, **datasets):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        for name, data in datasets.items():
            file[name] = data
    return path


@pytest.fixture
def root(tmp_path):
    """A data folder of two training cases and one test case; the folder of the cases."""
    for name in "abc":
        write_volume(tmp_path / "cases" / name / "mri_norm2.h5", *sound())
    (tmp_path / "train.list").write_text("a\nb\n")
    (tmp_path / "test.list").write_text("c\n")
    return tmp_path / "cases"


def test_what_is_written_is_read(tmp_path):
    image, label = sound()
    write_volume(tmp_path / "x" / "mri_norm2.h5", image, label)
    got = read_volume(tmp_path / "x" / "mri_norm2.h5")
    assert np.array_equal(got[0], image) and np.array_equal(got[1], label)
    assert got[0].dtype == np.float32 and got[1].dtype == np.uint8


def test_other_number_types_become_float32_and_uint8(tmp_path):
    image, label = sound()
    for cast in (np.int64, bool, np.float32):
        got = read_volume(write_raw(tmp_path / "v.h5", image=image.astype(np.float64), label=label.astype(cast)))
        assert got[0].dtype == np.float32 and got[1].dtype == np.uint8 and np.array_equal(got[1], label)


def test_a_cut_off_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "mri_norm2.h5"
    write_volume(path, *sound())
    before = path.read_bytes()

    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(h5py.Group, "create_dataset", full)
    with pytest.raises(OSError):
        write_volume(path, *sound((8, 8, 8)))
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["mri_norm2.h5"]


IMAGE, LABEL = sound()
BAD = {
    "no image": (dict(label=LABEL), "holds no image"),
    "no label": (dict(image=IMAGE), "holds no label"),
    "neither": (dict(other=IMAGE), "holds no image"),
    "shapes differ": (dict(image=IMAGE, label=LABEL[1:]), r"\(20, 18, 10\).*\(19, 18, 10\).*same"),
    "two dimensions": (dict(image=IMAGE[0], label=LABEL[0]), "W x H x D"),
    "no voxels": (dict(image=IMAGE[:0], label=LABEL[:0]), "W x H x D"),
    "NaN": (dict(image=np.where(np.arange(10) == 3, np.nan, IMAGE), label=LABEL), "NaN or infinite.*prepare"),
    "infinite": (dict(image=np.where(np.arange(10) == 3, np.inf, IMAGE), label=LABEL), "NaN or infinite"),
    "beyond float32": (dict(image=IMAGE.astype(float) * 1e200, label=LABEL), "NaN or infinite"),
    "label of 255": (dict(image=IMAGE, label=LABEL * 255), "0 and 1 only.*255.*laseg prepare"),
    "label of halves": (dict(image=IMAGE, label=LABEL * 0.5), "0 and 1 only"),
    "label with NaN": (dict(image=IMAGE, label=np.where(LABEL, np.nan, 0.0)), "0 and 1 only"),
    "empty label": (dict(image=IMAGE, label=LABEL * 0), "empty.*remove this case"),
    "text": (dict(image=np.full(IMAGE.shape, b"x"), label=LABEL), "must be numbers"),
}


@pytest.mark.parametrize("kind", BAD)
def test_an_unsound_volume_names_its_file_and_a_remedy(kind, tmp_path):
    datasets, message = BAD[kind]
    path = write_raw(tmp_path / "CASE" / "mri_norm2.h5", **datasets)
    with pytest.raises(LasegError, match=message) as error:
        read_volume(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("spoil", ["truncated", "cut in the data", "text", "empty", "group"])
def test_a_damaged_file_names_itself_and_a_remedy(spoil, tmp_path):
    path = tmp_path / "mri_norm2.h5"
    write_volume(path, *sound())
    whole = path.read_bytes()
    if spoil == "group":
        path.unlink()
        with h5py.File(path, "w") as file:
            file.create_group("image")
            file.create_group("label")
    else:
        path.write_bytes({"truncated": whole[:100], "cut in the data": whole[:len(whole) // 2],
                          "text": b"not HDF5\n" * 50, "empty": b""}[spoil])
    with pytest.raises(LasegError, match="(truncated or not HDF5|holds no voxels|is text|is empty).*again") as error:
        read_volume(path)
    assert str(path) in str(error.value) and "\n" not in str(error.value)
    path.unlink()
    with pytest.raises(LasegError, match="no such file.*again"):
        read_volume(path)


def test_lists(tmp_path):
    path = tmp_path / "train.list"
    path.write_bytes("\ufeffone\r\n\r\n two \nthree".encode())
    assert read_list(path) == ["one", "two", "three"]
    path.unlink()
    with pytest.raises(LasegError, match="train.list: no such list.*root_path.*beside"):
        read_list(path)


@pytest.mark.parametrize("text, message", [
    (b"", "no case"), (b" \n\n", "no case"), (b"\xff\xfe\x00", "save it as UTF-8"),
    (bytes(range(99)), "save it as UTF-8"), ("a\nb\n".encode("utf-16-le"), "save it as UTF-8"),
    ("Müller\n".encode("cp1252"), "save it as UTF-8"), ("左心房\n".encode("gb18030"), "save it as UTF-8"),
    (b"a\nb\na\n", "a more than once"),
    (b"../a\n", "can't be a case"), (b"..\n", "can't be a case"), (b"/etc\n", "can't be a case"),
    (b"C:\\x\n", "can't be a case"),
    (b"a\x07\n", "can't be a case")])
def test_an_unsound_list_names_itself(text, message, tmp_path):
    path = tmp_path / "train.list"
    path.write_bytes(text)
    with pytest.raises(LasegError, match=message) as error:
        read_list(path)
    assert str(path) in str(error.value)


@pytest.mark.parametrize("coding", ["utf-16", "utf-8-sig"])
def test_a_list_that_says_its_coding_is_read(coding, tmp_path):
    (tmp_path / "train.list").write_bytes("Müller\r\nJäger\r\n".encode(coding))
    assert read_list(tmp_path / "train.list") == ["Müller", "Jäger"]


@pytest.mark.parametrize("page, name", [("cp1252", "Größe"), ("gb18030", "左心房")])
def test_a_list_in_a_code_page_is_read_where_each_line_names_a_case_beside_it(page, name, root):
    path = root.parent / "train.list"
    (root / "a").rename(root / name)
    path.write_bytes(f"{name}\r\nb\r\n".encode(page))
    assert read_list(path) == [name, "b"] == LAHeart(root).image_list
    path.write_bytes(f"{name}\r\n{name}2\r\n".encode(page))
    with pytest.raises(LasegError, match="code page.*save it as UTF-8"):
        read_list(path)


@pytest.mark.parametrize("stored, listed", [("NFD", "NFC"), ("NFC", "NFD")])
def test_a_name_is_the_same_with_its_letters_composed_or_not(stored, listed, root):
    (root / "a").rename(root / unicodedata.normalize(stored, "Jäger"))
    (root.parent / "train.list").write_text(unicodedata.normalize(listed, "Jäger") + "\nb\n", encoding="utf-8")
    assert len(LAHeart(root)[0]["image"]) and read_list(root.parent / "train.list")[0] == "J\u00e4ger"
    (root.parent / "test.list").write_text(unicodedata.normalize(stored, "Jäger") + "\n", encoding="utf-8")
    with pytest.raises(LasegError, match="is in test.list too"):
        keep_apart("train.list", read_list(root.parent / "train.list"), "test.list",
                   read_list(root.parent / "test.list"))


def test_laheart_reads_the_list_beside_the_folder(root):
    dataset = LAHeart(base_dir=str(root), split="train", num=None, transform=None)
    assert len(dataset) == 2 and dataset.image_list == ["a", "b"] == case_names(root)
    sample = dataset[1]
    assert set(sample) == {"image", "label"} and np.array_equal(sample["image"], IMAGE)
    assert sample["image"].dtype == np.float32 and sample["label"].dtype == np.uint8
    assert LAHeart(root, "test").image_list == ["c"] and len(LAHeart(root, num=1)) == 1
    assert LAHeart(root, transform=lambda sample: sample["label"].sum())[0] == LABEL.sum()


def test_a_list_that_names_a_missing_case_is_told_at_once(root):
    (root.parent / "train.list").write_text("a\nghost\nspirit\n")
    with pytest.raises(LasegError, match="train.list names 2 cases that don't exist.*ghost.*fetch.*from the list"):
        LAHeart(root)


def test_a_missing_list_is_told(root):
    (root.parent / "test.list").unlink()
    with pytest.raises(LasegError, match="test.list: no such list"):
        LAHeart(root, "test")


def test_the_root_is_found_from_either_folder(root, tmp_path):
    assert find_root(root) == find_root(root.parent) == root
    (root.parent / "empty").mkdir()
    assert find_root(root.parent) == root
    for path in (tmp_path / "nowhere" / "deep", tmp_path / "empty" / "more"):
        with pytest.raises(LasegError, match="no volumes here.*laseg phantom"):
            find_root(path)


@pytest.mark.parametrize("cache, reads", [(None, 2), ("memory", 1), ("cpu", 1)])
def test_the_cache_reads_once_and_gives_the_same(root, cache, reads, monkeypatch):
    counted = []
    monkeypatch.setattr("laseg_lib.data.volumes.read_volume",
                        lambda path, **options: counted.append(path) or read_volume(path, **options))
    dataset = LAHeart(root, cache=cache)
    first, second = dataset[0], dataset[0]
    assert len(counted) == reads and torch.is_tensor(first["image"]) == (cache == "cpu")
    for sample in (first, second):
        assert np.array_equal(sample["image"], IMAGE) and np.array_equal(sample["label"], LABEL)
    first["image"] = None  # a sample's dict is the caller's own
    assert dataset[0]["image"] is not None


def test_cache_bytes_are_known_from_the_headers(root):
    assert LAHeart(root).cache_bytes() == 2 * 5 * 20 * 18 * 10
    assert LAHeart(root, downsample=2).cache_bytes() == 2 * 5 * 10 * 9 * 5
    (root / "a" / "mri_norm2.h5").write_bytes(b"")
    with pytest.raises(LasegError, match="a.mri_norm2.h5: is empty, not a volume"):
        LAHeart(root).cache_bytes()


def test_downsampling_is_the_mean_and_the_majority():
    image, label = sound((7, 6, 5))
    rng = np.random.default_rng(1)
    label = (rng.random((7, 6, 5)) < 0.5).astype(np.uint8)
    small_image, small_label = downsample(image, label, 2)
    blocks = image[:6, :6, :4].reshape(3, 2, 3, 2, 2, 2)
    share = label[:6, :6, :4].reshape(3, 2, 3, 2, 2, 2).mean((1, 3, 5))
    assert np.allclose(small_image, blocks.mean((1, 3, 5)), atol=1e-6) and small_image.dtype == np.float32
    assert np.array_equal(small_label, share >= 0.5) and small_label.dtype == np.uint8
    assert (share == 0.5).any()
    assert downsample(image, label, 1)[0] is image
    assert np.array_equal(downsample(image[::-1], label[::-1], 2)[1], downsample(image[::-1].copy(),
        label[::-1].copy(), 2)[1])


@pytest.mark.parametrize("factor", [0, -1, 6])
def test_a_factor_that_cannot_work_is_told(factor):
    with pytest.raises(LasegError, match="--downsample"):
        downsample(*sound((7, 6, 5)), factor)


def test_a_label_that_downsampling_removes_is_told(root):
    label = np.zeros_like(LABEL)
    label[4, 4, 4] = 1
    write_volume(root / "a" / "mri_norm2.h5", IMAGE, label)
    with pytest.raises(LasegError, match="a.mri_norm2.h5.*nothing is left.*--downsample 2"):
        LAHeart(root, downsample=2)[0]
    assert LAHeart(root, downsample=2)[1]["label"].any()


# --- cases without a label, and the size of a voxel ------------------------------------------------

def test_only_labelled_cases_are_asked_for_their_label(root):
    write_raw(root / "b" / "mri_norm2.h5", image=IMAGE)
    dataset = LAHeart(root, labelled=1, downsample=2)
    assert dataset[0]["label"].any() and not dataset[1]["label"].any() and not dataset[-1]["label"].any()
    assert dataset[1]["label"].shape == dataset[1]["image"].shape
    dataset.require_labels()
    with pytest.raises(LasegError, match="b.mri_norm2.h5: holds no label.*--labelnum"):
        LAHeart(root).require_labels()
    with pytest.raises(LasegError, match="b.mri_norm2.h5: holds no label"):
        LAHeart(root)[1]


def test_a_label_that_is_not_asked_for_may_be_anything(root):
    want = LAHeart(root, labelled=1)[1]["image"]
    for label in (LABEL * 7, LABEL[1:], np.full(IMAGE.shape, np.nan), np.full(IMAGE.shape, b"x")):
        write_raw(root / "b" / "mri_norm2.h5", image=IMAGE, label=label)
        sample = LAHeart(root, labelled=1)[1]
        assert np.array_equal(sample["image"], want) and not sample["label"].any()


def test_a_voxels_size_travels_with_its_case(root):
    assert np.isnan(LAHeart(root).spacing("a")).all()
    write_volume(root / "a" / "mri_norm2.h5", IMAGE, LABEL, spacing=(1, 2, 3), origin=(-4, 5, 6))
    assert LAHeart(root, downsample=2).spacing("a").tolist() == [2, 4, 6]
    geometry = read_geometry(root / "a" / "mri_norm2.h5")
    assert geometry["origin"].tolist() == [-4, 5, 6] and np.isnan(geometry["centre"]).all()
    public = next(iter(public_cases()))
    write_volume(root / public / "mri_norm2.h5", IMAGE, LABEL)
    assert LAHeart(root).spacing(public).tolist() == [0.625] * 3 and len(public_cases()) == 100


@pytest.mark.parametrize("spacing", [0, -1, np.inf, b"wide", [1, 2]])
def test_a_spacing_that_cannot_be_is_told(spacing, root):
    with h5py.File(root / "a" / "mri_norm2.h5", "r+") as file:
        file.attrs["spacing"] = spacing
    with pytest.raises(LasegError, match="a.mri_norm2.h5: its attribute"):
        LAHeart(root).spacing("a")


def test_the_split_follows_the_labels_that_there_are(tmp_path):
    names = [f"case{i:02d}" for i in range(20)]
    for i, name in enumerate(names):
        write_volume(tmp_path / "cases" / name / "mri_norm2.h5", IMAGE, LABEL if i < 6 else None)
    config = TrainConfig(root_path=str(tmp_path / "cases"))
    decided = split_of(config, names)
    assert (decided.labelnum, decided.max_samples, decided.val_num) == (6, 20, 0)
    for name in names[18:]:
        write_volume(tmp_path / "cases" / name / "mri_norm2.h5", IMAGE, LABEL)
    decided = split_of(config, names)
    assert (decided.labelnum, decided.max_samples, decided.val_num) == (6, 18, 2)
    assert split_of(TrainConfig(root_path="nowhere", labelnum=3, val_num=1), names).labelnum == 3


def split_with_patients(folder, patients, **settings):
    """(max_samples, val_num) of a split whose n-th case, all labelled, is of the n-th of ``patients``."""
    names = [f"case{i:02d}" for i in range(len(patients))]
    for name in names:
        write_volume(folder / "cases" / name / "mri_norm2.h5", IMAGE, LABEL)
    (folder / "patients.list").write_text("".join(f"{name}\t{who}\n" for name, who in zip(names, patients)))
    config = TrainConfig(root_path=str(folder / "cases"), **{"labelnum": 2, **settings})
    decided = split_of(config, names)
    assert split_of(decided, names) == decided
    return decided.max_samples, decided.val_num


def scans_each(n, cases=40):
    return [k // n for k in range(cases)]


@pytest.mark.parametrize("patients, settings, split", [
    (scans_each(1), {}, (36, 4)), (scans_each(2), {}, (36, 4)),  # nothing is cut through
    (scans_each(3, 42), {}, (39, 3)),  # fewer than the usual number
    (scans_each(5, 60), {}, (55, 5)),  # more
    (scans_each(20), {}, (40, 0)),  # nothing near the usual number
    ([*range(39), 0], {}, (40, 0)),  # a patient at both ends of the list
    ([*range(39), 38], {"max_samples": 30}, (30, 4)),  # cases that are on neither side may be anybody's
    ([*range(39), 0], {"max_samples": 30, "val_num": 0}, (30, 0))])
def test_no_patient_is_trained_on_and_validated_on(patients, settings, split, tmp_path):
    assert split_with_patients(tmp_path, patients, **settings) == split


def test_a_number_that_cuts_through_a_patients_scans_is_refused(tmp_path):
    with pytest.raises(LasegError, match=r"patients\.list: with --val_num 4 .*--val_num 3"):
        split_with_patients(tmp_path, scans_each(3, 39), val_num=4)


def test_a_list_of_patients_that_is_none_is_named(tmp_path):
    with pytest.raises(LasegError, match=r"patients\.list: 'case00' is no row"):
        split_with_patients(tmp_path, ["a\tb"] * 20)


def test_lists_are_looked_for_beside_a_link_first(root, tmp_path):
    other = tmp_path / "other"
    other.mkdir()
    try:
        (other / "link").symlink_to(root, target_is_directory=True)
    except OSError:
        pytest.skip("no links here")
    assert case_names(other / "link") == ["a", "b"]  # beside the target, where there is none beside the link
    (other / "train.list").write_text("b\n")
    assert case_names(other / "link") == ["b"] and case_names(root) == ["a", "b"]
    assert find_root(other / "link") == other / "link"


def test_intensities_that_were_never_normalised_are_told_once(root, capsys):
    for name in "ab":
        write_raw(root / name / "mri_norm2.h5", image=np.int16(1000 + 300 * IMAGE), label=LABEL)
    dataset = LAHeart(root)
    assert dataset[0] and dataset[1]
    said = capsys.readouterr().err
    assert said.count("WARNING") == 1 and "a/mri_norm2.h5: intensities have mean" in said.replace("\\", "/")
    assert LAHeart(root, "test")[0] and not capsys.readouterr().err


@pytest.mark.parametrize("text, true_cause", [
    ("Unable to open file (unable to lock file, errno = 11)", "another program has it open"),
    ("Can't read data (required filter 'lz4' is not registered)", "filter that isn't installed"),
    ("Permission denied", "permission denied")])
def test_h5pys_error_is_not_called_truncated(text, true_cause, root, monkeypatch):
    def fail(*args, **kwargs):
        raise OSError(text)

    monkeypatch.setattr(h5py, "File", fail)
    with pytest.raises(LasegError, match=f"mri_norm2.h5: .*{true_cause}") as error:
        read_volume(root / "a" / "mri_norm2.h5")
    assert "truncated" not in str(error.value)


def test_a_file_that_is_being_written_is_told(root):
    path = root / "a" / "mri_norm2.h5"
    code = f"import h5py, time; f = h5py.File({str(path)!r}, 'r+'); print('open', flush=True); time.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as writer:
        try:
            writer.stdout.readline()
            with pytest.raises(LasegError, match="another program has it open"):
                read_volume(path)
        finally:
            writer.kill()


def test_phantoms_are_volumes(phantom_root):
    for split in ("train", "test"):
        for sample in LAHeart(phantom_root, split):
            assert 0.02 < sample["label"].mean() < 0.2 and abs(sample["image"].mean()) < 1e-3


def test_real_volumes_are_volumes(real_root):
    dataset = LAHeart(real_root, "train", num=2)
    for sample in dataset:
        # Normalised over the whole scan, then cut out around the heart, which is brighter than the rest.
        assert 0 < sample["image"].mean() < 3 and 0.01 < sample["label"].mean() < 0.2
        assert len(np.unique(sample["image"])) <= 256
        assert min(sample["image"].shape) >= 64


def test_a_loop_of_links_in_place_of_the_data_is_told(tmp_path):
    (tmp_path / "data").symlink_to("data")
    with pytest.raises(LasegError, match="train.list: no such list"):
        case_names(tmp_path / "data")
