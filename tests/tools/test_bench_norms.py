"""The layers that tools/bench_norms.py times give the same numbers."""

import json

import bench_norms
import pytest
import torch


@pytest.mark.parametrize("channels", [3, 8, 130])
@pytest.mark.parametrize("normalization, way", [(name, way) for name, ways in bench_norms.WAYS.items() for way in ways])
def test_every_layer_gives_pytorchs_values_gradients_and_statistics(normalization, way, channels):
    layer = bench_norms.WAYS[normalization][way](channels)
    usual = layer.__class__.__base__(channels)
    draw = torch.Generator().manual_seed(0)
    image = 3 + 2 * torch.randn(2, channels, 8, 6, 5, generator=draw)
    pull = torch.randn(image.shape, generator=draw)
    found = []
    for one in (layer, usual):
        x = image.clone().to(memory_format=bench_norms.LAST).requires_grad_()
        y = one(x)
        (y * pull).sum().backward()
        found.append([y, x.grad, *(parameter.grad for parameter in one.parameters()), *one.buffers()])
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_it_writes_a_row_for_each_network(tmp_path):
    bench_norms.main(["--rounds", "1", "--size", "16", "16", "16", "--json", str(tmp_path / "norms.json")])
    rows = json.loads((tmp_path / "norms.json").read_text())["rows"]
    assert len(rows) >= 4 and all(row["rows"] > 0 and row["channels last"] > 0 for row in rows)
