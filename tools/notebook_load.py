#!/usr/bin/env python3
"""For whoever gets a machine ready for a class: how much memory each notebook takes, and whether many kernels agree.

    python tools/notebook_load.py memory                                   all notebooks, each on one core: `make peaks`
    python tools/notebook_load.py memory notebooks/15_many_gpus.ipynb      some of them
    python tools/notebook_load.py together                                 02 in eight kernels at once: `make together`
    python tools/notebook_load.py together --kernels 4 notebooks/00_start_here.ipynb

Memory is the resident memory of a kernel with all that the kernel starts, ten times a second; pages that a kernel's
processes share count once for each.  Notebooks that take more than the limit (Binder gives 2 GB) are named, and the
command fails.  Together, outputs must be the same in all kernels; cells with the tag nbval-ignore-output may differ.
Nothing is stored.
"""

import argparse
import multiprocessing
import os
import re
import sys
import threading
import time
from pathlib import Path

import psutil
from nbclient import NotebookClient
from notebook_cells import read_notebook
from run_notebooks import EXEMPT_TAGS, WIDGET_VIEW

from laseg_lib.runtime.program import one_line_errors, positive_integer

REPO = Path(__file__).resolve().parent.parent
LIMIT_GB = 1.5  # the rest of Binder's 2 GB is the server's, and a reserve


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ways = parser.add_subparsers(dest="measure", required=True)
    alone = ways.add_parser("memory")
    alone.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    alone.add_argument("--limit", type=float, default=LIMIT_GB, help=f"in GB (default: {LIMIT_GB})")
    many = ways.add_parser("together")
    many.add_argument("notebook", nargs="?", type=Path, default=REPO / "notebooks" / "02_two_stream_sampler.ipynb")
    many.add_argument("--kernels", type=positive_integer, default=8)
    args = parser.parse_args(argv)
    return memory(args.notebooks, args.limit) if args.measure == "memory" else together(args.notebook, args.kernels)


def memory(notebooks, limit):
    """Print the peak of each notebook; the status, 1 where one is above the ``limit`` in GB."""
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):  # Linux; the kernels inherit it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("| notebook | peak (GB) |\n|---|---|", flush=True)
    peaks = {}
    for path in notebooks or sorted((REPO / "notebooks").glob("*.ipynb")):
        peaks[path.stem] = peak(path)
        print(f"| {path.stem} | {peaks[path.stem]:.2f} |", flush=True)
    above = [name for name, gigabytes in peaks.items() if gigabytes > limit]
    if above:
        print(f"More than {limit:g} GB: {', '.join(above)}", file=sys.stderr)
    return int(bool(above))


def peak(path):
    """The largest resident memory, in GB, of the kernel that executes the notebook, with its descendants."""
    client = NotebookClient(read_notebook(path), timeout=900, kernel_name="python3",
                            resources={"metadata": {"path": str(path.resolve().parent)}})
    highest, over = [0], threading.Event()

    def watch():
        while not over.wait(0.1):
            if client.km is not None and client.km.has_kernel:
                highest[0] = max(highest[0], resident(client.km.provisioner.pid))

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        client.execute()
    finally:
        over.set()
        watcher.join()
    return highest[0] / 1e9


def resident(pid):
    """Bytes of a process and all its descendants; 0 for one that has ended."""
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.Error:  # it has just ended
            continue
    return total


def together(path, kernels):
    """Execute a notebook in so many kernels at once, and compare; the status, 1 where outputs differ."""
    start = time.perf_counter()
    print(f"{path.name} in {kernels} kernels at once ...", flush=True)
    with multiprocessing.get_context("spawn").Pool(kernels) as pool:
        found = pool.map(outputs_of, [path] * kernels)
    differ = differences(found)
    print(f"{time.perf_counter() - start:.0f} s. " + (
        f"Outputs differ in the cells {differ}." if differ else f"{len(found[0])} cells compared: the same in all."))
    return int(bool(differ))


def outputs_of(path):
    """{number of a code cell: its outputs as text and pictures} of a notebook that is executed here."""
    notebook = read_notebook(path)
    NotebookClient(notebook, timeout=1800, kernel_name="python3", coalesce_streams=True,
                   resources={"metadata": {"path": str(path.resolve().parent)}}).execute()
    return {number: [text_of(output) for output in cell.outputs if text_of(output)]
            for number, cell in enumerate(notebook.cells)
            if cell.cell_type == "code" and not EXEMPT_TAGS & set(cell.metadata.get("tags", []))}


def text_of(output):
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
