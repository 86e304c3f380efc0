"""1+1 volumes on two processes are 2+2 on one, when BatchNorm and Dice are synchronised."""

import copy

import pytest
import torch
from children import Child, same, tiny_config, two

from laseg_lib.data.phantom import write_phantoms
from laseg_lib.runtime import distributed
from laseg_lib.runtime import sync_norm as sync
from laseg_lib.training import Trainer
from laseg_lib.vnet import VNet


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    return write_phantoms(tmp_path_factory.mktemp("data"), train=8, test=1, size=(24, 20, 12), seed=0)


def fixed_batch():
    """Two labelled and two unlabelled patches; the halves differ much, so that their mean and variance do."""
    draw = torch.Generator().manual_seed(3)
    image = torch.randn(4, 1, 32, 32, 16, generator=draw) * torch.tensor([1, 3, 2, 0.5]).view(4, 1, 1, 1, 1)
    label = (torch.rand(4, 32, 32, 16, generator=draw) < torch.tensor([0.02, 0.5, 0.1, 0.9]).view(4, 1, 1, 1)).long()
    return image, label


def gradients(progress, config, name, slots, dtype):
    """One step on these slots of the fixed batch; writes the gradient, the row and the networks."""
    torch.manual_seed(5)
    weights = VNet(1, 2, config.n_filters, "batchnorm").state_dict()
    image, label = fixed_batch()  # all drawn in float32, for either precision
    torch.set_default_dtype(dtype)
    trainer = Trainer(config)
    trainer.student.load_state_dict(weights)
    trainer.teacher.load_state_dict(weights)
    slots = slots[distributed.rank()]
    trainer.next_batch = lambda: (image[slots].to(dtype), label[slots])
    row = trainer.step()
    gradient = torch.cat([parameter.grad.double().flatten() for parameter in trainer.student.parameters()])
    torch.save({"gradient": gradient, "row": row, "student": trainer.student.state_dict(),
                "teacher": trainer.teacher.state_dict()}, f"{name}{distributed.rank()}.pt")


def distance(a, b):
    """How far two gradients are apart, as a share of the second's length."""
    return float((a["gradient"] - b["gradient"]).norm() / b["gradient"].norm())


def step_of(root, tmp_path, processes, dtype=torch.float64, **changes):
    """What one step on the fixed batch leaves in each process."""
    config = tiny_config(root, has_dropout=False, noise_on="none", n_filters=2, patch_size=(32, 32, 16),
                         batch_size=4 // processes, labeled_bs=2 // processes, **changes)
    if processes == 1:
        child = Child(tmp_path, gradients, config, "one", [[0, 1, 2, 3]], dtype)
        assert child.join() == 0, child.text()
        return torch.load(tmp_path / "one0.pt")
    two(tmp_path, gradients, config, "two", [[0, 2], [1, 3]], dtype)
    return [torch.load(tmp_path / f"two{rank}.pt") for rank in range(2)]


@pytest.mark.parametrize("teacher_mode", ["eval", "train"])
def test_two_processes_of_1_and_1_give_the_gradient_of_one_of_2_and_2(root, tmp_path, teacher_mode):
    """In a float64 network, so that what is left is the float32 rounding of the loss, not a ReLU's change of mind."""
    one = step_of(root, tmp_path, 1, teacher_mode=teacher_mode)
    both, other = step_of(root, tmp_path, 2, teacher_mode=teacher_mode, sync_norm=True)
    assert distance(both, one) < 1e-6
    assert same(both["gradient"], other["gradient"])
    for name in ("loss", "loss_seg", "loss_seg_dice", "consistency_dist"):
        assert both["row"][name] == pytest.approx(one["row"][name], rel=1e-5), name
    for network in ("student", "teacher"):
        for name, value in one[network].items():
            torch.testing.assert_close(both[network][name], value, rtol=1e-6, atol=1e-8, msg=f"{network} {name}")


def test_in_float32_two_processes_are_as_near_to_the_truth_as_one(root, tmp_path):
    """What float32 rounds away is the same small share, whether one process computes or two."""
    truth = step_of(root, tmp_path, 1)
    one = step_of(root, tmp_path, 1, torch.float32)
    both, _ = step_of(root, tmp_path, 2, torch.float32, sync_norm=True)
    assert distance(both, truth) < 4 * distance(one, truth)
    separate, _ = step_of(root, tmp_path, 2, torch.float32, sync_norm=False)
    assert distance(separate, truth) > 10 * distance(both, truth)  # statistics of each batch alone do matter here


def test_synchronised_norm_has_the_same_names_and_alone_does_the_same():
    plain = VNet(1, 2, 2, "batchnorm")
    synced = sync.synchronise_norm(copy.deepcopy(plain), torch.device("cpu"))
    assert sum(isinstance(module, sync.SyncBatchNorm) for module in synced.modules()) == 29
    assert synced.state_dict().keys() == plain.state_dict().keys()
    x = torch.randn(2, 1, 16, 16, 8)
    assert torch.equal(synced(x), plain(x))


def norms(progress):
    """A synchronised BatchNorm on halves of a batch, forward, backward and buffers."""
    x, weight = shared_input()
    rank = distributed.rank() if distributed.join_processes("cpu") else 0
    norm = sync.SyncBatchNorm(3)
    mine = x[rank::2].clone().requires_grad_()
    (norm(mine) * weight[rank::2]).sum().backward()
    torch.save([norm(mine).detach(), mine.grad, norm.running_mean, norm.running_var], f"norm{rank}.pt")


def shared_input():
    draw = torch.Generator().manual_seed(1)
    return 5 + torch.randn(4, 3, 4, 4, 2, generator=draw), torch.randn(4, 3, 4, 4, 2, generator=draw)


def test_synchronised_norm_is_the_norm_of_the_whole_batch(tmp_path):
    two(tmp_path, norms)
    x, weight = shared_input()
    norm = torch.nn.BatchNorm3d(3)
    (norm(x.requires_grad_()) * weight).sum().backward()
    whole = [norm(x).detach(), x.grad, norm.running_mean, norm.running_var]
    for rank in range(2):
        out, gradient, mean, var = torch.load(tmp_path / f"norm{rank}.pt")
        for got, want in [(out, whole[0][rank::2]), (gradient, whole[1][rank::2]), (mean, whole[2]), (var, whole[3])]:
            torch.testing.assert_close(got, want, rtol=1e-5, atol=1e-5)
