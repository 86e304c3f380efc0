"""The building blocks in other people's code: each is right there, or says why not; never a wrong number."""

import copy
import io

import numpy as np
import pytest
import torch
from children import tiny_config
from torch import nn

from laseg_lib import (
    CenterCrop,
    RandomCrop,
    RandomRotFlip,
    TwoStreamBatchSampler,
    VNet,
    losses,
    update_ema_variables,
)
from laseg_lib.data.volumes import LAHeart
from laseg_lib.errors import LasegError
from laseg_lib.inference import largest_component, predict_volume, sliding_window
from laseg_lib.mean_teacher import mean_teacher_loss
from laseg_lib.methods.copy_paste import copy_paste_loss
from laseg_lib.methods.uncertainty import uncertainty_loss
from laseg_lib.metrics import case_metrics, dice_of, mean_dice_of
from laseg_lib.perturbations import vary_intensity
from laseg_lib.ramps import poly_rampdown
from laseg_lib.records.statistics import holm
from laseg_lib.training import Trainer
from laseg_lib.transforms import RandomAffine


class Two(nn.Module):
    """A network with a second output."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, x):
        return self.network(x), x


# --- losses ---------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [torch.bool, torch.uint8, torch.float16, torch.bfloat16])
def test_a_mask_in_any_precision_counts_its_voxels(dtype):
    torch.manual_seed(0)
    logits, label = torch.randn(1, 2, 48, 48, 32), torch.randint(2, (1, 48, 48, 32))
    where = torch.rand(label.shape) < 0.95  # more voxels than float16's largest number
    assert where.sum() > 65504
    want = losses.segmentation_loss(logits, label, where=where)
    assert torch.equal(torch.stack(losses.segmentation_loss(logits, label, where=where.to(dtype))), torch.stack(want))


@pytest.mark.parametrize("ignored", [255, -1])
def test_a_voxel_that_does_not_count_may_hold_any_value(ignored):
    torch.manual_seed(0)
    logits, label = torch.randn(2, 3, 8, 8), torch.randint(3, (2, 8, 8))
    label[:, 2] = ignored
    found = losses.segmentation_loss(logits, label, where=label != ignored)[1]
    assert torch.isclose(found, nn.functional.cross_entropy(logits, label, ignore_index=ignored))


def test_a_consistency_loss_is_weighted_saved_and_copied_like_any_other():
    loss = losses.softmax_mse_loss(torch.randn(1, 2, 4, 4, requires_grad=True), torch.randn(1, 2, 4, 4))
    plain = loss.as_subclass(torch.Tensor)
    assert torch.equal(torch.tensor([0.1]) * loss, 0.1 * plain[None])
    file = io.BytesIO()
    torch.save({"loss": loss}, file)
    file.seek(0)
    assert torch.load(file, weights_only=True)["loss"] == plain
    assert copy.deepcopy(loss.detach()) == plain


@pytest.mark.parametrize("loss", [mean_teacher_loss, uncertainty_loss, copy_paste_loss])
@pytest.mark.parametrize("view", ["same", "turned"])
def test_of_networks_with_several_outputs_the_first_counts(loss, view):
    torch.manual_seed(0)
    student, teacher = VNet(1, 2, 2, "batchnorm"), VNet(1, 2, 2, "batchnorm").requires_grad_(False)
    image, label = torch.randn(4, 1, 16, 16, 16), torch.randint(2, (4, 16, 16, 16))
    config = tiny_config("", batch_size=4, labeled_bs=2, teacher_view=view)
    want, found = (loss(*networks, image, label, config, 0, torch.Generator().manual_seed(0))[0]
                   for networks in ((copy.deepcopy(student), copy.deepcopy(teacher)), (Two(student), Two(teacher))))
    assert torch.equal(want, found)


@pytest.mark.parametrize("found", [lambda loss: loss, lambda loss: (loss[None], {}), lambda loss: (1.0, {}),
                                   lambda loss: (loss, None)])
def test_a_method_that_returns_something_else_is_told_what_to_return(found, phantom_root):
    def mine(student, teacher, image, label, config, iteration, generator):
        return found(student(image).mean())

    with pytest.raises(LasegError, match=r"mine must return \(loss, parts\)"):
        Trainer(tiny_config(phantom_root), method=mine).step()


@pytest.mark.parametrize("part, remedy", [({"lr": 0.5}, "part named lr"), ({"iteration": 1}, "part named iteration"),
                                          ({"each": torch.zeros(3)}, r"each of shape \(3,\)")])
def test_a_part_is_one_number_with_a_name_of_its_own(part, remedy, phantom_root):
    def mine(student, teacher, image, label, config, iteration, generator):
        return student(image).mean(), part

    with pytest.raises(LasegError, match=remedy):
        Trainer(tiny_config(phantom_root), method=mine).step()


def test_varied_intensities_have_gradients():
    image = torch.randn(2, 1, 8, 8, 4, generator=torch.Generator().manual_seed(0), requires_grad=True)
    vary_intensity(image, generator=torch.Generator().manual_seed(0)).sum().backward()
    assert image.grad.isfinite().all()


def test_a_patch_can_be_one_number():
    net = VNet(1, 2, 2).eval()
    image = np.random.default_rng(0).normal(size=(20, 18, 16)).astype(np.float32)
    one, two = (predict_volume(net, image, patch)[1] for patch in (16, (16, 16, 16)))
    assert np.array_equal(one, two)


def test_a_ramp_of_no_length_is_over_at_once():
    assert poly_rampdown(0, 0) == 1.0 and poly_rampdown(1, 0) == 0.0


# --- the average and the sampler ------------------------------------------------------------------

@pytest.mark.parametrize("tie", [
    lambda teacher, student: setattr(teacher.weight, "data", student.weight.data),
    lambda teacher, student: teacher.load_state_dict(student.state_dict(), assign=True)])
def test_a_teacher_that_shares_the_students_memory_is_refused(tie):
    student, teacher = nn.Linear(2, 2), nn.Linear(2, 2)
    tie(teacher, student)
    with pytest.raises(ValueError, match="share"):
        update_ema_variables(student, teacher, 0.9, 10)


@pytest.mark.parametrize("indices", [torch.tensor([True, False, True]), [0.5, 1.5], np.argwhere([1, 1, 1]), ["a", "b"]])
def test_the_sampler_takes_indices_only(indices):
    with pytest.raises(ValueError, match="indices"):
        TwoStreamBatchSampler(indices, range(3, 9), 2, 1)


def test_a_sampler_saved_before_its_first_batch_forgets_nothing():
    sampler, again, third = (TwoStreamBatchSampler(range(6), range(6, 9), 2, 1, generator=0) for _ in range(3))
    batches = iter(sampler)
    next(batches), next(batches)
    again.load_state_dict(sampler.state_dict())
    third.load_state_dict(again.state_dict(consumed=0))
    assert next(iter(third)) == next(batches)
    with pytest.raises(ValueError, match="generator="):
        TwoStreamBatchSampler(range(6), range(6, 9), 2, 1).load_state_dict(sampler.state_dict())


# --- transforms -----------------------------------------------------------------------------------

TRANSFORMS = [RandomCrop(4), CenterCrop(4), RandomRotFlip(), RandomAffine(probability=1)]


@pytest.mark.parametrize("transform", TRANSFORMS)
def test_channels_and_missing_labels_are_told(transform):
    image = np.zeros((1, 8, 8, 8), np.float32)
    with pytest.raises(ValueError, match="channel"):
        transform({"image": image, "label": image.astype(np.uint8)})
    for sample in ({"image": image[0]}, {"image": image[0], "label": None}):
        with pytest.raises(ValueError, match="label of zeros"):
            transform(sample)


@pytest.mark.parametrize("value", [-1, 255])
def test_values_that_are_no_classes_are_told(value):
    label = np.zeros((8, 8, 8), np.int16)
    label[2:4] = value
    with pytest.raises(ValueError, match=str(value)):
        RandomAffine(probability=1)({"image": np.zeros(label.shape, np.float32), "label": label})


@pytest.mark.parametrize("dtype", ["int16", ">i2", "float64", "float16", "uint8"])
def test_a_moved_volume_keeps_its_dtype(dtype):
    rng = np.random.default_rng(0)
    image = (100 * rng.random((12, 12, 8))).astype(dtype)
    label = (image > 50).astype("uint16")
    moved, want = (RandomAffine(probability=1, rng=np.random.default_rng(1))({"image": one, "label": label})
                   for one in (image, image.astype(np.float32)))
    assert moved["image"].dtype == image.dtype and moved["label"].dtype == label.dtype
    assert np.abs(moved["image"].astype(float) - want["image"]).max() <= (0.51 if image.dtype.kind != "f" else 0.05)
    assert np.array_equal(moved["label"], want["label"])


def test_a_side_can_be_a_number_of_numpys():
    assert RandomCrop(np.int64(4)).output_size == 4 and RandomCrop(np.array([4, 4, 2])).output_size == (4, 4, 2)


# --- prediction and metrics -----------------------------------------------------------------------

@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_many_windows_add_up_in_float32(dtype):
    found = sliding_window(torch.zeros(1, 1, 24, 24, 12, dtype=dtype), (8, 8, 4), (1, 1, 1), lambda x: x + 0.6)
    assert found.dtype == torch.float32 and (found - torch.tensor(0.6, dtype=dtype).float()).abs().max() < 1e-5


def test_a_batch_is_no_volume():
    with pytest.raises(ValueError, match="one volume"):
        sliding_window(torch.zeros(2, 1, 8, 8, 8), (8, 8, 8), (4, 4, 4), lambda x: x)
    with pytest.raises(ValueError, match="one case"):
        largest_component(np.ones((2, 4, 4, 4), np.uint8))
    with pytest.raises(ValueError, match="batch"):
        case_metrics(np.ones((1, 8, 8), bool), np.ones((1, 8, 8), bool))


def test_a_network_without_parameters_and_a_patch_of_one_slice():
    class Sign(nn.Module):
        def forward(self, x):
            return torch.cat([-x, x], dim=1)

    image = np.random.default_rng(0).standard_normal((12, 12, 3), dtype=np.float32)
    label, _ = predict_volume(Sign(), image, (8, 8, 1), window="fast")
    assert np.array_equal(label, image > 0)


@pytest.mark.parametrize("one, two", [([0.9, 0.1], [1, 0]), ([0.3, 0.3], [1, 0]), ([np.nan, np.nan], [1, 0])])
def test_probabilities_have_no_dice(one, two):
    for dice in (dice_of, mean_dice_of):
        with pytest.raises(ValueError, match="threshold|probabilities"):
            dice(np.array(one), np.array(two))


def test_two_classes_are_not_compared_as_masks():
    wall, cavity = np.array([0, 1, 1, 0]), np.array([0, 2, 2, 0])
    with pytest.raises(ValueError, match="different classes"):
        dice_of(wall, cavity)
    assert dice_of(wall > 0, 420 * wall) == dice_of(wall > 0, cavity) == 1
    assert dice_of(wall, 255 * wall) == dice_of(cavity, cavity) == dice_of(wall > 0, cavity > 0) == 1


def test_holm_leaves_out_what_was_not_tested():
    assert np.allclose(holm([np.nan, 0.01, 0.04]), [np.nan, 0.02, 0.04], equal_nan=True)


def test_mistyped_values_are_told_for_what_they_are(phantom_root):
    logits = torch.randn(1, 2, 4, 4)
    with pytest.raises(ValueError, match="confidence is 80; give a probability"):
        losses.pseudo_label_loss(logits, logits, confidence=80)
    image = np.full((16, 16, 16), np.nan, np.float32)
    with pytest.raises(LasegError, match="the volume's voxels are NaN or too large"):
        predict_volume(VNet(1, 2, 2).eval(), image, 16)
    assert LAHeart(phantom_root, names="PHANTOM_0000").image_list == ["PHANTOM_0000"]


@pytest.mark.parametrize("transform", [RandomRotFlip(rng=np.random.default_rng(3)), RandomCrop((5, 4, 3)),
                                       CenterCrop((5, 4, 3))])
@pytest.mark.parametrize("of", [np.array, torch.tensor])
def test_any_other_map_of_a_sample_moves_with_its_image(transform, of):
    image = np.arange(6 * 6 * 4, dtype=np.float32).reshape(6, 6, 4)
    sample = {"image": of(image), "label": of(np.zeros((6, 6, 4), np.uint8)), "distance": of(2 * image), "name": "a",
              "number": 3}
    found = transform(sample)
    assert (found["distance"] == 2 * found["image"]).all() and (found["name"], found["number"]) == ("a", 3)
    assert list(found) == list(sample)


def test_a_map_that_can_not_be_moved_is_told():
    sample = {"image": np.zeros((6, 6, 4)), "label": np.zeros((6, 6, 4), np.uint8), "distance": np.zeros((6, 6, 4))}
    with pytest.raises(ValueError, match="holds distance beside image and label: RandomAffine can't know"):
        RandomAffine()(sample)
    for shape in ((2, 6, 6, 4), (6, 6, 4, 2)):
        sample["distance"] = np.zeros(shape)
        for transform in (RandomRotFlip(), RandomCrop((5, 4, 3)), RandomAffine()):
            with pytest.raises(ValueError, match="distance .[26, 4]*. has channels"):
                transform(sample)


def test_a_frozen_part_may_be_shared_by_student_and_teacher():
    student = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    student[0].requires_grad_(False)
    teacher = copy.deepcopy(student)
    teacher[0] = student[0]
    before, shared = teacher[1].weight.clone(), student[0].weight.clone()
    with torch.no_grad():
        student[1].weight += 1
    update_ema_variables(student, teacher, 0.75, 100)
    assert torch.equal(student[0].weight, shared)
    torch.testing.assert_close(teacher[1].weight, before + 0.25)


def test_a_network_that_keeps_a_tensor_trains_on_after_a_prediction():
    """A tensor of inference mode can't take part in a training."""
    class Keeps(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv, self.grid = nn.Conv3d(1, 2, 1), None

        def forward(self, x):
            self.grid = torch.linspace(1, 2, x.shape[2])[:, None, None] if self.grid is None else self.grid
            return self.conv(x) * self.grid

    network = Keeps()
    predict_volume(network, np.zeros((8, 8, 8), np.float32), (8, 8, 8))
    network(torch.zeros(1, 1, 8, 8, 8)).sum().backward()


def test_a_network_with_a_softmax_of_its_own_is_told():
    network = nn.Sequential(nn.Conv3d(1, 3, 1), nn.Softmax(1))
    with pytest.warns(UserWarning, match="add up to 1, like probabilities, but logits are needed"):
        predict_volume(network, np.zeros((8, 8, 8), np.float32), (8, 8, 8))


def test_slices_and_labels_of_255_are_no_masks_and_no_classes():
    mask = np.zeros((12, 12, 1), bool)
    mask[3:8, 3:8] = True
    with pytest.raises(ValueError, match=r"not .12, 12, 1.: in one slice"):
        case_metrics(mask, mask)
    with pytest.raises(ValueError, match="whole numbers 0 to 100.*nor 255 for 1"):
        mean_dice_of(np.uint8(mask), 255 * np.uint8(mask))
