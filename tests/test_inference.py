"""The sliding window against one written plainly, and the whole volume at once."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn

from laseg_lib import VNet
from laseg_lib.data.volumes import LAHeart
from laseg_lib.errors import LasegError
from laseg_lib.inference import (
    WINDOWS,
    largest_component,
    mean_dice,
    predict_volume,
    sliding_window,
    walkthrough_stride,
)
from laseg_lib.metrics import case_metrics


class Corners(nn.Module):
    """Remembers which voxel each window begins with; its answer depends on the place in the window."""

    def __init__(self):
        super().__init__()
        self.weight, self.corners, self.divisor = nn.Parameter(torch.ones(1)), [], (16, 16, 8)

    def forward(self, x):
        self.corners += x[:, 0, 0, 0, 0].tolist()
        place = torch.linspace(-1, 2, x.shape[2])[:, None, None] * torch.linspace(2, -1, x.shape[4])
        return torch.cat([torch.sin(x) * place, torch.cos(x)], 1)


def plain_window(model, image, patch, stride_xy, stride_z):
    """The walkthrough family's test-time loop: pad, slide, average the softmax.  (score, corners)"""
    shape = image.shape
    pads = [max(p - s, 0) for p, s in zip(patch, shape)]
    image = np.pad(image, [(p // 2, p - p // 2) for p in pads])
    strides = (stride_xy, stride_xy, stride_z)
    steps = [math.ceil((side - p) / stride) + 1 for side, p, stride in zip(image.shape, patch, strides)]
    score, count, corners = np.zeros(image.shape), np.zeros(image.shape), []
    for i in range(steps[0]):
        x = min(strides[0] * i, image.shape[0] - patch[0])
        for j in range(steps[1]):
            y = min(strides[1] * j, image.shape[1] - patch[1])
            for k in range(steps[2]):
                z = min(strides[2] * k, image.shape[2] - patch[2])
                window = (slice(x, x + patch[0]), slice(y, y + patch[1]), slice(z, z + patch[2]))
                with torch.no_grad():
                    logits = model(torch.from_numpy(image[window].copy())[None, None])
                score[window] += F.softmax(logits, 1)[0, 1].numpy()
                count[window] += 1
                corners.append((x, y, z))
    score /= count
    return score[tuple(slice(p // 2, p // 2 + s) for p, s in zip(pads, shape))], corners


def numbered(shape):
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


@pytest.mark.parametrize("shape", [(166, 131, 88), (130, 130, 84), (131, 113, 81), (112, 112, 80)])
def test_the_windows_are_exactly_the_walkthroughs(shape):
    model, plain = Corners(), Corners()
    image = numbered(shape)
    label, score = predict_volume(model, image, (112, 112, 80), window="seed")
    want, corners = plain_window(plain, image, (112, 112, 80), 18, 4)
    assert sorted(model.corners) == sorted(float(image[c]) for c in corners) and len(set(corners)) == len(corners)
    assert np.allclose(score, want, atol=1e-5)
    assert score.shape == label.shape == shape and score.dtype == np.float32 and label.dtype == np.uint8
    assert np.array_equal(label, score > 0.5)


@pytest.mark.parametrize("padding", ["constant", "replicate"])
@pytest.mark.parametrize("size, patch, stride, batch_size", [
    ((20, 22, 12), (16, 16, 8), (3, 3, 1), 4), ((9, 31, 4), (16, 8, 17), (5, 8, 2), 3),
    ((17, 8, 16), (8, 8, 8), (8, 4, 7), 1), ((16, 16, 16), (16, 16, 16), (16, 16, 16), 2)])
def test_the_sliding_window_is_monais_bit_for_bit(size, patch, stride, batch_size, padding):
    from monai.inferers import sliding_window_inference

    torch.manual_seed(0)
    network, volume = torch.nn.Conv3d(1, 3, 3, padding=1), torch.randn(1, 1, *size)
    # MONAI takes the overlap as a share and truncates the stride; the small excess keeps 18 from becoming 17.
    overlap = [max(1 - (step + 1e-3) / side, 0) for step, side in zip(stride, patch)]
    with torch.inference_mode():
        ours = sliding_window(volume, patch, stride, network, batch_size, padding)
        theirs = sliding_window_inference(volume, patch, batch_size, network, overlap, padding_mode=padding)
    assert torch.equal(ours, theirs)


@pytest.mark.parametrize("shape", [(20, 22, 12), (12, 20, 6), (15, 16, 5), (9, 9, 4)])
def test_a_real_network_also_on_volumes_smaller_than_the_patch(shape):
    torch.manual_seed(0)
    network = VNet(1, 2, 4, "batchnorm").eval()
    image = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    assert walkthrough_stride((16, 16, 8)) == (3, 3, 1)
    label, score = predict_volume(network, image, (16, 16, 8))
    assert np.allclose(score, plain_window(network, image, (16, 16, 8), 3, 1)[0], atol=1e-5)
    assert label.shape == shape


def test_fast_windows_overlap_by_half():
    torch.manual_seed(0)
    network = VNet(1, 2, 4, "batchnorm").eval()
    image = np.random.default_rng(0).standard_normal((27, 31, 9), dtype=np.float32)
    score = predict_volume(network, image, (16, 16, 8), window="fast")[1]
    assert np.allclose(score, plain_window(network, image, (16, 16, 8), 8, 4)[0], atol=1e-5)


def test_strides_keep_their_proportion_to_the_patch():
    assert walkthrough_stride((112, 112, 80)) == (18, 18, 4)
    assert walkthrough_stride((56, 56, 40)) == (9, 9, 2)
    assert walkthrough_stride((16, 16, 8)) == (3, 3, 1)


def test_whole_is_one_pass_over_the_volume():
    torch.manual_seed(0)
    network = VNet(1, 2, 4, "batchnorm").eval()
    image = np.random.default_rng(0).standard_normal((32, 32, 16), dtype=np.float32)
    with torch.no_grad():
        want = network(torch.from_numpy(image)[None, None]).softmax(1)[0, 1].numpy()
    assert np.allclose(predict_volume(network, image, (16, 16, 8), window="whole")[1], want, atol=1e-5)
    odd = image[:27, :31, :9]
    padded = np.pad(odd, [(2, 3), (0, 1), (3, 4)], mode="edge")
    with torch.no_grad():
        want = network(torch.from_numpy(padded)[None, None]).softmax(1)[0, 1].numpy()[2:29, :31, 3:12]
    label, score = predict_volume(network, odd, (16, 16, 8), window="whole")
    assert score.shape == odd.shape and np.allclose(score, want, atol=1e-5) and np.array_equal(label, score > 0.5)


def test_whole_pads_to_what_the_network_divides():
    network = VNet(1, 2, 4, "batchnorm", bottom_stride=2).eval()
    assert predict_volume(network, np.zeros((17, 16, 24), np.float32), (16, 16, 16),
                          window="whole")[1].shape == (17, 16, 24)


@pytest.mark.parametrize("window", WINDOWS)
def test_any_array_or_tensor_will_do_and_stays_as_it_is(window):
    network = VNet(1, 2, 4, "batchnorm").eval()
    image = np.random.default_rng(0).standard_normal((20, 16, 8), dtype=np.float32)
    want = predict_volume(network, image, (16, 16, 8), window=window)[1]
    flipped = image[::-1].copy()
    for other in (torch.from_numpy(image), image.astype(np.float64), flipped[::-1], np.asfortranarray(image)):
        assert np.array_equal(predict_volume(network, other, (16, 16, 8), window=window)[1], want)
    assert np.array_equal(flipped[::-1], image)


def test_prediction_leaves_no_trace_on_the_network():
    network = VNet(1, 2, 4, "batchnorm", has_dropout=True).eval()
    before = {k: v.clone() for k, v in network.state_dict().items()}
    predict_volume(network, np.ones((16, 16, 8), np.float32), (16, 16, 8))
    assert not network.training and all(torch.equal(network.state_dict()[k], v) for k, v in before.items())
    assert all(p.grad is None for p in network.parameters())


def test_an_unknown_window_is_refused():
    with pytest.raises(ValueError, match="one of walkthrough, fast, whole; not 'slow'"):
        predict_volume(VNet(1, 2, 4), np.zeros((16, 16, 8)), (16, 16, 8), window="slow")


def test_mean_dice_is_the_mean_of_the_dice(phantom_root):
    torch.manual_seed(1)
    network = VNet(1, 2, 4, "batchnorm").eval()
    for cache in (None, "cpu"):
        dataset = LAHeart(phantom_root, "test", num=2, cache=cache)
        rows = [case_metrics(predict_volume(network, s["image"], (16, 16, 8), window="fast")[0], s["label"])
                for s in LAHeart(phantom_root, "test", num=2)]
        assert mean_dice(network, dataset, (16, 16, 8)) == pytest.approx(np.mean([row["dice"] for row in rows]))


def test_the_largest_component():
    mask = np.zeros((8, 8, 8), np.uint8)
    mask[0, 0, 0], mask[2:4, 2:4, 2:4] = 1, 1
    mask[4, 4, 4] = 1  # touches by a corner only, and belongs to it
    want = mask.copy()
    want[0, 0, 0] = 0
    got = largest_component(mask)
    assert np.array_equal(got, want) and got.dtype == np.uint8
    assert np.array_equal(largest_component(want), want) and not largest_component(mask * 0).any()


def test_a_real_volume(real_root):
    image = LAHeart(real_root, "test", num=1)[0]["image"]
    label, score = predict_volume(VNet(1, 2, 2, "batchnorm").eval(), image, (112, 112, 80), window="whole")
    assert label.shape == image.shape and np.isfinite(score).all() and 0 <= score.min() <= score.max() <= 1


@pytest.mark.parametrize("wrapped", ["DataParallel", "MONAI"])
def test_any_network_of_one_image_and_two_classes_predicts_whole(wrapped):
    from monai.networks.nets import UNet

    image = np.random.default_rng(0).standard_normal((37, 33, 21)).astype(np.float32)
    if wrapped == "DataParallel":
        network = VNet(1, 2, 2).eval()
        want = predict_volume(network, image, (16, 16, 8), window="whole")
        found = predict_volume(torch.nn.DataParallel(network), image, (16, 16, 8), window="whole")
        assert all(np.array_equal(a, b) for a, b in zip(found, want))
    else:
        network = UNet(3, 1, 2, (4, 8, 16, 32), (2, 2, 2)).eval()
        assert predict_volume(network, image, (16, 16, 8), window="whole")[1].shape == image.shape


class Gives(nn.Module):
    """What ``made`` makes of the input."""

    def __init__(self, made):
        super().__init__()
        self.weight, self.made = nn.Parameter(torch.zeros(1)), made

    def forward(self, x):
        return self.made(x)


def logits_of(x):
    return torch.cat([torch.zeros_like(x), x, 2 * x - 1], 1)  # the most probable: 0 below 0, 2 above 1


IMAGE = np.random.default_rng(0).normal(0, 2, (20, 18, 8)).astype(np.float32)


@pytest.mark.parametrize("window", ["fast", "whole"])
def test_of_several_classes_the_most_probable_counts(window):
    label, probability = predict_volume(Gives(logits_of), IMAGE, (16, 16, 8), window=window)
    assert np.array_equal(label, np.where(IMAGE > 1, 2, IMAGE > 0)) and label.dtype == np.uint8
    want = logits_of(torch.from_numpy(IMAGE)[None, None]).softmax(1)[0, 1:].numpy()
    assert probability.shape == (2, *IMAGE.shape) and np.allclose(probability, want, atol=1e-6)


@pytest.mark.parametrize("wrap", [lambda y, x: (y, x), lambda y, x: [y, x], lambda y, x: {"out": y, "aux": x},
                                  lambda y, x: ([y, x], x), lambda y, x: [y, y[:, :, ::2, ::2, ::2]]])
def test_of_a_network_that_gives_several_things_the_first_counts(wrap):
    want = predict_volume(Gives(logits_of), IMAGE, (16, 16, 8), window="fast")
    found = predict_volume(Gives(lambda x: wrap(logits_of(x), x)), IMAGE, (16, 16, 8), window="fast")
    assert all(np.array_equal(a, b) for a, b in zip(want, found))


@pytest.mark.parametrize("made, said", [
    (lambda x: x, r"\(4, 1, 16, 16, 8\) for an input"), (lambda x: logits_of(x)[:, :, ::2], r"\(4, 3, 8, 16, 8\)"),
    (lambda x: torch.stack([logits_of(x)] * 2, 1), r"\(4, 2, 3, 16, 16, 8\)"), (lambda x: None, "type NoneType"),
    (lambda x: [], "type list"), (lambda x: {"loss": 3.0}, "type float"), (lambda x: x.mean(), r"is \(\)")])
def test_what_a_network_gives_that_is_no_logits_is_told(made, said):
    with pytest.raises(LasegError, match=said):
        predict_volume(Gives(made), IMAGE, (16, 16, 8), window="fast")


def test_the_largest_component_is_that_of_each_class():
    mask = np.zeros((9, 6, 3), np.int64)
    mask[0:3, 0], mask[4, 0], mask[4, 1], mask[6:, 5], mask[0, 5] = 1, 1, 2, 2, 2
    want = mask.copy()
    want[4, 0] = want[4, 1] = want[0, 5] = 0
    found = largest_component(mask)
    assert np.array_equal(found, want) and found.dtype == np.uint8
    assert np.array_equal(largest_component(mask * 100), want * 100)
    for k in (1, 2):
        assert np.array_equal(found == k, largest_component(mask == k))
    assert not largest_component(np.zeros((4, 4), bool)).any()


def test_the_largest_component_of_an_image():
    mask = np.zeros((9, 6), bool)
    mask[0, 0] = mask[1, 1] = mask[2, 0] = mask[5, 5] = mask[5, 4] = True  # three that touch at corners
    assert np.array_equal(np.argwhere(largest_component(mask)), [[0, 0], [1, 1], [2, 0]])


@pytest.mark.parametrize("mask", [np.full((4, 4, 4), 0.5), np.full((4, 4), -1), np.full((4, 4), 300)])
def test_the_largest_component_of_no_mask_is_refused(mask):
    with pytest.raises(ValueError, match="compare it with a threshold"):
        largest_component(mask)


@pytest.mark.parametrize("window", ["fast", "whole"])
def test_a_network_whose_numbers_overflow_is_told(window):
    """NaN is not above one half: it would look like a volume without an atrium."""
    network = VNet(1, 2, 1, "batchnorm").eval()
    with torch.no_grad():
        network.block_one.conv[1].running_var.fill_(-1)
    with pytest.raises(LasegError, match="output is NaN"):
        predict_volume(network, np.ones((16, 16, 16), np.float32), (16, 16, 16), window=window)


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16])
def test_a_network_of_another_precision_gets_its_own(dtype):
    torch.manual_seed(0)
    network, image = VNet(1, 2, 4, "batchnorm").eval(), np.random.default_rng(0).random((16, 16, 8), np.float32)
    want = predict_volume(network, image, (16, 16, 8))[1]
    found = predict_volume(network.to(dtype), image, (16, 16, 8))[1]
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, want, atol=0.05 if dtype == torch.bfloat16 else 1e-5)
