"""The geometric view: small rotations and scales, against SciPy; enlarging what was predicted at half size."""

import numpy as np
import pytest
import torch
from scipy import ndimage

from laseg_lib.inference import enlarged, predict_volume
from laseg_lib.transforms import RandomAffine, resample, rotation


def blob(shape=(14, 11, 9)):
    return ndimage.gaussian_filter(np.random.default_rng(0).normal(size=shape), 1.5).astype(np.float32)


@pytest.mark.parametrize("angles, scale", [((0.2, 0, 0), 1.0), ((0, -0.3, 0), 1.0), ((0, 0, 0.25), 1.0),
                                           ((0.2, -0.1, 0.3), 1.2), ((0, 0, 0), 0.8)])
def test_resample_is_scipys_affine_transform(angles, scale):
    volume, matrix = blob(), rotation(angles) * scale
    middle = (np.array(volume.shape) - 1) / 2
    expected = ndimage.affine_transform(volume, matrix, middle - matrix @ middle, order=1, mode="nearest")
    ours = resample(torch.from_numpy(volume)[None, None], matrix[None])[0, 0].numpy()
    np.testing.assert_allclose(ours, expected, atol=1e-4)


def test_rotation_is_one():
    matrix = rotation((0.3, -0.2, 0.7))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(matrix) == pytest.approx(1)


@pytest.mark.parametrize("kind", ["array", "tensor"])
def test_image_and_label_move_together_and_keep_their_kinds(kind):
    label = np.zeros((20, 18, 16), np.uint8)
    label[5:14, 4:12, 3:12] = 1
    image = ndimage.gaussian_filter(label.astype(np.float32), 0.5)
    sample = {"image": image, "label": label}
    if kind == "tensor":
        sample = {key: torch.from_numpy(value) for key, value in sample.items()}
    moved = RandomAffine(20, 1.3, probability=1.0, rng=np.random.default_rng(3))(sample)
    assert type(moved["image"]) is type(sample["image"]) and moved["label"].dtype == sample["label"].dtype
    image, found = np.asarray(moved["image"]), np.asarray(moved["label"])
    assert image.shape == found.shape == label.shape and set(np.unique(found)) == {0, 1}
    assert (found != label).sum() > 50  # it did move
    assert ((image > 0.5) != (found > 0)).mean() < 0.01


def test_half_of_the_volumes_stay_and_the_same_seed_moves_alike():
    label = np.zeros((6, 6, 6), np.uint8)
    label[2:4, 1:4, 2:5] = 1
    sample = {"image": np.random.default_rng(0).random((6, 6, 6), np.float32), "label": label}
    move = RandomAffine(15, 1.2, rng=np.random.default_rng(0))
    stayed = [move(sample)["image"] is sample["image"] for _ in range(200)]
    assert 70 < sum(stayed) < 130
    one, two = (RandomAffine(rng=np.random.default_rng(5)) for _ in range(2))
    for _ in range(5):
        assert np.array_equal(one(sample)["image"], two(sample)["image"])


def test_scale_and_angles_stay_in_their_range():
    move = RandomAffine(10, 1.25, probability=1.0, rng=np.random.default_rng(0))
    factors = [np.linalg.det(move.draw()) ** (1 / 3) for _ in range(300)]
    assert 0.8 <= min(factors) < 0.83 and 1.2 < max(factors) <= 1.25


def test_the_border_is_repeated():
    ones = torch.full((1, 1, 8, 8, 8), 3.0)
    assert torch.allclose(resample(ones, (rotation((0.5, 0.4, 0.3)) * 1.5)[None]), ones)


class Pass(torch.nn.Module):
    """'Predicts' its input: logits whose softmax for class 1 is the input."""

    def __init__(self):
        super().__init__()
        self.nothing = torch.nn.Parameter(torch.zeros(1))

    def forward(self, x):
        p = x.clamp(1e-6, 1 - 1e-6)
        return torch.cat([torch.zeros_like(p), torch.log(p / (1 - p))], 1)


@pytest.mark.parametrize("size", [(32, 32, 16), (37, 33, 19), (33, 40, 18)])
def test_a_box_seen_at_half_size_comes_back_at_full_size_odd_sizes_included(size):
    label = np.zeros(size, np.uint8)
    label[8:24, 6:28, 4:14] = 1
    mask, probability = predict_volume(Pass(), label.astype(np.float32), (16, 16, 8), downsample=2, enlarge=True)
    assert mask.shape == probability.shape == size
    corners = 8 * 2 + 4 * (16 + 22 + 10)  # trilinear rounds the edges off, no more
    assert (mask != label).sum() <= corners
    small, _ = predict_volume(Pass(), label.astype(np.float32), (16, 16, 8), downsample=2)
    assert small.shape == tuple(side // 2 for side in size)


def test_what_no_block_holds_repeats_the_border():
    volume = torch.rand(1, 1, 3, 4, 5)
    full = enlarged(volume, (7, 9, 11), 2)
    assert full.shape[2:] == (7, 9, 11)
    assert torch.equal(full[:, :, 6], full[:, :, 5]) and torch.equal(full[..., 10], full[..., 9])
