"""The loss of one batch, against what its parts must be."""

import torch

from laseg_lib.config import STRONG_RECIPE, TrainConfig
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
    mean_teacher_loss(student, teacher, image[:seen].double(), label[:seen], config, 0)[0].backward()
    return torch.cat([parameter.grad.flatten() for parameter in student.parameters()])


def test_with_instancenorm_unlabelled_company_changes_no_gradient_and_with_batchnorm_it_does():
    """Why the record `labels` has an arm `company` for BatchNorm alone."""
    alone, company = (gradient(model, "instancenorm") for model in ("supervised", "lambda0"))
    assert torch.allclose(alone, company, rtol=1e-4, atol=1e-7)
    alone, company = (gradient(model, "batchnorm") for model in ("supervised", "lambda0"))
    assert (alone - company).norm() > 0.05 * alone.norm()


def test_labelled_volumes_stay_where_their_labels_are():
    """The student's own rotation moves unlabelled volumes alone."""
    seen = []
    config = TrainConfig(model="MT", labelnum=2, patch_size=(32, 32, 16), student_affine=15.0,
                         noise_on="none", normalization="instancenorm")
    image, label = torch.randn(4, 1, 32, 32, 16), torch.randint(2, (4, 32, 32, 16))
    student, teacher = (VNet(1, 2, 4, "instancenorm", has_dropout=False) for _ in range(2))
    student.register_forward_hook(lambda module, inputs, output: seen.append(inputs[0]))
    mean_teacher_loss(student, teacher, image, label, config, 0, torch.Generator().manual_seed(0))
    assert torch.equal(seen[0][:2], image[:2]) and not torch.isclose(seen[0][2:], image[2:]).all()
