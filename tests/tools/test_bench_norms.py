"""What tools/bench_norms.py times and measures."""

import json

import bench_norms
import pytest
import torch
from torch import nn


@pytest.mark.parametrize("way", bench_norms.WAYS)
def test_every_way_gives_pytorchs_values_on_a_small_volume(way):
    image = torch.randn(2, 8, 8, 6, 5, generator=torch.Generator().manual_seed(0)).requires_grad_()
    layer, form = bench_norms.WAYS[way]
    usual = nn.InstanceNorm3d(8)(image)
    torch.testing.assert_close(layer(8)(image.to(memory_format=form)), usual, rtol=1e-5, atol=1e-5)


def test_the_ways_share_their_weights_and_differ_in_their_layers():
    made = bench_norms.networks(4)
    layers = {way: {type(module) for module in network.modules() if isinstance(module, nn.InstanceNorm3d)}
              for way, (network, _) in made.items()}
    assert layers == {way: {layer} for way, (layer, _) in bench_norms.WAYS.items()}
    weights = [network.state_dict() for network, _ in made.values()]
    assert all(torch.equal(value, weights[0][name]) for state in weights for name, value in state.items())


def test_it_writes_a_row_for_each_network_and_the_errors(tmp_path):
    small = ["--size", "16", "16", "16", "--large", "20", "20", "20"]
    bench_norms.main(["--rounds", "1", *small, "--json", str(tmp_path / "norms.json")])
    found = json.loads((tmp_path / "norms.json").read_text())
    assert len(found["rows"]) >= 2 and all(row[way] > 0 for row in found["rows"] for way in bench_norms.WAYS)
    assert all(errors["ours"] < 1e-4 for errors in found["errors"].values())
