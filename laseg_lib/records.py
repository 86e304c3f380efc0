"""The recorded runs of ``data/recorded``: made by ``make record RECORD=...``, read by the notebooks.

    data/recorded/<record>/<arm>_<labels>[_<variant>]_seed<seed>/
        config.json          every setting, the command, commit, versions, hardware, date and wall time
        history.csv          a row an iteration
        metrics.csv          a row a test case, for student and teacher
        metrics_largest.csv  the same of each prediction's largest component alone
        predictions.npz      packed bits of the first test cases (phantoms only)

A run that is there is skipped; one that was cut off is resumed.  Nothing is filled in by hand.
"""

import argparse
import csv
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime
from importlib.metadata import version
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from .checkpoints import load_network
from .config import TrainConfig
from .errors import LasegError
from .evaluate import measure_case, predict_cases
from .folders import write_list
from .inference import largest_component, predict_volume
from .metrics import COLUMNS, case_metrics
from .plans import MODELS, RECORDS
from .training import Trainer
from .volumes import FILE, LAHeart, case_names, find_root, read_volume, write_volume

HOME = Path(__file__).resolve().parent.parent
RECORDED = HOME / "data" / "recorded"
WEIGHTS = ("student", "teacher")
METRICS, LARGEST = "metrics.csv", "metrics_largest.csv"
TEACHING_CASES = 2  # test phantoms whose predictions are kept for the notebooks


def run_name(arm, labels, seed, settings=None, variant=""):
    return "_".join(filter(None, (arm, str(labels), variant, f"seed{seed}")))


def find_data(kind, seed=0):
    """The root of the volumes that a record is made on; phantoms (of that seed) are written where they are missing."""
    if kind == "real":
        return find_root(os.environ.get("LASEG_DATA", HOME / "data" / "la2018"))
    from .phantom import write_phantoms

    return write_phantoms(HOME / "data" / "record_phantoms" / f"seed{seed}", seed=seed, progress=False, **kind)


def make_run(record, arm, labels, seed, settings, variant="", *, recorded=RECORDED, work=HOME / "runs", progress=True):
    """Train, evaluate on the test cases with the last checkpoint, and write one run's folder.  Returns it."""
    target = Path(recorded) / record / run_name(arm, labels, seed, settings, variant)
    if (target / "config.json").exists():
        return target
    plan = RECORDS[record]
    kind = plan["data"]
    root = find_data(kind, seed)
    held_out = plan.get("cases") == "held_out"
    if held_out and arm == "self_training":
        make_run(record, "labels_only", labels, seed, {**settings}, variant, recorded=recorded, work=work,
                 progress=progress)
    snapshot = Path(work) / record / target.name
    config = TrainConfig(root_path=str(root), model=MODELS.get(arm, arm), labelnum=labels, seed=seed,
                         snapshot_path=str(snapshot), **settings)
    test_names, quality = None, None
    if held_out:
        train_names, test_names = held_out_split(root, seed)
        snapshot.parent.mkdir(parents=True, exist_ok=True)
        lists = snapshot.with_name(f"{target.name}.list")
        write_list(lists, train_names)
        config = replace(config, train_list=str(lists))
        if arm == "self_training":
            teacher = snapshot.with_name(run_name("labels_only", labels, seed, settings, variant)) / "last.pth"
            own, quality = self_labelled(teacher, root, train_names, labels, snapshot.with_name(f"{target.name}_data"),
                                         config)
            config = replace(config, root_path=str(own), train_list=None, labelnum=len(train_names), labeled_bs=4,
                             batch_size=4)
    trainer = Trainer(config, resume=(snapshot / "last.pth").exists() or (snapshot / "previous.pth").exists())
    clock = snapshot / "seconds.txt"  # survives a cut, so that the wall time is that of all the pieces
    begun, before = time.perf_counter(), float(clock.read_text()) if clock.exists() else 0.0
    cpu = time.process_time()
    trainer.run(progress=progress, callback=lambda t: t.iteration % 50 or clock.write_text(
        str(before + time.perf_counter() - begun)))
    if trainer.iteration < config.max_iterations:
        raise KeyboardInterrupt
    seconds, cpu = before + time.perf_counter() - begun, time.process_time() - cpu
    at_full = plan.get("at") == "full"
    test_set = LAHeart(root, "test", cache="memory", downsample=1 if at_full else config.downsample, names=test_names)
    partial = target.with_name(target.name + ".partial")
    shutil.rmtree(partial, ignore_errors=True)
    partial.mkdir(parents=True)
    tables, masks = score({weights: getattr(trainer, weights) for weights in WEIGHTS}, test_set, config.patch_size,
                          keep=0 if kind == "real" else TEACHING_CASES, downsample=config.downsample if at_full else 1,
                          progress=progress)
    for name, rows in tables.items():
        write_csv(partial / name, rows)
    (partial / "history.csv").write_text(six_digits((snapshot / "history.csv").read_text()))
    if masks:
        np.savez_compressed(partial / "predictions.npz", **masks)
    told = {**trainer.config.to_dict(), "root_path": root.name, "snapshot_path": None, "train_list": None}
    extra = {} if not held_out else {"at": "full", "labelled_cases": train_names[:labels], "test_cases": "the last 20 "
                                     "of train.list", "pseudo_label_dice": quality}
    (partial / "config.json").write_text(json.dumps({
        "record": record, "arm": arm, "labels": labels, "variant": variant, "seed": seed,
        "data": kind if kind == "real" else {**kind, "seed": seed}, "window": "seed", "checkpoint": "last",
        "command": f"make record RECORD={record}", "train_seconds": round(seconds, 1),
        "train_cpu_seconds": None if before else round(cpu, 1),  # of all threads: what a shared machine can't blur
        "precision": trainer.precision, **extra,
        **provenance(trainer.device),
        "config": told}, indent=1) + "\n", encoding="utf-8")
    os.replace(partial, target)
    return target


def held_out_split(root, seed):
    """(60 training cases, labelled ones first, 20 held-out ones), all of the public ``train.list``, no test case: the
    order of the 60 is the list's for seed 100, and shuffled by any other."""
    names = case_names(root, "train")
    first, last = names[:60], names[-20:]
    return (first if seed == 100 else [str(name) for name in np.random.default_rng(seed).permutation(first)]), last


def self_labelled(checkpoint, root, names, labelled, dest, config):
    """A data set of ``names`` in ``dest`` whose labels, but for the first ``labelled``, are the largest component of
    what the teacher of ``checkpoint`` predicts.  Returns (its root, mean Dice of these labels)."""
    network, _ = load_network(checkpoint, "teacher")
    network = network.eval().to(memory_format=torch.channels_last_3d)
    quality, folder = [], Path(dest) / "cases"
    for i, name in enumerate(names):
        image, label = read_volume(Path(root) / name / FILE)
        if i >= labelled:
            found = largest_component(predict_volume(network, image, config.patch_size, window="seed",
                                                     downsample=config.downsample, enlarge=True)[0])
            quality.append(case_metrics(found, label)["dice"])
            label = found
        write_volume(folder / name / FILE, image, label)
    write_list(Path(dest) / "train.list", names)
    return folder, round(float(np.mean(quality)), 4)


def six_digits(text):
    """Numbers of a table with six digits that count: half the bytes, and more than any plot shows."""
    return re.sub(r"\d+\.\d+(e-?\d+)?", lambda number: f"{float(number[0]):.6g}", text)


def score(networks, test_set, patch_size, *, keep=0, downsample=1, progress=True):
    """Every test case by every network of {weights: network}: ({file name: rows}, {weights/case: packed bits}), of the
    whole predictions and of their largest components; masks of the first ``keep`` cases."""
    tables, masks = {METRICS: [], LARGEST: []}, {}
    for weights, network in networks.items():
        found = predict_cases(network.eval(), test_set, patch_size, downsample=downsample, progress=progress)
        for i, (case, mask, label) in enumerate(found):
            for name, part in ((METRICS, mask), (LARGEST, largest_component(mask))):
                tables[name].append({"weights": weights, **measure_case(test_set, case, part, label)})
            if i < keep:
                masks[f"{weights}/{case}"] = np.packbits(mask)
    return tables, masks


def add_largest(record, arm, labels, seed, settings, variant="", *, recorded=RECORDED, work=HOME / "runs",
                progress=True):
    """Measure the largest components of a run that was recorded without them, from its last checkpoint.  Returns the
    run's folder.

    Raises LasegError where the checkpoint is gone, or doesn't measure what the record says (0.001 of Dice are left to
    another machine's rounding).
    """
    target = Path(recorded) / record / run_name(arm, labels, seed, settings, variant)
    told = json.loads((target / "config.json").read_text(encoding="utf-8"))
    checkpoint = Path(work) / record / target.name / "last.pth"
    networks = {weights: load_network(checkpoint, weights)[0].to(memory_format=torch.channels_last_3d)
                for weights in WEIGHTS}
    config = TrainConfig(**settings)
    test_set = LAHeart(find_data(RECORDS[record]["data"], seed), "test", downsample=config.downsample)
    tables, _ = score(networks, test_set, config.patch_size, progress=progress)
    with open(target / METRICS, newline="", encoding="utf-8") as file:
        rows = zip(csv.DictReader(file), tables[METRICS], strict=True)
        apart = max(abs(float(was["dice"]) - now["dice"]) for was, now in rows)
    if apart > 0.001:
        raise LasegError(f"{checkpoint} is not the network that {target.name} recorded: Dice differs by {apart:.3f}")
    write_csv(target / LARGEST, tables[LARGEST])
    told["largest"] = {"command": f"python -m laseg_lib.records {record} --largest", "apart": apart,
                       **provenance(torch.device("cpu"))}
    (target / "config.json").write_text(json.dumps(told, indent=1) + "\n", encoding="utf-8")
    return target


def provenance(device):
    """Commit, versions, hardware and date of a run made now."""
    def git(*words):
        done = subprocess.run(["git", *words], cwd=HOME, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else None

    hardware = torch.cuda.get_device_name(device) if device.type == "cuda" else cpu_name()
    return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "laseg_lib")),
            "versions": {name: version(name) for name in ("torch", "numpy", "monai", "medpy")} | {
                "python": platform.python_version()},
            "hardware": hardware, "cores": os.cpu_count(), "threads": torch.get_num_threads(),
            "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")}


def cpu_name():
    """The processor's name, as far as the system tells, and its vector instructions."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        name = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        name = platform.processor() or platform.machine()
    return f"{name} ({torch.backends.cpu.get_cpu_capability()})"


def write_csv(path, rows):
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, ["case", "weights", *COLUMNS], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def load_metrics(record, *, largest=False, recorded=RECORDED):
    """Every test case of every recorded run as a pandas table: arm, labels, variant, seed, weights, case, metrics.
    ``largest``: of the predictions' largest components, for the runs that have them."""
    import pandas as pd

    tables = []
    for path in sorted((Path(recorded) / record).glob("*/config.json")):
        config = json.loads(path.read_text(encoding="utf-8"))
        file = path.with_name(LARGEST if largest else METRICS)
        if largest and not file.exists():
            continue
        table = pd.read_csv(file)
        tables.append(table.assign(arm=config["arm"], labels=config["labels"], variant=config.get("variant", ""),
                                   seed=config["seed"]))
    columns = ["arm", "labels", "variant", "seed", "weights", "case", *COLUMNS]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def missing_runs(record, *, recorded=RECORDED):
    """The names of the record's runs that nobody has made yet."""
    names = [run_name(*run) for run in RECORDS[record]["runs"]]
    return [name for name in names if not (Path(recorded) / record / name / "config.json").exists()]


def without_largest(record, *, recorded=RECORDED):
    """The names of the recorded runs whose largest components nobody has measured."""
    return [path.parent.name for path in (Path(recorded) / record).glob("*/config.json")
            if not path.with_name(LARGEST).exists()]


def main(argv=None):
    parser = argparse.ArgumentParser(prog="python -m laseg_lib.records", description=__doc__.splitlines()[0],
                                     epilog="example: python -m laseg_lib.records quick")
    parser.add_argument("record", choices=RECORDS)
    parser.add_argument("--jobs", type=int, default=1, help="runs at a time, where the hardware has room")
    parser.add_argument("--only", default="", help="only runs whose name contains this, e.g. MT_8 or seed1337")
    parser.add_argument("--largest", action="store_true",
                        help="instead, measure the largest components of runs that were recorded without them")
    args = parser.parse_args(argv)
    make = add_largest if args.largest else make_run
    missing = without_largest(args.record) if args.largest else missing_runs(args.record)
    todo = [run for run in RECORDS[args.record]["runs"] if run_name(*run) in missing and args.only in run_name(*run)]
    print(f"{args.record}: {len(todo)} runs to {'measure' if args.largest else 'make'}", flush=True)
    try:
        if args.jobs == 1:
            for run in todo:
                print(make(args.record, *run), flush=True)
            return 0
        for seed in {run[2] for run in todo}:  # written once, before the workers race for them
            find_data(RECORDS[args.record]["data"], seed)
        threads = max(1, (os.cpu_count() or 1) // args.jobs)
        with ProcessPoolExecutor(args.jobs, get_context("spawn"), torch.set_num_threads, (threads,)) as pool:
            for future in [pool.submit(make, args.record, *run, progress=False) for run in todo]:
                print(future.result(), flush=True)
    except LasegError as error:
        print(f"record {args.record}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"record {args.record}: stopped; the same command goes on", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
