"""Settings: the walkthrough's names and defaults, and a sentence for each that can't work."""

import json
import re

import pytest

from laseg_lib.config import ARMS, WALKTHROUGH_RECIPE, TrainConfig
from laseg_lib.data.volumes import with_split
from laseg_lib.errors import LasegError


def test_the_walkthroughs_defaults():
    config = TrainConfig()
    assert (config.model, config.exp, config.max_iterations, config.batch_size, config.labeled_bs) == ("MT",
        "vnet", 6000, 4, 2)
    assert (config.base_lr, config.ema_decay, config.seed, config.deterministic) == (0.01, 0.99, 1337, 1)
    assert (config.consistency_type, config.consistency, config.consistency_rampup) == ("mse", 0.1, 40.0)
    assert config.patch_size == (112, 112, 80) and config.n_filters == 16 and config.ramp_every == 150
    assert config.normalization == "batchnorm" and config.has_dropout


def test_the_seed_recipe_is_the_walkthroughs_bugs_and_nothing_else():
    config, right = TrainConfig(**WALKTHROUGH_RECIPE), TrainConfig()
    assert (config.flip_probability, config.walkthrough_offsets, config.teacher_mode, config.ema_buffers) == (1.0,
        True, "train", "keep")
    differ = {name for name, value in config.to_dict().items() if value != right.to_dict()[name]}
    assert differ == set(WALKTHROUGH_RECIPE)


@pytest.mark.parametrize("arm, labelled, unlabelled", [
    ("supervised", 2, 0), ("supervised_equal", 4, 0), ("lambda0", 2, 2), ("MT", 2, 2)])
def test_the_volumes_of_a_batch(arm, labelled, unlabelled):
    config = TrainConfig(model=arm)
    assert (config.labelled_in_batch, config.unlabeled_bs) == (labelled, unlabelled) and arm in ARMS


@pytest.mark.parametrize("settings, message", [
    ({"model": "UAMT"}, "--model must be one of supervised.*MT; got 'UAMT'"),
    ({"consistency_type": "l1"}, "--consistency_type must be one of mse, kl"),
    ({"precision": "fp16"}, "--precision must be one of auto, fp32, bf16"),
    ({"teacher_mode": "asleep"}, "--teacher_mode"), ({"ema_buffers": "mean"}, "--ema_buffers"),
    ({"noise_on": "student"}, "--noise_on"), ({"normalization": "layernorm"}, "--normalization"),
    ({"cache": "disk"}, "--cache"),
    ({"batch_size": 0}, "--batch_size must be at least 1; got 0"), ({"max_iterations": 0}, "--max_iterations"),
    ({"labeled_bs": 0}, "--labeled_bs"), ({"downsample": 0}, "--downsample"), ({"ramp_every": 0}, "--ramp_every"),
    ({"val_every": 0}, "--val_every"), ({"save_every": -1}, "--save_every"), ({"n_filters": 0}, "--n_filters"),
    ({"labeled_bs": 5}, "--labeled_bs 5 is more than --batch_size 4"),
    ({"base_lr": -0.1}, "--base_lr"), ({"base_lr": float("nan")}, "--base_lr"), ({"ema_decay": 1.5}, "--ema_decay"),
    ({"consistency": -1.0}, "--consistency"), ({"flip_probability": 2.0}, "--flip_probability"), ({"seed": -1},
        "--seed"),
])
def test_a_setting_that_cannot_work_is_named(settings, message):
    with pytest.raises(LasegError, match=message):
        TrainConfig(**settings)


@pytest.mark.parametrize("patch, near", [
    ((100, 112, 80), "(96, 112, 80)"), ((112, 112, 82), "(112, 112, 80)"), ((4, 40, 1), "(16, 32, 8)"), ((0,
        16, 8), "(16, 16, 8)"),
    ((-16, 16, 8), "(16, 16, 8)")])
def test_a_patch_that_does_not_divide_is_told_one_that_does(patch, near):
    with pytest.raises(LasegError, match=rf"--patch_size.*16, 16 and 8; {re.escape(near)} is possible"):
        TrainConfig(patch_size=patch)


@pytest.mark.parametrize("patch", [(16, 16), (16, 16, 8, 8)])
def test_a_patch_has_three_sides(patch):
    with pytest.raises(LasegError, match="patch_size"):
        TrainConfig(patch_size=patch)


@pytest.mark.parametrize("settings, split", [
    ({}, (15, 76, 4)), ({"labelnum": 8}, (8, 76, 4)), ({"labelnum": 8, "max_samples": 80}, (8, 80, 0)),
    ({"max_samples": 60}, (12, 60, 4)), ({"max_samples": 78}, (15, 78, 2)), ({"val_num": 10}, (14, 70, 10)),
    ({"model": "supervised", "labelnum": 76}, (76, 76, 4))])
def test_the_split_of_80_cases(settings, split):
    config = with_split(TrainConfig(**settings), 80)
    assert (config.labelnum, config.max_samples, config.val_num) == split
    assert with_split(config, 80) == config


@pytest.mark.parametrize("settings, message", [
    ({"labelnum": 80, "max_samples": 80},
     "--labelnum 80 of --max_samples 80 leaves fewer unlabelled.*lower --labelnum.*supervised"),
    ({"labelnum": 79, "max_samples": 80}, "leaves fewer unlabelled"),
    ({"labelnum": 90}, "--labelnum 90 of --max_samples 76"),
    ({"labelnum": 90, "model": "supervised"}, "--labelnum 90"),
    ({"labelnum": 1}, "--labelnum 1 is fewer than the 2 labelled.*raise --labelnum"),
    ({"labelnum": 3, "model": "supervised_equal"}, "--labelnum 3 is fewer than the 4"),
    ({"labelnum": 0}, "--labelnum 0 is fewer"),
    ({"max_samples": 123}, "names 80 cases: --max_samples 123.*at most 80"), ({"max_samples": 0}, "--max_samples 0"),
    ({"max_samples": 78, "val_num": 4}, "--max_samples 78.*--val_num 4.*give two numbers whose sum is 80 or less"),
    ({"val_num": 80}, "80 cases"), ({"val_num": -1}, "80 cases"),
])
def test_a_split_that_cannot_work_is_told_with_its_numbers(settings, message):
    with pytest.raises(LasegError, match=message):
        with_split(TrainConfig(**settings), 80)


def test_it_goes_through_json_and_back():
    config = TrainConfig(root_path="x", patch_size=(32, 32, 16), labelnum=3)
    assert TrainConfig.from_dict(json.loads(json.dumps(config.to_dict()))) == config
    with pytest.raises(LasegError, match="dropout_p"):
        TrainConfig.from_dict({"dropout_p": 0.5})


@pytest.mark.parametrize("settings", [{"max_iterations": 10**400},
                                      {"patch_size": (16, 10**5000, 8)}, {"val_num": -10**99}])
def test_a_number_that_nobody_can_count_to_is_told(settings):
    with pytest.raises(LasegError, match=f"--{next(iter(settings))} must lie between -2\\^63 and 2\\^63"):
        TrainConfig(**settings)


def test_a_teacher_that_would_stay_blind_is_refused():
    """Kept buffers, in eval mode from the start: BatchNorm's first statistics for ever (InstanceNorm has none)."""
    with pytest.raises(LasegError, match="--teacher_mode eval.* Use --ema_buffers average"):
        TrainConfig(ema_buffers="keep", teacher_mode="eval")
    for fine in ({"teacher_mode": "train"}, {"normalization": "instancenorm"}, {"ema_buffers": "average"}):
        TrainConfig(**{"ema_buffers": "keep", "teacher_mode": "eval", **fine})
