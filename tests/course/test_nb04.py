"""The curves that notebook 04 draws in closed form are those of the library's losses."""

import numpy as np
import pytest
import torch

from laseg_lib import losses
from laseg_lib.course.nb04_losses import draw_consistency, mse_slope


@pytest.mark.parametrize("teacher", [0.2, 0.95])
@pytest.mark.parametrize("loss", [losses.softmax_mse_loss, losses.softmax_kl_loss])
def test_the_curves_are_the_losses_and_their_gradients(loss, teacher):
    values, pull = (ax.lines[0 if loss is losses.softmax_mse_loss else 1] for ax in draw_consistency(teacher).axes)
    p = torch.from_numpy(np.asarray(values.get_xdata()))
    logits = torch.stack([torch.log(1 - p), torch.log(p)], 1).requires_grad_()
    target = torch.log(torch.tensor([[1 - teacher, teacher]], dtype=torch.float64)).expand(len(p), 2)
    found = torch.stack([loss(row[None], target[:1]) for row in logits])
    found.sum().backward()
    assert np.allclose(values.get_ydata(), found.detach()) and np.allclose(pull.get_ydata(), logits.grad[:, 1])


def test_the_closed_form_of_the_exercise_is_autograds():
    z = torch.tensor(0.3, requires_grad=True)
    (torch.sigmoid(z) - 0.8).square().backward()
    assert np.isclose(mse_slope(torch.sigmoid(z).item(), 0.8), z.grad.item())
