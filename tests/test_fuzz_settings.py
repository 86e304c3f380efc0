"""Thousands of settings and command lines: each works, or gives a LasegError or one line on the terminal."""
# ruff: noqa: F401, F811  (fixtures come by import)

import io
import json
import os
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
import torch
from fuzzing import fuzz, no_input_hangs, place, root, trained, values
from hypothesis import example, given
from hypothesis import strategies as st

from laseg_lib import cli
from laseg_lib.config import TrainConfig
from laseg_lib.data import download, phantom, prepare
from laseg_lib.data.volumes import with_split
from laseg_lib.errors import LasegError
from laseg_lib.training import Trainer

NAMES = [field.name for field in fields(TrainConfig)]
odd = st.one_of(values.filter(lambda value: not isinstance(value, torch.Tensor)), st.sampled_from(
    ["MT", "supervised", "supervised_equal", "lambda0", "kl", "cuda", "batchnorm", "instancenorm", 16, 0.5, 2.0, -1,
     (16, 16, 8), [32, 32, 16], "161608", Path("x"), b"x", {1}, np.float32(0.5), np.int64(3), np.ones(3), 10**400]))


@fuzz(2000)
@given(values=st.dictionaries(st.sampled_from([*NAMES, "more"]), odd, max_size=5), cases=st.integers(0, 90))
@example(values={"seed": -1}, cases=10)
@example(values={"seed": 2**64}, cases=10)
@example(values={"base_lr": float("nan")}, cases=10)
@example(values={"batch_size": 2.5}, cases=10)
@example(values={"model": []}, cases=10)
@example(values={"patch_size": "abc"}, cases=10)
@example(values={"patch_size": 5}, cases=10)
@example(values={"patch_size": (0, 0, 0)}, cases=10)
@example(values={"labelnum": -1}, cases=10)
@example(values={"labelnum": "8"}, cases=10)
@example(values={"patch_size": (16, 16, 8), "normalization": "instancenorm"}, cases=10)
def test_settings_of_any_kind(values, cases):
    try:
        config = with_split(TrainConfig.from_dict(values), cases)
    except LasegError:
        return
    told = config.to_dict()
    assert TrainConfig.from_dict(json.loads(json.dumps(told))) == config
    assert 0 < config.labelled_in_batch <= config.labelnum <= config.max_samples <= cases


WORDS = ["phantom", "fetch", "prepare", "train", "evaluate", "--help", "-h", "--", "--resume", "--gpu", "--recipe",
         "--csv", "x", "", "-1", "0", "1", "2", "16", "1e3", "nan", "MT", "seed", "last.pth", "\udcff", "ä ö", "-",
         "--model=MT", "--unheard", "a\nb", *(f"--{name}" for name in NAMES)]
SOUND = {"labelnum": ["3"], "batch_size": ["2"], "labeled_bs": ["1"], "patch_size": ["16", "16", "8"],
         "n_filters": ["1"],
         "device": ["cpu"], "val_num": ["0"]}
SETTINGS = [name for name in NAMES if name not in ("snapshot_path", "root_path", "max_iterations", "patch_size")]
numbers = st.sampled_from(["-1", "0", "1", "2", "3", "16", "1000000", "0.5", "nan", "inf", "x", "", "1e400", "-0.1"])
options = st.one_of(
    st.tuples(st.sampled_from(SETTINGS), st.lists(numbers, max_size=2)),
    st.tuples(st.just("patch_size"),
              st.lists(st.sampled_from(["16", "32", "8", "0", "-16", "1600000", "x"]), max_size=4)),
    st.tuples(st.just("model"), st.sampled_from([["supervised"], ["MT"], ["lambda0"], ["x"]])),
    st.tuples(st.just("device"), st.sampled_from([["cuda"], ["cuda:9"], ["cpu"], ["meta"], ["\udcff"], ["cpu:1"]])),
    st.tuples(st.just("normalization"), st.sampled_from([["none"], ["instancenorm"], ["groupnorm"], ["x"]])),
    st.tuples(st.sampled_from(["recipe", "resume", "gpu", "weights", "window", "csv", "downsample", "split",
                               "unheard"]),
              st.lists(st.sampled_from(["seed", "fast", "whole", "1", "0", "x", "teacher", ""]), max_size=1)))


def words(pairs):
    return [word for name, values in pairs for word in (f"--{name}", *values)]


def one_line_or_success(argv):
    """Run it; a failure is a single line, not a stack trace."""
    out, err = io.StringIO(), io.StringIO()
    try:
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.main(argv)
    except SystemExit as stop:
        code = stop.code
    assert code in (0, 1, 2), argv
    told = [line for line in err.getvalue().splitlines() if "it/s" not in line and "WARNING" not in line]
    if code:
        assert told and told[-1].startswith("laseg") and "Traceback" not in err.getvalue(), (argv, told)
    return code


@pytest.fixture
def inside(place, monkeypatch):
    """In the folder, with what takes long or needs a network away."""
    def no_network(*args, **options):
        raise LasegError("no network here")

    monkeypatch.chdir(place)
    monkeypatch.setattr(download, "fetch", no_network)
    monkeypatch.setattr(prepare, "prepare", no_network)
    monkeypatch.setattr(phantom, "write_phantoms", no_network)
    monkeypatch.setattr(Trainer, "run", lambda self: self.step())


@fuzz(1200)
@given(argv=st.lists(st.sampled_from(WORDS), max_size=8))
@example(argv=["phantom", "phantom", "a\nb"])
def test_command_lines_of_any_words(inside, argv):
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    one_line_or_success(argv)
    assert os.environ.get("CUDA_VISIBLE_DEVICES") == before or "--gpu" in argv


@fuzz(250)
@given(pairs=st.lists(options, min_size=1, max_size=3))
@example(pairs=[("seed", ["-1"])])
@example(pairs=[("patch_size", ["1600000", "1600000", "1600000"])])
@example(pairs=[("n_filters", ["1000000"])])
@example(pairs=[("downsample", ["16"])])
@example(pairs=[("normalization", ["instancenorm"])])
@example(pairs=[("normalization", ["groupnorm"])])
@example(pairs=[("device", ["meta"])])
@example(pairs=[("base_lr", ["inf"])])
@example(pairs=[("exp", ["\udcff"])])
def test_trainings_with_odd_settings(inside, root, pairs):
    sound = words((name, value) for name, value in SOUND.items())
    one_line_or_success(["train", "--root_path", str(root), "--max_iterations", "1", *sound, *words(pairs)])


@fuzz(150)
@given(pairs=st.lists(options, max_size=3))
def test_evaluations_with_odd_settings(inside, root, trained, pairs):
    torch.save(trained[1], "last.pth")
    one_line_or_success(["evaluate", "last.pth", "--root_path", str(root), "--window", "fast", *words(pairs)])
