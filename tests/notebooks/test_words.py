"""Words of a page: how many, how long its sentences are, and the three questions at its end."""

import re
from pathlib import Path

import nbformat
import pytest

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
QUESTIONS = "## Three questions"
MOST = {"09": 2500, "11": 2300, "12": 2500, "13": 1200, "14": 1500, "15": 1500}  # words; others 2,000
LONGEST, DECIMALS = 35, 4  # words a sentence, numbers with decimals a paragraph
ANSWER = r"<details><summary>(.+?)</summary>(Right|Wrong)\. (.+?)</details>"


def cells(path):
    """The Markdown of a page, without its questions."""
    cells = [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "markdown"]
    return [text for text in cells if not text.startswith(QUESTIONS)]


def plain(text):
    """Without addresses of links, formulas on lines of their own, code blocks and comments."""
    text = re.sub(r"\]\([^)]*\)", "]", text)
    return re.sub(r"\$\$.*?\$\$|```.*?```|<!--.*?-->", "", text, flags=re.S)


def paragraphs(text):
    """Prose: a list's items, a table's cells and the parts of a <details> are paragraphs of their own."""
    text = re.sub(r"<[^>]+>", "\n\n", plain(text))
    return [" ".join(part.split()) for part in re.split(r"\n\s*\n|\n(?=\s*(?:[-*]|\d+\.) )|\|", text)]


def sentences(paragraph):
    return re.split(r"(?<=[.!?:])[)*\"”’]*\s+(?=[(*\"“\[]*[A-ZÀ-Þ0-9`λα])", paragraph)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_is_short_and_so_are_its_sentences(path):
    text = [paragraph for cell in cells(path) for paragraph in paragraphs(cell)]
    assert len(plain("\n\n".join(cells(path))).split()) <= MOST.get(path.name[:2], 2000)
    assert not [sentence for paragraph in text for sentence in sentences(paragraph) if len(sentence.split()) > LONGEST]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_paragraph_has_few_numbers(path):
    crowded = [paragraph for cell in cells(path) for paragraph in paragraphs(re.sub(r"\$[^$]*\$", "", cell))
               if len(re.findall(r"\d\.\d", paragraph)) > DECIMALS]
    assert not crowded


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_words_that_stay_out(path):
    text = " ".join(cells(path))
    assert not re.findall(r"\bmend(?:s|ed|ing)?\b|\bdear\b", text, re.I)
    assert len(re.findall(r"(?:cannot|can't) be told from", text)) <= 1


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_page_ends_with_three_questions_that_answer_without_a_kernel(path):
    """Each has three answers or more, one of them right, every one with its reason; none is open beforehand."""
    last = [cell for cell in nbformat.read(path, as_version=4).cells][-2]
    assert last.cell_type == "markdown" and last.source.startswith(QUESTIONS)
    questions = re.split(r"^\*\*\d\. .+\?\*\*$", last.source, flags=re.M)[1:]
    assert len(questions) == 3
    for question in questions:
        answers = re.findall(ANSWER, question)
        assert len(answers) >= 3 and len(answers) == question.count("<details>") == question.count("</details>")
        assert [verdict for _, verdict, _ in answers].count("Right") == 1
        assert min(len(reason.split()) for *_, reason in answers) >= 3
        assert not re.search(r"[`$]", "".join(sum(answers, ()))), "in HTML, Markdown is not read"


def test_the_place_of_the_right_answer_gives_nothing_away():
    """Over the course it stands first, second and third about equally often."""
    places = [[verdict for _, verdict, _ in re.findall(ANSWER, part)].index("Right") for path in NOTEBOOKS
              for part in re.split(r"^\*\*\d\. ", nbformat.read(path, as_version=4).cells[-2].source, flags=re.M)[1:]]
    assert all(len(places) / 5 <= places.count(place) <= len(places) / 2 for place in range(3)), places


def test_long_sentences_are_seen():
    long = "One " + "word " * 35 + "more."
    assert [len(sentence.split()) for sentence in sentences(f"Short. {long} (Another one.)")] == [1, 37, 2]
    assert paragraphs("- a\n- b\n\n| c | d |\n$$x$$") == ["- a", "- b", "", "c", "d", ""]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_is_hidden_begins_a_paragraph(path):
    """Within a paragraph the hand-out would close <details> at once, and show the answer."""
    assert re.findall(r"(?m)^.*\S.*<details>", "\n\n".join(cells(path))) == []
