"""What stores the notebooks leaves a whole one, whatever happens."""

import os
import sys
from pathlib import Path

import nbformat
import pytest

from laseg_lib.errors import LasegError

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
import learners_copy  # noqa: E402
import notebook_cells  # noqa: E402
import run_notebooks  # noqa: E402


class NothingToDo:
    def __init__(self, *arguments, **options):
        pass

    def execute(self):
        pass


def test_a_full_disk_leaves_the_notebook_of_before(tmp_path, monkeypatch):
    def full(self, *arguments, **options):
        self.open("wb").close()  # emptied, and nothing written
        raise OSError(28, "No space left on device")

    path = tmp_path / "a.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("1")]), path)
    before = path.read_bytes()
    monkeypatch.setattr(run_notebooks, "NotebookClient", NothingToDo)
    with monkeypatch.context() as patch:
        patch.setattr(Path, "write_bytes", full)
        with pytest.raises(LasegError, match="No space left"):
            run_notebooks.execute(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.ipynb"]
    assert run_notebooks.execute(path) == [] and path.read_bytes().endswith(b"}\n")


@pytest.mark.parametrize("data", [
    b"", b"hello", bytes(99), b"[1]", b"{}", b"null", b"[" * 100_000, b'{"nbformat": ' + b"9" * 5000 + b"}",
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": "x"}',
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [1]}',
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"cell_type": "code"}]}',
    b'{"nbformat": 99, "nbformat_minor": 5, "metadata": {}, "cells": []}'])
def test_what_is_no_notebook_is_told_in_a_line(data, tmp_path, capsys):
    path = tmp_path / "a.ipynb"
    path.write_bytes(data)
    with pytest.raises(LasegError, match=r"a\.ipynb: not a notebook"):
        notebook_cells.read_notebook(path)
    nbformat.write(nbformat.v4.new_notebook(cells=[]), tmp_path / "b.ipynb")
    assert run_notebooks.main(["--check", str(path), str(tmp_path / "b.ipynb")]) == 1
    assert capsys.readouterr().err.count("\n") == 1


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="a system without pipes")
def test_a_pipe_in_place_of_a_notebook_does_not_hang(tmp_path, capsys):
    for folder in ("notebooks", "learn"):
        (tmp_path / folder).mkdir()
    nbformat.write(nbformat.v4.new_notebook(cells=[]), tmp_path / "notebooks" / "a.ipynb")
    for name in ("notebooks/b.ipynb", "notebooks/b.md", "learn/a.ipynb", "learn/.made_from.json"):
        (tmp_path / name).unlink(missing_ok=True)
        os.mkfifo(tmp_path / name)
        status = learners_copy.main(["--notebooks", str(tmp_path / "notebooks"), "--copy", str(tmp_path / "learn")])
        assert (status or 0) == int("made_from" not in name), capsys.readouterr().err
        (tmp_path / name).unlink(missing_ok=True)


def test_a_stored_picture_has_words():
    def told(data, **metadata):
        output = nbformat.v4.new_output("display_data", data, metadata=metadata)
        return list(run_notebooks.cell_problems(nbformat.v4.new_code_cell("x", outputs=[output], execution_count=1)))

    words = "Two lines that cross in the middle."
    assert told({"image/png": "AAAA"}, **{"image/png": {"alt": words}}) == []
    assert told({"text/html": f'<img class="a" alt="{words}" src="data:image/png;base64,/home/AAAA">'}) == []
    for output in ({"image/png": "AAAA"}, {"text/html": '<img src="x">'}, {"text/html": '<p>a</p><img alt="short">'}):
        assert "without words" in told(output)[0]
