"""Losses against numbers by hand, torch and MONAI."""

import math

import pytest
import torch
import torch.nn.functional as F

from laseg_lib import losses
from laseg_lib.losses import segmentation_loss


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    student, teacher = (torch.randn(3, 2, 8, 6, 4, generator=generator) * 2 for _ in range(2))
    return student, teacher, (torch.rand(3, 8, 6, 4, generator=generator) < 0.1).long()


def test_dice_by_hand():
    score, target = torch.tensor([1.0, 0.5, 0.0, 0.5]), torch.tensor([1, 1, 0, 0])
    want = 1 - (2 * 1.5 + 1e-5) / (1.5 + 2 + 1e-5)
    assert losses.dice_loss(score, target).item() == pytest.approx(want, rel=1e-6)
    assert losses.dice_loss(score, target == 1).item() == pytest.approx(want, rel=1e-6)


def test_dice_at_its_ends():
    one, none = torch.ones(4), torch.zeros(4)
    assert losses.dice_loss(one, one).item() == pytest.approx(0, abs=1e-6)
    assert losses.dice_loss(one, none).item() == pytest.approx(1, abs=1e-5)
    assert losses.dice_loss(none, none).item() == 0  # nothing there and nothing found


def test_dice_has_the_gradient_of_its_formula():
    score, target = torch.rand(10, dtype=torch.float64, requires_grad=True), torch.arange(10) % 2
    losses.dice_loss(score, target).backward()
    intersect, s, t = (score * target).sum(), (score ** 2).sum(), float(target.sum())
    want = -(2 * target * (s + t + 1e-5) - (2 * intersect + 1e-5) * 2 * score) / (s + t + 1e-5) ** 2
    assert torch.allclose(score.grad, want.detach())


def test_the_supervised_loss_is_half_of_monais_dice_plus_cross_entropy(batch):
    from monai.losses import DiceCELoss

    student, _, label = batch
    oracle = DiceCELoss(include_background=False, to_onehot_y=True, softmax=True, squared_pred=True, batch=True,
                        smooth_nr=1e-5, smooth_dr=1e-5)
    loss, cross_entropy, dice = segmentation_loss(student, label)
    assert 2 * loss.item() == pytest.approx(oracle(student, label[:, None]).item(), rel=1e-5)
    assert cross_entropy.item() == pytest.approx(F.cross_entropy(student, label).item())
    assert loss.item() == pytest.approx((cross_entropy.item() + dice.item()) / 2)


def test_mse_by_hand():
    # softmax (1/2, 1/2) against (3/4, 1/4): every difference is 1/4
    student, teacher = torch.zeros(1, 2, 1, 1, 1), torch.tensor([math.log(3.0), 0]).view(1, 2, 1, 1, 1)
    assert losses.softmax_mse_loss(student, teacher).item() == pytest.approx(1 / 16)


def test_kl_by_hand():
    student, teacher = torch.zeros(1, 2, 1, 1, 1), torch.tensor([math.log(3.0), 0]).view(1, 2, 1, 1, 1)
    kl = 0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5)
    assert losses.softmax_kl_loss(student, teacher).item() == pytest.approx(kl / 2)


def test_consistency_against_torch(batch):
    student, teacher, _ = batch
    p, q = student.softmax(1), teacher.softmax(1)
    assert losses.softmax_mse_loss(student, teacher).item() == pytest.approx(((p - q) ** 2).mean().item(), rel=1e-5)
    assert losses.softmax_kl_loss(student, teacher).item() == pytest.approx(
        (q * (q.log() - p.log())).mean().item(), rel=1e-4)
    oracle = torch.distributions.kl_divergence(*(torch.distributions.Categorical(logits=x.movedim(1, -1))
                                                 for x in (teacher, student))).mean() / 2
    assert losses.softmax_kl_loss(student, teacher).item() == pytest.approx(oracle.item(), rel=1e-4)


@pytest.mark.parametrize("loss", [losses.softmax_mse_loss, losses.softmax_kl_loss])
def test_consistency_is_a_scalar_zero_at_agreement_and_moves_the_student_only(loss, batch):
    student, teacher = batch[0].clone().requires_grad_(), batch[1].clone().requires_grad_()
    value = loss(student, teacher)
    value.backward()
    assert value.shape == () and value > 0
    assert student.grad.abs().sum() > 0 and teacher.grad is None
    assert loss(student, student.detach()).item() == pytest.approx(0, abs=1e-7)
    assert loss(student + 5, student.detach()).item() == pytest.approx(0, abs=1e-7)  # softmax ignores a shift


@pytest.mark.parametrize("loss", [losses.softmax_mse_loss, losses.softmax_kl_loss, losses.pseudo_label_loss])
def test_shapes_that_differ_are_refused(loss):
    with pytest.raises(ValueError, match=r"\(2, 2, 4, 4, 4\).*\(1, 2, 4, 4, 4\)"):
        loss(torch.zeros(2, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4))


def test_extreme_logits_stay_finite():
    student = torch.tensor([1e4, -1e4]).view(1, 2, 1, 1, 1).requires_grad_()
    for loss in (losses.softmax_mse_loss, losses.softmax_kl_loss):
        value = loss(student, -student.detach())
        value.backward()
        assert torch.isfinite(value) and torch.isfinite(student.grad).all()


def test_only_the_voxels_asked_for_count():
    logits, label = torch.randn(2, 2, 4, 4, 4), torch.randint(0, 2, (2, 4, 4, 4))
    where = torch.zeros(2, 4, 4, 4, dtype=torch.bool)
    where[:, :2] = True
    expected = losses.segmentation_loss(logits[:, :, :2], label[:, :2])
    assert torch.allclose(torch.stack(losses.segmentation_loss(logits, label, where=where)), torch.stack(expected))
    assert [float(x) for x in losses.segmentation_loss(logits, label, where=where & False)] == [0, 0, 0]


def test_pseudo_labels_are_the_teachers_sure_answers():
    student = torch.randn(1, 2, 1, 1, 3)
    teacher = torch.tensor([[2.0, -2.0, 0.1], [-2.0, 2.0, -0.1]]).view(1, 2, 1, 1, 3)  # sure: no; sure: yes; unsure
    sure = losses.segmentation_loss(student[..., :2], torch.tensor([0, 1]).view(1, 1, 1, 2))[0]
    assert losses.pseudo_label_loss(student, teacher).item() == pytest.approx(sure.item())
    everyone = losses.segmentation_loss(student, torch.tensor([0, 1, 0]).view(1, 1, 1, 3))[0]
    assert losses.pseudo_label_loss(student, teacher, confidence=0.5).item() == pytest.approx(everyone.item())
    assert losses.pseudo_label_loss(student, torch.zeros_like(teacher)).item() == 0, "nobody is sure"


def test_pseudo_labels_pull_where_the_mse_has_given_up():
    """A student that is sure and wrong: the MSE's gradient is gone there, the cross-entropy's is not."""
    student = torch.tensor([6.0, -6.0]).view(1, 2, 1, 1, 1)
    pull = {}
    for loss in (losses.softmax_mse_loss, losses.pseudo_label_loss):
        at = student.clone().requires_grad_()
        loss(at, -student).backward()
        pull[loss] = at.grad.abs().max().item()
    assert pull[losses.pseudo_label_loss] > 1000 * pull[losses.softmax_mse_loss]


def test_a_mean_can_t_be_masked_and_is_a_plain_number_otherwise():
    student, teacher = torch.randn(2, 2, 2, 4, 4, 4, requires_grad=True).unbind(0)
    mask = torch.ones(2, 1, 4, 4, 4)
    for loss, theirs in ((losses.softmax_mse_loss, losses.maps.softmax_mse_loss),
                         (losses.softmax_kl_loss, losses.maps.softmax_kl_loss)):
        mean = loss(student, teacher)
        for wrong in (lambda: mask * mean, lambda: mean * mask, lambda: torch.mul(mask, mean),  # noqa: B023
                      lambda: torch.where(mask > 0, mean, 0.0),  # noqa: B023
                      lambda: torch.masked_select(mean, mask > 0), lambda: mean.masked_fill(mask > 0, 0),  # noqa: B023
                      lambda: 0.1 * mean * mask, lambda: mean / 2 * mask):  # noqa: B023
            with pytest.raises(TypeError, match="reduction='none'"):
                wrong()
        assert f"{mean:.3f}" == f"{mean.item():.3f}" and type(0.1 * mean + 1) is torch.Tensor
        assert theirs(student, teacher).shape == student.shape
        torch.testing.assert_close((mask * theirs(student, teacher)).mean(), mean * torch.tensor(1.0))


@pytest.mark.parametrize("loss", [losses.softmax_mse_loss, losses.softmax_kl_loss, losses.pseudo_label_loss])
def test_logits_of_one_class_have_no_softmax_to_compare(loss):
    """A network for sigmoids: the softmax over its one channel is 1, and the loss would be 0 whatever it says."""
    with pytest.raises(ValueError, match="of one class"):
        loss(torch.randn(2, 1, 4, 4), torch.randn(2, 1, 4, 4))


def test_the_outputs_of_a_network_that_returns_several_things_are_told():
    logits, label = torch.randn(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    for call in (lambda: losses.segmentation_loss((logits, logits), label),
                 lambda: losses.softmax_mse_loss({"out": logits}, {"out": logits}),
                 lambda: losses.dice_loss(logits.sigmoid(), logits.sigmoid().numpy())):
        with pytest.raises(TypeError, match="losses take tensors, not (tuple|dict|ndarray).*give the logits"):
            call()


def test_voxels_that_count_are_true_or_false():
    logits, label = torch.randn(1, 2, 4, 4, 4), torch.zeros(1, 4, 4, 4, dtype=torch.long)
    where = torch.rand(1, 4, 4, 4) > 0.5
    want = losses.segmentation_loss(logits, label, where=where)
    assert losses.segmentation_loss(logits, label, where=where.to(torch.uint8)) == want
    for wrong in (where * 255, torch.rand(1, 4, 4, 4), where[:, None]):
        with pytest.raises(ValueError, match="where must hold True or False"):
            losses.segmentation_loss(logits, label, where=wrong)


@pytest.mark.parametrize("loss", [losses.softmax_mse_loss, losses.softmax_kl_loss,
                                  lambda a, b: losses.segmentation_loss(a, b[:, 0].long())])
def test_an_empty_batch_has_no_loss(loss):
    with pytest.raises(ValueError, match="batch is empty"):
        loss(torch.zeros(0, 2, 4, 4, 4), torch.zeros(0, 2, 4, 4, 4))
