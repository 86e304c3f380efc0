"""The learner's copy: no outputs, never written over once changed, brought up to date until then."""

import learners_copy
import nbformat
import pytest


@pytest.fixture
def folders(tmp_path):
    notebooks, copy = tmp_path / "notebooks", tmp_path / "copy"
    notebooks.mkdir()
    store(notebooks / "05_x.ipynb", "1 + 1")
    (notebooks / "GLOSSARY.md").write_text("words")
    return notebooks, copy


def store(path, source):
    cell = nbformat.v4.new_code_cell(source, execution_count=3, metadata={"tags": ["hide-input"]},
                                     outputs=[nbformat.v4.new_output("stream", text="the answer")])
    cell.id = "one"
    nbformat.write(nbformat.v4.new_notebook(cells=[cell]), path)


def read(path):
    return nbformat.read(path, as_version=4).cells[0]


def test_a_first_opening_shows_no_answer(folders):
    notebooks, copy = folders
    learners_copy.copy_all(notebooks, copy)
    cell = read(copy / "05_x.ipynb")
    assert (cell.source, cell.outputs, cell.execution_count) == ("1 + 1", [], None)
    assert cell.metadata.tags == ["hide-input"]
    assert (copy / "GLOSSARY.md").read_text() == "words"
    assert read(notebooks / "05_x.ipynb").outputs


def test_an_untouched_copy_follows_its_original(folders):
    notebooks, copy = folders
    learners_copy.copy_all(notebooks, copy)
    store(notebooks / "05_x.ipynb", "2 + 2")
    assert "1 files written" in learners_copy.copy_all(notebooks, copy)[0]
    assert read(copy / "05_x.ipynb").source == "2 + 2"


@pytest.mark.parametrize("forgotten", [False, True])
def test_a_changed_copy_is_kept_and_told_when_its_original_is_newer(folders, forgotten):
    notebooks, copy = folders
    learners_copy.copy_all(notebooks, copy)
    store(copy / "05_x.ipynb", "my own")
    assert len(learners_copy.copy_all(notebooks, copy)) == 1  # changed, but its original isn't newer
    store(notebooks / "05_x.ipynb", "2 + 2")
    if forgotten:  # without the record nobody knows what was changed: all of it may be
        (copy / learners_copy.MADE_FROM).write_text("{ broken")
    for _ in range(2):
        lines = learners_copy.copy_all(notebooks, copy)
        assert len(lines) == 2 and "05_x.ipynb: yours is kept" in lines[1]
    assert read(copy / "05_x.ipynb").source == "my own" and read(copy / "05_x.ipynb").outputs


def test_other_outputs_are_no_newer_original(folders):
    notebooks, copy = folders
    learners_copy.copy_all(notebooks, copy)
    store(copy / "05_x.ipynb", "my own")
    cell = nbformat.read(notebooks / "05_x.ipynb", as_version=4)
    cell.cells[0].outputs = []
    nbformat.write(cell, notebooks / "05_x.ipynb")
    assert len(learners_copy.copy_all(notebooks, copy)) == 1
