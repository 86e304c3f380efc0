"""Makes the recorded runs of ``data/recorded``: ``make record RECORD=...``.

    data/recorded/<record>/<arm>_<labels>[_<variant>]_seed<seed>/
        config.json          every setting, the command, commit, versions, hardware, date and wall time
        history.csv          a row for each iteration
        metrics.csv          a row for each test case, for student and teacher
        metrics_largest.csv  the same for the largest component of each prediction
        predictions.npz      packed bits of the first test cases (phantoms only)

A finished run is skipped; an interrupted one is resumed.  Nothing is filled in by hand.
"""

import argparse
import functools
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import active_children, get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch

from ..config import TrainConfig
from ..data.atomic import write_list, write_table, write_whole
from ..data.volumes import LAHeart, case_names, find_root
from ..errors import LasegError
from ..evaluate import measure_case, predict_cases
from ..inference import largest_component
from ..methods.self_training import label_by_teacher
from ..runtime import places
from ..runtime.checkpoints import BEST, load_network, write_weights
from ..runtime.program import in_one_line, restore_ctrl_c
from ..training import Trainer
from . import read
from .plans import FIRST_SEEDS, RECORDS, SEEDS_A_FOLD, own_runs

WEIGHTS = ("student", "teacher")
TEACHING_CASES = 2  # number of test phantoms whose predictions are stored for the notebooks


class Cases(NamedTuple):
    """The cases of a run."""

    root: Path  # of the training cases
    train: list | None  # their names, labelled ones first; None: the list beside the root
    test_root: Path
    test: list | None
    notes: dict  # for config.json


def find_data(kind, seed=0, progress=False):
    """The root of a record's volumes; phantoms of that seed are written if they are missing."""
    if kind == "real":
        return find_root(os.environ.get("LASEG_DATA", read.HOME / "data" / "la2018"))
    from ..data.phantom import write_phantoms

    return write_phantoms(read.HOME / "data" / "record_phantoms" / f"seed{seed}", seed=seed, progress=progress, **kind)


def make_run(record, run, *, recorded=None, work=None, progress=True):
    """Train, score the last checkpoint (or the file of ``plan.ships``), write the run's folder, return it."""
    plan, target = RECORDS[record], (recorded or read.RECORDED) / record / run.name
    if (target / "config.json").exists():
        return target
    if target.is_symlink() or target.exists():  # checked before the training
        raise LasegError(f"{target}: exists, but is no recorded run; move it away")
    work = (work or read.HOME / "runs") / record
    snapshot = work / run.name
    cases, config = training_of(plan, run, work, progress)
    trainer, seconds, cpu = train_or_resume(config, progress)
    if trainer.iteration < config.max_iterations:
        raise KeyboardInterrupt
    factor = config.downsample if plan.at == "full" else 1
    test_set = LAHeart(cases.test_root, "test", cache="memory", names=cases.test,
                       downsample=config.downsample // factor)
    networks, checkpoint = {weights: getattr(trainer, weights) for weights in WEIGHTS}, "last"
    if plan.ships:
        checkpoint = "best"
        networks = {"teacher": export_weights(snapshot / BEST, snapshot / plan.ships, trainer.device)}
    tables, masks = score(networks, test_set, config.patch_size, keep=0 if plan.data == "real" else TEACHING_CASES,
                          downsample=factor, progress=progress)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    for name, rows in tables.items():
        write_table(partial / name, rows)
    (partial / "history.csv").write_text(six_digits((snapshot / "history.csv").read_text()))
    if masks:
        np.savez_compressed(partial / "predictions.npz", **masks)
    settings = {**trainer.config.to_dict(), "root_path": cases.test_root.name, "snapshot_path": None,
                "train_list": None, "method": Path(trainer.config.method).name}
    (partial / "config.json").write_text(json.dumps({
        "record": record, "arm": run.arm, "labels": run.labels, "variant": run.variant, "seed": run.seed,
        "data": plan.data if plan.data == "real" else {**plan.data, "seed": run.seed}, "at": plan.at,
        "window": "walkthrough", "checkpoint": checkpoint, "command": f"make record RECORD={record}",
        "train_seconds": round(seconds, 1), "train_cpu_seconds": cpu, "precision": trainer.precision, **cases.notes,
        **current_provenance(trainer.device), "config": settings}, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, target)
    shutil.rmtree(pseudo_label_folder(snapshot), ignore_errors=True)
    return target


def export_weights(checkpoint, path, device):
    """The teacher of ``checkpoint``, written to ``path`` in the form of the included network, and read from
    there."""
    network, config = load_network(checkpoint, "teacher")
    write_weights(path, network, {**config, "root_path": "", "snapshot_path": None})
    return load_network(path)[0].to(device, memory_format=torch.channels_last_3d)


def pseudo_label_folder(snapshot):
    """The folder of a self-training run's data set.  It is large, and is removed when the run is recorded."""
    return snapshot.with_name(snapshot.name + "_data")


def training_of(plan, run, work, progress):
    """(Cases, TrainConfig) of a run whose snapshot lies in ``work``.  The teacher of a self-training run is trained
    first, if its checkpoint is missing."""
    snapshot = work / run.name
    root = find_data(plan.data, run.seed)
    cases, settings = Cases(root, None, root, None, {}), {"labelnum": run.labels, **run.settings}
    if plan.cases != "public":
        split = {"held_out": held_out_split, "folds": fold_split}[plan.cases]
        names, tested = split(root, run.seed)
        cases = Cases(root, names, root, tested, {"labelled_cases": names[:run.labels], "test_cases": tested})
    if run.arm == "self_training":
        teacher = run._replace(arm="labels_only")
        train_or_resume(training_of(plan, teacher, work, progress)[1], progress)
        own = pseudo_label_folder(snapshot)
        quality = label_by_teacher(work / teacher.name / "last.pth", root, names, run.labels, own,
                                   patch_size=run.settings["patch_size"], downsample=run.settings["downsample"])
        cases = cases._replace(root=own / "cases", train=None, notes={**cases.notes, "pseudo_label_dice": quality})
        settings |= {"labelnum": len(names), "labeled_bs": 4, "batch_size": 4}
    config = TrainConfig(root_path=str(cases.root), model=run.model, seed=run.seed, snapshot_path=str(snapshot),
                         **settings)
    if cases.train:
        lists = snapshot.with_name(snapshot.name + "_lists")  # a test.list of its own: the root's is another split
        lists.mkdir(parents=True, exist_ok=True)
        for split, names in (("train", cases.train), ("test", cases.test)):
            write_list(lists / f"{split}.list", names)
        config = replace(config, train_list=str(lists / "train.list"))
    return cases, config


def train_or_resume(config, progress):
    """(the Trainer, at its end or interrupted; wall seconds, summed over all resumed parts; CPU seconds of all threads,
    or None for a resumed training)."""
    snapshot = Path(config.snapshot_path)
    trainer = Trainer(config, resume=(snapshot / "last.pth").exists() or (snapshot / "previous.pth").exists())
    clock = snapshot / "seconds.txt"  # kept for a resumed training
    before = float(clock.read_text()) if clock.exists() else 0.0
    start, cpu = time.perf_counter(), time.process_time()

    def note(trainer):
        if trainer.iteration % 50 == 0:
            write_whole(clock, str(before + time.perf_counter() - start))

    trainer.run(progress=progress, callback=note)
    cpu = None if before else round(time.process_time() - cpu, 1)
    return trainer, before + time.perf_counter() - start, cpu


def held_out_split(root, seed):
    """(60 training cases, labelled ones first; 20 held-out ones), all from the public ``train.list``, no test case.
    With seed 100 the 60 are in the list's order; any other seed shuffles them."""
    names = case_names(root, "train")
    first, last = names[:60], names[-20:]
    return (first if seed == 100 else np.random.default_rng(seed).permutation(first).tolist()), last


def fold_split(root, seed):
    """(80 training cases, labelled ones first; 20 test cases).  The test cases are fold ``seed // 3`` of the 80 cases
    on which nothing was chosen: the first 60 of ``train.list`` and the 20 of ``test.list``, in an order drawn once.
    The last 20 of ``train.list``, on which settings were chosen, are never tested.  The seed shuffles the training
    cases."""
    train, test = case_names(root, "train"), case_names(root, "test")
    untouched = np.random.default_rng(0).permutation(train[:60] + test).tolist()
    fold = seed // SEEDS_A_FOLD
    tested = untouched[20 * fold:20 * fold + 20]
    others = [name for name in untouched if name not in tested] + train[60:]
    return np.random.default_rng([1, seed]).permutation(others).tolist(), tested


def six_digits(text):
    """A table's numbers with six significant digits: half the bytes, and more than any plot shows."""
    return re.sub(r"\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.6g}", text)


def score(networks, test_set, patch_size, *, keep=0, downsample=1, progress=True):
    """Every test case predicted by every network of {weights: network}.  Returns ({file name: rows}, {weights/case:
    packed bits}): the rows of whole predictions and of largest components, and the masks of the first ``keep``
    cases."""
    tables, masks = {read.METRICS: [], read.LARGEST: []}, {}
    for weights, network in networks.items():
        found = predict_cases(network.eval(), test_set, patch_size, downsample=downsample, progress=progress)
        for i, (case, mask, label) in enumerate(found):
            for name, part in ((read.METRICS, mask), (read.LARGEST, largest_component(mask))):
                tables[name] += [{"weights": weights, **row} for row in measure_case(test_set, case, part, label)]
            if i < keep:
                masks[f"{weights}/{case}"] = np.packbits(mask)
    return tables, masks


def current_provenance(device):
    """Commit, versions, hardware and date of a run made now."""
    def git(*words):
        if not places.checkout():  # installed as a package: a repository around it is another project's
            return None
        try:
            done = subprocess.run(["git", *words], cwd=places.checkout(), capture_output=True, text=True)
        except OSError:  # no git here
            return None
        return done.stdout.strip() if done.returncode == 0 else None

    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "laseg_lib")),
            "versions": {name: version(name) for name in ("torch", "numpy")} | {
                "python": platform.python_version()},
            "hardware": hardware, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}


def cpu_name():
    """The processor's name, if the system gives one, and its vector instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def split_by_dependency(todo):
    """The runs without dependencies, then those that learn from another run's labels: two workers must not train that
    other run at the same time, in the same folder."""
    return [run for run in todo if run.arm != "self_training"], [run for run in todo if run.arm == "self_training"]


def side_by_side(function, waves, jobs):
    """Yield ``function(item)`` of every item, in ``jobs`` processes; a wave begins when the one before it has ended.
    Ctrl-C and SIGTERM end the processes too, which write a checkpoint.  After an error no further item is begun."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    threads = max(1, (os.cpu_count() or 1) // jobs)
    with ProcessPoolExecutor(jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
        try:
            for wave in waves:
                for future in [pool.submit(function, item) for item in wave]:
                    yield future.result()
        except BaseException as error:
            pool.shutdown(wait=False, cancel_futures=True)
            if not isinstance(error, Exception):
                for process in active_children():
                    process.terminate()
            raise


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m laseg_lib.records", description=__doc__.splitlines()[0],
                                     epilog="example: python -m laseg_lib.records quick")
    parser.add_argument("record", choices=RECORDS)
    parser.add_argument("--jobs", type=int, default=1, help="number of runs at a time")
    parser.add_argument("--method", metavar="FILE.py:NAME", help="with the record methods: runs of your own method, on "
                        "the same folds and labelled cases, written to runs/recorded")
    parser.add_argument("--labels", type=int, default=2, help="with --method: how many labelled volumes (2 or 4)")
    parser.add_argument("--only", default="", help="only runs whose name contains this, e.g. MT_8 or seed1337")
    restore_ctrl_c()
    args = parser.parse_args(argv)
    if not 1 <= args.jobs <= 1000:
        parser.error("--jobs must be between 1 and 1000")
    if args.method and (args.record != "methods" or ":" not in args.method or args.labels not in (2, 4)):
        parser.error("--method FILE.py:NAME needs the record methods, and --labels 2 or 4")
    try:
        todo, recorded = read.missing_runs(args.record), None
        if args.method:
            recorded = read.HOME / "runs" / "recorded"
            there = read.configs(args.record, recorded)
            todo = [run for run in own_runs(args.method, args.labels, FIRST_SEEDS) if run.name not in there]
        todo = [run for run in todo if args.only in run.name]
        print(f"{args.record}: {len(todo)} runs to make", flush=True)
        if args.jobs == 1:
            for run in todo:
                print(make_run(args.record, run, recorded=recorded), flush=True)
            return 0
        for seed in {run.seed for run in todo}:  # written once, before several workers need them
            find_data(RECORDS[args.record].data, seed)
        make = functools.partial(make_run, args.record, recorded=recorded, progress=False)
        for folder in side_by_side(make, split_by_dependency(todo), args.jobs):
            print(folder, flush=True)
    except (LasegError, OSError) as error:
        print(f"record {args.record}: {in_one_line(error)}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"record {args.record}: stopped; the same command continues it", file=sys.stderr)
        return 1
    return 0
