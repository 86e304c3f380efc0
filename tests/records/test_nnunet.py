"""nnU-Net's augmentation as a method: repeatable, image and label together, and nothing that a volume keeps."""

import numpy as np
import pytest
import torch

from laseg_lib.config import STRONG_RECIPE, TrainConfig
from laseg_lib.losses import segmentation_loss
from laseg_lib.methods import find
from laseg_lib.records import nnunet
from laseg_lib.records.plans import RECORDS

pytest.importorskip("batchgeneratorsv2", reason="no batchgeneratorsv2: the record nnunet alone needs it")
SIZE = (32, 32, 16)


@pytest.fixture
def batch():
    """Two volumes whose image is their label, with noise far below it."""
    label = torch.zeros(2, *SIZE, dtype=torch.int64)
    label[0, 4:20, 8:30, 2:9] = 1
    label[1, 10:15, 3:9, 6:14] = 1
    return label[:, None] + 0.01 * torch.randn(2, 1, *SIZE, generator=torch.Generator().manual_seed(0)), label


def drawn(batch, seed, times=40):
    generator = torch.Generator().manual_seed(seed)
    return [nnunet.augment(*batch, generator) for _ in range(times)]


def test_equal_generators_give_equal_volumes_and_the_global_ones_are_untouched(batch):
    torch.manual_seed(5), np.random.seed(5)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(5), np.random.seed(5)
    first, again, other = drawn(batch, 1), drawn(batch, 1), drawn(batch, 2)
    assert torch.equal(torch.rand(3), expected[0]) and (np.random.rand(3) == expected[1]).all()
    assert all(torch.equal(a, b) for one, two in zip(first, again) for a, b in zip(one, two))
    assert not all(torch.equal(one[0], two[0]) for one, two in zip(first, other))


def test_image_and_label_move_together_and_the_given_ones_stay(batch):
    before = [part.clone() for part in batch]
    moved = 0
    for image, label in drawn(batch, 3):
        assert label.dtype == torch.int64 and label.shape == batch[1].shape and set(label.unique().tolist()) <= {0, 1}
        moved += not torch.equal(label, batch[1])
        for volume, mask in zip(image[:, 0], label.bool()):
            if mask.any():  # a patch can be turned away from a small object
                assert volume[mask].mean() > volume[~mask].mean() + 0.3
    assert moved > 30
    assert all(torch.equal(part, old) for part, old in zip(batch, before))


def test_without_mirrors_most_labels_stay_where_they_are(batch):
    """Rotation and scaling have a probability of 1/5 each for each volume: .8^4 of the pairs stay."""
    generator = torch.Generator().manual_seed(0)
    same = [torch.equal(nnunet.augment(*batch, generator, mirrored=False)[1], batch[1]) for _ in range(200)]
    assert 0.3 < np.mean(same) < 0.52


def test_the_loss_is_of_the_labelled_volumes_alone(batch):
    config = TrainConfig(**{**STRONG_RECIPE, **RECORDS["nnunet"].runs[0].settings, "model": "MT", "labelnum": 2})
    method = find(config)
    image, label = (torch.cat([part, part]) for part in batch)
    seen = []

    def student(volumes):
        seen.append(volumes)
        return torch.cat([-volumes, volumes], dim=1)

    losses = []
    for rubbish in (0.0, 99.0):
        image[2:] = rubbish
        loss, parts = method(student, None, image, label, config, 0, torch.Generator().manual_seed(4))
        losses.append(loss)
    assert losses[0] == losses[1] and len(seen[0]) == 2 and parts["consistency_weight"] == 0
    changed, classes = nnunet.augment(*batch, torch.Generator().manual_seed(4))
    expected = segmentation_loss(torch.cat([-changed, changed], dim=1), classes)[0]
    assert losses[0] == expected
