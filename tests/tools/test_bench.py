"""The benchmark compares like with like, and data/recorded/README.md says what was measured."""

import json

import bench
import bench_walkthrough
import numpy as np
import pytest
import scaling
import torch

from laseg_lib import VNet
from laseg_lib.course.nb15_many_gpus import measured_scaling
from laseg_lib.data.volumes import FILE, case_names, read_volume
from laseg_lib.inference import predict_volume, walkthrough_stride
from laseg_lib.metrics import case_metrics
from laseg_lib.records.read import RECORDED


@pytest.fixture
def case(phantom_root):
    return phantom_root / case_names(phantom_root)[0] / FILE


def test_the_two_ways_of_measuring_give_the_same(case):
    label = read_volume(case)[1].astype(bool)
    prediction = np.roll(label, (2, 1, 1), (0, 1, 2))
    ours = list(case_metrics(prediction, label).values())[:4]
    assert ours == pytest.approx(bench_walkthrough.metrics(prediction, label), abs=1e-6)


def test_the_two_ways_of_predicting_see_the_same_windows(case):
    torch.manual_seed(0)
    patch, image = (32, 32, 16), read_volume(case)[0]
    model = VNet(1, 2, 2, "batchnorm").eval()
    middle = np.median(predict_volume(model, image, patch, window="seed")[1])
    model.out_conv.bias.data[1] -= float(np.log(middle / (1 - middle)))  # so that about half the voxels are atrium
    theirs = bench_walkthrough.predict(model, image, patch, walkthrough_stride(patch))
    ours = predict_volume(model, image, patch, window="seed")[0]
    assert 0.2 < ours.mean() < 0.8 and (theirs != ours).mean() < 1e-3


def test_the_two_ways_of_fetching_give_a_patch(case):
    image, label = bench_walkthrough.fetch(case, (32, 16, 8))
    assert image.shape == (1, 32, 16, 8) and label.shape == (32, 16, 8)
    assert image.dtype == torch.float32 and label.dtype == torch.int64


@pytest.mark.parametrize("way", ["seed", "fp32"])
def test_a_step_in_its_own_process(way, phantom_root):
    with bench.child(phantom_root, way, (32, 32, 16), 2, torch.device("cpu")) as ask:
        first, counted = ask("step"), ask("count")
    assert min(first["seconds"]) > 0 and 0 < first["peak_mb"] < 1000
    # Forward and two passes backward for four volumes (none to the input), forward for the teacher's two.
    forward = forward_operations((32, 32, 16), 2)
    assert 13 * forward < counted["operations"] < 14 * forward
    assert counted["bytes"] > 4 * 4 * 32 * 32 * 16 * 2
    assert 0 < counted["convolutions_s"] < 100 * first["seconds"][0]


def forward_operations(patch, filters):
    """Of one volume through the network."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, torch.no_grad():
        VNet(1, 2, filters, "batchnorm")(torch.zeros(1, 1, *patch))
    return counter.get_total_flops()


def test_a_row_is_the_median_of_the_ratios(capsys):
    made = bench.Bench(None, None, torch.device("cpu"))
    made.row("task", [((4, 8), (2, 2)), ((9, 8), (1, 2)), ((3, 8), (1, 2))])
    row, = made.rows
    assert (row["ratio"], row["low"], row["high"], row["seed_s"], row["ours_s"]) == (3, 2, 9, 4, 1)
    assert row["cpu_ratio"] == 4 and "3.0 x" in capsys.readouterr().out


@pytest.mark.parametrize("name", ["bench", "latency", "scaling"])
def test_what_was_measured_has_its_provenance(name):
    told = json.loads((RECORDED / f"{name}.json").read_text(encoding="utf-8"))
    assert told["commit"] and told["changed"] is False and told["hardware"] and told["date"] and told["command"]
    for row in told.get("rows", []):
        assert row["low"] <= row["ratio"] <= row["high"] and row["rounds"] >= 1


def test_notebook_13_tells_the_record_of_scaling():
    record = json.loads((RECORDED / "scaling.json").read_text())
    rates = record["volumes_a_second"]
    assert list(rates) == list(scaling.WAYS) and record["changed"] is False and len(record["commit"]) == 40
    assert all(len(found) == 5 and min(found) > 0 for found in rates.values())
    head, *lines = measured_scaling()
    assert record["commit"][:7] in head and record["date"][:10] in head
    for line, found in zip(lines, rates.values()):
        times = np.median(found) / np.median(rates["one process"])
        assert f"{np.median(found):.1f} volumes" in line and f"{times:.2f} times" in line
