#!/usr/bin/env python3
"""For an instructor: the answer key, the notebooks with our answers in them, executed; `make solutions`.

    python tools/solutions.py                                   all of them: ten minutes on two free cores
    python tools/solutions.py notebooks/05_ema_teacher.ipynb    some

The answers are the library's own functions, those that the checks compare with; so the key can't drift from
them. A notebook in which a check doesn't say "Correct" is named, and the command fails.
"""

import argparse
import os
import shutil
import sys
from pathlib import Path

import nbformat
import run_notebooks
from notebook_cells import CHECKED, module_of, read_notebook, solved

from laseg_lib.data.atomic import write_whole
from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    parser.add_argument("--output", type=Path, default=REPO / "build" / "solutions")
    args = parser.parse_args(argv)
    os.environ["LASEG_PROGRESS"] = "off"  # these are our answers, not the instructor's own
    failed = False
    for path in write(args.notebooks or sorted((REPO / "notebooks").glob("*.ipynb")), args.output):
        # A slow machine is no fault of an answer: only a cell that hangs is stopped.
        for problem in run_notebooks.execute(path, timeout=3600, slow=3600) or wrong(path):
            failed = True
            print(f"{path.name}: {problem}", file=sys.stderr)
    print(f"The answer key: {args.output}")
    return int(failed)


def write(notebooks, folder):
    """Fill in the answers, without executing them; returns the paths of the notebooks in ``folder``, with the
    glossary beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    for page in (REPO / "notebooks").glob("*.md"):
        shutil.copy(page, folder)
    written = []
    for path in notebooks:
        filled = solved(read_notebook(path), module_of(path))
        for cell in filled.cells:
            if cell.cell_type == "code":
                cell.outputs, cell.execution_count = [], None
        write_whole(folder / path.name, nbformat.writes(filled) + "\n")
        written.append(folder / path.name)
    return written


def wrong(path):
    """The exercises of an executed notebook whose check says something else than "Correct", as sentences."""
    for cell in read_notebook(path).cells:
        checks = CHECKED.findall(cell.source) if cell.cell_type == "code" else []
        said = "".join(output.get("text", "") for output in cell.get("outputs", []))
        if said.count("Correct.") != len(checks):
            yield f"{', '.join(check for check, _ in checks)} says of our own answer: {said.strip()}"


if __name__ == "__main__":
    sys.exit(main())
