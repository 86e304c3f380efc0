"""Cells that train, in any order of runs and interrupts: the page shows what is so."""

import signal
from dataclasses import replace
from pathlib import Path

import nbformat
import pytest

from laseg_lib.course import CourseData
from laseg_lib.training import Trainer

NOTEBOOKS = Path(__file__).resolve().parents[2] / "notebooks"
SHORT = dict(patch_size=(32, 32, 16), n_filters=2, has_dropout=False, labelnum=2, max_samples=6, val_num=2,
             labeled_bs=1, batch_size=2, precision="fp32", device="cpu", val_every=18, max_iterations=36)


class Page:
    """The code cells of a notebook, run one by one as by hand; each is found by words that it holds."""

    def __init__(self, name, data):
        self.cells = [cell.source for cell in nbformat.read(NOTEBOOKS / f"{name}.ipynb", 4).cells
                      if cell.cell_type == "code"]
        self.names = {}
        self.run("from laseg_lib.training import Trainer")
        self.names["course_data"] = lambda: data

    def run(self, *words):
        cell, = (cell for cell in self.cells if all(word in cell for word in words))
        exec(cell, self.names)


@pytest.fixture
def data(phantom_root):
    return CourseData(phantom_root, False, SHORT)


@pytest.fixture
def press(monkeypatch):
    """press(n): the interrupt comes during the n-th step from now."""
    left, step = [0], Trainer.step

    def stepped(trainer):
        left[0] -= 1
        if left[0] == 0:
            signal.raise_signal(signal.SIGINT)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", stepped)
    return lambda n: left.__setitem__(0, n)


def test_07_says_what_is_so_in_any_order(data, press, capsys):
    page = Page("07_train_mean_teacher", data)
    names = page.names | {"data": data}
    page.names = names
    config = names["TrainConfig"](root_path=str(data.root), **SHORT)
    names |= {"config": config, "trainer": Trainer(config)}
    page.run("max_iterations // 3")  # to 12
    press(8)
    with pytest.raises(KeyboardInterrupt, match="8 of 12"):
        names["trainer"] = Trainer(config)
        page.run("max_iterations // 3")
    page.run("max_iterations // 3")  # as the page says: interrupt it, run it again
    assert names["trainer"].iteration == 12 and len(names["live"].history) == 12
    page.run("what you should see", "consistency_weight")
    assert "stopped after iteration 12 of 36" in capsys.readouterr().out
    page.run("impatient")
    said = capsys.readouterr()
    assert "stopped after iteration 32" in said.out and "now at iteration 32 of 36" in said.out and said.err == ""
    page.run("max_iterations // 3")  # an earlier cell once more
    assert names["trainer"].iteration == 32 and len(names["live"].history) == 32
    page.run("    train(trainer, callback=live)")
    page.run("    train(trainer, callback=live)")
    assert names["trainer"].iteration == 36 and len(names["live"].history) == 36  # not "no values yet"
    page.run("impatient")
    assert "now at iteration 36 of 36" in capsys.readouterr().out


def test_00_begins_anew(data, press, capsys):
    page = Page("00_start_here", CourseData(data.root, False, SHORT | {"max_samples": 4}))
    page.names["course_data"] = lambda: CourseData(data.root, False, SHORT)
    page.cells = [cell.replace("max_iterations=150", "max_iterations=12") for cell in page.cells]
    press(5)
    with pytest.raises(KeyboardInterrupt, match="5 of 12"):
        page.run("LiveCurves(")
    page.run("LiveCurves(")
    assert page.names["trainer"].iteration == 12 and len(page.names["live"].history) == 12
    assert capsys.readouterr().err == ""


def test_05_and_06_draw_what_is_there(data, press, capsys):
    page = Page("05_ema_teacher", data)
    press(15)
    page.cells = [cell.replace("max_iterations=240", "max_iterations=20").replace("labelnum=8", "labelnum=2")
                  for cell in page.cells]
    with pytest.raises(KeyboardInterrupt):
        page.run("teachers = {rule")
    for words in ("draw_teachers", "mean of the last 8", "what you should see is what is there:\", *map"):
        page.run(words)
    assert "stopped after iteration 1" in capsys.readouterr().out
    page = Page("06_ramp_up", data)
    page.names["course_data"] = lambda: SimpleData(data)
    press(4)
    with pytest.raises(KeyboardInterrupt):
        page.run("trainers = {}")
    page.run("draw_collapse")
    page.run("what you should see", "early")
    assert "stopped after iteration 4 of 36" in capsys.readouterr().out


class SimpleData:
    """Course data whose trainings are as short as these tests', whatever the cell asks for."""

    def __init__(self, data):
        self.data = data

    def config(self, **changes):
        return replace(self.data.config(**changes), max_iterations=36)
