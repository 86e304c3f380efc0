#!/usr/bin/env python3
"""For readers without Jupyter: the executed course as one folder of HTML, without a network; `make handout`.

    python tools/handout.py                                  the whole course
    python tools/handout.py --output /media/stick/laseg      somewhere else
    python tools/handout.py notebooks/05_ema_teacher.ipynb   some of the notebooks

The same folder is the course's web site: any static host, or none, serves it. It has a search over an index
written here, a light and a dark page, a list of pages, previous and next, and alternative texts.
Jupyter Book 2 and MyST aren't used: these pages open from a USB stick, theirs need a web server (mystmd's issues 188
and 950). They have no slice viewer, and no scenes without a network.

Formulas become MathML, which every browser since 2023 shows. Everything that moves stays alive: scenes by
plotly.js, from plotly's own package, which lies beside the pages; sliders, curves and slice viewers by moving.py.
"""

import argparse
import base64
import json
import mimetypes
import re
import sys
from pathlib import Path

import moving
import nbformat
from bs4 import BeautifulSoup
from jinja2 import pass_context
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbconvert.filters.markdown_mistune import IPythonRenderer, MarkdownWithMath
from nbconvert.preprocessors import Preprocessor
from notebook_cells import read_notebook
from plotly.offline import get_plotlyjs
from pygments.formatters import HtmlFormatter

from laseg_lib.data.atomic import write_whole
from laseg_lib.errors import LasegError
from laseg_lib.figures.meshes import PLOTLY
from laseg_lib.figures.names import in_html
from laseg_lib.figures.pictures import STILL
from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent
TEMPLATE = Path(__file__).resolve().parent / "handout_template"
SCRIPT = "plotly.min.js"
PROSE = {"notebooks/GLOSSARY.md": "Glossary", "notebooks/INSTRUCTOR.md": "Teaching with these notebooks",
         "README.md": "About LASeg", "data/README.md": "Data", "data/recorded/README.md": "Recorded runs"}
WAS_LIVE = '<p class="note">A still. In JupyterLab this picture moves.</p>'


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    parser.add_argument("--output", type=Path, default=REPO / "build" / "handout")
    args = parser.parse_args(argv)
    notebooks = args.notebooks or sorted((REPO / "notebooks").glob("*.ipynb"))
    pages = write(notebooks, args.output)
    size = sum(path.stat().st_size for path in args.output.iterdir())
    print(f"{len(pages)} pages, {size / 1e6:.0f} MB: open {args.output / 'index.html'}")


def write(notebooks, folder):
    """Convert ``notebooks`` (paths) and the course's prose into ``folder``; returns the pages' names."""
    folder.mkdir(parents=True, exist_ok=True)
    read = [(path, read_page(path)) for path in notebooks]  # first: a path that can't be read may not resolve
    sources = {path.resolve(): notebook for path, notebook in read}
    sources |= {REPO / path: prose((REPO / path).read_text(encoding="utf-8")) for path in PROSE}
    names = {path: page_name(path) for path in sources}
    index = prose(contents({names[path.resolve()]: sources[path.resolve()] for path in notebooks}))
    sources = {REPO / "index": index} | sources
    pages = [("index.html", "Contents"), *((names[path], heading(sources[path])) for path in names)]
    searched = []
    for path, (name, title) in zip(sources, pages):
        text = page(sources[path], path, names, pages, name)
        write_whole(folder / name, text)
        searched.append([name, title, sections(text)])
    write_whole(folder / "search.js", f"const PAGES = {json.dumps(searched, ensure_ascii=False)};")
    for script in ("page.js", "moving.js"):
        write_whole(folder / script, (TEMPLATE / script).read_bytes())
    write_whole(folder / SCRIPT, get_plotlyjs())
    write_whole(folder / "style.css", style())
    return [name for name, _ in pages]


def style():
    """The pages' CSS, with the colours of code for light and dark pages."""
    light, dark = (HtmlFormatter(style=name, nobackground=True) for name in ("default", "github-dark"))
    return "\n".join([(TEMPLATE / "style.css").read_text(encoding="utf-8"), light.get_style_defs(".highlight"),
                      dark.get_style_defs(["[data-theme=dark] .highlight", "[data-theme=dark] .output_html"])])


def sections(text):
    """What the search looks through: [anchor, heading, words] of each part of a page, from heading to heading."""
    found = [["", "", []]]
    for piece in BeautifulSoup(text, "html.parser").main.descendants:
        if piece.name in ("h1", "h2", "h3", "h4") and piece.get("id"):
            found.append([piece["id"], piece.get_text().removesuffix("¶").strip(), []])
        elif isinstance(piece, str) and not {"script", "style", "h1", "h2", "h3", "h4"} & {
                parent.name for parent in piece.parents}:
            found[-1][2].append(piece)
    return [[anchor, title, " ".join("".join(words).split())] for anchor, title, words in found if title or words]


def page_name(path):
    """notebooks/05_ema_teacher.ipynb → 05_ema_teacher.html; a README is named after its folder."""
    return (f"{path.parent.name}_readme" if path.name == "README.md" and path.parent != REPO else path.stem) + ".html"


def prose(text):
    """A notebook of one cell."""
    return nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(text)])


def page(notebook, path, names, pages, here, bare=False):
    """The HTML of the notebook at ``path``.  ``names``: {source: name of its page}, for links.  ``pages``:
    (name, title) of all pages in order.  ``here``: this page's name.  ``bare``: without search and list."""
    exporter = Pages(template_name=TEMPLATE.name, extra_template_basedirs=[str(TEMPLATE.parent)])
    exporter.names = names
    exporter.register_preprocessor(Alive, enabled=True)
    at = [name for name, _ in pages].index(here)
    around = [*pages, None]  # None before the first and after the last
    return exporter.from_notebook_node(notebook, {
        "metadata": {"name": heading(notebook), "path": str(path.parent)}, "pages": pages, "here": here, "bare": bare,
        "before": around[at - 1], "after": around[at + 1], "stem": Path(here).stem})[0]


def heading(notebook):
    """The title that a page opens with; None where it opens without one."""
    found = re.search(r"^# (.+)", notebook.cells[0].source if notebook.cells else "", re.M)
    return found and found[1]


def read_page(path):
    """A notebook that can be a page; LasegError for one without a title."""
    notebook = read_notebook(path)
    if not heading(notebook):
        raise LasegError(f"{path}: its first cell holds no title; begin it with a line '# The title'")
    return notebook


def promise(notebook):
    """The sentence in bold under the heading, or nothing."""
    found = re.search(r"[*]{2}(.+?)[*]{2}", notebook.cells[0].source, re.S)
    return found[1] if found else ""


def contents(notebooks):
    """The first page, in Markdown: every notebook with the promise that stands in bold under its heading."""
    rows = [f"| [{heading(notebook)}]({name}) | {promise(notebook)} |" for name, notebook in notebooks.items()]
    others = " · ".join(f"[{title}]({page_name(REPO / path)})" for path, title in PROSE.items())
    return "\n".join([
        "# LASeg: the course as a hand-out", "",
        "The notebooks as they were executed, to read without Jupyter and without a network. Viewers, "
        "sliders, curves and scenes move, by mouse, keyboard and finger. To run the code, start JupyterLab with "
        "`make lab`. Press / to search.", "",
        "| notebook | what it is for |", "|---|---|", *rows, "", others])


class Links(IPythonRenderer):
    """Markdown with formulas as MathML, and links that lead to pages of the hand-out or out of it."""

    def inline_math(self, body, display="inline"):
        # A prime as a superscript would be raised twice: the sign itself stands high.
        try:
            return convert(re.sub(r"(\\?[A-Za-z]+)'", r"{\1 ′}", body), display=display)
        except Exception:  # latex2mathml's errors have no common base; a formula that it can't read stays as it is
            return f"<code>{in_html(body)}</code>"

    def block_math(self, body):
        return self.inline_math(body, "block")

    def image(self, text, url, title=None):
        file = Path(self.path) / url  # of the repository, and perhaps of another of its folders
        if not file.is_file():
            return super().image(text, url, title)
        url = f"data:{mimetypes.guess_type(file)[0]};base64,{base64.b64encode(file.read_bytes()).decode()}"
        return super(IPythonRenderer, self).image(text, url, title)

    def block_html(self, html):
        # To embed pictures, nbconvert parses each piece of HTML alone; it would close a <details> before its text.
        return super().block_html(html) if "<img" in html else html

    def link(self, text, url, title=None):
        target, _, anchor = url.partition("#")
        if re.match(r"[a-z]+:", url) or not target or target in self.names.values():
            return super().link(text, url, title)
        name = self.names.get((Path(self.path) / target.replace("%20", " ")).resolve())
        return super().link(text, name + ("#" + anchor if anchor else ""), title) if name else text  # not in the folder


class Pages(HTMLExporter):
    embed_images = True

    @pass_context
    def markdown2html(self, context, source):
        cell = context.get("cell") or {}
        renderer = Links(escape=False, embed_images=True, path=context["resources"]["metadata"]["path"],
                         attachments=cell.get("attachments", {}))
        renderer.names = self.names
        return MarkdownWithMath(renderer=renderer).render(source)


class Alive(Preprocessor):
    """Scenes and views as HTML that moves, without the sentences for readers with a kernel."""

    def preprocess_cell(self, cell, resources, index):
        outputs, stem = [], resources.get("stem")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if set(data) == {"text/plain"} and output.output_type == "display_data":
                continue  # what a live picture leaves beside its still
            if PLOTLY in data:
                alt = output.get("metadata", {}).get("image/png", {}).get("alt", "")
                data["text/html"] = scene(data, in_html(alt))
                resources["scripts"] = [SCRIPT]
            elif f'class="{STILL}"' in data.get("text/html", ""):
                if "moving" not in resources:
                    resources["moving"] = moving.context(stem)
                made = moving.alive(cell.source, stem, resources["moving"])
                data["text/html"] = made or data["text/html"] + WAS_LIVE
                resources["moves"] = resources.get("moves") or bool(made)
            outputs.append(output)
        if "outputs" in cell:
            cell.outputs = outputs
        return cell, resources


def scene(data, alt):
    """The HTML of a scene: its place, its numbers, and the still for paper and for browsers without WebGL."""
    numbers = json.dumps(data[PLOTLY]).replace("</", r"<\/")
    height = data[PLOTLY]["layout"].get("height", 450)
    return (f'<div class="scene alive" role="img" aria-label="{alt}" style="height: {height}px"></div>'
            f'<script type="application/json">{numbers}</script>' + (
                f'<img class="still" src="data:image/png;base64,{data["image/png"]}" alt="{alt}">'
                if "image/png" in data else ""))


if __name__ == "__main__":
    sys.exit(main())
