"""What notebooks 08 and 10 measure: windows as MONAI cuts them, the control, uncertainty and masks."""

import numpy as np
import pytest
import torch

from laseg_lib.course import pages_08_10 as page
from laseg_lib.inference import walkthrough_stride
from laseg_lib.records import statistics as compare
from laseg_lib.records.statistics import Difference

SIZE, PATCH = (50, 40, 19), (32, 32, 16)


def test_the_windows_are_those_of_the_sliding_window():
    from monai.inferers import sliding_window_inference

    seen = []
    volume = torch.arange(np.prod(SIZE), dtype=torch.float32).reshape(1, 1, *SIZE)

    def note(x):
        seen.extend(int(window[0, 0, 0, 0]) for window in x)
        return x

    overlap = [1 - (stride + 1e-3) / size for stride, size in zip(walkthrough_stride(PATCH), PATCH)]
    sliding_window_inference(volume, PATCH, 4, note, overlap=overlap)
    xs, ys, zs = (page.starts(*axis) for axis in zip(SIZE, PATCH, walkthrough_stride(PATCH)))
    assert sorted(seen) == sorted(int(volume[0, 0, x, y, z]) for x in xs for y in ys for z in zs)


def test_the_overlap_counts_every_window_once():
    counts = page.overlap_map(SIZE, PATCH)
    windows = np.prod([len(page.starts(*axis)) for axis in zip(SIZE, PATCH, walkthrough_stride(PATCH))])
    assert counts.shape == SIZE and counts.min() >= 1 and counts[0, 0, 0] == 1
    assert counts.sum() == windows * np.prod(PATCH)


def test_eight_opinions_are_turned_back():
    class Bright(torch.nn.Module):  # sees each voxel alone, so that every opinion must be the same
        def forward(self, x):
            return torch.cat([-x, x], 1)

    image = np.random.default_rng(0).normal(size=(8, 8, 4)).astype(np.float32)
    opinions = page.eight_opinions(Bright(), image)
    assert opinions.shape == (8, 8, 8, 4)
    np.testing.assert_allclose(opinions, np.broadcast_to(1 / (1 + np.exp(-2 * image)), opinions.shape), rtol=1e-5)
    assert page.eight_opinions(Bright(), image[:6]).shape == (4, 6, 8, 4)


def test_entropy_is_of_the_mean():
    assert page.binary_entropy(np.array([[0.0, 1.0, 0.5], [1.0, 1.0, 0.5]])) == pytest.approx([1, 0, 1], abs=1e-5)


def test_a_mask_takes_away_what_it_says():
    entropy, wrong = [np.array([0.1, 0.6, 0.9, 1.0])], [np.array([True, False, True, True])]
    gap = [np.array([0.0, 1.0, 1.0, 2.0])]
    assert page.masked_out(entropy, wrong, gap, 0.7) == {
        "voxels": 0.5, "errors": pytest.approx(2 / 3), "consistency loss": 0.75}


def test_half_an_atrium_shows_the_ways_of_measuring():
    label = page.ball()
    half = label & (np.indices(label.shape)[0] < 20)
    found = page.five_metrics(half, label)
    assert found["HD95 MONAI"] > found["HD95 pooled"]
    assert found["ASD label→prediction"] > 2 * found["ASD prediction→label"]
    assert set(page.five_metrics(label, label).values()) == {1.0, 0.0}


def test_the_forest_says_what_is_missing():
    rows = [compare.of_values("a", {0: 0.1, 1: 0.12}), compare.of_values("b", {0: 0.1}),
            Difference("c", {}, np.nan, np.inf, "not recorded yet")]
    texts = [text.get_text() for text in page.forest(rows).axes[0].texts]
    assert "+0.100, one seed" in texts and "not recorded yet" in texts and any(t.startswith("+0.110 ±") for t in texts)


def test_published_results_have_both_splits():
    assert set(compare.published().labelled) == {"25 of 123", "8 of 80", "16 of 80", "80 of 80"}
    assert compare.published("25 of 123").dice.tolist() == ["88.35", "90.28"]
