"""What the prose of notebook 12 says of the records beyond what its cells print."""

import numpy as np
from comparisons import PUBLIC, gains, replication, rivals

from laseg_lib.records import statistics as compare
from laseg_lib.records.read import load_metrics, published_points
from laseg_lib.records.statistics import UNCLEAR, teacher


def test_the_fewer_labels_the_more_a_scan_is_worth():
    two, four, eight, sixteen = gains(load_metrics("labels"))
    assert [len(row.values) for row in (two, four, eight, sixteen)] == [12, 12, 4, 4]
    assert two.verdict == four.verdict == "above zero" and eight.verdict == sixteen.verdict == UNCLEAR
    assert min(two.values.values()) > 0, "all twelve"
    folds = compare.over_folds(two)
    assert min(folds.values.values()) > 0 and round(folds.half, 3) == 0.008


def test_the_rivals():
    table = load_metrics("labels")
    for labels in (2, 4):
        long, once, against_long, against_once = rivals(table, labels)
        assert once.verdict == "above zero"
        assert {row.verdict for row in (long, against_long, against_once)} == {UNCLEAR}


def test_the_replication():
    """It stands on other trainings than the row that it repeats."""
    table = load_metrics("labels")
    again, first = replication(table), rivals(table, 2)[2]
    assert len(again.values) == 8 and not again.values.keys() & first.values.keys()
    assert min(again.values.values()) > 0 and min(compare.over_folds(again).values.values()) > 0
    both, = compare.differences(table, [
        ("x", teacher("strong", 2, "long"), teacher("labels_only", 2, "long"))], cases=True)
    assert both.verdict == again.verdict == "above zero"


def test_the_largest_component_takes_a_third_of_the_gain_at_two_labels():
    whole, clean = (gains(load_metrics("labels", largest=largest)) for largest in (False, True))
    assert round(3 * (1 - clean[0].mean / whole[0].mean)) == 1
    assert clean[0].verdict == compare.over_folds(clean[0]).verdict == "above zero" and clean[1].verdict == UNCLEAR


def test_the_public_split():
    table = load_metrics("public")
    found = compare.differences(table, PUBLIC, cases=True)
    assert [row.verdict for row in found] == ["above zero"] + 5 * [UNCLEAR]
    clean, *_ = compare.differences(load_metrics("public", largest=True), PUBLIC, cases=True)
    assert (round(clean.mean, 3), clean.verdict) == (0.001, UNCLEAR)
    alone = 100 * np.array(list(compare.per_seed(table, teacher("labels_only", 8, "long")).values()))
    papers = [dice for labels, dice in published_points() if labels == 8]
    mean, half = alone.mean(), compare.interval95(alone)
    assert [sum(dice < edge for dice in papers) for edge in (mean, mean - half, mean + half)] == [6, 2, 10]
    assert min(papers) == 82.74, "five of the six had unlabelled volumes: the plain V-Net is the sixth"
