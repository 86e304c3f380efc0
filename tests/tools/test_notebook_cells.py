"""The answer key is filled in right, and what an exercise needs is found, in the notebooks as they are."""

from pathlib import Path

import nbformat
import notebook_cells
import pytest
import solutions
from nbformat.v4 import new_code_cell, new_notebook

from laseg_lib.course.exercise import Exercise
from laseg_lib.errors import LasegError

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
WITH_EXERCISES = [path for path in NOTEBOOKS if notebook_cells.attempts(nbformat.read(path, as_version=4))]


def exercises(path):
    module = notebook_cells.module_of(path)
    return {name for name, value in vars(module).items() if isinstance(value, Exercise)
            and value.reference.__module__ in (module.__name__, "laseg_lib.losses")}


def test_every_exercise_is_found_in_its_notebook():
    for path in NOTEBOOKS:
        assert set(notebook_cells.attempts(nbformat.read(path, as_version=4))) == exercises(path), path.name


@pytest.mark.parametrize("path", WITH_EXERCISES, ids=lambda path: path.stem)
def test_our_answers_stand_in_the_cells_and_are_correct_with_what_they_need(path, capsys):
    """Only the cells that the exercises need are run here; `make solutions` runs all of them."""
    filled = notebook_cells.solved(nbformat.read(path, as_version=4), notebook_cells.module_of(path))
    for check, name in notebook_cells.attempts(filled).items():
        space = {}
        exec("\n".join(notebook_cells.needed_by(name, notebook_cells.code_of(filled))), space)
        verdict = getattr(notebook_cells.module_of(path), check).verdict(space[name])
        assert verdict.startswith("Correct"), (check, verdict)


def test_untouched_cells_need_nothing_but_themselves():
    sources = ["import math, numpy as np\nbig = load()", "def helper(x):\n    big = x\n    return math.floor(big)",
               "print(big)", "%matplotlib inline\ndef my_x(a):\n    return helper(a) + later(a)\n\n\ncheck_x(my_x)",
               "def later(a):\n    return [np for np in a]", "my_x = ("]
    assert [code.split("\n")[0] for code in notebook_cells.needed_by("my_x", sources)] == [
        "import math, numpy as np", "def helper(x):", "def my_x(a):", "def later(a):"]
    with pytest.raises(SyntaxError):
        notebook_cells.needed_by("my_x", sources[-1:])
    assert notebook_cells.needed_by("my_y", sources) == []


def test_a_key_that_is_wrong_is_named(tmp_path):
    cell = new_code_cell("check_ml(my_ml)", outputs=[nbformat.v4.new_output("stream", text="Not yet.")])
    nbformat.write(new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    assert list(solutions.wrong(tmp_path / "a.ipynb")) == ["check_ml says of our own answer: Not yet."]


def test_the_key_is_written_without_the_old_outputs_and_with_the_glossary(tmp_path):
    path = solutions.write([NOTEBOOKS[6]], tmp_path / "key")[0]
    cells = nbformat.read(path, as_version=4).cells
    cell = next(cell for cell in cells if "check_half(my_half)" in cell.source)
    assert cell.source.startswith("def my_half(length, every):\n") and "return None" not in cell.source
    assert not any(cell.get("outputs") for cell in cells) and (tmp_path / "key" / "GLOSSARY.md").exists()


@pytest.mark.parametrize("name", ["05_x", "a.b", "\u202e", ""])
def test_a_notebook_of_somebody_elses_has_no_checks(name):
    with pytest.raises(LasegError, match="no notebook of the course is called so"):
        notebook_cells.module_of(Path(f"{name}.ipynb"))
