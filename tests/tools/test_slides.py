"""The slides of the four notebooks that carry a talk: what is on them, and that none is overlong."""

import re

import nbformat
import pytest
import slides
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

TALK = [slides.REPO / "notebooks" / f"{name}.ipynb" for name in slides.TALK]


def length(slide):
    """(letters of prose, lines of code and of printed words, pictures) to be seen on a slide."""
    prose = "".join(slides.for_a_talk(cell.source) for cell in slide if cell.cell_type == "markdown")
    prose = re.sub(r"<details>.*?</details>", "", prose, flags=re.S)
    code = [cell for cell in slide if cell.cell_type == "code"]
    seen = [cell for cell in code if not cell.metadata.get("jupyter", {}).get("source_hidden")]
    lines = sum(cell.source.count("\n") + 1 for cell in seen)
    outputs = [output for cell in code for output in cell.outputs]
    printed = sum(output.text.count("\n") for output in outputs if output.output_type == "stream")
    return len(prose), lines + printed, sum(
        "image/png" in output.get("data", {}) or "<img" in output.get("data", {}).get("text/html", "")
        for output in outputs)


@pytest.mark.parametrize("path", TALK, ids=lambda path: path.stem)
def test_every_cell_has_its_place_and_no_slide_is_overlong(path):
    notebook = nbformat.read(path, as_version=4)
    kinds = [slides.slide_type(cell) for cell in notebook.cells]
    assert all("slideshow" in cell.metadata for cell in notebook.cells) and set(kinds) <= {"slide", "-", "skip"}
    assert kinds[0] == "slide" and len(slides.slides_of(notebook)) >= 5
    for slide in slides.slides_of(notebook):
        prose, lines, pictures = length(slide)
        assert prose <= 1200 and lines <= 26 and pictures <= 1, (slide[0].source[:60], prose, lines, pictures)
        shown = "".join(slides.for_a_talk(cell.source) for cell in slide)
        assert shown.strip() and not re.search(r"^check_\w+\(|^#+ Exercise|^# imports|GLOSSARY.md", shown, re.M)


def test_a_page_of_slides_has_a_section_a_slide_and_asks_for_no_network(tmp_path):
    def kind(cell, name):
        cell.metadata["slideshow"] = {"slide_type": name}
        return cell

    picture = new_output("display_data", {"text/html": "<b>table</b>"})
    cells = [kind(new_markdown_cell("[on](05.ipynb) · [glossary](GLOSSARY.md)\n\n# 99 · A page\n\n$x^2$"), "slide"),
             kind(new_code_cell("import this"), "skip"), kind(new_code_cell("seen()", outputs=[picture]), "-"),
             kind(new_markdown_cell("## Two\n\nText. [Link](06.ipynb)\n\n### Exercise 1\n\nDo it."), "subslide"),
             new_code_cell("folded()", metadata={"jupyter": {"source_hidden": True}})]
    nbformat.write(new_notebook(cells=cells), tmp_path / "99_page.ipynb")
    slides.main([str(tmp_path / "99_page.ipynb"), "--output", str(tmp_path / "out")])
    soup = BeautifulSoup((tmp_path / "out" / "99_page.html").read_text(encoding="utf-8"), "html.parser")
    first, second = soup.select("main > section.slide")
    assert first.h1 and first.math and first.b and "seen" in first.get_text() and "glossary" not in first.get_text()
    assert second.h2 and "Link" in second.get_text() and not second.a.get("href", "").startswith("06")
    assert not re.search("import this|folded|Do it", soup.get_text())
    local = [tag.get("src") or tag.get("href") for tag in soup.select("script[src], link[href], img[src]")]
    assert all((tmp_path / "out" / name).exists() for name in local) and "slides.js" in local
    index = BeautifulSoup((tmp_path / "out" / "index.html").read_text(encoding="utf-8"), "html.parser")
    assert index.find("a", href="99_page.html") and not index.select("#search, script[src]")
