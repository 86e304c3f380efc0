"""Several classes, from the label to the surface: each test takes phantoms with a cavity (1) and a wall (2)."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from laseg_lib.classes import ATRIUM, check_classes, with_values
from laseg_lib.config import METHODS, TrainConfig
from laseg_lib.data.phantom import CLASSES, make_phantom, write_phantoms
from laseg_lib.data.volumes import FILE, LAHeart, downsample, read_classes, read_volume, write_volume
from laseg_lib.errors import LasegError
from laseg_lib.inference import mean_dice
from laseg_lib.metrics import mean_dice_of
from laseg_lib.runtime.checkpoints import load_checkpoint, load_network
from laseg_lib.training import Trainer

SIZE = (48, 32, 16)


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """root_path of six training and two test phantoms with a wall. Read only."""
    return write_phantoms(tmp_path_factory.mktemp("walls"), train=6, test=2, size=SIZE, classes=2)


def config_of(root, **settings):
    return TrainConfig(**{"root_path": str(root), "patch_size": (32, 32, 16), "n_filters": 2, "labelnum": 3,
                          "max_iterations": 2, "val_num": 1, "val_every": 2, "precision": "fp32", "device": "cpu",
                          "normalization": "instancenorm", "consistency": 1.0, "consistency_rampup": 0, **settings})


# --- names and values -----------------------------------------------------------------------------

@pytest.mark.parametrize("classes", [{}, {"wall": 0}, {"wall": 1, "cavity": 1}, {"wall": 1.5}, {"wall": 2**16}, ["wall"],
                                     {"mean": 1}, {" wall": 1}, {"a\nb": 1}, {"": 1}, {"wall": "x"}, None])
def test_classes_that_can_not_be_are_refused(classes):
    with pytest.raises(LasegError, match="^here: ") as error:
        check_classes(classes, "here")
    assert "wall" in str(error.value) and "\n" not in str(error.value)


def test_a_mask_gets_the_values_that_its_classes_had():
    label = np.array([[0, 1], [2, 1]], np.uint8)
    assert with_values(label, {"wall": 7, "cavity": 3}).tolist() == [[0, 7], [3, 7]]
    assert with_values(label, {"wall": 420, "cavity": 421}).dtype == np.uint16
    assert with_values(label[:1], ATRIUM).dtype == np.uint8 and np.array_equal(with_values(label[:1], ATRIUM), label[:1])


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
        del file.attrs["values"]
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
    class Cavity(torch.nn.Module):
        divisor = (1, 1, 1)

        def __init__(self):
            super().__init__()
            self.label, self.there = None, torch.nn.Parameter(torch.zeros(()))

        def forward(self, x):
            return torch.nn.functional.one_hot(self.label.long(), 3).movedim(-1, 1).float()

    network, data = Cavity(), LAHeart(root, "test", num=1)
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
    with pytest.raises(LasegError, match="run.*cavity, wall.*left atrium.*start anew"):
        Trainer(config_of(phantom_root, snapshot_path=str(run), val_num=0, max_samples=6), resume=True)
    state = load_checkpoint(run / "last.pth")
    for classes, words in (({"cavity": 1}, "2 classes beside the background"), ({"a": 1, "b": 1}, "classes must be")):
        torch.save({**state, "classes": classes}, tmp_path / "x.pth")
        with pytest.raises(LasegError, match=f"x.pth: .*{words}"):
            load_network(tmp_path / "x.pth")
    torch.save(state["student"], tmp_path / "foreign.pth")
    assert load_network(tmp_path / "foreign.pth")[1]["classes"] == {"class 1": 1, "class 2": 2}


def test_a_checkpoint_of_the_atrium_alone_says_nothing_of_classes(phantom_root):
    trainer = Trainer(config_of(phantom_root, val_num=0))
    assert "classes" not in trainer.state_dict() and trainer.classes == ATRIUM
