"""The pictures of README.md and data/recorded/README.md: what is stored is what their command makes."""

import re

import numpy as np
import pytest
from PIL import Image

import figures

NAMES = ["hero.png", "results.png", "labels.png"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("figures")
    figures.main(["--output", str(folder)])
    return folder


@pytest.mark.parametrize("name", NAMES)
def test_the_stored_picture_is_what_the_command_makes(made, name):
    new, stored = (Image.open(folder / name).convert("L") for folder in (made, figures.REPO / "figures"))
    assert new.size == stored.size, "run `make figures`"
    # Coarsely, so that a font's rounding on another machine is no difference
    new, stored = (np.asarray(image.resize((160, 80)), float) for image in (new, stored))
    assert np.corrcoef(new.ravel(), stored.ravel())[0, 1] > 0.98, "stale: run `make figures`"
    assert (figures.REPO / "figures" / name).stat().st_size < 300_000


@pytest.mark.parametrize("page, names", [("README.md", ["hero.png", "labels.png"]),
                                         ("data/recorded/README.md", ["results.png", "labels.png", "public.png"])])
def test_a_readme_shows_it_and_says_what_is_seen(page, names):
    path = figures.REPO / page
    shown = re.findall(r"!\[([^]]+)\]\(([^)]+)\)", path.read_text(encoding="utf-8"))
    assert [(path.parent / link).resolve() for _, link in shown] == [figures.REPO / "figures" / name for name in names]
    assert all(80 < len(words) < 600 and "\n\n" not in words for words, _ in shown)


def test_the_most_realistic_complete_record_is_shown(monkeypatch):
    monkeypatch.setattr(figures, "missing_runs", lambda record: [])
    monkeypatch.setattr(figures, "load_metrics", lambda record: record)
    monkeypatch.setattr(figures.compare, "arm_rows", lambda table, labels: [table, labels])
    monkeypatch.setattr(figures, "arm_comparison", lambda rows, **more: rows)
    assert figures.results() == ["half", 8]
    monkeypatch.setattr(figures, "missing_runs", lambda record: ["MT"] if record == "half" else [])
    assert figures.results() == ["quick", 4]
