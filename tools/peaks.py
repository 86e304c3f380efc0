#!/usr/bin/env python3
"""Execute each notebook and print how much memory it takes at most: its kernel with all that the kernel starts.

    python tools/peaks.py                                   all notebooks, as in a class: one core
    python tools/peaks.py notebooks/15_many_gpus.ipynb      some of them

Nothing is stored. Measured as resident memory, ten times a second; pages that a kernel's processes share
count once for each. Notebooks that take more than the limit (Binder gives 2 GB) are named, and the command fails.
"""

import argparse
import os
import sys
import threading
from pathlib import Path

import psutil
from nbclient import NotebookClient
from notebook_files import read_notebook

from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent
LIMIT_GB = 1.5  # the rest of Binder's 2 GB is the server's, and a reserve


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of notebooks/")
    parser.add_argument("--limit", type=float, default=LIMIT_GB, help=f"in GB (default: {LIMIT_GB})")
    args = parser.parse_args(argv)
    os.environ["OMP_NUM_THREADS"] = "1"
    if hasattr(os, "sched_setaffinity"):  # Linux; the kernels inherit it
        os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    print("| notebook | peak (GB) |\n|---|---|", flush=True)
    peaks = {}
    for path in args.notebooks or sorted((REPO / "notebooks").glob("*.ipynb")):
        peaks[path.stem] = peak(path)
        print(f"| {path.stem} | {peaks[path.stem]:.2f} |", flush=True)
    above = [name for name, gigabytes in peaks.items() if gigabytes > args.limit]
    if above:
        print(f"More than {args.limit:g} GB: {', '.join(above)}", file=sys.stderr)
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


if __name__ == "__main__":
    sys.exit(main())
