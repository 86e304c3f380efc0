"""The numbers of notebook 13 that come from records."""

from laseg_lib.records import read
from laseg_lib.records import statistics as compare
from laseg_lib.records.statistics import UNCLEAR, student, teacher


def test_a_gain_against_the_wrong_control_is_no_clear_gain_against_the_right_one():
    quick = read.load_metrics("quick")
    wrong, right = compare.differences(quick, [("a", student("MT"), student("supervised")),
                                               ("b", student("MT"), student("lambda0"))])
    assert (round(wrong.mean, 3), wrong.verdict) == (0.054, "above zero")
    assert (round(right.mean, 3), right.verdict) == (0.034, UNCLEAR)


def test_in_short_trainings_one_of_three_mean_teachers_finds_nothing():
    assert not read.missing_runs("short")
    short = read.load_metrics("short")
    empty = short[(short.arm == "MT") & (short.weights == "teacher") & (short.seed < 3)].groupby("seed")["empty"].all()
    assert empty.sum() == 1
    found, = compare.differences(short[short.seed < 3], [("a", teacher("MT"), teacher("lambda0"))])
    assert round(found.mean, 3) == -0.266 and found.verdict == UNCLEAR


def test_strong_stands_on_real_atria():
    labels = read.load_metrics("labels")
    pair = [("a", teacher("strong", 2), teacher("labels_only", 2))]
    three, = compare.differences(labels[labels.seed < 3], pair)
    twelve, = compare.differences(labels, pair, cases=True)
    assert (round(three.mean, 3), three.verdict) == (0.042, "above zero")
    assert (round(twelve.mean, 3), round(twelve.half, 3), twelve.verdict) == (0.038, 0.009, "above zero")


def test_a_run_of_the_record_takes_what_the_page_says():
    seconds = read.configs("methods")["mse_2_seed0"]["train_cpu_seconds"]
    assert round(seconds / 60) == 23
