#!/usr/bin/env python3
"""After a change of a notebook: execute it in a fresh kernel, store its outputs, and check them; `make notebooks`.

    python tools/run_notebooks.py notebooks/*.ipynb            execute, store, check
    python tools/run_notebooks.py notebooks/05_ema_teacher.ipynb
    python tools/run_notebooks.py --check notebooks/*.ipynb    only check what is stored

Each notebook gets a fresh kernel of this very Python, with notebooks/ as its working directory.
A cell that raises stops its notebook, which is then left as it was.
"""

import argparse
import re
import statistics
import sys
import time
from datetime import datetime
from pathlib import Path

import moving
import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from notebook_cells import read_notebook

from laseg_lib.data.atomic import write_whole
from laseg_lib.errors import LasegError
from laseg_lib.runtime.program import one_line_errors

NOTEBOOKS = Path(__file__).resolve().parent.parent / "notebooks"
MAX_BYTES = 1_000_000
MAX_LINES = 25
MAX_CELL_SECONDS = 90
EXEMPT_TAGS = {"nbval-ignore-output", "nbval-skip"}    # the cells that nbval doesn't compare
KEPT = ("tags", "jupyter", "slideshow")    # of a cell's metadata; slideshow: see tools/slides.py
HIDE_TAG = "hide-input"    # set-up and plotting, which a talk leaves out
WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"
# Not after a base64 character: the bytes of a picture may look like a path.
MACHINE_PATH = re.compile(r"(?<![\w+/=.])(/(home|root|tmp|work|Users|var|opt|mnt)/\w|[A-Z]:\\\w)")


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path)
    parser.add_argument("--check", action="store_true", help="execute nothing")
    parser.add_argument("--timeout", type=int, default=300, help="seconds a cell may take before it is stopped")
    args = parser.parse_args(argv)
    failed, start = False, time.perf_counter()
    for path in args.notebooks:
        try:
            found = ([] if args.check else execute(path, args.timeout)) or problems(path)
        except LasegError as error:  # the other notebooks are run all the same
            found = [str(error)]
        for problem in found:
            failed = True
            print(f"{path.name}: {problem}", file=sys.stderr)
    if args.notebooks and not args.check:
        print(f"{len(args.notebooks)} notebooks in {time.perf_counter() - start:.0f} s")
    return int(failed)


def execute(path, timeout=300, slow=MAX_CELL_SECONDS):
    """Execute the notebook at `path` and store its outputs.  Returns the problems: a cell that raised or was
    stopped after `timeout` seconds, a cell that took more than `slow` seconds, files left behind."""
    path = path.resolve()
    notebook = read_notebook(path)
    notebook.metadata.pop("widgets", None)
    neighbours = set(path.parent.iterdir())
    # coalesce_streams: one output for each stream, however the kernel has split it
    client = NotebookClient(notebook, timeout=timeout, kernel_name="python3", coalesce_streams=True,
                            resources={"metadata": {"path": str(path.resolve().parent)}})
    start, keeps = time.perf_counter(), path.stem in moving.KEEP and path.parent == NOTEBOOKS
    if keeps:  # the data of its moving pictures, for pages without a kernel
        notebook.cells.append(nbformat.v4.new_code_cell(moving.keep_code(path.stem)))
    try:
        client.execute()
    except (CellExecutionError, CellTimeoutError) as error:
        return [f"stopped, nothing stored: {error}"]
    took = time.perf_counter() - start
    if keeps:
        notebook.cells.pop()
    seconds = {number: cell_seconds(cell) for number, cell in enumerate(notebook.cells)}
    slowest = max(seconds, key=seconds.get, default=0)
    print(f"{path.name:32} {took:6.1f} s   slowest: cell {slowest}, {seconds.get(slowest, 0):.1f} s", flush=True)
    write_whole(path, nbformat.writes(tidy(notebook)) + "\n")  # if the disk is full, the old notebook stays
    left = sorted(p.name for p in set(path.parent.iterdir()) - neighbours - {path.parent / ".ipynb_checkpoints"})
    return ([f"cell {slowest} took {seconds[slowest]:.0f} s, more than {slow}"]
            if seconds.get(slowest, 0) > slow else []) + \
           ([f"left behind in notebooks/: {', '.join(left)}"] if left else [])


def cell_seconds(cell):
    times = cell.metadata.get("execution", {})
    if "iopub.execute_input" not in times or "shell.execute_reply" not in times:
        return 0.0
    began, ended = (datetime.fromisoformat(times[key].replace("Z", "+00:00"))
                    for key in ("iopub.execute_input", "shell.execute_reply"))
    return (ended - began).total_seconds()


def tidy(notebook):
    """Remove what differs from run to run or from machine to machine and has no meaning.

    Widget views go too: their model dies with the kernel, and a page that finds the view shows an error
    in its place instead of the picture beside it.
    """
    notebook.metadata = nbformat.from_dict({
        "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
        "language_info": {"file_extension": ".py", "mimetype": "text/x-python", "name": "python",
                          "pygments_lexer": "ipython3"},
    })
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    for number, cell in enumerate(notebook.cells):
        cell.metadata = nbformat.from_dict({k: v for k, v in cell.metadata.items() if k in KEPT})
        if HIDE_TAG in cell.metadata.get("tags", []):
            cell.metadata["jupyter"] = {"source_hidden": True}  # JupyterLab folds the code; the output stays
        cell.setdefault("id", f"cell-{number}")
        for output in cell.get("outputs", []):
            output.get("data", {}).pop(WIDGET_VIEW, None)
            output.pop("transient", None)
        if cell.cell_type == "code":  # a line of progress leaves nothing but its view
            cell.outputs = [output for output in cell.outputs if output.get("data") != {}]
    return notebook


def problems(path):
    """What is wrong with the stored notebook, as sentences; an empty list if nothing is."""
    notebook = read_notebook(path)
    found = []
    try:
        nbformat.validate(notebook)
    except nbformat.ValidationError as error:
        found.append(f"not a valid notebook: {error.message}")
    if "widgets" in notebook.metadata:
        found.append("holds widget state: store it with make notebooks")
    if path.stat().st_size >= MAX_BYTES:
        found.append(f"{path.stat().st_size / 1e6:.2f} MB, more than {MAX_BYTES / 1e6:.0f}")
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if code and not any(cell.outputs for cell in code):
        found.append("has no stored outputs: run make notebooks")
    for number, cell in enumerate(notebook.cells):
        found += [f"cell {number} {problem}" for problem in cell_problems(cell)]
    return found


def cell_problems(cell):
    if MACHINE_PATH.search(cell.source):
        yield f"names a path of a machine: {MACHINE_PATH.search(cell.source).group()}"
    if cell.cell_type != "code":
        return
    if cell.metadata.get("jupyter", {}).get("source_hidden", False) != (HIDE_TAG in cell.metadata.get("tags", [])):
        yield f"is folded without the tag {HIDE_TAG}, or has it and isn't: run make notebooks"
    if len(cell.source.splitlines()) > MAX_LINES:
        yield f"has {len(cell.source.splitlines())} lines, more than {MAX_LINES}"
    if cell.source.strip() and cell.execution_count is None:
        yield "was not executed"
    for output in cell.outputs:
        if output.output_type == "error" and "raises-exception" not in cell.metadata.get("tags", []):
            yield f"stores an error: {output.ename}: {output.evalue}"
        if output.get("name") == "stderr":
            yield f"stores a warning or other words on stderr: {output.text.strip()[:200]}"
        if WIDGET_VIEW in output.get("data", {}):
            yield "stores a widget view, which shows nothing without its kernel"
        html = output.get("data", {}).get("text/html", "")
        alone = "image/png" in output.get("data", {}) and not output.metadata.get("image/png", {}).get("alt")
        if alone or re.search(r"<img(?![^>]* alt=\"[^\"]{20})", html):
            yield "stores a picture without words: show(picture, alt=...)"
        for text in texts(output):
            if path := MACHINE_PATH.search(text):
                yield f"stores a path of this machine: {text[path.start():path.start() + 60]!r}"


def texts(output):
    """Every text in an output; pictures are left out."""
    if "text" in output:
        yield output.text
    for mime, data in output.get("data", {}).items():
        if not mime.startswith("image/") or mime == "image/svg+xml":
            yield re.sub("data:image/png;base64,[A-Za-z0-9+/=]+", "", data if isinstance(data, str) else str(data))


def census(path):
    """Numbers of the notebook's shape: code cells, those exempt from comparison, median lines of a code cell."""
    cells = [c for c in read_notebook(path).cells if c.cell_type == "code" and c.source.strip()]
    exempt = sum(bool(EXEMPT_TAGS & set(c.metadata.get("tags", []))) for c in cells)
    return {"code": len(cells), "exempt": exempt,
            "median_lines": statistics.median([len(c.source.splitlines()) for c in cells] or [0])}


if __name__ == "__main__":
    sys.exit(main())
