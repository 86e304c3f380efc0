"""Progress on the page: it counts, says when it was stopped, and leaves nothing that a stored notebook would keep."""

from types import SimpleNamespace

import pytest

from laseg_lib.figures.progress import Progress, counted


def test_it_counts_and_gives_the_items():
    seen, line = [], Progress(3, "patient", every=0)
    with line as at:
        for number in range(1, 4):
            at(number)
            seen.append((line.words.value, line.bar.value))
    assert seen == [("patient 1 of 3", 1), ("patient 2 of 3", 2), ("patient 3 of 3", 3)]
    assert list(counted("abc", "letter")) == ["a", "b", "c"]


def test_an_interrupt_goes_through_and_is_said():
    line = Progress(9, "iteration", every=0)
    with pytest.raises(KeyboardInterrupt), line as at:
        at(4)
        raise KeyboardInterrupt
    assert line.words.value == "iteration 4 of 9, stopped"


def test_only_the_live_view_is_displayed(monkeypatch):
    got = []
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace())
    monkeypatch.setattr("IPython.display.display", lambda data, raw=False: got.append(data))
    with Progress(2, "iteration"):
        pass
    assert [set(data) for data in got] == [{"application/vnd.jupyter.widget-view+json"}]


def test_what_is_done_at_once_shows_no_line(monkeypatch):
    shown = []
    show = "laseg_lib.figures.viewer.LiveLine.show_live"
    monkeypatch.setattr(show, lambda line: shown.append(line.children[1].value))
    list(counted(range(3), "phantom", patience=3600))
    assert shown == []
    list(counted(range(3), "phantom"))
    assert shown == ["phantom 0 of 3"]
