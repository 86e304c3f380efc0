"""The teacher is the exponential moving average that the paper writes."""

import copy

import pytest
import torch
from torch import nn

from laseg_lib import VNet, update_ema_variables


def scalar_model(value):
    model = nn.Linear(1, 1, bias=False)
    nn.init.constant_(model.weight, value)
    return model


def test_numbers_by_hand():
    teacher = scalar_model(1.0)
    update_ema_variables(scalar_model(2.0), teacher, 0.9, 1000)
    assert teacher.weight.item() == pytest.approx(0.9 * 1 + 0.1 * 2)


def test_at_step_0_the_teacher_is_the_student():
    teacher = scalar_model(7.0)
    update_ema_variables(scalar_model(2.0), teacher, 0.99, 0)
    assert teacher.weight.item() == 2.0


def test_it_begins_as_a_true_average_and_goes_on_exponentially():
    students = [3.0, -1.0, 4.0, 1.0, 5.0, -9.0, 2.0, 6.0]
    teacher, alpha, want = scalar_model(0.0), 0.75, None
    for t, value in enumerate(students):
        update_ema_variables(scalar_model(value), teacher, alpha, t)
        if t < 4:  # 1 - 1/(t+1) is below 0.75 until t = 3
            want = sum(students[:t + 1]) / (t + 1)
        else:
            want = alpha * want + (1 - alpha) * value
        assert teacher.weight.item() == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("step", [0, 1, 50, 99, 6000])
def test_the_walkthroughs_update_on_a_whole_network(step):
    torch.manual_seed(0)
    student, teacher = VNet(1, 2, 4, "batchnorm"), VNet(1, 2, 4, "batchnorm")
    alpha = min(1 - 1 / (step + 1), 0.99)
    want = [t.detach() * alpha + s.detach() * (1 - alpha) for s, t in zip(student.parameters(), teacher.parameters())]
    before = copy.deepcopy(student.state_dict())
    update_ema_variables(student, teacher, 0.99, step)
    assert all(torch.allclose(t, w, atol=1e-7) for t, w in zip(teacher.parameters(), want))
    assert all(torch.equal(student.state_dict()[k], v) for k, v in before.items())


def test_gradients_stay_out():
    student, teacher = scalar_model(1.0), scalar_model(2.0)
    update_ema_variables(student, teacher, 0.5, 10)
    assert teacher.weight.grad_fn is None and teacher.weight.is_leaf and student.weight.requires_grad


@pytest.mark.parametrize("buffers, mean, count", [("keep", 10.0, 3), ("average", 10 * 0.9 + 20 * 0.1, 5),
                                                  ("copy", 20.0, 5)])
def test_buffers(buffers, mean, count):
    student, teacher = nn.BatchNorm3d(1), nn.BatchNorm3d(1)
    teacher.running_mean.fill_(10.0)
    student.running_mean.fill_(20.0)
    teacher.num_batches_tracked.fill_(3)
    student.num_batches_tracked.fill_(5)
    update_ema_variables(student, teacher, 0.9, 1000, buffers=buffers)
    assert teacher.running_mean.item() == pytest.approx(mean) and teacher.num_batches_tracked.item() == count


def test_by_default_buffers_are_kept_as_the_walkthrough_does():
    student, teacher = nn.BatchNorm3d(1), nn.BatchNorm3d(1)
    student.running_mean.fill_(20.0)
    update_ema_variables(student, teacher, 0.9, 0)
    assert teacher.running_mean.item() == 0


def test_an_unknown_treatment_of_buffers_is_refused():
    with pytest.raises(ValueError, match="'keep', 'average' or 'copy'"):
        update_ema_variables(nn.BatchNorm3d(1), nn.BatchNorm3d(1), 0.9, 0, buffers="mean")


def test_a_teacher_that_is_the_student_is_refused():
    student = scalar_model(1.0)
    with pytest.raises(ValueError, match="copy.deepcopy"):
        update_ema_variables(student, student, 0.9, 10)


@pytest.mark.parametrize("alpha, step", [(1.5, 3), (-0.1, 3), (0.9, -1), (float("nan"), 3)])
def test_an_impossible_average_is_refused(alpha, step):
    with pytest.raises(ValueError, match="alpha must be from 0 to 1"):
        update_ema_variables(scalar_model(1.0), scalar_model(2.0), alpha, step)


def test_a_teacher_with_too_few_digits_is_told():
    """In bfloat16 a step of a thousandth of a weight is lost: the teacher would stand still."""
    student, teacher = scalar_model(2.0), scalar_model(1.0).bfloat16()
    with pytest.warns(UserWarning, match="half precision.*float32"):
        update_ema_variables(student, teacher, 0.999, 10**6)
    assert teacher.weight.item() == 1  # as told
