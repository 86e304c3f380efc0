"""What is shown as code runs: the examples of the core's docstrings, and the page about two dimensions."""

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
import torch

REPO = Path(__file__).resolve().parent.parent


@pytest.mark.parametrize("name", ["inference", "losses", "metrics", "ramps", "sampler", "transforms"])
def test_the_examples_of_the_docstrings(name):
    module = importlib.import_module(f"laseg_lib.{name}")
    done = doctest.testmod(module, extraglobs={"torch": torch, "np": np})
    assert done.attempted and not done.failed


def test_the_page_about_two_dimensions_runs_as_it_stands():
    blocks = re.findall(r"```python\n(.*?)```", (REPO / "TWO_DIMENSIONS.md").read_text(encoding="utf-8"), re.S)
    names = {}
    for block in blocks:
        exec(block, names)
    assert len(blocks) == 2 and names["steps"] == 60
    assert names["supervised"].item() == pytest.approx(0.1, abs=0.03)
    assert names["row"]["dice"] == pytest.approx(0.91, abs=0.02) and 0 < names["row"]["nsd"] <= 1
