#!/usr/bin/env python3
"""Execute one notebook in several kernels at once, as a class on one machine does, and compare what comes out.

    python tools/together.py                                              02, eight times at once
    python tools/together.py --kernels 4 notebooks/00_start_here.ipynb

Outputs must be the same in all kernels; cells with the tag nbval-ignore-output may differ. Nothing is stored.
"""

import argparse
import multiprocessing
import re
import sys
import time
from pathlib import Path

from nbclient import NotebookClient
from notebook_files import read_notebook
from run_notebooks import EXEMPT_TAGS, WIDGET_VIEW

from laseg_lib.runtime.program import one_line_errors, positive_integer

REPO = Path(__file__).resolve().parent.parent


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebook", nargs="?", type=Path, default=REPO / "notebooks" / "02_two_stream_sampler.ipynb")
    parser.add_argument("--kernels", type=positive_integer, default=8)
    args = parser.parse_args(argv)
    start = time.perf_counter()
    print(f"{args.notebook.name} in {args.kernels} kernels at once ...", flush=True)
    with multiprocessing.get_context("spawn").Pool(args.kernels) as pool:
        found = pool.map(outputs_of, [args.notebook] * args.kernels)
    differ = differences(found)
    print(f"{time.perf_counter() - start:.0f} s. " + (
        f"Outputs differ in the cells {differ}." if differ else f"{len(found[0])} cells compared: the same in all."))
    return int(bool(differ))


def outputs_of(path):
    """{number of a code cell: its outputs as text and pictures} of a notebook that is executed here."""
    notebook = read_notebook(path)
    NotebookClient(notebook, timeout=1800, kernel_name="python3", coalesce_streams=True,
                   resources={"metadata": {"path": str(path.resolve().parent)}}).execute()
    return {number: [said(output) for output in cell.outputs if said(output)]
            for number, cell in enumerate(notebook.cells)
            if cell.cell_type == "code" and not EXEMPT_TAGS & set(cell.metadata.get("tags", []))}


def said(output):
    """What an output says, without the widgets' numbers and addresses in memory, which differ from kernel to kernel."""
    data = {mime: value for mime, value in output.get("data", {}).items() if mime != WIDGET_VIEW}
    if WIDGET_VIEW in output.get("data", {}):
        data.pop("text/plain", None)
    text = str(data or output.get("text") or output.get("evalue", ""))
    return re.sub(r"0x[0-9a-f]+", "0x", text)


def differences(found):
    """The numbers of the cells that are not the same in all of ``found``."""
    return [number for number in found[0] if any(other[number] != found[0][number] for other in found[1:])]


if __name__ == "__main__":
    sys.exit(main())
