"""The InstanceNorm that is computed by rows, against PyTorch's layer."""

import copy

import pytest
import torch
from torch import nn

from laseg_lib import VNet
from laseg_lib.config import TrainConfig
from laseg_lib.runtime.instance_norm import InstanceNorm, Rows, by_rows
from laseg_lib.training import Trainer

LAST = torch.channels_last_3d


def both(image, pull, dtype=torch.float32):
    """[(values, gradient)] of our layer and of PyTorch's."""
    found = []
    for layer in (InstanceNorm(image.shape[1]), nn.InstanceNorm3d(image.shape[1])):
        x = image.to(dtype).clone(memory_format=torch.preserve_format).requires_grad_()
        y = layer(x)
        # PyTorch 2.13's own gradient is wrong for one volume, if what comes back to it is in channels-last order.
        pull = pull.contiguous() if type(layer) is nn.InstanceNorm3d else pull
        (y * pull).sum().backward()
        found.append((y.detach(), x.grad))
    return found


@pytest.mark.parametrize("mean, spread", [(0, 1), (3, 2), (-4, 1)])
@pytest.mark.parametrize("shape", [(1, 8, 48, 48, 40), (4, 16, 12, 10, 8), (2, 130, 3, 2, 1), (3, 5, 7, 3, 5),
                                   (1, 1, 1, 1, 2)])
def test_values_and_gradients_are_pytorchs(shape, mean, spread):
    draw = torch.Generator().manual_seed(0)
    image, pull = (torch.randn(shape, generator=draw).to(memory_format=LAST) for _ in range(2))
    for ours, theirs in zip(*both(mean + spread * image, pull), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_the_usual_memory_format_too():
    draw = torch.Generator().manual_seed(0)
    image, pull = (torch.randn(2, 6, 9, 8, 7, generator=draw) for _ in range(2))
    for ours, theirs in zip(*both(image, pull), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_a_constant_channel_is_zero_and_stays_finite():
    image = torch.stack([torch.full((6, 5, 4), value) for value in (0.0, 5.0, 1000.0)])[None].to(memory_format=LAST)
    (ours, gradient), _ = both(image, torch.randn(image.shape, generator=torch.Generator().manual_seed(0)))
    assert ours.abs().max() < 1e-2 and gradient.isfinite().all()


def test_autograd_agrees_with_differences_in_float64():
    x = torch.randn(2, 3, 4, 3, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0)).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: Rows.apply(x, 1e-5), x)


def test_bfloat16_and_prediction_are_pytorchs_bit_for_bit():
    draw = torch.Generator().manual_seed(0)
    image = torch.randn(2, 8, 8, 8, 8, generator=draw).to(memory_format=LAST)
    (ours, gradient), (theirs, expected) = both(image, image, torch.bfloat16)
    assert torch.equal(ours, theirs) and torch.equal(gradient, expected)
    with torch.no_grad():
        assert torch.equal(InstanceNorm(8)(image), nn.InstanceNorm3d(8)(image))


def test_a_single_voxel_is_refused_as_pytorch_does():
    with pytest.raises(ValueError, match="more than 1 spatial"):
        InstanceNorm(4)(torch.ones(2, 4, 1, 1, 1, requires_grad=True))


def test_v_nets_gradient_is_the_one_in_float64():
    torch.manual_seed(0)
    network = by_rows(VNet(1, 2, 4, "instancenorm")).to(memory_format=LAST)
    image = torch.randn(2, 1, 32, 32, 16)
    exact = copy.deepcopy(network).double()  # in float64 it is PyTorch's layer
    for one, volume in ((network, image), (exact, image.double())):
        one(volume).square().mean().backward()
    ours, theirs = (torch.cat([p.grad.flatten().double() for p in one.parameters()]) for one in (network, exact))
    assert (ours - theirs).norm() < 1e-4 * theirs.norm()


def test_a_training_computes_it_by_rows(phantom_root):
    trainer = Trainer(TrainConfig(str(phantom_root), labelnum=2, patch_size=(16, 16, 16), n_filters=2, val_num=0,
                                  normalization="instancenorm", precision="fp32", device="cpu"))
    image, _ = trainer.next_batch()
    assert any("Rows" in type(step).__name__ for step in steps_behind(trainer.student(image)))


def test_layers_with_weights_or_statistics_stay_as_they_are():
    kinds = [nn.InstanceNorm3d(2), nn.InstanceNorm3d(2, affine=True), nn.InstanceNorm3d(2, track_running_stats=True),
             nn.InstanceNorm2d(2), nn.BatchNorm3d(2)]
    changed = [type(layer) is InstanceNorm for layer in by_rows(nn.Sequential(*kinds))]
    assert changed == [True, False, False, False, False]


def steps_behind(output):
    """All steps of the graph of ``output``."""
    found, todo = set(), [output.grad_fn]
    while todo:
        step = todo.pop()
        if step is not None and step not in found:
            found.add(step)
            todo += [before for before, _ in step.next_functions]
    return found
