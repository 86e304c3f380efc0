"""What stands in data/recorded: every run whole, of the form that the notebooks expect, and with its provenance."""

import json
import math
import re

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from laseg_lib.config import RENAMED, TrainConfig
from laseg_lib.data.phantom import FIELD_MM
from laseg_lib.data.volumes import FILE, case_names, read_volume
from laseg_lib.inference import predict_volume
from laseg_lib.metrics import COLUMNS, case_metrics
from laseg_lib.records.plans import RECORDS, Run
from laseg_lib.records.read import LARGEST, METRICS, RECORDED
from laseg_lib.runtime import places
from laseg_lib.runtime.checkpoints import load_network
from laseg_lib.runtime.runlog import read_history

REPO = RECORDED.parent.parent
NEWEST = TrainConfig().to_dict()
RUNS = sorted(path.parent for path in RECORDED.glob("*/*/config.json"))
KEYS = {"record": str, "arm": str, "labels": int, "variant": str, "seed": int, "data": (str, dict), "window": str,
        "checkpoint": str, "command": str, "train_seconds": float, "train_cpu_seconds": (float, type(None)),
        "commit": str, "changed": bool, "versions": dict, "hardware": str, "cores": int,
        "threads": int, "date": str, "config": dict}


def test_there_are_records():
    assert len(RUNS) > 50 and {path.parent.name for path in RUNS} <= set(RECORDS)


@pytest.mark.parametrize("run", RUNS, ids=lambda run: f"{run.parent.name}-{run.name}")
def test_a_recorded_run_is_whole(run):
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert not {key: told.get(key) for key, kind in KEYS.items() if not isinstance(told.get(key), kind)}
    assert re.fullmatch(r"[0-9a-f]{40}", told["commit"]) and not told["changed"], "made from committed code"
    planned = Run(told["arm"], told["labels"], told["seed"], {}, told["variant"])
    assert told["record"] == run.parent.name and run.name == planned.name
    config = TrainConfig.from_dict({**told["config"], "root_path": "x"})
    labels = config.max_samples if told["arm"] == "self_training" else told["labels"]  # most of them its own
    assert (config.model, config.labelnum, config.seed) == (planned.model, labels, told["seed"])
    ships = RECORDS[told["record"]].ships
    assert told["checkpoint"] == ("best" if ships else "last")
    assert told["window"] in ("walkthrough", "seed")  # one window, an older name

    history = read_history(run / "history.csv")
    assert [row["iteration"] for row in history] == list(range(1, config.max_iterations + 1))
    assert all(math.isfinite(value) for row in history for value in row.values())

    rows = pd.read_csv(run / "metrics.csv")
    assert list(rows.columns) == ["case", "weights", *COLUMNS]
    assert set(rows.weights) == ({"teacher"} if ships else {"student", "teacher"})
    assert len(rows) == 20 * rows.weights.nunique() and rows.case.nunique() == 20
    assert rows.dice.between(0, 1).all() and np.allclose(rows.jaccard, rows.dice / (2 - rows.dice))
    assert (rows[["hd95", "asd"]] >= 0).all().all() and (rows.dice[rows["empty"]] == 0).all()
    if told["data"] == "real":
        assert np.allclose(rows.hd95_mm, rows.hd95 * 0.625 * (1 if told.get("at") == "full" else config.downsample))
    elif not rows[["hd95_mm", "asd_mm"]].isna().all().all():  # phantoms of earlier versions didn't know their size
        sides = np.divide(FIELD_MM, told["data"]["size"])  # no cubes
        for name in ("hd95", "asd"):
            assert rows[f"{name}_mm"].between(sides.min() * rows[name] - 1e-9, sides.max() * rows[name] + 1e-9).all()


@pytest.mark.parametrize("run", [run for run in RUNS if run.parent.name in ("half", "full")], ids=lambda run: run.name)
def test_real_runs_have_their_largest_components_measured(run):
    """The same cases; where nothing was dropped the same numbers, and never a prediction more or less."""
    whole, largest = (pd.read_csv(run / name) for name in (METRICS, LARGEST))
    assert list(largest.columns) == list(whole.columns)
    assert largest[["case", "weights", "empty"]].equals(whole[["case", "weights", "empty"]])
    assert (largest.dice - whole.dice).abs().mean() < 0.05 and np.allclose(largest.jaccard,
                                                                           largest.dice / (2 - largest.dice))
    told = json.loads((run / "config.json").read_text(encoding="utf-8")).get("largest")
    assert told is None or (re.fullmatch(r"[0-9a-f]{40}", told["commit"]) and not told["changed"]
                            and told["apart"] <= 0.001)


@pytest.mark.parametrize("record", RECORDS)
def test_the_runs_of_an_arm_differ_in_the_seed_only_and_all_arms_have_one_budget(record):
    told = [json.loads((run / "config.json").read_text(encoding="utf-8")) for run in RUNS if run.parent.name == record]
    for one in told:
        for other in told:
            if (one["arm"], one["labels"], one["variant"]) == (other["arm"], other["labels"], other["variant"]):
                differing = {key for key in NEWEST if setting(one, key) != setting(other, key)}
                assert differing <= {"seed"}
    if record == "trials":  # tries settings one after the other
        return
    long = [one["config"]["max_iterations"] for one in told if one["variant"] == "long"]
    told = [one for one in told if one["variant"] != "long"]
    assert set(long) <= {2 * one["config"]["max_iterations"] for one in told}
    for key in ("max_iterations", "batch_size", "patch_size", "n_filters", "downsample", "max_samples"):
        assert len({str(one["config"][key]) for one in told}) <= 1, key
    assert len({one.get("precision", one["config"]["precision"]) for one in told}) <= 1


def setting(told, key):
    """Of a run; a setting that came after the run was made is off by default, so the default is what the run had.
    Where the volumes were cached changes no number, and precision is what 'auto' came to."""
    if key in ("cache", "precision"):
        return told.get(key)
    return {RENAMED.get(name, name): value for name, value in told["config"].items()}.get(key, NEWEST[key])


def test_no_record_holds_a_volume():
    """Predictions are kept for phantoms only, as packed bits."""
    for path in RECORDED.glob("*/*/*.npz"):
        assert json.loads(path.with_name("config.json").read_text())["data"] != "real"
        with np.load(path) as packed:
            assert all(packed[name].dtype == np.uint8 for name in packed.files)
    files = {path for path in RECORDED.rglob("*") if path.is_file()} - {RECORDED / "README.md"}
    assert {path.suffix for path in files} <= {".json", ".csv", ".npz"}


def test_the_model_card_has_the_records_scores_and_the_file_is_the_records():
    run, = RECORDED.glob("weights/*")
    card = (REPO / "laseg_lib/weights/README.md").read_text(encoding="utf-8")
    for name, words in ((METRICS, "as predicted"), (LARGEST, "largest component alone")):
        table = pd.read_csv(run / name)
        assert len(table) == 20 and (f"| {words} | {100 * table.dice.mean():.1f} ± {100 * table.dice.std():.1f} | "
                                     f"{100 * table.dice.min():.1f} | {100 * table.jaccard.mean():.1f} | "
                                     f"{table.hd95_mm.mean():.2f} | {table.asd_mm.mean():.2f} |") in card
    told = json.loads((run / "config.json").read_text(encoding="utf-8"))
    assert told["commit"][:7] in card and not told["changed"] and "not a medical device" in card
    network, config = load_network(places.weights("atrium"), "any")
    assert places.weights("atrium").stat().st_size < 6e6
    same = ("n_filters", "normalization", "patch_size", "downsample", "seed", "max_iterations", "max_samples")
    assert {name: config[name] for name in same} == {name: told["config"][name] for name in same}
    assert network.out_conv.out_channels == 2


def test_the_model_card_has_what_other_scans_cost():
    """Of each change the mean, the paired difference with the interval of its mean, and the worst case."""
    told = json.loads((RECORDED / "changed_scans.json").read_text(encoding="utf-8"))
    card = (REPO / "laseg_lib/weights/README.md").read_text(encoding="utf-8")
    table = 100 * pd.DataFrame(told["dice"])
    differences = table.sub(table["as it is"], axis=0)
    half = stats.t.ppf(0.975, len(table) - 1) * differences.std() / len(table) ** 0.5
    for change in table:
        cost = "" if change == "as it is" else f"{differences[change].mean():+.1f} ± {half[change]:.1f}"
        assert (f"| {change} | {table[change].mean():.1f} | {cost} | {table[change].min():.1f} |"
                ) in card.replace("−", "-"), change
    free = [change for change in table if change.startswith(("noise", "bright in front", "turned by 15"))]
    assert len(free) == 4 and ((differences[free].mean() - half[free]) > -1.2).all()
    assert (differences[[change for change in table if "slices" in change]] < 0).to_numpy().all()
    assert round(differences["a heart of 1.25 of its size"].min(), 1) == -15.5
    assert told["commit"][:7] in card and not told["changed"]


def test_the_network_that_comes_along_finds_the_atrium_of_a_real_case(real_root):
    """A training case that only chose its iteration."""
    image, label = read_volume(real_root / case_names(real_root, "train")[-1] / FILE)
    network, config = load_network(places.weights("atrium"), "any")
    mask, _ = predict_volume(network, image, config["patch_size"], window="fast", downsample=config["downsample"],
                             enlarge=True)
    assert case_metrics(mask, label)["dice"] > 0.85
