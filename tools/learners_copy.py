#!/usr/bin/env python3
"""For a learner: learn/, a copy of the notebooks without outputs, so that no answer stands below its question.

    python tools/learners_copy.py          what `make lab` does before it opens JupyterLab

notebooks/ keeps the outputs, for readers, for the tests and for the hand-out. A changed notebook in learn/ is never
overwritten, even if it was only run and saved. If its original has changed as well, a line says so.
"""

import argparse
import hashlib
import json
import sys
from pathlib import Path

import nbformat
from notebook_cells import read_notebook

from laseg_lib.data.atomic import write_whole
from laseg_lib.errors import LasegError
from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent
MADE_FROM = ".made_from.json"  # {name: [digest of the original's cells, digest of the copy as it was written]}


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--notebooks", type=Path, default=REPO / "notebooks")
    parser.add_argument("--copy", type=Path, default=REPO / "learn")
    args = parser.parse_args(argv)
    print(*copy_all(args.notebooks, args.copy), sep="\n")


def copy_all(notebooks, folder):
    """Copy the files that are missing in ``folder``, or unchanged there; returns the lines to print."""
    folder.mkdir(parents=True, exist_ok=True)
    record, written, kept = folder / MADE_FROM, [], []
    made_from = read_record(record)
    for original in sorted([*notebooks.glob("*.ipynb"), *notebooks.glob("*.md")]):
        fresh, copy = without_outputs(original), folder / original.name
        if copy.exists() and not copy.is_file():  # a pipe would wait for ever
            raise LasegError(f"{copy}: is no file; move it away, and start again")
        of, given = made_from.get(copy.name, (None, None))
        if copy.exists() and copy.read_bytes() == fresh:
            of = digest(fresh)
        elif not copy.exists() or digest(copy.read_bytes()) == given:
            write_whole(copy, fresh)
            of = digest(fresh)
            written.append(copy.name)
        if of != digest(fresh):
            kept.append(copy.name)
        else:
            made_from[copy.name] = [digest(fresh), digest(fresh)]
    write_whole(record, json.dumps(made_from, indent=1))
    lines = [f"Your own copy of the notebooks: {folder}" + (f" ({len(written)} files written)" if written else "")]
    lines += [f"  {name}: yours is kept; {notebooks.name}/ has a newer one. Rename yours and run this again."
              for name in kept]
    return lines


def read_record(path):
    """The record at ``path``; {} if it is missing or broken, so that every copy counts as changed."""
    try:
        return dict(json.loads(path.read_text(encoding="utf-8"))) if path.is_file() else {}
    except (OSError, ValueError, TypeError, RecursionError):
        return {}


def without_outputs(path):
    """The bytes of a notebook with every output and count cleared; of another file, as it is."""
    if path.suffix != ".ipynb" and path.is_file():
        return path.read_bytes()
    notebook = read_notebook(path)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs, cell.execution_count = [], None
    return (nbformat.writes(notebook) + "\n").encode()


def digest(data):
    return hashlib.sha256(data).hexdigest()


if __name__ == "__main__":
    sys.exit(main())
