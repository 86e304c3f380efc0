"""What stores the notebooks leaves a whole one, whatever happens."""

import sys
from pathlib import Path

import nbformat
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))
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
        with pytest.raises(OSError, match="No space left"):
            run_notebooks.execute(path)
    assert path.read_bytes() == before and [p.name for p in tmp_path.iterdir()] == ["a.ipynb"]
    assert run_notebooks.execute(path) == [] and path.read_bytes().endswith(b"}\n")
