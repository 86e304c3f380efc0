#!/usr/bin/env python3
"""To measure anew for notebook 15: what a second process gives on this machine, all ways in turn, several rounds.

    python tools/scaling.py [--rounds 5] [--steps 20] [--json build/scaling.json]

Each process has one thread and makes mean-teacher steps of 1+1 (48x48x32, 8 filters, float32) on phantoms.  So the ways
differ only in the other processes.  Run it on an idle machine; notebook 15 reads data/recorded/scaling.json.
"""

import argparse
import json
import statistics
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from laseg_lib.config import TrainConfig
from laseg_lib.course.nb15_many_gpus import launch
from laseg_lib.data.atomic import require_writable, write_whole
from laseg_lib.data.phantom import write_phantoms
from laseg_lib.records.make import current_provenance
from laseg_lib.records.read import HOME
from laseg_lib.runtime import distributed
from laseg_lib.runtime.program import one_line_errors, positive_integer
from laseg_lib.training import Trainer

# name: (programs at a time, processes that each program has, shared statistics)
WAYS = {"one process": (1, 1, False), "two, each its own training": (2, 1, False),
        "two, one training (DDP)": (1, 2, False), "the same, --sync_norm": (1, 2, True)}
SETTINGS = dict(labelnum=4, max_samples=8, val_num=0, batch_size=2, labeled_bs=1, patch_size=(48, 48, 32), n_filters=8,
                precision="fp32", device="cpu")


def work(root, steps, shared):
    """One process: make the steps, and print their seconds (the first rank does)."""
    trainer = Trainer(TrainConfig(root_path=root, sync_norm=shared == "True", **SETTINGS))
    for _ in range(4):
        trainer.step()
    begun = time.perf_counter()
    for _ in range(int(steps)):
        trainer.step()  # DDP's all-reduce keeps the ranks together
    if distributed.rank() == 0:
        print("seconds", time.perf_counter() - begun)


def measure(root, steps, programs, processes, shared):
    """Volumes a second of all processes together."""
    def program(_):
        lines = launch(processes, "tools.scaling", "--worker", root, steps, shared)
        seconds = next(float(line.split()[1]) for line in lines if line.startswith("seconds"))
        return steps * SETTINGS["batch_size"] * processes / seconds

    with ThreadPoolExecutor(programs) as pool:
        return sum(pool.map(program, range(programs)))


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=positive_integer, default=5)
    parser.add_argument("--steps", type=positive_integer, default=20)
    parser.add_argument("--json", type=Path, default=HOME / "build" / "scaling.json")
    parser.add_argument("--worker", nargs=3, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    if args.worker:
        return work(*args.worker)
    require_writable(args.json, "--json")
    found = {way: [] for way in WAYS}
    with tempfile.TemporaryDirectory() as folder:
        root = write_phantoms(Path(folder), train=8, test=1, size=(64, 48, 32), progress=False)
        for _ in range(args.rounds):
            for way, given in WAYS.items():
                found[way].append(measure(root, args.steps, *given))
    for way, rates in found.items():
        print(f"{way:28} {statistics.median(rates):6.2f} volumes a second ({min(rates):.2f} to {max(rates):.2f})")
    write_whole(args.json, json.dumps({"command": "python tools/scaling.py",
                                       **current_provenance(distributed.join_processes("cpu")),
                                       "volumes_a_second": found}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
