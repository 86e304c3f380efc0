"""Five made-up students are marked right, and nothing of theirs or ours is harmed."""

import csv
import json
import os
import shutil
import sys
from pathlib import Path

import marks
import nbformat
import notebook_cells
import pytest

ORIGINAL = Path(__file__).resolve().parents[2] / "notebooks" / "06_ramp_up.ipynb"
CHECKS = notebook_cells.module_of(ORIGINAL)
RIGHT = notebook_cells.solved(nbformat.read(ORIGINAL, as_version=4), CHECKS)
HALF = "def my_half(length, every):\n    return None"


def hand_in(folder, student, of=None, **answers):
    """Write a student's notebook 06, with these sources in the cells of the two exercises, starting from ``of``."""
    notebook = nbformat.from_dict(of or nbformat.read(ORIGINAL, as_version=4))
    for cell in notebook.cells:
        for name, answer in answers.items():
            if f"check_{name}(my_{name})" in cell.source:
                cell.source = f"{answer}\n\n\ncheck_{name}(my_{name})"
    (folder / student).mkdir(parents=True)
    nbformat.write(notebook, folder / student / ORIGINAL.name)


def table(path):
    with open(path, encoding="utf-8-sig", newline="") as file:
        return {(row["student"], row["exercise"].removeprefix("check_")): row for row in csv.DictReader(file)}


def mark(students, *options):
    out = students.parent / "marks.csv"
    assert marks.main([str(students), str(ORIGINAL), "--output", str(out), *options]) == 0
    return table(out)


def files(folder):
    return {path.relative_to(folder): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


# What a cell can try to break; each by itself, so that one that is refused doesn't spare the rest.
HARM = """
import ctypes, os, pathlib, shutil, socket, subprocess
def my_length(share, t):
    import h5py, numpy as np
    target = pathlib.Path({target!r})
    libc = lambda: ctypes.CDLL(None).unlink(os.fsencode(target / "06_ramp_up.ipynb"))
    for harm in (lambda: shutil.rmtree(target), lambda: (target / "06_ramp_up.ipynb").unlink(),
                 lambda: open(target / "06_ramp_up.ipynb", "w"), lambda: open(target / "new", "x"),
                 lambda: os.rename(target, str(target) + "_gone"), lambda: os.system(f"rm -rf {{target}}"),
                 lambda: subprocess.run(["rm", "-rf", str(target)]), lambda: get_ipython().system(f"rm -rf {{target}}"),
                 lambda: socket.create_connection(("127.0.0.1", 9), 1).sendall(b"x"), libc, {more}):
        try:
            harm()
        except Exception:
            pass
    np.save("own_copy_may_be_written.npy", np.zeros(2))
    return t / (1 - np.sqrt(-np.log(share) / 5))
"""
BEHIND_PYTHON = 'lambda: h5py.File(target / "06_ramp_up.ipynb", "w")'  # a C library asks no hook of Python's


@pytest.mark.slow
def test_five_students(tmp_path, capsys):
    students = tmp_path / "class"
    hand_in(students, "ann")
    hint, wrong = next(iter(CHECKS.check_half.mistakes.items()))
    hand_in(students, "ben", of=RIGHT, half="from laseg_lib.course.nb06_ramp_up import check_half as c\n"
            f"my_half = c.mistakes[{hint!r}]\nprint('Correct.')")
    hand_in(students, "cem", of=RIGHT, length="def my_length(share, t):\n    while True:\n        pass")
    walls = marks.walls_here()
    hand_in(students, "dee", of=RIGHT, length=HARM.format(target=str(students / "dee"),
                                                          more=BEHIND_PYTHON if walls else "int"))
    hand_in(students, "eve", of=RIGHT, length="def my_length(share, t):\n    return t / 0",
            half="def my_half(length, every):\n    raise SystemExit(length)")
    before = files(students)
    rows = mark(students, "--cell-seconds", "3")
    assert files(students) == before
    found = {key: (row["attempted"], row["correct"]) for key, row in rows.items()}
    no, yes, tried = ("no", "no"), ("yes", "yes"), ("yes", "no")
    assert found == {("ann", "length"): no, ("ann", "half"): no, ("ben", "length"): yes, ("ben", "half"): tried,
                     ("cem", "length"): tried, ("cem", "half"): yes, ("dee", "length"): yes, ("dee", "half"): yes,
                     ("eve", "length"): tried, ("eve", "half"): tried}
    assert rows["ben", "half"]["hint"] == f"Not yet. {hint}" and "more than 3 s" in rows["cem", "length"]["hint"]
    assert "ZeroDivisionError" in rows["eve", "length"]["hint"] and "SystemExit" in rows["eve", "half"]["hint"]
    said = capsys.readouterr().out
    assert "[5/5] eve" in said and "ben" in said.split("attempted  correct")[1]
    assert ("no network" in said) == walls


@pytest.mark.skipif(os.name != "posix", reason="the limits are those of POSIX")
def test_without_namespaces_python_itself_is_walled_and_memory_is_limited(tmp_path, monkeypatch):
    students = tmp_path / "class"
    monkeypatch.setattr(marks, "walls_here", lambda: False)
    hand_in(students, "dee", of=RIGHT, length=HARM.format(target=str(students / "dee"), more="int"),
            half="def my_half(length, every):\n    return len(bytearray(3 * 2**30))")
    before = files(students)
    rows = mark(students, "--gigabytes", "2")
    assert files(students) == before and rows["dee", "length"]["correct"] == "yes"
    if sys.platform == "linux":
        assert "MemoryError" in rows["dee", "half"]["hint"]


class NoKernel:
    def ask(self, *given):
        raise AssertionError("asked for")


def test_what_needs_no_kernel_starts_none(tmp_path, monkeypatch, capsys):
    students = tmp_path / "class"
    hand_in(students, "ann")
    hand_in(students, "=cmd()", half="def my_half(length, every:\n    return \x1b[31m")
    (students / "bob").mkdir()
    (students / "bob" / ORIGINAL.name).write_bytes(b"\xff not a notebook")
    (students / "\u202ecat").mkdir()
    (students / "\u202ecat" / "mine.ipynb").symlink_to(ORIGINAL)
    monkeypatch.setattr(marks, "walls_here", lambda: False)
    monkeypatch.setattr(marks.Kernel, "ask", NoKernel.ask)
    rows = mark(students)
    assert "Python can't read" in rows["'=cmd()", "half"]["hint"] and rows["'=cmd()", "half"]["attempted"] == "yes"
    assert "can't be read" in rows["bob", "half"]["hint"] and rows["\u202ecat", "half"]["hint"] == "No notebook."
    assert rows["ann", "length"]["hint"] == "Not attempted."
    said = capsys.readouterr().out
    assert "\\u202ecat" in said and "\u202e" not in said, "a folder's name steers no terminal"


def test_an_empty_class_is_told_so(tmp_path):
    with pytest.raises(SystemExit, match="holds no folder"):
        marks.main([str(tmp_path)])


def test_what_is_copied_is_small_and_of_the_student(tmp_path, monkeypatch):
    monkeypatch.setattr(marks, "LARGEST", 10)
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "small").write_text("x")
    (tmp_path / "a" / "large").write_text("x" * 11)
    (tmp_path / "a" / "link").symlink_to("/etc")
    shutil.copytree(tmp_path / "a", tmp_path / "b", ignore=marks.too_much)
    assert [path.name for path in (tmp_path / "b").iterdir()] == ["small"]


class Asked:
    """A kernel's place: the code that would be run."""
    code = None

    def ask(self, code, *_):
        Asked.code = code
        return "Correct."


@pytest.mark.parametrize("above, answer", [
    ("", "def my_half(length, every):\n    return half"), ("%%time\n", "def my_half(length, every):\n    return 7"),
    ("from math import *\n", "def my_half(length, every):\n    return sqrt(length)")])
def test_what_stands_in_the_cells_up_to_the_check_counts(above, answer, tmp_path, monkeypatch):
    students = tmp_path / "class"
    hand_in(students, "ann", half=above + answer)
    path = students / "ann" / ORIGINAL.name
    notebook = nbformat.read(path, as_version=4)
    at = next(i for i, cell in enumerate(notebook.cells) if "check_half(my_half)" in cell.source)
    notebook.cells.insert(at, nbformat.v4.new_code_cell("half = 0.5"))
    notebook.cells.insert(at + 2, nbformat.v4.new_code_cell("half = 0.9"))
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.pop("outputs", None), cell.pop("execution_count", None)
    path.write_text(json.dumps(notebook))
    monkeypatch.setattr(marks.Kernel, "ask", Asked.ask)
    assert mark(students)["ann", "half"]["correct"] == "yes"
    assert "0.9" not in Asked.code and "def my_half" in Asked.code
    assert ("half = 0.5" in Asked.code) == ("return half" in answer)
    assert ("from math import *" in Asked.code) == ("sqrt" in answer)


def test_of_two_copies_the_one_with_an_answer_counts(tmp_path, monkeypatch):
    students = tmp_path / "class"
    hand_in(students, "ann", half="def my_half(length, every):\n    return 7")
    path = students / "ann" / ORIGINAL.name
    path.rename(path.with_name(f"{path.stem}-Copy1.ipynb"))
    shutil.copy(ORIGINAL, path)
    monkeypatch.setattr(marks.Kernel, "ask", Asked.ask)
    row = mark(students)["ann", "half"]
    assert row["correct"] == "yes", row["hint"]


def test_a_folder_that_is_not_there_is_told(tmp_path):
    with pytest.raises(SystemExit, match="there is no such folder"):
        marks.main([str(tmp_path / "nobody")])
