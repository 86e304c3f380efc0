#!/usr/bin/env python3
"""For a talk: slides of the six notebooks that carry one, from their stored outputs; `make slides`.

    python tools/slides.py                                   00, 01, 05, 07, 09 and 10
    python tools/slides.py notebooks/05_ema_teacher.ipynb    some of them

The notebook's metadata says which cell begins a slide, continues one or is left out. JupyterLab edits
it: the gears at the top right, *Slide Type*. Folded code is left out, exercises too. The pages are the hand-out's
own, formulas and live scenes included, with a few lines that show one slide at a time. nbconvert's slides load
reveal.js, MathJax and more from a network; these need none.
"""

import argparse
import re
import sys
from pathlib import Path

import handout
from nbconvert.preprocessors import Preprocessor
from nbformat import NotebookNode

from laseg_lib.data.atomic import write_whole
from laseg_lib.runtime.program import one_line_errors

REPO = handout.REPO
TALK = ("00_start_here", "01_left_atrium_data", "05_ema_teacher", "07_train_mean_teacher",
        "09_supervised_comparison", "10_atria_in_3d")
BEGINS = ("slide", "subslide")


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help=f"default: {', '.join(TALK)}")
    parser.add_argument("--output", type=Path, default=REPO / "build" / "slides")
    args = parser.parse_args(argv)
    write(args.notebooks or [REPO / "notebooks" / f"{name}.ipynb" for name in TALK], args.output)
    print(f"Open {args.output / 'index.html'}: arrow keys move, F11 fills the screen, printing gives a PDF")


def write(notebooks, folder):
    """Write a page of slides a notebook, and a first page that leads to them."""
    lines = ["# Slides", "", "Arrow keys move. F11 fills the screen. Printing from the browser gives a PDF.", ""]
    names = {}
    for path in notebooks:
        notebook = handout.read_page(path)
        write_whole(folder / f"{path.stem}.html", page(notebook, path))
        names[path] = f"{path.stem}.html"
        lines.append(f"- [{handout.heading(notebook)}]({names[path]})")
    index = handout.page(handout.prose("\n".join(lines)), REPO / "index", names, [("index.html", "Slides")],
                         "index.html", bare=True)
    write_whole(folder / "index.html", index)
    write_whole(folder / handout.SCRIPT, handout.get_plotlyjs())
    for script in ("slides.js", "moving.js"):
        write_whole(folder / script, (handout.TEMPLATE / script).read_bytes())
    slides = (handout.TEMPLATE / "slides.css").read_text(encoding="utf-8")
    write_whole(folder / "style.css", handout.style() + slides)


def page(notebook, path):
    """The HTML of a notebook's slides; its links to other pages become plain words."""
    exporter = handout.Pages(template_name=handout.TEMPLATE.name, template_file="slides.html.j2",
                             extra_template_basedirs=[str(handout.TEMPLATE.parent)])
    exporter.names = {}
    exporter.register_preprocessor(Slides, enabled=True)
    exporter.register_preprocessor(handout.Alive, enabled=True)
    return exporter.from_notebook_node(notebook, {
        "metadata": {"name": f"{handout.heading(notebook)}: slides", "path": str(path.parent)}, "stem": path.stem})[0]


def slide_type(cell):
    return cell.metadata.get("slideshow", {}).get("slide_type", "-")


def slides_of(notebook):
    """The slides, each a list of cells, without the cells of the types skip and notes."""
    slides = []
    for cell in notebook.cells:
        if slide_type(cell) in ("skip", "notes"):
            continue
        begins = slide_type(cell) in BEGINS or not slides
        if begins and slides and cell.source.startswith("<details>"):  # the answer belongs to the slide that asked
            fold, end, rest = cell.source.partition("</details>")
            slides[-1].append(NotebookNode(cell | {"source": fold + end, "id": f"fold-{len(slides)}"}))
            cell = NotebookNode(cell | {"source": rest.strip()})
            if not cell.source:
                continue
        if begins:
            slides.append([])
        slides[-1].append(cell)
    return slides


class Slides(Preprocessor):
    """The cells that are shown, the first of each slide marked; words for whoever sits at the keyboard go."""

    def preprocess(self, notebook, resources):
        slides = slides_of(notebook)
        for number, slide in enumerate(slides):
            slide[0].metadata["begins"] = number > 0
        notebook.cells = [cell for slide in slides for cell in slide]
        for cell in notebook.cells:
            if cell.cell_type == "markdown":
                cell.source = for_a_talk(cell.source)
        return notebook, resources


def for_a_talk(text):
    """Markdown without the lines of links to other pages, links to the glossary, exercises, and where their answers
    are."""
    text = re.sub(r"^\[.*\]\(GLOSSARY\.md\)$", "", text, flags=re.M)
    text = re.sub(r"\[([^]]*)\]\(GLOSSARY\.md\)", r"\1", text)
    text = re.sub(r"\(Ours: `source\([^)]*\)`\.\)\s*", "", text)
    return re.sub(r"^#+ Exercise.*", "", text, flags=re.M | re.S).strip()


if __name__ == "__main__":
    sys.exit(main())
