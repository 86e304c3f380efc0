"""What notebook 02 draws says what it was given."""

import os
import warnings
from pathlib import Path

import nbformat
from torch.utils.data import DataLoader

from laseg_lib.course.nb02_two_stream_sampler import draw_visits

NOTEBOOK = Path(__file__).resolve().parents[2] / "notebooks" / "02_two_stream_sampler.ipynb"


def test_draw_visits_says_how_many_were_never_seen():
    figure = draw_visits({1: 2, 2: 0}, {1: 1, 2: 1}, ("left", "right"))
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["never seen: 1", "never seen: 0"]


def test_two_workers_on_one_core_leave_no_warning_with_a_path(monkeypatch):
    cells = nbformat.read(NOTEBOOK, as_version=4).cells
    lines = [line for cell in cells for line in cell.source.splitlines() if line.startswith("warnings.filterwarnings")]
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {0}, raising=False)
    told = []
    for filters in ([], lines):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            exec("\n".join(filters), {"warnings": warnings})
            DataLoader([1], num_workers=2)
        told.append(len(caught))
    assert told == [1, 0]
