"""Reads ``data/recorded``: tables and sentences about recorded runs.  Nothing here trains."""

import json
from pathlib import Path

from ..errors import LasegError
from ..metrics import COLUMNS
from ..runtime import places
from ..runtime.runlog import read_history
from .plans import RECORDS

HOME, RECORDED = places.home(), places.recorded()
METRICS, LARGEST = "metrics.csv", "metrics_largest.csv"


def configs(record, recorded=None):
    """{name of its folder: config.json as a dict} of every recorded run; LasegError if one can't be read."""
    found = sorted(((recorded or RECORDED) / record).glob("*/config.json"))
    return {path.parent.name: read_config(path) for path in found}


def read_config(path):
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(config, dict):
            raise ValueError(f"it holds a {type(config).__name__}")
    except (OSError, ValueError, RecursionError) as error:
        raise LasegError(f"{path}: not the settings of a recorded run ({error}); move its folder away, then `make "
                         "record` makes the run again") from error
    return config


def missing_runs(record, recorded=None):
    """The runs of the record's plan that are not recorded yet."""
    there = configs(record, recorded)
    return [run for run in RECORDS[record].runs if run.name not in there]


def load_metrics(record, *, largest=False, recorded=None):
    """A pandas table with a row for each test case of each recorded run: arm, labels, variant, seed, weights, case,
    metrics.  ``largest``: the metrics of the largest components, for the runs that have them."""
    import pandas as pd

    tables = []
    for name, config in configs(record, recorded).items():
        file = (recorded or RECORDED) / record / name / (LARGEST if largest else METRICS)
        if largest and not file.exists():
            continue
        rows = pd.read_csv(file)
        rows = rows[rows["class"] == "mean"] if "class" in rows else rows  # of several classes
        tables.append(rows.assign(arm=config["arm"], labels=config["labels"], seed=config["seed"],
                                  variant=config.get("variant", "")))
    columns = ["arm", "labels", "variant", "seed", "weights", "case", *COLUMNS]
    return pd.concat(tables)[columns] if tables else pd.DataFrame(columns=columns)


def history(record, run, recorded=None):
    """A run's history.csv as a list of dicts of numbers, without empty fields."""
    return read_history((recorded or RECORDED) / record / run / "history.csv")


def published(labels=None):
    """Published results on left atria, as reported: Dice and Jaccard in %, HD95 and ASD in voxels."""
    import pandas as pd

    table = pd.read_csv(Path(__file__).with_name("published.csv"), keep_default_na=False)
    return table if labels is None else table[table.labelled == labels].reset_index(drop=True)


def published_points():
    """[(labels, Dice in %)] of the published results on the public split that are one number."""
    table = published()
    table = table[table.split.str.startswith("public") & table.dice.str.fullmatch(r"[\d.]+")]
    return [(int(labelled.split()[0]), float(dice)) for labelled, dice in zip(table.labelled, table.dice)]


def provenance(record, recorded=None):
    """The origin of a record's numbers: commits, hardware, dates, command; or a line that none is recorded."""
    runs, missing = configs(record, recorded), len(missing_runs(record, recorded))
    command = f"make record RECORD={record}"
    if not runs:
        return f"record {record}: NOT RECORDED YET ({missing} runs). Make it: {command}"

    def each(get):
        return ", ".join(sorted({str(get(run)) for run in runs.values()}))

    def commit(run):
        return (run["commit"] or "unknown")[:7] + ("+changes" if run["changed"] else "")

    lines = [f"record {record}: {len(runs)} runs" + (f", {missing} MISSING" if missing else ", complete"),
             f"  commit    {each(commit)}",
             f"  hardware  {each(lambda run: run['hardware'])}, {each(lambda run: run['cores'])} cores",
             f"  date      {each(lambda run: run['date'][:10])}",
             f"  versions  torch {each(lambda run: run['versions']['torch'])}",
             f"  command   {command}"]
    return "\n".join(lines)
