"""The hand-out: pages that ask no network for anything, with their formulas, pictures and words in place."""

import re
from unittest import mock

import handout
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output

from laseg_lib.data.phantom import make_phantom
from laseg_lib.errors import LasegError
from laseg_lib.figures.pictures import STILL, bundle, to_png

PLOTLY = handout.PLOTLY
PIXEL = handout.base64.b64encode(to_png(np.full((2, 3, 3), 200, "uint8"))).decode()
SCENE = {PLOTLY: {"data": [{"type": "mesh3d", "name": "a </script> in a name"}], "layout": {"height": 321}},
         "image/png": PIXEL}
LIVE = [new_output("display_data", {"text/plain": "(Run this cell to bring the picture to life.)"}),
        new_output("display_data", bundle(handout.base64.b64decode(PIXEL), "Curves.", STILL))]
STORED = [handout.REPO / "notebooks" / name for name in ("01_left_atrium_data.ipynb", "10_atria_in_3d.ipynb")]


def small(path, *cells):
    """A notebook at `path`: a heading with a promise, then `cells`."""
    first = new_markdown_cell("# 99 · A page\n\n**After this page you know it.**")
    nbformat.write(new_notebook(cells=[first, *cells]), path)
    return path


def export(folder, *cells):
    with mock.patch.dict(handout.PROSE, clear=True):  # the READMEs take their time
        handout.write([small(folder / "small.ipynb", *cells)], folder / "out")
    return BeautifulSoup((folder / "out" / "small.html").read_text(encoding="utf-8"), "html.parser")


@pytest.mark.parametrize("cells", [[], [new_markdown_cell("Words.")], [new_code_cell("1")]])
def test_a_notebook_without_a_title_is_told(cells, tmp_path):
    nbformat.write(new_notebook(cells=cells), tmp_path / "x.ipynb")
    with pytest.raises(LasegError, match="x.ipynb: its first cell holds no title"):
        handout.write([tmp_path / "x.ipynb"], tmp_path / "out")


def test_a_title_may_come_without_a_promise():
    assert "| [A](a.html) |  |" in handout.contents({"a.html": new_notebook(cells=[new_markdown_cell("# A")])})


class Course(dict):
    folder = None


def course_file(course, name):
    return (course.folder / name).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def course(stored_handout):
    """{name: soup} of the pages made from the stored notebooks 01 and 10, and of the prose."""
    sources = *STORED, *(handout.REPO / path for path in handout.PROSE)
    names = ["index.html", *map(handout.page_name, sources)]
    assert {path.name for path in stored_handout.iterdir()} == {*names, "plotly.min.js", "style.css", "search.js",
                                                                 "page.js", "moving.js"}
    soups = Course((name, BeautifulSoup((stored_handout / name).read_text(encoding="utf-8"), "html.parser"))
                   for name in names)
    soups.folder = stored_handout
    return soups


def test_nothing_on_a_page_is_fetched_from_a_network(course):
    for name, soup in course.items():
        wanted = [tag.get("src") or tag.get("href") or tag.get("data") or tag.get("poster")
                  for tag in soup.select("script, link, img, iframe, source, video, audio, object, embed")]
        local = {link for link in wanted if link and not link.startswith("data:")}
        assert local <= {"style.css", "plotly.min.js", "search.js", "page.js", "moving.js"}, name
        code = " ".join(tag.get_text() for tag in soup.select("style, script:not([type])"))
        assert not re.search(r"https?:|@import|import\(|url\((?!['\"]?data:)", code), name
    for file in ("style.css", "page.js", "moving.js"):
        text = (handout.TEMPLATE / file).read_text(encoding="utf-8")
        assert not re.search(r"https?:|@import|import\(|url\(|fetch\(|XMLHttp", text)


def test_pages_stand_in_their_order_and_lead_on(course):
    names = list(course)
    assert names[:3] == ["index.html", "01_left_atrium_data.html", "10_atria_in_3d.html"]
    for at, name in enumerate(names):
        listed = [a["href"] for a in course[name].select(".pages a")]
        assert listed == names and course[name].select_one("[aria-current=page]")["href"] == name
        turn = {a["rel"][0]: a["href"] for a in course[name].select(".turn a")}
        assert turn.get("prev") == (names[at - 1] if at else None)
        assert turn.get("next") == (names[at + 1] if at + 1 < len(names) else None)


def test_the_index_of_the_search_leads_to_the_headings_and_holds_the_words(course):
    text = course_file(course, "search.js")
    pages = handout.json.loads(text.removeprefix("const PAGES = ").removesuffix(";"))
    assert {name for name, _, _ in pages} == set(course) and len(text) < 500_000
    for name, _, parts in pages:
        assert all(not anchor or course[name].find(id=anchor) for anchor, _, _ in parts)
    words = " ".join(text for name, _, parts in pages if name == "10_atria_in_3d.html" for _, _, text in parts)
    assert "marching cubes" in words and "bdata" not in words and "IntersectionObserver" not in words


HOSTILE = "<img src=x onerror=alert(1)> *b* [c](javascript:d) `e` $f$ _g_ & </script>"


def test_a_hostile_name_is_shown_as_it_is_wherever_it_comes_on_a_page(tmp_path, monkeypatch):
    import IPython.display
    import pandas as pd

    from laseg_lib.figures.meshes import atrium_scene, show_scene
    from laseg_lib.figures.pictures import show, show_table

    given = []
    monkeypatch.setattr(IPython.display, "display", lambda data, metadata=None, raw=False: given.append(
        new_output("display_data", data, metadata=metadata or {})))
    _, label = make_phantom(0, (24, 20, 12))
    show(np.full((2, 3, 3), 200, "uint8"), alt=f"The case {HOSTILE}.")
    show_scene(atrium_scene({"gold": label, HOSTILE: label}, 4.0, title=HOSTILE), alt=HOSTILE)
    show_table(pd.DataFrame({HOSTILE: [HOSTILE]}))
    soup = export(tmp_path, new_code_cell("show()", outputs=given))
    assert soup.img["alt"] == f"The case {HOSTILE}." and soup.select_one(".scene")["aria-label"] == HOSTILE
    assert soup.th.get_text() == soup.td.get_text() == HOSTILE
    assert soup.select_one(".jp-RenderedMarkdown em").get_text() == f"The case {HOSTILE}."
    assert not soup.select("[onerror], main a[href^='javascript'], em :is(strong, code, math, a)")
    numbers = handout.json.loads(soup.select_one("script[type='application/json']").string)
    escaped = HOSTILE.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    assert numbers["data"][1]["name"] == numbers["layout"]["title"]["text"] == escaped  # plotly's words are HTML


def test_every_link_leads_to_a_page_or_out_of_the_folder(course):
    for name, soup in course.items():
        for link in [a["href"] for a in soup.select("a[href]")]:
            page, _, anchor = link.partition("#")
            # 01 and 10 alone were written: links to their neighbours lost their target and are plain words
            assert re.match(r"https?:", link) or page in {"", *course}, f"{name}: {link}"
            if anchor and not re.match(r"https?:", link):
                assert course[page or name].find(id=anchor), f"{name}: {link}"
    assert course["index.html"].find("a", href="10_atria_in_3d.html")
    assert course["10_atria_in_3d.html"].find("a", href="index.html")


def test_the_pictures_of_the_readmes_come_along(course):
    for name, picture in (("README.html", "hero.png"), ("recorded_readme.html", "results.png")):
        stored = (handout.REPO / "figures" / picture).read_bytes()
        assert course[name].img["src"] == f"data:image/png;base64,{handout.base64.b64encode(stored).decode()}"
        assert len(course[name].img["alt"]) > 80


def test_formulas_are_mathml_and_no_tex_is_left(course):
    for path in STORED:
        soup = course[handout.page_name(path)]
        prose = "\n".join(c.source for c in nbformat.read(path, as_version=4).cells if c.cell_type == "markdown")
        assert len(soup.find_all("math")) == len(re.findall(r"\$\$.+?\$\$|\$[^$\n]+\$", prose, re.S)) > 1
        words = " ".join(cell.get_text() for cell in soup.select(".jp-MarkdownCell, .jp-RenderedMarkdown"))
        assert not re.search(r"\$|\\[a-z]+", words)


def test_a_prime_is_not_raised_twice(tmp_path):
    formula = export(tmp_path, new_markdown_cell(r"$\theta'_t$")).math
    assert "′" in formula.get_text() and formula.msub and not formula.msubsup


@pytest.mark.parametrize("path", STORED, ids=lambda path: path.stem)
def test_every_picture_is_there_with_its_words(course, path):
    soup = course[handout.page_name(path)]
    stored = [told for cell in nbformat.read(path, as_version=4).cells for output in cell.get("outputs", [])
              if (told := stored_picture(output))]
    pictures = soup.select("main img, main figure.slices")
    assert len(pictures) == len(stored) > 3
    for picture, (source, alt, _) in zip(pictures, stored):
        assert len(picture.get("alt") or picture["aria-label"]) > 20
        if "moving" not in picture.parent.get("class", []) + picture.get("class", []):
            assert picture["src"] == source and picture["alt"] == alt
    assert [tag["aria-label"] for tag in soup.select(".scene")] == [alt for _, alt, scene in stored if scene]


def stored_picture(output):
    """(source, words, whether it is a scene's) of the picture that a notebook's output holds; None for others."""
    data = output.get("data", {})
    if PLOTLY in data:
        return f"data:image/png;base64,{data['image/png'].strip()}", output.metadata["image/png"]["alt"], True
    image = BeautifulSoup(data.get("text/html", ""), "html.parser").img
    return (image["src"], image["alt"], False) if image else None


def test_an_output_is_what_it_was(tmp_path):
    table = new_output("display_data", {"text/html": "<table><tr><td>0.7</td></tr></table>", "text/plain": "0.7"})
    printed = new_output("stream", name="stdout", text="a < b\n")
    soup = export(tmp_path, new_code_cell("print('a < b')", outputs=[printed, table, *LIVE]))
    assert soup.td.get_text() == "0.7" and "a < b" in soup.get_text()
    assert soup.img["alt"] == "Curves." and "bring the picture to life" not in soup.get_text()
    assert "moves" in soup.select_one(".note").get_text()  # and the reader is told that it is a still


def test_a_scene_is_data_for_the_script_that_lies_beside(tmp_path):
    soup = export(tmp_path, new_code_cell("scene", outputs=[new_output("display_data", SCENE)]))
    numbers = handout.json.loads(soup.select_one("script[type='application/json']").string)
    assert numbers == SCENE[PLOTLY]
    assert "321px" in soup.select_one(".scene")["style"] and soup.select_one("script[src='plotly.min.js']")
    assert (tmp_path / "out" / "plotly.min.js").stat().st_size > 1e6
    assert not export(tmp_path, new_code_cell("1")).select("script[src='plotly.min.js']")  # the others don't load it


def test_code_that_is_folded_in_jupyterlab_is_folded_here(tmp_path):
    folded = new_code_cell("plot()", metadata={"jupyter": {"source_hidden": True}})
    soup = export(tmp_path, folded, new_code_cell("learn()"))
    assert [d.pre.get_text().strip() for d in soup.select("main details")] == ["plot()"]
    assert "learn()" in soup.get_text()


def test_what_is_folded_in_a_page_stays_folded(tmp_path):
    cell = new_markdown_cell("<details><summary>Answer</summary>\n\nIt is *4*.\n\n</details>\n\nNext.")
    soup = export(tmp_path, cell)
    folded = soup.select_one("main details")
    assert folded.em.get_text() == "4" and "Next." not in folded.get_text()


def test_the_command_writes_what_it_is_told(tmp_path, capsys):
    handout.main([str(small(tmp_path / "small.ipynb")), "--output", str(tmp_path / "stick")])
    assert (tmp_path / "stick" / "index.html").exists() and "index.html" in capsys.readouterr().out
    index = (tmp_path / "stick" / "index.html").read_text(encoding="utf-8")
    assert "99 · A page" in index and "After this page you know it." in index


def test_what_a_teacher_adds_to_a_page_is_shown(tmp_path):
    """A pasted picture, a figure of plotly's without a still, and a formula that can't become MathML."""
    png = "iVBORw0KGgo="
    pasted = new_markdown_cell("![a](attachment:a.png) and $x_1_2$", attachments={"a.png": {"image/png": png}})
    bare = {PLOTLY: {"data": [{"y": [1, 2], "type": "scatter"}], "layout": {}}}
    soup = export(tmp_path, pasted, new_code_cell("figure", outputs=[new_output("display_data", bare)]))
    assert png in soup.find("img", alt="a")["src"] and "x_1_2" in soup.get_text()
    assert soup.select_one(".scene") and not soup.select_one("img.still")
