"""The minutes that the course states: the same in every place, and what its words take to read."""

import re
from pathlib import Path

import nbformat
import pytest

REPO = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((REPO / "notebooks").glob("*.ipynb"))
A_MINUTE = 120  # words, in a language that isn't one's own, with a look at code and pictures


def prose(path):
    return "\n\n".join(cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown")


def words(text):
    """Without exercises, whose time is stated by itself, without the questions, and without where links lead."""
    text = re.sub(r"^#+ (Exercise|Three questions).*?(?=^#|\Z)", "", text, flags=re.S | re.M)
    return len(re.sub(r"\]\([^)]*\)", "]", text).split())


def in_table(text, path):
    """The minutes in the row of the table of ``text`` that links to a notebook, as it is written."""
    (row,) = [line for line in text.splitlines() if line.startswith("|") and f"{path.name})" in line]
    (minutes,) = [cell.strip() for cell in row.split("|")[2:] if re.fullmatch(r" \d+( \(\d+\))? ", cell)]
    return minutes


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_minutes_are_the_same_everywhere_and_what_the_words_take(path):
    text = prose(path)
    stated = int(re.search(r"(\d+) minutes", text)[1])
    readme, guide = ((REPO / name).read_text(encoding="utf-8") for name in ("README.md", "notebooks/INSTRUCTOR.md"))
    assert in_table(readme, path) == str(stated)
    if path is not NOTEBOOKS[0]:
        assert in_table(prose(NOTEBOOKS[0]), path) == str(stated)
    alone, in_class = map(int, re.findall(r"\d+", in_table(guide, path)))
    exercises = len(re.findall(r"^#+ Exercise", text, re.M))
    assert alone == stated and 2 * exercises <= in_class - alone <= 20
    assert 0.75 <= stated / (words(text) / A_MINUTE) <= 1.75, f"{words(text)} words"
