"""Checkpoints of the UA-MT family load as they are, and give what they gave there.

Their files aren't ours to ship, so the test writes one with the same keys and shapes, spelt out
here from the published networks, filled with random weights of a trained network's size.
"""

import pytest
import torch
from test_vnet import plain_vnet

from laseg_lib import VNet
from laseg_lib.inference import predict_volume
from laseg_lib.runtime.checkpoints import load_network

# Name, convolutions, channels in and out at 16 filters, kernel.
LAYERS = [
    ("block_one", 1, 1, 16, 3), ("block_one_dw", 1, 16, 32, 2), ("block_two", 2, 32, 32, 3),
    ("block_two_dw", 1, 32, 64, 2), ("block_three", 3, 64, 64, 3), ("block_three_dw", 1, 64, 128, 2),
    ("block_four", 3, 128, 128, 3), ("block_four_dw", 1, 128, 256, "bottom"), ("block_five", 3, 256, 256, 3),
    ("block_five_up", 1, 256, 128, "bottom"), ("block_six", 3, 128, 128, 3), ("block_six_up", 1, 128, 64, 2),
    ("block_seven", 3, 64, 64, 3), ("block_seven_up", 1, 64, 32, 2), ("block_eight", 2, 32, 32, 3),
    ("block_eight_up", 1, 32, 16, 2), ("block_nine", 1, 16, 16, 3),
]
VARIANTS = {"LASeg": ((2, 2, 1), 9_186_722), "UA-MT": ((2, 2, 2), 9_448_866)}


def public_state(bottom):
    """An OrderedDict as the public files hold it: keys in order, BatchNorm's counters and all."""
    generator = torch.Generator().manual_seed(1)

    def noise(*shape, scale=1.0):
        return torch.randn(shape, generator=generator) * scale

    state = {}
    for name, convolutions, n_in, n_out, kernel in LAYERS:
        kernel = bottom if kernel == "bottom" else (kernel,) * 3
        for i in range(convolutions):
            conv, norm = f"{name}.conv.{3 * i}", f"{name}.conv.{3 * i + 1}"
            shape = (n_in, n_out) if name.endswith("up") else (n_out, n_in)
            state[f"{conv}.weight"] = noise(*shape, *kernel, scale=(2 / n_in / kernel[0] ** 3) ** 0.5)
            state[f"{conv}.bias"] = noise(n_out, scale=0.1)
            state[f"{norm}.weight"] = 1 + noise(n_out, scale=0.1)
            state[f"{norm}.bias"] = noise(n_out, scale=0.1)
            state[f"{norm}.running_mean"] = noise(n_out, scale=0.1)
            state[f"{norm}.running_var"] = 1 + noise(n_out, scale=0.1).abs()
            state[f"{norm}.num_batches_tracked"] = torch.tensor(6000)
    state["out_conv.weight"], state["out_conv.bias"] = noise(2, 16, 1, 1, 1, scale=0.3), noise(2, scale=0.1)
    return state


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_public_checkpoint_loads_and_gives_its_outputs(variant, tmp_path):
    bottom, count = VARIANTS[variant]
    state = public_state(bottom)
    assert sum(v.numel() for k, v in state.items() if "running" not in k and "num_batches" not in k) == count
    network = VNet(n_channels=1, n_classes=2, normalization="batchnorm", has_dropout=True, bottom_stride=bottom)
    assert list(network.state_dict()) == list(state)
    network.load_state_dict(state, strict=True)
    x = torch.randn(1, 1, 48, 32, 16, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        want = plain_vnet(state, x, "batchnorm", bottom)
        assert (network.eval()(x) - want).abs().max() <= 1e-5
        torch.save(state, tmp_path / "public.pth")
        loaded, config = load_network(tmp_path / "public.pth")
        assert config == {} and (loaded(x) - want).abs().max() <= 1e-5
    label, score = predict_volume(loaded, x[0, 0].numpy(), (48, 32, 16), window="whole")
    assert torch.allclose(torch.from_numpy(score), want.softmax(1)[0, 1], atol=1e-5)


def test_the_variants_are_not_mistaken_for_each_other():
    with pytest.raises(RuntimeError, match="block_four_dw"):
        VNet(1, 2, 16, "batchnorm").load_state_dict(public_state((2, 2, 2)), strict=True)
