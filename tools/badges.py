#!/usr/bin/env python3
"""For a release: write the badges, the cell for Colab and Kaggle, and the web site's workflow.

    python tools/badges.py

They need the repository's address, which stands in [project.urls] of pyproject.toml. While it is a placeholder
(OWNER), they are removed. Afterwards run `make notebooks`, which stores the outputs.
"""

import re
import sys
import tomllib
from pathlib import Path

import nbformat

from laseg_lib.data.atomic import write_whole

REPO = Path(__file__).resolve().parent.parent
SITE = REPO / ".github" / "workflows" / "site.yml"
CELL_ID = "hosted-setup"
BADGES = re.compile(r"<!-- badges -->\n.*?<!-- /badges -->\n\n", re.S)
# What Colab and Kaggle lack; both bring torch, matplotlib, plotly and ipywidgets, whose versions they need themselves.
MISSING = ("anywidget", "fast-simplification", "latex2mathml", "medpy")


def main():
    url = address()
    paths = sorted((REPO / "notebooks").glob("*.ipynb"))
    readme = REPO / "README.md"
    write_whole(readme, with_badges(readme.read_text(encoding="utf-8"), url))
    write_whole(SITE, with_site(SITE.read_text(encoding="utf-8"), url))
    for path in paths:
        notebook = nbformat.read(path, as_version=4)
        before = nbformat.writes(notebook)
        with_hosted_cell(notebook, url, first=path == paths[0])
        if nbformat.writes(notebook) != before:
            write_whole(path, nbformat.writes(notebook) + "\n")
    print(f"Written for {url}: now make notebooks" if url else
          "[project.urls] in pyproject.toml holds a placeholder: no badges, no cell for Colab.")


def address():
    """https://github.com/somebody/laseg; None while pyproject.toml has a placeholder in its place."""
    project = tomllib.loads((REPO / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    url = project["urls"]["Repository"].rstrip("/")
    return None if "OWNER" in url else url


def badges(url):
    """The row of links, in Markdown: they are words, so that no page asks a network for pictures."""
    name = url.removeprefix("https://github.com/")
    first = "notebooks/00_start_here.ipynb"
    return " · ".join(f"[{text}]({link})" for text, link in (
        ("Open in Binder", f"https://mybinder.org/v2/gh/{name}/HEAD?urlpath=lab/tree/learn/00_start_here.ipynb"),
        ("Open in Colab", f"https://colab.research.google.com/github/{name}/blob/HEAD/{first}"),
        ("Open in Kaggle", f"https://kaggle.com/kernels/welcome?src={url}/blob/HEAD/{first}"),
        ("Open in Codespaces", f"https://codespaces.new/{name}")))


def with_badges(text, url):
    """A README with the badges below its heading, or without."""
    text = BADGES.sub("", text)
    if not url:
        return text
    return re.sub(r"\A(# .*\n\n)", rf"\1<!-- badges -->\n{badges(url)}\n<!-- /badges -->\n\n", text)


def with_site(text, url):
    """The workflow that publishes the hand-out, switched on if there is an address."""
    return re.sub(r"^( +if: )\$\{\{ (?:true|false) \}\}$", rf"\1${{{{ {str(bool(url)).lower()} }}}}", text, flags=re.M)


def with_hosted_cell(notebook, url, first=False):
    """Put the folded cell for Colab and Kaggle before a notebook's first code cell; without ``url`` remove it.

    The ``first`` notebook has the badges too, below its title.
    """
    notebook.cells = [cell for cell in notebook.cells if cell.get("id") != CELL_ID]
    top = notebook.cells[0]
    top.source = BADGES.sub("", top.source)
    if not url:
        return
    if first:
        top.source = re.sub(r"^(# .*\n\n)", rf"\1<!-- badges -->\n{badges(url)}\n<!-- /badges -->\n\n", top.source,
                            flags=re.M)
    cell = nbformat.v4.new_code_cell(hosted_cell(url), id=CELL_ID, execution_count=None)
    cell.metadata = nbformat.from_dict({"tags": ["hide-input"], "jupyter": {"source_hidden": True},
                                        "slideshow": {"slide_type": "skip"}})
    number = next(number for number, cell in enumerate(notebook.cells) if cell.cell_type == "code")
    notebook.cells.insert(number, cell)


def hosted_cell(url):
    """The code of the cell.  It acts only on Colab and Kaggle, and only if the course isn't installed."""
    packages = ", ".join(f'"{name}"' for name in (f"git+{url}", *MISSING))
    return f'''# on Colab and Kaggle only: install the course, fetch what lies beside this notebook
import importlib.util
import os
import subprocess
import sys

hosted = "google.colab" in sys.modules or "KAGGLE_KERNEL_RUN_TYPE" in os.environ
if hosted and not importlib.util.find_spec("laseg_lib"):
    subprocess.run([sys.executable, "-m", "pip", "install", "-q", {packages}], check=True)
if hosted and not os.path.exists("GLOSSARY.md"):
    if not os.path.exists("laseg"):
        subprocess.run(["git", "clone", "-q", "--depth", "1", "{url}", "laseg"], check=True)
    os.chdir("laseg/notebooks")'''


if __name__ == "__main__":
    sys.exit(main())
