"""The loss of one batch, against what its parts must be."""

import pytest
import torch

from laseg_lib.config import STRONG_RECIPE, TrainConfig
from laseg_lib.losses import segmentation_loss, softmax_mse_loss
from laseg_lib.mean_teacher import mean_teacher_loss
from laseg_lib.vnet import VNet


def gradient(model, normalization):
    """Of the student's weights, for labelled volumes with unlabelled company or, for 'supervised', without it."""
    torch.manual_seed(0)
    image, label = torch.randn(4, 1, 32, 32, 16), torch.randint(2, (4, 32, 32, 16))
    config = TrainConfig(**{**STRONG_RECIPE, "intensity": 0.0, "normalization": normalization}, model=model,
                         labelnum=2, patch_size=(32, 32, 16))
    student, teacher = (VNet(1, 2, 4, normalization).double() for _ in range(2))
    seen = 4 if config.unlabeled_bs else 2
    mean_teacher_loss(student, teacher, image[:seen].double(), label[:seen], config, 0, segmentation=lambda a, b: (
        segmentation_loss(a.double(), b)))[0].backward()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


def test_with_instancenorm_unlabelled_company_changes_no_gradient_and_with_batchnorm_it_does():
    """Why the record `labels` has an arm `company` for BatchNorm alone."""
    alone, company = (gradient(model, "instancenorm") for model in ("supervised", "lambda0"))
    assert torch.allclose(alone, company, rtol=1e-4, atol=1e-7)
    alone, company = (gradient(model, "batchnorm") for model in ("supervised", "lambda0"))
    assert (alone - company).norm() > 0.05 * alone.norm()


@pytest.mark.parametrize("model", ["MT", "supervised"])
def test_consistency_may_be_taken_on_labelled_volumes_too(model):
    torch.manual_seed(0)
    image, label = torch.randn(4, 1, 32, 32, 16), torch.randint(2, (4, 32, 32, 16))
    student, teacher = (VNet(1, 2, 4, "instancenorm") for _ in range(2))
    settings = dict(model=model, labelnum=2, patch_size=(32, 32, 16), noise_on="none", consistency_rampup=0)
    seen = 4 if model == "MT" else 2
    found = {on: mean_teacher_loss(student, teacher, image[:seen], label[:seen],
                                   TrainConfig(consistency_on=on, **settings), 0)[1] for on in ("unlabelled", "all")}
    with torch.no_grad():
        one, other = student(image), teacher(image)
        each = [softmax_mse_loss(one[k:k + 1], other[k:k + 1]).item() for k in range(4)]
    if model == "supervised":
        assert found["all"]["consistency_dist"] == found["unlabelled"]["consistency_dist"] == 0
    else:
        assert found["all"]["consistency_dist"].item() == pytest.approx(sum(each) / 4, rel=1e-4)
        assert found["unlabelled"]["consistency_dist"].item() == pytest.approx(sum(each[2:]) / 2, rel=1e-4)
    assert found["all"]["loss_seg"] == found["unlabelled"]["loss_seg"]


def test_labelled_volumes_stay_where_their_labels_are():
    """The student's own rotation moves unlabelled volumes alone, also where all take part in the consistency."""
    seen = []
    config = TrainConfig(model="MT", labelnum=2, patch_size=(32, 32, 16), consistency_on="all", student_affine=15.0,
                         noise_on="none", normalization="instancenorm")
    image, label = torch.randn(4, 1, 32, 32, 16), torch.randint(2, (4, 32, 32, 16))
    student, teacher = (VNet(1, 2, 4, "instancenorm", has_dropout=False) for _ in range(2))
    student.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    mean_teacher_loss(student, teacher, image, label, config, 0, torch.Generator().manual_seed(0))
    assert torch.equal(seen[0][:2], image[:2]) and not torch.isclose(seen[0][2:], image[2:]).all()
