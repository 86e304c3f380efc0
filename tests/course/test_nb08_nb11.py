"""What notebooks 08 and 10 measure: windows as MONAI cuts them, the control, uncertainty and masks."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch

from laseg_lib.course import nb08_measuring as nb08
from laseg_lib.course import nb09_supervised_comparison as nb09
from laseg_lib.course import nb11_what_really_helps as nb11
from laseg_lib.inference import walkthrough_stride
from laseg_lib.records import read
from laseg_lib.records import statistics as compare
from laseg_lib.records.statistics import Difference

SIZE, PATCH = (50, 40, 19), (32, 32, 16)


def table(arms, cases=4):
    """``arms``: {arm: student's Dice for each seed}; the teacher has 0.01 more; cases differ by a known pattern."""
    return pd.DataFrame([
        {"arm": arm, "labels": 4, "variant": "", "seed": seed, "weights": weights, "case": f"C{case}",
         "dice": dice + 0.01 * (weights == "teacher") + 0.02 * (case - (cases - 1) / 2)}
        for arm, seeds in arms.items() for seed, dice in enumerate(seeds) for weights in ("student", "teacher")
        for case in range(cases)])


def test_the_windows_are_those_of_the_sliding_window():
    from monai.inferers import sliding_window_inference

    seen = []
    volume = torch.arange(np.prod(SIZE), dtype=torch.float32).reshape(1, 1, *SIZE)

    def note(x):
        seen.extend(int(window[0, 0, 0, 0]) for window in x)
        return x

    overlap = [1 - (stride + 1e-3) / size for stride, size in zip(walkthrough_stride(PATCH), PATCH)]
    sliding_window_inference(volume, PATCH, 4, note, overlap=overlap)
    xs, ys, zs = (nb08.starts(*axis) for axis in zip(SIZE, PATCH, walkthrough_stride(PATCH)))
    assert sorted(seen) == sorted(int(volume[0, 0, x, y, z]) for x in xs for y in ys for z in zs)


def test_the_overlap_counts_every_window_once():
    counts = nb08.overlap_map(SIZE, PATCH)
    windows = np.prod([len(nb08.starts(*axis)) for axis in zip(SIZE, PATCH, walkthrough_stride(PATCH))])
    assert counts.shape == SIZE and counts.min() >= 1 and counts[0, 0, 0] == 1
    assert counts.sum() == windows * np.prod(PATCH)


def test_eight_opinions_are_turned_back():
    class Bright(torch.nn.Module):  # sees each voxel alone, so that every opinion must be the same
        def forward(self, x):
            return torch.cat([-x, x], 1)

    image = np.random.default_rng(0).normal(size=(8, 8, 4)).astype(np.float32)
    opinions = nb11.eight_opinions(Bright(), image)
    assert opinions.shape == (8, 8, 8, 4)
    np.testing.assert_allclose(opinions, np.broadcast_to(1 / (1 + np.exp(-2 * image)), opinions.shape), rtol=1e-5)
    assert nb11.eight_opinions(Bright(), image[:6]).shape == (4, 6, 8, 4)


def test_entropy_is_of_the_mean():
    assert nb11.binary_entropy(np.array([[0.0, 1.0, 0.5], [1.0, 1.0, 0.5]])) == pytest.approx([1, 0, 1], abs=1e-5)


def test_a_mask_takes_away_what_it_says():
    entropy, wrong = [np.array([0.1, 0.6, 0.9, 1.0])], [np.array([True, False, True, True])]
    gap = [np.array([0.0, 1.0, 1.0, 2.0])]
    assert nb11.masked_out(entropy, wrong, gap, 0.7) == {
        "voxels": 0.5, "errors": pytest.approx(2 / 3), "consistency loss": 0.75}


def test_half_an_atrium_shows_the_ways_of_measuring():
    label = nb08.ball()
    half = label & (np.indices(label.shape)[0] < 20)
    found = nb08.five_metrics(half, label)
    assert found["HD95 MONAI"] > found["HD95 pooled"]
    assert found["ASD label→prediction"] > 2 * found["ASD prediction→label"]
    assert set(nb08.five_metrics(label, label).values()) == {1.0, 0.0}


def test_the_forest_says_what_is_missing():
    rows = [compare.of_values("a", {0: 0.1, 1: 0.12}), compare.of_values("b", {0: 0.1}),
            Difference("c", {}, np.nan, np.inf, "not recorded yet")]
    texts = [text.get_text() for text in nb09.forest(rows).axes[0].texts]
    assert "+0.100, one seed" in texts and "not recorded yet" in texts and any(t.startswith("+0.110 ±") for t in texts)


def test_published_results_have_both_splits():
    assert set(read.published().labelled) == {"25 of 123", "8 of 80", "16 of 80", "80 of 80"}
    assert read.published("25 of 123").dice.tolist() == ["88.35", "90.28"]


def test_noise_of_a_checkpoint_is_what_cases_add_to_a_difference():
    chance = np.random.default_rng(0)
    many = table({"MT": [0.7] * 30}, cases=50)
    many["dice"] += 0.05 * chance.normal(size=len(many))  # independent for student and teacher
    assert nb08.checkpoint_noise(many) == pytest.approx(0.05 / np.sqrt(50), rel=0.1)
    assert nb08.checkpoint_noise(table({"MT": [0.70, 0.74, 0.69]})) == pytest.approx(0, abs=1e-12)


def test_the_best_of_many_on_the_test_set_flatters():
    found = SimpleNamespace(**{name.split()[-2]: value for name, value in nb08.choose(27, 0.0, 0.01).items()})
    # with no drift: the expected maximum of 27 normals is 2.00 standard deviations, and the choice is worth nothing
    assert found.test == pytest.approx(0.0200, abs=3e-4)
    assert max(abs(found.truly), abs(found.validation), abs(found.last)) < 3e-4
    with_drift = nb08.choose(27, 0.01, 0.01)
    assert with_drift["chosen on the test cases"] > with_drift["what that one is truly worth"] > 0.005
    assert nb08.choose(1, 0.0, 0.01)["chosen on the test cases"] == pytest.approx(0, abs=3e-4)
