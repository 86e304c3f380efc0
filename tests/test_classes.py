"""Several classes, from the label to the surface: each test takes phantoms with a cavity (1) and a wall (2)."""

import csv
import re
import shutil

import numpy as np
import pytest
import SimpleITK as sitk
import torch
from PIL.ImageColor import getrgb
from scipy import ndimage

from laseg_lib.classes import ATRIUM, as_text, parse_classes, with_values
from laseg_lib.cli import main
from laseg_lib.config import METHODS, TrainConfig
from laseg_lib.data.grid import array_of, image_of
from laseg_lib.data.masks import evaluate_masks
from laseg_lib.data.phantom import CLASSES, DEFAULTS, make_phantom, scan, write_phantoms
from laseg_lib.data.prepare import prepare
from laseg_lib.data.scans import read_scan, write_image
from laseg_lib.data.volumes import FILE, LAHeart, downsample, read_classes, read_volume, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.evaluate import evaluate_network, measure_case
from laseg_lib.figures.meshes import atrium_scene, enclosed
from laseg_lib.figures.slices import draw_slices, plane_boxes
from laseg_lib.figures.stills import unpack
from laseg_lib.figures.style import CLASS_COLOURS, looks, looks_by_class
from laseg_lib.figures.viewer import SliceViewer
from laseg_lib.inference import mean_dice
from laseg_lib.methods.self_training import label_by_teacher
from laseg_lib.metrics import COLUMNS, case_metrics, mean_dice_of
from laseg_lib.predict import predict_scan
from laseg_lib.runtime.checkpoints import load_checkpoint, load_network
from laseg_lib.training import Trainer
from laseg_lib.transforms import rotation

SIZE = (48, 32, 16)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """root_path of six training and two test phantoms with a wall. Read only."""
    return write_phantoms(tmp_path_factory.mktemp("walls"), train=6, test=2, size=SIZE, classes=2)


class Oracle(torch.nn.Module):
    """A network that answers with ``label`` (1, W, H, D), whatever it is shown."""

    divisor = (1, 1, 1)

    def __init__(self):
        super().__init__()
        self.label, self.weight = None, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        return torch.nn.functional.one_hot(self.label.long(), 3).movedim(-1, 1).float()


def config_of(root, **settings):
    return TrainConfig(**{"root_path": str(root), "patch_size": (32, 32, 16), "n_filters": 2, "labelnum": 3,
                          "max_iterations": 2, "val_num": 1, "val_every": 2, "precision": "fp32", "device": "cpu",
                          "normalization": "instancenorm", "consistency": 1.0, "consistency_rampup": 0, **settings})


# --- names and values -----------------------------------------------------------------------------

def test_classes_are_text_and_back():
    assert as_text({"wall": 7, "cavity": 3}) == ["wall=7", "cavity=3"]
    assert list(parse_classes(["wall=7", "cavity=3"], "").items()) == [("wall", 7), ("cavity", 3)]
    assert parse_classes(["wall", "a=b=9"], "") == {"wall": 1, "a=b": 9}


@pytest.mark.parametrize("texts", [[], ["wall=0"], ["wall=1", "cavity=1"], ["wall=1.5"], ["wall=65536"], None,
                                   ["wall=x"], ["wall", "wall"], ["mean=1"], [" wall=1"], ["a\nb=1"], ["=1"],
                                   [1, 2], [["wall"]]])
def test_classes_that_can_not_be_are_refused(texts):
    with pytest.raises(LasegError, match="^here: .*wall=1 cavity=2") as error:
        parse_classes(texts, "here")
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("texts", [["2"], ["cavity", "2"], ["cavity:2"], ["wall=1,cavity=2"], ["cavity==2"],
                                   ["{'cavity': 2}"]])
def test_slips_of_the_command_line_are_no_names(texts):
    with pytest.raises(LasegError, match="^--classes: .*wall=1 cavity=2"):
        parse_classes(texts, "--classes")
    assert parse_classes(["1=1", "2=2"], "a/mri_norm2.h5") == {"1": 1, "2": 2}  # a file may have them


def test_a_mask_gets_the_values_that_its_classes_had():
    label = np.array([[0, 1], [2, 1]], np.uint8)
    assert with_values(label, {"wall": 7, "cavity": 3}).tolist() == [[0, 7], [3, 7]]
    assert with_values(label, {"wall": 420, "cavity": 421}).dtype == np.uint16
    assert np.array_equal(with_values(label[:1], ATRIUM), label[:1])
    assert with_values(label, ATRIUM | {"b": 2}).dtype == np.uint8


# --- volumes --------------------------------------------------------------------------------------

def test_names_travel_with_the_volume(tmp_path):
    image, label = make_phantom(0, SIZE, classes=2)
    write_volume(tmp_path / "x.h5", image, label, classes={"cavity": 420, "wall": 421})
    assert list(read_classes(tmp_path / "x.h5").items()) == [("cavity", 420), ("wall", 421)]
    assert np.array_equal(read_volume(tmp_path / "x.h5")[1], label)


def test_names_that_somebody_else_wrote_are_read(tmp_path):
    import h5py

    write_volume(tmp_path / "x.h5", *make_phantom(0, SIZE, classes=2), classes=CLASSES)
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file.attrs["classes"] = np.array([b"wall", b"cavity"])
    assert read_classes(tmp_path / "x.h5") == {"wall": 1, "cavity": 2}
    with h5py.File(tmp_path / "x.h5", "a") as file:
        file.attrs["classes"] = ["wall", "wall"]
    with pytest.raises(LasegError, match="x.h5: classes must be"):
        read_volume(tmp_path / "x.h5")


def test_a_label_beyond_its_classes_names_file_and_remedy(tmp_path):
    image, label = make_phantom(0, SIZE, classes=2)
    write_volume(tmp_path / "a.h5", image, label)  # nobody says that there are two
    with pytest.raises(LasegError, match="a.h5.*0 and 1 only.*--classes"):
        read_volume(tmp_path / "a.h5")
    write_volume(tmp_path / "b.h5", image, label + (label == 2), classes=CLASSES)
    with pytest.raises(LasegError, match="b.h5.*0 and 1 to 2.*3"):
        read_volume(tmp_path / "b.h5")


def test_a_file_of_one_class_is_what_it_was(tmp_path):
    import h5py

    write_volume(tmp_path / "x.h5", *make_phantom(0, SIZE))
    with h5py.File(tmp_path / "x.h5", "r") as file:
        assert not list(file.attrs)
    assert read_classes(tmp_path / "x.h5") == ATRIUM


def test_smaller_voxels_take_the_greatest_share():
    label = np.zeros((2, 2, 4), np.uint8)
    label[..., :2].flat[:6] = [1, 1, 1, 2, 2, 0]  # 3 of 8, 2 of 8, 3 of 8: the class wins the tie
    label[..., 2:].flat[:5] = [2, 2, 2, 1, 1]
    assert downsample(np.zeros((2, 2, 4), np.float32), label, 2)[1].ravel().tolist() == [1, 2]
    label = np.random.default_rng(0).integers(0, 2, (12, 12, 12), dtype=np.uint8)
    for factor in (2, 3):
        blocks = label.reshape(12 // factor, factor, 12 // factor, factor, 12 // factor, factor).mean((1, 3, 5))
        assert np.array_equal(downsample(np.float32(label), label, factor)[1], blocks >= 0.5)


def test_cases_of_other_classes_are_refused(root, tmp_path):
    for name, classes in {"a": CLASSES, "b": {"cavity": 1, "fat": 2}}.items():
        write_volume(tmp_path / "cases" / name / FILE, *make_phantom(0, SIZE, classes=2), classes=classes)
    with pytest.raises(LasegError, match="b.*fat.*a.*wall.*prepare the cases alike"):
        _ = LAHeart(tmp_path / "cases", names=["a", "b"]).classes
    assert LAHeart(tmp_path / "cases", names=["a", "b"], labelled=1).classes == CLASSES
    with pytest.raises(LasegError, match="wall.*left atrium.*prepare"):
        LAHeart(root).require_classes(ATRIUM)


# --- phantoms -------------------------------------------------------------------------------------

@pytest.mark.parametrize("seed", range(3))
def test_a_phantoms_wall_lies_around_its_cavity_about_two_voxels_thin(seed):
    (image, label), (plain, cavity) = make_phantom(seed, classes=2), make_phantom(seed)
    assert np.array_equal(image, plain) and np.array_equal(label == 1, cavity == 1)
    wall, far = label == 2, ndimage.distance_transform_edt(label != 1)
    assert far[wall].max() < 3.5 and ndimage.label(wall, np.ones((3, 3, 3)))[1] == 1
    assert 1.5 < wall.sum() / (cavity.astype(bool) & ~ndimage.binary_erosion(cavity)).sum() < 2.5


# --- training -------------------------------------------------------------------------------------

def test_dice_is_the_mean_over_the_classes_that_are_there():
    one, two = np.array([0, 1, 1, 2]), np.array([0, 1, 2, 2])
    assert mean_dice_of(one, two) == pytest.approx(2 / 3)
    assert mean_dice_of(one, one) == 1 and mean_dice_of(one * 0, one * 0) == 1
    assert mean_dice_of(np.array([1, 1, 0]), np.array([1, 2, 0])) == pytest.approx((2 / 3 + 0) / 2)


@pytest.mark.parametrize("settings", [
    {"model": "supervised"}, {"consistency_type": "mse"}, {"consistency_type": "kl"},
    {"consistency_type": "pseudo", "confidence": 0.4, "downsample": 2, "patch_size": (16, 16, 8),
     "normalization": "groupnorm", "student_affine": 10.0}, *({"method": name} for name in METHODS)])
def test_every_way_to_train_takes_classes_from_the_data(settings, root):
    trainer = Trainer(config_of(root, **settings))
    rows = trainer.run(progress=False)
    networks = [trainer.student, trainer.teacher, *(n.second for n in trainer.own_networks)]
    assert [network.out_conv.out_channels for network in networks] == [3] * len(networks)
    assert all(np.isfinite(row["loss"]) for row in rows) and 0 <= trainer.best < 1
    assert all(p.grad is not None and p.grad[2].any() for name, p in trainer.student.named_parameters()
               if name == "out_conv.bias")


def test_validation_counts_the_wall(root):
    """A network that finds each cavity and no wall has half of a perfect answer's Dice."""
    network, data = Oracle(), LAHeart(root, "test", num=1)
    label = torch.from_numpy(data[0]["label"])[None]
    for found, wanted in ((label, 1.0), (label * (label == 1), 0.5)):
        network.label = found
        assert mean_dice(network, data, SIZE, window="whole") == pytest.approx(wanted)


def test_a_checkpoint_carries_the_names_and_another_number_is_refused(root, tmp_path, phantom_root):
    run = tmp_path / "run"
    first = Trainer(config_of(root, snapshot_path=str(run), val_num=0))
    first.run(progress=False)
    first.log.close()
    network, config = load_network(run / "last.pth", "teacher")
    assert network.out_conv.out_channels == 3 and config["classes"] == CLASSES
    again = Trainer(config_of(root, snapshot_path=str(run), val_num=0), resume=True)
    again.log.close()
    with pytest.raises(LasegError, match="run.*cavity, wall.*left atrium.*start a new training"):
        Trainer(config_of(phantom_root, snapshot_path=str(run), val_num=0, max_samples=6), resume=True)
    state = load_checkpoint(run / "last.pth")
    for classes, words in ((["cavity=1"], "2 classes beside the background"), (["a=1", "b=1"], "classes must be")):
        torch.save({**state, "classes": classes}, tmp_path / "x.pth")
        with pytest.raises(LasegError, match=f"x.pth: .*{words}"):
            load_network(tmp_path / "x.pth")
    torch.save(state["student"], tmp_path / "foreign.pth")
    assert load_network(tmp_path / "foreign.pth")[1]["classes"] == {"class 1": 1, "class 2": 2}


def test_a_checkpoint_of_the_atrium_alone_says_nothing_of_classes(phantom_root):
    trainer = Trainer(config_of(phantom_root, val_num=0))
    assert "classes" not in trainer.state_dict() and trainer.classes == ATRIUM


# --- evaluation -----------------------------------------------------------------------------------

def test_each_class_has_a_row_and_then_their_mean(root, capsys):
    data, network = LAHeart(root, "test", num=1), Oracle()
    name, label = data.image_list[0], data[0]["label"]
    found = np.roll(label, 1, 0)
    found[0] = 0
    network.label = torch.from_numpy(found)[None]
    rows = evaluate_network(network, data, SIZE, window="whole", progress=False)
    assert [(row["case"], row["class"]) for row in rows] == [(name, "cavity"), (name, "wall"), (name, "mean")]
    for k, row in enumerate(rows[:2], 1):
        wanted = case_metrics(found == k, label == k, data.spacing(name))
        assert {key: row[key] for key in COLUMNS} == wanted
    assert rows[2]["dice"] == pytest.approx((rows[0]["dice"] + rows[1]["dice"]) / 2) and rows[2]["empty"] == 0
    assert rows[1]["dice"] < rows[0]["dice"] - 0.1  # one voxel costs a thin wall more
    network.label = network.label * (network.label == 1)
    assert evaluate_network(network, data, SIZE, window="whole", progress=False)[2]["empty"] == 1
    assert f"{name}: the prediction of wall is EMPTY" in capsys.readouterr().err


def test_a_class_that_a_label_lacks_is_left_out_with_a_word(root, capsys):
    data = LAHeart(root, "test", num=1)
    name, label = data.image_list[0], data[0]["label"]
    rows = measure_case(data, name, label, label * (label == 1))
    assert [row["class"] for row in rows] == ["cavity", "mean"] and rows[1]["dice"] == 1
    assert f"{name}: its label holds no wall" in capsys.readouterr().err


def test_the_command_line_tells_every_class(root, phantom_root, tmp_path, capsys):
    run = tmp_path / "run"
    assert main(["train", "--root_path", str(root), "--labelnum", "3", "--val_num", "0", "--patch_size", "32", "32",
                 "16", "--n_filters", "2", "--max_iterations", "2", "--snapshot_path", str(run)]) == 0
    evaluate = ["evaluate", str(run / "last.pth"), "--window", "fast"]
    assert main([*evaluate, "--root_path", str(root), "--csv", str(tmp_path / "x.csv")]) == 0
    said = [line for line in capsys.readouterr().out.splitlines() if "Dice" in line and "cases of test.list" in line]
    assert ["cavity" in said[0], "wall" in said[1], "mean" in said[2]] == [True] * 3
    with open(tmp_path / "x.csv") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["case", "class", *COLUMNS]
    assert [row["class"] for row in rows] == ["cavity", "wall", "mean"] * 2
    assert main([*evaluate, "--root_path", str(phantom_root)]) == 1
    assert "last.pth: the network's classes are cavity, wall" in capsys.readouterr().err


def test_masks_of_any_tool_are_measured_by_class(tmp_path, capsys):
    """Against labels, with the classes named; against prepared volumes, which know them and the values."""
    write_hospital(tmp_path / "raw", cases=2, labelled=2, values=(7, 5))
    for k in range(2):
        shutil.copy(tmp_path / "raw" / f"p{k}_la.nii.gz", tmp_path / f"p{k}.nii.gz")
        (tmp_path / "labels").mkdir(exist_ok=True)
        shutil.move(tmp_path / f"p{k}.nii.gz", tmp_path / "labels")
        (tmp_path / "masks").mkdir(exist_ok=True)
        image = read_scan(tmp_path / "raw" / f"p{k}_la.nii.gz").image
        write_image(tmp_path / "masks" / f"p{k}.nii.gz", image_of(np.roll(array_of(image), 1, 0) * (k < 1), image))
    rows = evaluate_masks(tmp_path / "masks", tmp_path / "labels", classes={"cavity": 5, "wall": 7})
    assert [(row["case"], row["class"]) for row in rows] == [
        (case, kind) for case in ("p0", "p1") for kind in ("cavity", "wall", "mean")]
    assert 0.3 < rows[1]["dice"] < rows[0]["dice"] < 1 and rows[3]["empty"] and rows[5]["empty"] == 2
    assert main(["evaluate", "--masks", str(tmp_path / "labels"), "--labels", str(tmp_path / "labels"), "--classes",
                 "cavity=5", "wall=7"]) == 0
    assert "wall: Dice 1.0000" in capsys.readouterr().out
    prepared = prepare(tmp_path / "raw", tmp_path / "data", scan="*_mri.nii.gz", label="*_la.nii.gz", voxel_mm=2.5,
                       classes={"wall": 7, "cavity": 5}, test_share=0.5, progress=False)
    rows = evaluate_masks(tmp_path / "labels", root_path=prepared)
    assert [row["class"] for row in rows] == ["wall", "cavity", "mean"] and rows[2]["dice"] > 0.9
    assert "the masks' values are read as wall=7 cavity=5; if they are others, give" in capsys.readouterr().err
    for file in (tmp_path / "labels").iterdir():  # numbered as in the prepared files
        mask = sitk.ReadImage(str(file))
        sitk.WriteImage(sitk.ChangeLabel(mask, {7: 1, 5: 2}), str(file))
    again = evaluate_masks(tmp_path / "labels", root_path=prepared, classes={"cavity": 2, "wall": 1})
    assert [row["dice"] for row in again] == [row["dice"] for row in rows]
    assert "are read as" not in capsys.readouterr().err
    with pytest.raises(LasegError, match="--classes cavity, blood: the classes of .* are wall, cavity; give each"):
        evaluate_masks(tmp_path / "labels", root_path=prepared, classes={"cavity": 2, "blood": 1})


# --- from NIfTI to masks --------------------------------------------------------------------------

def write_hospital(raw, cases=5, labelled=4, values=(421, 420)):
    """Oblique NIfTI scans of phantoms; in the labels the wall has the first of ``values``, the cavity the second."""
    voxel, size = (2.5, 2.5, 2.5), (48, 36, 22)
    for k in range(cases):
        image, label = scan(20 + k, size, np.multiply(size, voxel), **DEFAULTS, classes=2)
        drawn = np.array([0, values[1], values[0]], np.uint16)[label]
        for kind, array in (("mri", image), ("la", drawn))[:1 + (k < labelled)]:
            written = image_of(array, spacing=voxel, origin=(-60, -40, -20))
            written.SetDirection(rotation(np.deg2rad([4, 3, -5])).ravel().tolist())
            write_image(raw / f"p{k}_{kind}.nii.gz", written)


def test_wall_and_cavity_go_from_nifti_files_to_masks_and_scenes(tmp_path, capsys):
    """The whole way on the command line, with a training too short to learn much."""
    raw, data, run, out = (tmp_path / name for name in ("raw", "data", "run", "masks"))
    write_hospital(raw)
    assert main(["prepare", str(raw), str(data), "--scan", "*_mri.nii.gz", "--label", "*_la.nii.gz", "--voxel", "2.5",
                 "--classes", "wall=421", "cavity=420"]) == 0
    for name in ("p0", "p4"):  # with a label, and without
        assert list(read_classes(data / "volumes" / name / FILE).items()) == [("wall", 421), ("cavity", 420)]
    assert main(["train", "--root_path", str(data / "volumes"), "--labelnum", "3", "--val_num", "0", "--patch_size",
                 "32", "32", "16", "--n_filters", "2", "--batch_size", "3", "--labeled_bs", "2", "--normalization",
                 "instancenorm", "--snapshot_path", str(run), "--device", "cpu", "--max_iterations", "8"]) == 0
    assert main(["evaluate", str(run / "last.pth"), "--root_path", str(data / "volumes"), "--window", "fast"]) == 0
    assert "wall: Dice" in capsys.readouterr().out
    assert main(["predict", str(run / "last.pth"), str(raw / "p4_mri.nii.gz"), "--out", str(out)]) == 0
    assert re.search(r"ml, wall [\d.]+, cavity [\d.]+|EMPTY", capsys.readouterr().out)
    mask = array_of(read_scan(out / "p4_mri_la.nii.gz").image)
    assert set(np.unique(mask)) <= {0, 420, 421}


class ByGrey(torch.nn.Module):
    """Three classes by a voxel's own grey value, below ``low``, between, and above ``high``."""

    divisor = (1, 1, 1)

    def __init__(self, low, high):
        super().__init__()
        self.low, self.high, self.weight = low, high, torch.nn.Parameter(torch.zeros(()))

    def forward(self, x):
        found = (x[:, 0] > self.low).long() + (x[:, 0] > self.high)
        return 40 * torch.nn.functional.one_hot(found, 3).movedim(-1, 1).float()


@pytest.mark.parametrize("whole", [True, False])
def test_a_mask_has_the_labels_values_in_the_scans_geometry(whole, tmp_path):
    """A scan that is brighter by class, with a second piece of either class, which goes."""
    size = (60, 50, 24)
    far = np.sqrt(sum((np.arange(n)[tuple(slice(None) if a == b else None for b in range(3))] - n / 2) ** 2
                      for a, n in enumerate(size)))
    label = np.uint8(far < 9) + np.uint8(far < 6)
    extra = label.copy()
    extra[2:5, 2:5, 2:5], extra[50:54, 2:5, 2:5] = 2, 1
    values = np.float32([0, 10, 20])[extra]
    image = image_of(values, spacing=(1.5, 1.5, 1.5), origin=(-60, -40, -20))
    image.SetDirection(rotation(np.deg2rad([90, 0, 0])).round().ravel().tolist())
    write_image(tmp_path / "s.nii.gz", image)
    low, high = (np.array([5, 15]) - values.mean()) / values.std()
    found = predict_scan(ByGrey(low, high), tmp_path / "s.nii.gz", (32, 32, 16), voxel_mm=1.5, whole=whole,
                         classes={"wall": 421, "cavity": 420})
    mask, like = array_of(found.mask), read_scan(tmp_path / "s.nii.gz").image
    assert np.array_equal(mask, np.array([0, 421, 420])[label])
    assert np.allclose(found.mask.GetDirection(), like.GetDirection())
    assert found.mask.GetOrigin() == like.GetOrigin() and found.probability.GetSize() == (*like.GetSize(), 2)
    assert found.volume_ml == pytest.approx((label > 0).sum() * 1.5**3 / 1000)


@pytest.mark.parametrize(("arguments", "words"), [
    (["--classes", "wall=1", "cavity=9"], r"p\d_la.nii.gz.*9.*cavity.*\[0, 1, 2\].*leave this case out"),
    (["--classes", "wall=1", "wall=2"], "--classes.*wall=1 cavity=2"), (["--classes", "wall=0"], "--classes.*wall=1"),
    (["--label-value", "5", "6"], r"p\d_la.nii.gz.*5 6")])
def test_classes_that_a_label_does_not_hold_are_refused(arguments, words, tmp_path, capsys):
    write_hospital(tmp_path / "raw", cases=2, labelled=2, values=(1, 2))
    assert main(["prepare", str(tmp_path / "raw"), str(tmp_path / "data"), "--scan", "*_mri.nii.gz", "--label",
                 "*_la.nii.gz", "--voxel", "2.5", *arguments]) == 1
    assert re.search(words, capsys.readouterr().err)


def test_two_values_may_be_one_atrium(tmp_path):
    write_hospital(tmp_path / "raw", cases=2, labelled=2, values=(1, 2))
    both = prepare(tmp_path / "raw", tmp_path / "both", scan="*_mri.nii.gz", label="*_la.nii.gz", voxel_mm=2.5,
                   label_value=[1, 2], progress=False)
    apart = prepare(tmp_path / "raw", tmp_path / "apart", scan="*_mri.nii.gz", label="*_la.nii.gz", voxel_mm=2.5,
                    classes={"cavity": 2, "wall": 1}, progress=False)
    one, two = (read_volume(root / "p0" / FILE)[1] for root in (both, apart))
    assert read_classes(both / "p0" / FILE) == ATRIUM
    assert np.unique(two).tolist() == [0, 1, 2] and abs(int(one.sum()) - int((two > 0).sum())) < 0.1 * one.sum()
    with pytest.raises(LasegError, match="classes"):
        prepare(tmp_path / "raw", tmp_path / "apart", scan="*_mri.nii.gz", label="*_la.nii.gz", voxel_mm=2.5,
                classes={"cavity": 1, "wall": 2}, progress=False)
    raw = write_phantoms(tmp_path / "challenge", 1, 1, (24, 24, 12), raw=True, classes=2)
    assert np.unique(array_of(read_scan(raw / "PHANTOM_0000" / "laendo.nrrd").image)).tolist() == [0, 1, 2]


# --- pictures -------------------------------------------------------------------------------------

def test_a_slice_has_a_colour_a_class():
    image, label = make_phantom(3, SIZE, classes=2)
    options = {"spacing": 2.5, "style": "fill", "crosshair": False, "smooth": False, "window": 1e6, "level": 5e5}
    both, plain = (draw_slices(image * 0, label, **options, **more) for more in ({"classes": CLASSES}, {}))
    left, top, width, height = plane_boxes(SIZE, 2.5)["axial"]
    flat = label[:, :, SIZE[2] // 2].T
    for at in (np.argwhere(flat == 1)[5], np.argwhere(flat == 2)[5]):
        y, x = (int(start + (n + 0.5) * side / count) for start, n, side, count in
                zip((top, left), at, (height, width), flat.shape))
        wanted = 0.4 * np.array(getrgb(CLASS_COLOURS[flat[tuple(at)] - 1]))
        assert np.abs(both[y, x] - wanted).max() < 3
        assert np.abs(plain[y, x] - 0.4 * np.array(getrgb(looks(["gold"])["gold"].colour))).max() < 3


def test_every_class_has_a_colour_of_its_own_and_every_source_a_line():
    found = looks_by_class(["gold", "MT"], ["wall", "cavity"])
    assert [look.label for look in found.values()][:2] == ["gold label, wall", "gold label, cavity"]
    assert len({look.colour for look in found.values()}) == 2 and len({look.dash for look in found.values()}) == 2
    alone = looks(["gold", "MT"])
    assert looks_by_class(["gold", "MT"], ["left atrium"]) == {(name, None): one for name, one in alone.items()}
    assert len(set(CLASS_COLOURS)) == len(CLASS_COLOURS) >= 7


def test_a_wall_s_outline_leaves_that_of_its_cavity_visible():
    image, label = make_phantom(3, SIZE, classes=2)
    where = np.argwhere(label == 1).mean(0).astype(int)
    picture = draw_slices(image, label, None, *where, classes=CLASSES).astype(int)[:, :400]
    seen = [(np.abs(picture - getrgb(colour)).max(2) < 12).sum() for colour in CLASS_COLOURS[:2]]
    assert seen[0] > 0.4 * seen[1] > 100, seen


def test_a_scene_has_a_surface_a_class_and_the_wall_is_see_through():
    _, label = make_phantom(3, SIZE, classes=2)
    figure = atrium_scene({"gold": label}, 2.5, classes=CLASSES)
    assert [trace.name for trace in figure.data] == ["gold label, cavity", "gold label, wall"]
    assert [trace.opacity for trace in figure.data] == [1.0, 0.35]
    assert [trace.color for trace in figure.data] == list(CLASS_COLOURS[:2])
    cavity, wall = (np.ptp(unpack(trace.x)) for trace in figure.data)
    assert wall > cavity + 2
    chambers = np.zeros((12, 8, 8), np.uint8)  # side by side, none encloses another
    chambers[2:6, 2:6, 2:6], chambers[6:10, 2:6, 2:6] = 1, 2
    assert [trace.opacity for trace in atrium_scene({"gold": chambers}, 1, classes="ab").data] == [1.0, 1.0]
    assert enclosed(label, 2, (1, 2)) == [1] and not enclosed(label, 1, (1, 2))


def test_the_viewer_takes_the_names_of_a_data_set(root):
    data = LAHeart(root, "test", num=1)
    view = SliceViewer(data[0]["image"], data[0]["label"], {"MT": data[0]["label"]}, classes=data.classes)
    assert "cavity, wall" in view.alt
    before = view.drawn
    view.set(look="fills")
    assert (view.drawn != before).any()


def test_self_training_labels_every_class(root, tmp_path):
    run = tmp_path / "run"
    first = Trainer(config_of(root, model="supervised", snapshot_path=str(run), val_num=0))
    first.run(progress=False)
    names = first.train_set.image_list[:4]
    quality = label_by_teacher(run / "last.pth", root, names, 3, tmp_path / "pseudo", patch_size=(32, 32, 16))
    kept, made = (tmp_path / "pseudo" / "cases" / name / FILE for name in names[2:])
    assert read_classes(kept) == read_classes(made) == CLASSES and 0 <= quality <= 1
    assert np.array_equal(read_volume(kept)[1], read_volume(root / names[2] / FILE)[1])
