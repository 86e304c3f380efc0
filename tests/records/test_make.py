"""Making a recorded run: what is written, skipped, resumed; and that nothing half-made counts."""

import argparse
import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import psutil
import pytest
import torch
from test_training import closed_logs  # noqa: F401

from laseg_lib.data.volumes import FILE, read_volume
from laseg_lib.errors import LasegError
from laseg_lib.inference import predict_volume
from laseg_lib.methods import self_training
from laseg_lib.metrics import case_metrics
from laseg_lib.records import make as records
from laseg_lib.records import read
from laseg_lib.records.plans import ALL_SEEDS, FIRST_SEEDS, FOLDS, SEEDS_A_FOLD, Plan, Run
from laseg_lib.runtime.checkpoints import load_network
from laseg_lib.training import Trainer

SETTINGS = dict(patch_size=(16, 16, 8), n_filters=2, max_samples=4, val_num=1, max_iterations=4, val_every=2,
                save_every=1,
                precision="fp32", device="cpu")
RUNS = [Run("MT", 2, 1, SETTINGS), Run("supervised", 2, 1, SETTINGS)]
TINY = {"tiny": Plan(dict(train=5, test=3, size=(32, 16, 8)), RUNS)}


@pytest.fixture
def made(tmp_path, monkeypatch):
    """A function that makes the tiny record's run; everything goes under tmp_path."""
    monkeypatch.setattr(read, "HOME", tmp_path)
    for module in (records, read):
        monkeypatch.setattr(module, "RECORDS", TINY)

    def make(run=RUNS[0]):
        return records.make_run("tiny", run, recorded=tmp_path / "recorded", work=tmp_path / "runs", progress=False)
    return make


def test_a_run_leaves_settings_history_metrics_and_predictions(made, tmp_path):
    folder = made()
    assert folder.parent == tmp_path / "recorded" / "tiny" and folder.name == RUNS[0].name == "MT_2_seed1"
    assert sorted(p.name for p in folder.iterdir()) == ["config.json", "history.csv", "metrics.csv",
                                                        "metrics_largest.csv", "predictions.npz"]
    config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (config["record"], config["arm"], config["labels"], config["seed"]) == ("tiny", "MT", 2, 1)
    told = config["config"]
    assert (told["model"], told["labelnum"], told["max_iterations"]) == ("MT", 2, 4)
    assert {"torch", "numpy", "python"} <= set(config["versions"])
    assert config["train_seconds"] > 0 and config["hardware"] and config["date"].endswith("UTC") and "commit" in config
    assert str(tmp_path) not in json.dumps(config)  # no path of the machine that made it
    with open(folder / "history.csv", newline="") as file:
        assert [int(row["iteration"]) for row in csv.DictReader(file)] == [1, 2, 3, 4]
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    cases = ["PHANTOM_0005", "PHANTOM_0006", "PHANTOM_0007"]
    assert [(row["weights"], row["case"]) for row in rows] == [(w, c) for w in ("student", "teacher") for c in cases]


def test_the_predictions_are_those_that_were_measured(made, tmp_path):
    folder = made()
    masks = np.load(folder / "predictions.npz")
    root = next(p for p in tmp_path.rglob("PHANTOM_0005")).parent
    with open(folder / "metrics.csv", newline="") as file:
        dice = {(row["weights"], row["case"]): float(row["dice"]) for row in csv.DictReader(file)}
    assert len(masks.files) == 4
    for key in masks.files:
        weights, case = key.split("/")
        label = read_volume(root / case / "mri_norm2.h5")[1]
        mask = np.unpackbits(masks[key], count=label.size).reshape(label.shape)
        assert 2 * (mask & label).sum() / (mask.sum() + label.sum()) == pytest.approx(dice[weights, case])


def test_what_is_there_is_skipped(made, monkeypatch):
    folder = made()
    before = (folder / "config.json").read_bytes()
    monkeypatch.setattr(records, "Trainer", None)  # would fail if it were used
    assert made() == folder and (folder / "config.json").read_bytes() == before


def test_a_run_that_was_cut_off_goes_on_and_is_the_same(made, tmp_path, monkeypatch):
    class Cut(Exception):
        pass

    step = Trainer.step

    def cut(self):
        if self.iteration == 2:
            raise Cut
        return step(self)

    monkeypatch.setattr(Trainer, "step", cut)
    with pytest.raises(Cut):
        made()
    assert not list((tmp_path / "recorded").rglob("config.json"))
    begun_at = []
    monkeypatch.setattr(Trainer, "step", lambda self: (begun_at.append(self.iteration), step(self))[1])
    cut_off = made()
    assert begun_at == [2, 3]
    want = {name: (cut_off / name).read_bytes() for name in ("history.csv", "metrics.csv")}
    for folder in (cut_off, tmp_path / "runs"):
        folder.rename(tmp_path / f"was_{folder.name}")
    whole = made()
    assert begun_at == [2, 3, 0, 1, 2, 3]
    assert {name: (whole / name).read_bytes() for name in want} == want


def test_a_run_that_failed_while_it_was_evaluated_leaves_no_record(made, tmp_path, monkeypatch):
    def fail(*args, **kwargs):
        raise LasegError("no")

    with monkeypatch.context() as patch:
        patch.setattr(records, "predict_cases", fail)
        with pytest.raises(LasegError):
            made()
    assert read.missing_runs("tiny", tmp_path / "recorded") == RUNS
    made()
    assert [run.name for run in read.missing_runs("tiny", tmp_path / "recorded")] == ["supervised_2_seed1"]


def test_the_table_of_all_cases(made, tmp_path):
    pytest.importorskip("pandas")
    assert len(read.load_metrics("tiny", recorded=tmp_path / "recorded")) == 0
    made()
    made(RUNS[1])
    table = read.load_metrics("tiny", recorded=tmp_path / "recorded")
    assert len(table) == 2 * 2 * 3 and set(table["arm"]) == {"MT", "supervised"} and set(table["labels"]) == {2}
    assert table["dice"].between(0, 1).all()


def test_the_largest_components_are_measured_beside(made, tmp_path, monkeypatch):
    two_parts = np.zeros((32, 16, 8), np.uint8)
    two_parts[2:14, 2:14, 1:7], two_parts[20:22, 2:4, 2:4] = 1, 1
    label = np.zeros_like(two_parts)
    label[2:14, 2:14, 1:6] = 1
    monkeypatch.setattr(records, "predict_cases", lambda *args, **kwargs: [("PHANTOM_0005", two_parts, label)])
    folder = made()
    rows = {name: list(csv.DictReader((folder / name).read_text().splitlines()))
            for name in (read.METRICS, read.LARGEST)}
    both, size = 2 * label.sum(), label.sum()
    for name, parts in ((read.METRICS, 12 * 12 * 6 + 8), (read.LARGEST, 12 * 12 * 6)):
        assert [row["weights"] for row in rows[name]] == ["student", "teacher"]
        assert all(float(row["dice"]) == pytest.approx(both / (parts + size)) for row in rows[name])
    plain, largest = (read.load_metrics("tiny", largest=which, recorded=tmp_path / "recorded")
                      for which in (False, True))
    assert (largest.hd95 < plain.hd95).all() or (largest.asd < plain.asd).all()


def test_the_command_makes_what_is_missing(made, tmp_path, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(records, "make_run", lambda record, run, **options: calls.append((record, run.arm)))
    monkeypatch.setattr(read, "missing_runs", lambda record: RUNS[1:])
    assert records.main(["tiny"]) == 0 and calls == [("tiny", "supervised")]
    assert records.main(["tiny", "--only", "MT"]) == 0 and len(calls) == 1
    with pytest.raises(SystemExit):
        records.main(["huge"])
    monkeypatch.setattr(records, "make_run", lambda *a, **k: (_ for _ in ()).throw(LasegError("no volumes here")))
    capsys.readouterr()
    for jobs in ("0", "-1"):
        with pytest.raises(SystemExit):
            records.main(["tiny", "--jobs", jobs])
    capsys.readouterr()
    assert records.main(["tiny"]) == 1 and capsys.readouterr().err == "record tiny: no volumes here\n"


@pytest.mark.parametrize("content", [b"", b"hello", b"[1]", b"[" * 99_999, b"\xff"])
def test_settings_that_are_none_are_told(made, content, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(read, "RECORDED", tmp_path)
    (tmp_path / "tiny" / "MT_2_seed1").mkdir(parents=True)
    (tmp_path / "tiny" / "MT_2_seed1" / "config.json").write_bytes(content)
    monkeypatch.setattr(records.argparse.ArgumentParser, "parse_args", lambda *_: argparse.Namespace(
        record="tiny", jobs=1, only="", method=None, labels=2))
    assert records.main() == 1
    assert "config.json: not the settings of a recorded run" in capsys.readouterr().err


def test_what_stands_in_a_runs_place_is_known_before_it_is_trained(made, tmp_path):
    (tmp_path / "recorded" / "tiny").mkdir(parents=True)
    (tmp_path / "recorded" / "tiny" / "MT_2_seed1").write_text("mine")
    with pytest.raises(LasegError, match="MT_2_seed1: exists, but is no recorded run"):
        made()
    assert not (tmp_path / "runs").exists()


def test_a_full_disk_is_a_sentence(monkeypatch, capsys):
    def full(*arguments, **options):
        raise OSError(28, "No space left on device", "recorded/x")

    monkeypatch.setattr(records, "make_run", full)
    monkeypatch.setattr(read, "missing_runs", lambda record: [Run("MT", 4, 1, {})])
    assert records.main(["quick"]) == 1
    assert capsys.readouterr().err == "record quick: recorded/x: No space left on device\n"


def test_python_m_laseg_lib_records_has_help():
    done = subprocess.run([sys.executable, "-m", "laseg_lib.records", "--help"], cwd=read.HOME,
                          capture_output=True, text=True)
    assert done.returncode == 0 and "example" in done.stdout


def test_held_out_cases_are_no_training_cases_and_the_seed_shuffles(tmp_path):
    (tmp_path / "cases").mkdir()
    (tmp_path / "train.list").write_text("".join(f"C{i:02}\n" for i in range(80)))
    listed, shuffled = (records.held_out_split(tmp_path / "cases", seed) for seed in (100, 101))
    assert listed == ([f"C{i:02}" for i in range(60)], [f"C{i:02}" for i in range(60, 80)])
    assert shuffled[1] == listed[1] and shuffled[0] != listed[0] and sorted(shuffled[0]) == listed[0]


def test_each_untouched_case_is_tested_in_one_fold_and_never_trained_on_there(tmp_path):
    (tmp_path / "cases").mkdir()
    train, test = [f"C{i:02}" for i in range(80)], [f"T{i:02}" for i in range(20)]
    (tmp_path / "train.list").write_text("\n".join(train))
    (tmp_path / "test.list").write_text("\n".join(test))
    splits = [records.fold_split(tmp_path / "cases", seed) for seed in range(FOLDS * SEEDS_A_FOLD)]
    for learnt, tested in splits:
        assert sorted(learnt + tested) == train + test and len(tested) == 20
    tested = [names for _, names in splits[::SEEDS_A_FOLD]]
    assert sorted(sum(tested, [])) == train[:60] + test, "the last 20, where settings were chosen, are never tested"
    assert all(splits[seed][1] == tested[seed // SEEDS_A_FOLD] for seed in range(len(splits)))
    assert len({tuple(learnt[:2]) for learnt, _ in splits}) == len(splits), "each has labelled cases of its own"
    assert set(ALL_SEEDS) == set(range(len(splits))) and [seed // SEEDS_A_FOLD for seed in FIRST_SEEDS] == [0, 1, 2, 3]


def test_a_fold_trains_on_cases_that_the_public_split_tests(tmp_path, monkeypatch):
    """``test.list`` beside the volumes holds cases that a fold trains on: its own split is what counts."""
    run = Run("labels_only", 2, 1, {**SETTINGS, "val_num": 0, "downsample": 1, "max_samples": 4})
    monkeypatch.setattr(read, "HOME", tmp_path)
    plan = Plan(dict(train=4, test=2, size=(32, 16, 8)), [run], cases="folds")
    monkeypatch.setattr(records, "RECORDS", {"tiny": plan})
    learnt, tested = [f"PHANTOM_000{i}" for i in (5, 0, 2, 1)], ["PHANTOM_0003", "PHANTOM_0004"]
    monkeypatch.setattr(records, "fold_split", lambda root, seed: (learnt, tested))
    folder = records.make_run("tiny", run, recorded=tmp_path / "recorded", work=tmp_path / "runs", progress=False)
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert (told["labelled_cases"], told["test_cases"]) == (learnt[:2], tested)
    monkeypatch.setattr(records, "fold_split", lambda root, seed: (learnt, [*tested[:1], learnt[0]]))
    with pytest.raises(LasegError, match="is in test.list too"):
        records.make_run("tiny", run, recorded=tmp_path / "again", work=tmp_path / "again", progress=False)


def test_self_training_learns_from_its_teachers_masks(tmp_path, monkeypatch):
    """On phantoms that stand for the held-out cases: labels beyond the first two are the teacher's own."""
    settings = {**SETTINGS, "val_num": 0, "downsample": 1, "max_samples": 4}
    run = Run("self_training", 2, 1, settings)
    monkeypatch.setattr(read, "HOME", tmp_path)
    plan = Plan(dict(train=6, test=1, size=(32, 16, 8)), [run], cases="held_out")
    for module in (records, read):
        monkeypatch.setattr(module, "RECORDS", {"tiny": plan})
    monkeypatch.setattr(records, "held_out_split", lambda root, seed: (
        [f"PHANTOM_000{i}" for i in (3, 0, 2, 1)], ["PHANTOM_0004", "PHANTOM_0005"]))
    found = np.eye(32, 16, dtype=np.uint8)[..., None].repeat(8, 2)
    monkeypatch.setattr(self_training, "largest_component", lambda mask: found)
    write, seen = self_training.write_volume, {}
    monkeypatch.setattr(self_training, "write_volume", lambda path, image, label, **more: (
        seen.update({path.parent.name: label.sum()}), write(path, image, label, **more)))
    folder = records.make_run("tiny", run, recorded=tmp_path / "recorded", work=tmp_path / "runs", progress=False)
    told = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    assert told["labelled_cases"] == ["PHANTOM_0003", "PHANTOM_0000"] and 0 <= told["pseudo_label_dice"] <= 1
    assert told["config"]["labelnum"] == 4 and told["config"]["model"] == "supervised_equal"
    assert [seen["PHANTOM_0002"], seen["PHANTOM_0001"]] == [16 * 8, 16 * 8]
    assert 16 * 8 not in (seen["PHANTOM_0000"], seen["PHANTOM_0003"]), "the labelled ones keep their labels"
    assert (tmp_path / "runs/tiny/labels_only_2_seed1/last.pth").exists()
    assert not (tmp_path / "runs/tiny/self_training_2_seed1_data").exists()


def test_a_network_that_comes_along_is_scored_as_it_is_stored(tmp_path, monkeypatch):
    run = Run("labels_only", 4, 1, SETTINGS)
    plan = {"tiny": Plan(dict(train=5, test=2, size=(32, 16, 8)), [run], ships="atrium.safetensors")}
    monkeypatch.setattr(read, "HOME", tmp_path)
    monkeypatch.setattr(records, "RECORDS", plan)
    folder = records.make_run("tiny", run, recorded=tmp_path / "recorded", work=tmp_path / "runs", progress=False)
    assert json.loads((folder / "config.json").read_text(encoding="utf-8"))["checkpoint"] == "best"
    with open(folder / "metrics.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["weights"] for row in rows] == ["teacher"] * 2
    snapshot = tmp_path / "runs/tiny" / run.name
    network, config = load_network(snapshot / "atrium.safetensors", "teacher")
    best, told = load_network(snapshot / "best.pth", "teacher")
    assert config["patch_size"] == [16, 16, 8] and config["cases"] == told["cases"] and not config["root_path"]
    assert all(torch.equal(mine, theirs.half().float())
               for mine, theirs in zip(network.parameters(), best.parameters()))
    root = records.find_data(plan["tiny"].data, 1)
    image, label = read_volume(root / rows[0]["case"] / FILE)
    mask = predict_volume(network, image, (16, 16, 8))[0]
    assert case_metrics(mask, label)["dice"] == pytest.approx(float(rows[0]["dice"]))
    (snapshot / "atrium.safetensors").write_bytes(b"cut off")
    with pytest.raises(LasegError, match="atrium.safetensors"):
        load_network(snapshot / "atrium.safetensors")


def test_runs_of_the_readers_own_method_lie_beside_the_record(tmp_path, monkeypatch, capsys):
    (tmp_path / "mine.py").write_text("""
from laseg_lib.losses import segmentation_loss
def louder(student, teacher, image, label, config, iteration, generator):
    n = config.labelled_in_batch
    return 2 * segmentation_loss(student(image)[:n], label[:n])[0], {}
""")
    settings = {**SETTINGS, "val_num": 0, "downsample": 1, "batch_size": 2, "labeled_bs": 1}
    monkeypatch.setattr(read, "HOME", tmp_path)
    monkeypatch.setattr(records, "RECORDS", {"methods": Plan(dict(train=5, test=2, size=(32, 16, 8)), [])})
    monkeypatch.setattr(read, "RECORDS", records.RECORDS)
    monkeypatch.setattr("laseg_lib.records.plans.STRONG_SMALL", settings)
    monkeypatch.setattr(records, "FIRST_SEEDS", (0,))
    words = ["methods", "--method", f"{tmp_path / 'mine.py'}:louder"]
    assert records.main(words) == 0 and "1 runs to make" in capsys.readouterr().out
    table = read.load_metrics("methods", recorded=tmp_path / "runs/recorded")
    assert set(table.arm) == {"louder"} and set(table.labels) == {2} and set(table.weights) == {"student", "teacher"}
    said = (tmp_path / "runs/recorded/methods/louder_2_seed0/config.json").read_text(encoding="utf-8")
    assert json.loads(said)["config"]["method"] == "mine.py:louder" and str(tmp_path) not in said
    assert records.main(words) == 0 and "0 runs to make" in capsys.readouterr().out


SLEEPERS = """
import time
from laseg_lib.records.make import side_by_side
if __name__ == "__main__":
    try:
        for found in side_by_side(time.sleep, [[0.01, 0.02], [300] * 6], 2):
            print("one", flush=True)
    except KeyboardInterrupt:
        print("stopped", flush=True)
"""


@pytest.mark.skipif(os.name != "posix", reason="signals as on POSIX")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_all_runs_that_are_made_side_by_side(number, tmp_path):
    (tmp_path / "sleepers.py").write_text(SLEEPERS)
    parent = subprocess.Popen([sys.executable, tmp_path / "sleepers.py"], stdout=subprocess.PIPE, text=True, env={
        **os.environ, "PYTHONPATH": str(Path(__file__).resolve().parents[2])})
    assert [parent.stdout.readline() for _ in range(2)] == ["one\n"] * 2
    workers = psutil.Process(parent.pid).children(recursive=True)
    assert len(workers) >= 2
    parent.send_signal(number)
    assert parent.communicate(timeout=60)[0] == "stopped\n" and parent.returncode == 0
    assert psutil.wait_procs(workers, timeout=20)[1] == []
