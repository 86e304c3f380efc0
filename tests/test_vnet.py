"""The V-Net against one written out by hand, and what it says to sizes that can't work."""

import pytest
import torch
import torch.nn.functional as F

from laseg_lib.vnet import VNet, network_from_state

NORMS = ("none", "batchnorm", "groupnorm", "instancenorm")


def plain_vnet(state, x, norm, stride):
    """The public V-Net in eval mode, straight from a state dict: no modules, no loops over names."""
    def layer(convolve, name, index, x, **options):
        x = convolve(x, state[f"{name}.conv.{index}.weight"], state[f"{name}.conv.{index}.bias"], **options)
        after = f"{name}.conv.{index + 1}"
        if norm == "batchnorm":
            x = F.batch_norm(x, state[after + ".running_mean"], state[after + ".running_var"],
                             state[after + ".weight"], state[after + ".bias"])
        elif norm == "groupnorm":
            x = F.group_norm(x, min(16, x.shape[1]), state[after + ".weight"], state[after + ".bias"])
        elif norm == "instancenorm":
            x = F.instance_norm(x)
        return torch.relu(x)

    def block(name, stages, x):
        for i in range(stages):
            x = layer(F.conv3d, name, i * (2 if norm == "none" else 3), x, padding=1)
        return x

    def down(name, x, stride=2):
        return layer(F.conv3d, name, 0, x, stride=stride)

    def up(name, x, stride=2):
        return layer(F.conv_transpose3d, name, 0, x, stride=stride)

    x1 = block("block_one", 1, x)
    x2 = block("block_two", 2, down("block_one_dw", x1))
    x3 = block("block_three", 3, down("block_two_dw", x2))
    x4 = block("block_four", 3, down("block_three_dw", x3))
    x5 = block("block_five", 3, down("block_four_dw", x4, stride))
    x6 = block("block_six", 3, up("block_five_up", x5, stride) + x4)
    x7 = block("block_seven", 3, up("block_six_up", x6) + x3)
    x8 = block("block_eight", 2, up("block_seven_up", x7) + x2)
    x9 = block("block_nine", 1, up("block_eight_up", x8) + x1)
    return F.conv3d(x9, state["out_conv.weight"], state["out_conv.bias"])


def shaken(network, seed=0):
    """BatchNorm's statistics and factors away from 0 and 1, where a mix-up would not show."""
    generator = torch.Generator().manual_seed(seed)
    for name, value in network.state_dict().items():
        if "running" in name or ".conv.1." in name or ".conv.4." in name:
            if value.is_floating_point():
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return network


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("stride", [(2, 2, 1), (2, 2, 2)])
def test_forward_is_the_plain_network(norm, stride):
    torch.manual_seed(0)
    network = shaken(VNet(1, 2, 4, norm, has_dropout=True, bottom_stride=stride)).eval()
    x = torch.randn(2, 1, 32, 32, 16)
    with torch.no_grad():
        got, want = network(x), plain_vnet(network.state_dict(), x, norm, stride)
    assert got.shape == (2, 2, 32, 32, 16)
    assert torch.allclose(got, want, atol=1e-5)


def test_signature_and_defaults_are_the_walkthroughs():
    network = VNet()
    assert network.block_one.conv[0].in_channels == 3 and network.out_conv.out_channels == 2
    assert network.out_conv.in_channels == 16 and not network.has_dropout
    assert network.bottom_stride == (2, 2, 1) and network.divisor == (16, 16, 8)
    assert VNet(1, 2, 4, bottom_stride=2).divisor == (16, 16, 16)


@pytest.mark.parametrize("stride, count", [((2, 2, 1), 9_186_722), (2, 9_448_866)])
def test_parameter_count(stride, count):
    network = VNet(n_channels=1, n_classes=2, normalization="batchnorm", has_dropout=True, bottom_stride=stride)
    assert sum(p.numel() for p in network.parameters()) == count


def test_dropout_is_on_whole_channels_after_the_bottom_and_before_the_output():
    torch.manual_seed(0)
    network, calls, next_inputs = VNet(1, 2, 4, "batchnorm", has_dropout=True), [], []
    network.dropout.register_forward_hook(lambda module, args, out: calls.append((args[0], out)))
    for layer in (network.block_five_up, network.out_conv):
        layer.register_forward_pre_hook(lambda module, args: next_inputs.append(args[0]))
    with torch.no_grad():
        network.train()(torch.randn(8, 1, 32, 32, 16))
    assert len(calls) == 2
    for (before, after), taken in zip(calls, next_inputs):
        assert taken is after
        kept = (after == 2 * before).flatten(2).all(2)
        dropped = (after == 0).flatten(2).all(2)
        assert (kept | dropped).all() and 0 < (dropped & ~kept).sum() < dropped.numel()
    calls.clear()
    with torch.no_grad():
        network.eval()(torch.randn(1, 1, 32, 32, 16))
    assert all(torch.equal(before, after) for before, after in calls)


def test_no_dropout_unless_asked():
    network = VNet(1, 2, 4, "instancenorm").train()
    x = torch.randn(1, 1, 32, 32, 16)
    assert torch.equal(network(x), network(x))


def test_a_size_that_does_not_divide_names_those_that_do():
    with pytest.raises(ValueError, match=r"\(16, 16, 8\).*got \(40, 32, 12\).*\(32, 32, 8\) and \(48, 32, 16\)"):
        VNet(1, 2, 4)(torch.zeros(1, 1, 40, 32, 12))
    with pytest.raises(ValueError, match=r"\(16, 16, 16\).*\(16, 16, 16\) and \(16, 16, 32\)"):
        VNet(1, 2, 4, bottom_stride=2)(torch.zeros(1, 1, 16, 16, 24))
    with pytest.raises(ValueError, match="batch, channel"):
        VNet(1, 2, 4)(torch.zeros(1, 1, 16, 16))


def test_unknown_normalisation_names_the_known():
    with pytest.raises(ValueError, match="none, batchnorm, groupnorm, instancenorm.*'batch'"):
        VNet(normalization="batch")


@pytest.mark.parametrize("filters", [4, 12, 16, 24])
def test_groupnorm_works_for_any_width_and_has_the_public_16_groups_at_16_filters(filters):
    network = VNet(1, 2, filters, "groupnorm")
    assert filters != 16 or network.block_one.conv[1].num_groups == network.block_five.conv[1].num_groups == 16


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("stride", [(2, 2, 1), (2, 2, 2)])
def test_a_state_dict_tells_its_own_architecture(norm, stride):
    network = VNet(3, 4, 6, norm, bottom_stride=stride).eval()
    again = network_from_state(network.state_dict()).eval()
    x = torch.randn(1, 3, 32, 32, 16)
    assert again.bottom_stride == stride and not again.has_dropout
    assert torch.equal(again(x), network(x))


@pytest.mark.parametrize("spoil", [
    lambda state: {"conv.weight": torch.zeros(1)},
    lambda state: {**state, "block_one.conv.0.weight": torch.zeros(())},
    lambda state: {**state, "block_one.conv.0.weight": "text"},
    lambda state: {**state, "extra.weight": torch.zeros(1)},
    lambda state: {k: v for k, v in state.items() if "block_nine" not in k},
    lambda state: {**state, "block_two.conv.0.weight": torch.zeros(8, 8, 3, 3)},
])
def test_other_weights_are_refused(spoil):
    with pytest.raises(ValueError, match="not the weights|another architecture"):
        network_from_state(spoil(VNet(1, 2, 4, "batchnorm").state_dict()))


@pytest.mark.parametrize("mine, theirs, said", [
    ({}, {"bottom_stride": 2}, "bottom_stride=2"), ({"bottom_stride": 2}, {}, r"bottom_stride=\(2, 2, 1\)"),
    ({}, {"n_classes": 3}, "n_classes=3"), ({}, {"n_filters": 2}, "n_filters=2"),
    ({}, {"n_channels": 3}, "n_channels=3"), ({"normalization": "none"}, {}, "normalization='batchnorm'")])
def test_weights_of_another_v_net_say_whose_they_are(mine, theirs, said):
    settings = {"n_channels": 1, "n_classes": 2, "n_filters": 4, "normalization": "batchnorm"}
    state = VNet(**settings | theirs).state_dict()
    inside = {f"net.{name}": value for name, value in state.items()}
    with pytest.raises(RuntimeError, match=f"V-Net with {said}; .*network_from_state"):
        VNet(**settings | mine).load_state_dict(state)
    with pytest.raises(RuntimeError, match=said):
        torch.nn.ModuleDict({"net": VNet(**settings | mine)}).load_state_dict(inside)
    assert network_from_state(state).load_state_dict(state)
    assert torch.nn.ModuleDict({"net": VNet(**settings | theirs)}).load_state_dict(inside)


def test_v_net_says_that_it_has_three_dimensions():
    with pytest.raises(ValueError, match="for images take a two-dimensional network"):
        VNet(1, 2, 4)(torch.zeros(1, 1, 32, 32))
