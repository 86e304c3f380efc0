"""Lines of code on a page: how long they are, and how many stand in a cell."""

import inspect
import re
import textwrap
from pathlib import Path

import nbformat
import pytest
from notebook_cells import module_of

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
WIDEST, MOST = 100, 25  # characters that fit beside JupyterLab's file browser at 1280 pixels; lines a cell


def too_wide(text):
    return [line for line in text.splitlines() if len(line) > WIDEST]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_no_line_of_code_leaves_its_cell(path):
    """Of cells, of what source(...) shows, and of the answers that a page tells the reader to show with it."""
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert not [line for cell in cells for line in too_wide(cell.source)]
    shown = [output.data["text/plain"] for cell in cells for output in cell.outputs
             if "highlight" in output.get("data", {}).get("text/html", "")]
    assert bool(shown) == any(re.search(r"^source\(", cell.source, re.M) for cell in cells)
    page = module_of(path)
    answers = [textwrap.dedent(inspect.getsource(getattr(page, check).reference)) for cell in notebook.cells
               for check in re.findall(r"source\((check_\w+)\.reference\)", cell.source)]
    assert not [line for text in shown + answers for line in too_wide(text)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_cell_is_read_at_once(path):
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]
    assert not [source for source in cells if len(source.splitlines()) > MOST]
