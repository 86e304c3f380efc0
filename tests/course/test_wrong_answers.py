"""Wrong answers that a class has given or may give: none is called correct, and no hint names another mistake."""

import math

import numpy as np
import pytest
import torch
from test_exercises import EXERCISES

from laseg_lib.losses import segmentation_loss, softmax_mse_loss
from laseg_lib.metrics import dice_of


def corners(vertices, triangles):
    return (vertices[triangles[:, n]] for n in range(3))


def mixed_axes(vertices, triangles):
    a, b, c = corners(vertices, triangles)
    return 0.5 * np.linalg.norm(np.cross(b - a, c - a), axis=0).sum()


def herons_without_root(vertices, triangles):
    a, b, c = corners(vertices, triangles)
    x, y, z = (np.linalg.norm(side, axis=1) for side in (b - a, c - b, a - c))
    half = (x + y + z) / 2
    return (half * (half - x) * (half - y) * (half - z)).sum()


def flips_both(label, prediction):
    flipped = [dice_of(np.flip(label, axis), np.flip(prediction, axis)) for axis in range(3)]
    scores = [dice_of(label, prediction), *flipped]
    return int(np.argmax(scores)) - 1


def flips_the_label(label, prediction):
    return [dice_of(np.flip(label, axis), prediction) for axis in range(3)]


def first_that_is_better(label, prediction):
    flipped = flips_the_label(label, prediction)
    return next((axis for axis in range(3) if flipped[axis] > dice_of(label, prediction)), -1)


def places_not_numbers(indices, n, seed):
    rng = np.random.default_rng(seed)
    return np.concatenate([rng.permutation(len(indices)) for _ in range(n)])[:n]


def repeats_in_the_last_pass(indices, n, seed):
    rng, rest = np.random.default_rng(seed), n % len(indices)
    passes = [rng.permutation(indices) for _ in range(n // len(indices))]
    return np.concatenate([*passes, np.repeat(indices[0], rest)])


def step_is_the_last_stride(layers):
    seen, step = 1, 1
    for kernel, stride in layers:
        seen, step = seen + (kernel - 1) * step, stride
    return seen


def cross(vertices, triangles):
    a, b, c = corners(vertices, triangles)
    return np.cross(b - a, c - a)


def bits(p):
    return -(p * np.log2(p) + (1 - p) * np.log2(1 - p))


def medians_of_folds(folds):
    return float(np.median(folds, axis=1).mean()), 0.0


# (check, what is handed in, a word of the verdict that helps)
WRONG = [
    ("check_area", mixed_axes, "axis=1"),
    ("check_area", herons_without_root, "should be"),
    ("check_area", lambda v, t: len(t) / 2, "should be"),
    ("check_side", lambda p, i, o, d: round((p / o / i) ** (1 / d)), "biases"),
    ("check_side", lambda p, i, o, d: 3, "for every case"),
    ("check_side", lambda p, i, o, d: math.ceil(((p / o) / i) ** (1 / d)), "should be"),
    ("check_receptive_field", lambda layers: 1 + sum(k * s for k, s in layers), "should be"),
    ("check_receptive_field", lambda layers: sum(k for k, _ in layers), "should be"),
    ("check_padded_size", lambda size, d: tuple(math.ceil(side / d[0]) * d[0] for side in size), "should be"),
    ("check_newest", lambda n, alpha: (1 - alpha) ** n, "(1 - α) to the power n"),
    ("check_newest", lambda n, alpha: 1 - math.exp(-n), "should be"),
    ("check_half_way", lambda alpha: round(1 / (1 - alpha) / 2), "of what is left of the way"),
    ("check_teacher", lambda students, alpha: list(np.cumsum(students) / np.arange(1, len(students) + 1)), "for ever"),
    ("check_places", lambda size, patch: math.prod(s // p for s, p in zip(size, patch)), "side by side"),
    ("check_places", lambda size, patch: 1, "for every case"),
    ("check_ml", lambda label, mm: 4 / 3 * math.pi * (label > 0).sum() * mm / 1000, "should be"),
    ("check_flipped", flips_both, "the label alone"),
    ("check_flipped", lambda label, p: max(range(3), key=lambda axis: dice_of(np.flip(label, axis), np.flip(p, axis))),
     "flip both"),
    ("check_coin", lambda share: 0.5, "for every case"),
    ("check_coin", lambda share: 1 - share, "should be"),
    ("check_strongest", lambda q: 1 - q, "should be"),
    ("check_consistency", lambda s, t: ((s.softmax(1) - t.detach().softmax(1)).abs()).mean(), "should be"),
    ("check_consistency", lambda s, t: ((s.softmax(2) - t.detach().softmax(2)) ** 2).mean(), "should be"),
    ("check_length", lambda share, t: t * share, "should be"),
    ("check_half", lambda length, every: length * every, "should be"),
    ("check_windows", lambda size, patch, stride: math.prod(s // k for s, k in zip(size, stride)), "should be"),
    ("check_mean", lambda cases: float(np.median([(h or 0) * mm for h, _, mm in cases])), "should be"),
    ("check_loss", lambda s, t, y, n, w: segmentation_loss(s[:n], y[:n])[0] + w * softmax_mse_loss(s[n:], t[n:]) / 2,
     "should be"),
    ("check_headroom", lambda c, m, top: (m - np.mean(c)) / (top - np.mean(c)), "should be"),
    ("check_entropy", lambda p: -np.log2(np.clip(p.mean(0), 1e-7, 1)), "should be"),
    ("check_by_fold", lambda gains, each: (np.mean(gains), 0.0), "should be"),
    ("check_paired", lambda a, b: (np.mean(a) - np.mean(b), np.std(np.subtract(a, b))), "should be"),
    ("check_visits", lambda n, a, b, k, s: (n // a, n * s / a, n * (k - s) / b), "should be"),
    ("check_endless", lambda indices, n, seed: sorted(indices * n)[:n], "should be"),
    ("check_mask_ml", lambda mask, mm: float(mask.sum() * np.mean(mm) ** 3 / 1000), "should be"),
    ("check_share", lambda indices, rank, world: list(indices)[rank:], "should be"),
    ("check_link", lambda p, n, seconds, share: 4 * p / seconds / 1e9, "should be"),
    ("check_borders", lambda line, side: (int(np.argmax(line)) * side, int(np.argmax(line)) * side), "should be"),
    ("check_endless", places_not_numbers, "at these places"),
    ("check_endless", repeats_in_the_last_pass, "a pass holds every volume once"),
    ("check_side", lambda p, i, o, d: round(((p / i - 1) / o) ** (1 / d)), "changed places"),
    ("check_side", lambda p, i, o, d: round(((p - i) / o / i) ** (1 / d)), "changed places"),
    ("check_side", lambda p, i, o, d: round(((p - 1) / o / i) ** (1 / d)), "not one for the whole layer"),
    ("check_order", lambda: {"backward", "optimizer", "zero_grad", "ema"}, "in a list"),
    ("check_area", lambda v, t: np.abs(cross(v, t)).sum(), "half of the parallelogram"),
    ("check_area", lambda v, t: np.linalg.norm(cross(v, t)) / 2, "should be"),
    ("check_headroom", lambda c, m, top: (m - max(c)) / (top - max(c)) if top >= max(c) else np.nan, "as high as"),
    ("check_headroom", lambda c, m, top: (m - max(c)) / (top - max(c)) if top > max(c) else 0.0, "should be nan"),
    ("check_entropy", lambda p: bits(np.clip(np.median(p, axis=0), 1e-7, 1 - 1e-7)), "the mean"),
    ("check_entropy", lambda p: bits(p.mean(axis=0)), "nan"),
    ("check_by_fold", lambda gains, each: medians_of_folds(np.reshape(gains, (-1, each))), "the mean should be"),
    ("check_flipped", lambda label, p: 0, "0 each time"),
    ("check_flipped", lambda label, p: int(np.argmax([dice_of(label, p), *flips_the_label(label, p)])), "subtract 1"),
    ("check_flipped", first_that_is_better, "the best of all four"),
    ("check_link", lambda p, n, seconds, share: 4 * (n - 1) / n * p * share / (seconds * (1 - share)) / 1e9, "4 bytes"),
    ("check_share", lambda indices, rank, world: list(np.array_split(indices, world)[rank]), "every `world`-th"),
    ("check_ml", lambda label, mm: int((label > 0).sum() * mm**3) // 1000, "should be"),
    ("check_places", lambda size, patch: math.prod(max(b - a, 0) + 1 for a, b in zip(size, patch)), "should be"),
    ("check_visits", lambda n, a, b, k, s: (-(-n // (a // s)), n * s / a, n * s / b), "the number of epochs"),
    ("check_receptive_field", step_is_the_last_stride, "should be"),
    ("check_padded_size", lambda size, d: tuple(-side % k for side, k in zip(size, d)), "should be"),
    ("check_coin", lambda share: share / (0.5 + share), "should be"),
    ("check_strongest", lambda q: (q + 0.5) / 2, "should be"),
    ("check_half_way", lambda alpha: math.ceil(math.log(0.5) / math.log(alpha) - 1e-9) - 1, "round up"),
    ("check_teacher", lambda students, alpha: [0.0, *students[:-1]], "should be"),
    ("check_newest", lambda n, alpha: 1 - alpha ** (n - 1), "should be"),
    ("check_length", lambda share, t: t / (1 + math.sqrt(-math.log(share) / 5)), "should be"),
    ("check_half", lambda length, every: every * math.ceil(length * (1 - math.log(2) / 5)), "should be"),
    ("check_loss", lambda s, t, y, n, w: (1 - w) * segmentation_loss(s[:n], y[:n])[0] + w * softmax_mse_loss(s, t),
     "should be"),
    ("check_windows", lambda size, patch, stride: sum(1 + math.ceil(max(s - p, 0) / k)
                                                      for s, p, k in zip(size, patch, stride)), "should be"),
    ("check_mean", lambda cases: float(np.mean([hd95 for hd95, *_ in cases if hd95 is not None])), "These are voxels"),
    ("check_paired", lambda a, b: tuple(-x for x in EXERCISES["check_paired"].reference(a, b)), "the mean should be"),
    ("check_confident", lambda p: EXERCISES["check_confident"].reference([np.mean(p)]), "should be"),
    ("check_mask_ml", lambda mask, mm: float(mask.sum() * sum(mm) / 1000), "should be"),
    ("check_mask_ml", lambda mask, mm: float(np.prod(np.ptp(np.argwhere(mask), axis=0) + 1) * np.prod(mm) / 1000),
     "should be"),
]


@pytest.mark.parametrize(("name", "attempt", "word"), WRONG)
def test_a_wrong_answer_is_no_correct_one_and_its_verdict_helps(name, attempt, word):
    verdict = EXERCISES[name].verdict(attempt)
    assert verdict.startswith("Not yet") and word in verdict, verdict


def test_a_plain_zero_or_one_is_no_sign_of_another_mistake():
    verdict = EXERCISES["check_places"].verdict(lambda size, patch: 0 if 72 in size else 7)
    assert "should be" in verdict and "Trap 2" not in verdict


def test_a_tensor_of_one_answer_for_all_is_told_so():
    verdict = EXERCISES["check_coin"].verdict(lambda share: torch.tensor(0.5))
    assert "0.5 for every case" in verdict
