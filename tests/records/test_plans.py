"""The list of recorded runs: names, settings, what is missing, and the table that the notebooks read."""

import json

import pytest

from laseg_lib.config import TrainConfig
from laseg_lib.data.volumes import with_split
from laseg_lib.records.make import six_digits, split_by_dependency
from laseg_lib.records.plans import RECORDS
from laseg_lib.records.read import load_metrics, missing_runs


@pytest.mark.parametrize("record", RECORDS)
def test_every_run_has_settings_that_work_and_a_name_of_its_own(record):
    runs = RECORDS[record].runs
    assert len({run.name for run in runs}) == len(runs)
    for run in runs:
        if run.arm != "self_training":  # learns from as many labels as there are cases, and so its batch is another
            with_split(TrainConfig(model=run.model, labelnum=run.labels, seed=run.seed, **run.settings), 80)


def test_the_quick_record_compares_like_with_like():
    runs = [run for run in RECORDS["quick"].runs if run.labels == 4]
    differing = {name for run in runs for name, value in run.settings.items() if value != runs[0].settings.get(name)}
    assert differing == {"normalization", "teacher_view"}
    assert {run.arm for run in runs} == {"supervised", "supervised_equal", "lambda0", "MT"}
    assert {run.seed for run in runs} == set(range(5)), "the settings were chosen on seeds of 100 and more"


def test_a_recorded_run_is_read_and_no_longer_missing(tmp_path):
    everything = [run.name for run in missing_runs("quick", recorded=tmp_path)]
    name = "MT_4_instancenorm_seed3"
    assert name in everything
    (tmp_path / "quick" / name).mkdir(parents=True)
    (tmp_path / "quick" / name / "config.json").write_text(
        json.dumps({"arm": "MT", "labels": 4, "variant": "instancenorm", "seed": 3}))
    (tmp_path / "quick" / name / "metrics.csv").write_text(
        "case,weights,dice,jaccard,hd95,asd,hd95_mm,asd_mm,empty\nA,student,0.5,0.3,1,1,1,1,False\n")
    assert set(everything) - {run.name for run in missing_runs("quick", recorded=tmp_path)} == {name}
    row, = load_metrics("quick", recorded=tmp_path).to_dict("records")
    assert (row["variant"], row["seed"], row["weights"], row["dice"]) == ("instancenorm", 3, "student", 0.5)


def test_recorded_numbers_have_six_digits():
    assert six_digits("1,0.02,0.69314718246,2.8610229e-06\n2,0.02,12345678.5,\n") == (
        "1,0.02,0.693147,2.86102e-06\n2,0.02,1.23457e+07,\n")


def test_a_run_that_learns_from_anothers_labels_waits_for_it():
    first, second = split_by_dependency(RECORDS["trials"].runs)
    assert {run.arm for run in second} == {"self_training"} and "self_training" not in {run.arm for run in first}
    assert sorted(run.name for run in [*first, *second]) == sorted(run.name for run in RECORDS["trials"].runs)
