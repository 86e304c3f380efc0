"""What the prose of notebook 12 says of the records beyond what its cells print."""

import numpy as np
from readme_results import compared

from laseg_lib.records import statistics as compare
from laseg_lib.records.read import load_metrics, published_points
from laseg_lib.records.statistics import UNCLEAR, teacher


def test_the_fewer_labels_the_more_a_scan_is_worth():
    two, four, eight, sixteen = dict(compared("labels"))["the worth of a scan"]
    assert two.verdict == four.verdict == "above zero" and eight.verdict == sixteen.verdict == UNCLEAR
    assert len(two.values) == 12 and min(two.values.values()) > 0, "all twelve"
    folds = compare.over_folds(two)
    assert min(folds.values.values()) > 0 and round(folds.half, 3) == 0.008


def test_the_rivals():
    rows = {row.name: row.verdict for row in dict(compared("labels"))["rivals, the first four trainings"]}
    for labels in (2, 4):
        assert rows.pop(f"{labels} labels: self-training − labels only") == "above zero"
        for name in ("labels only, twice as long − labels only", "strong − labels only, twice as long",
                     "strong − self-training"):
            assert rows[f"{labels} labels: {name}"] == UNCLEAR


def test_the_replication():
    """It stands on other trainings than the row that it repeats."""
    rows = dict(compared("labels"))
    again, = rows["the replication, eight other trainings"]
    first = next(row for row in rows["rivals, the first four trainings"] if "strong − labels only, twice" in row.name)
    assert len(again.values) == 8 and not again.values.keys() & first.values.keys()
    assert min(again.values.values()) > 0 and min(compare.over_folds(again).values.values()) > 0
    assert rows["both for twice as long"][0].verdict == again.verdict == "above zero"


def test_the_largest_component_takes_a_third_of_the_gain_at_two_labels():
    whole, clean = (dict(compared("labels", largest))["the worth of a scan"] for largest in (False, True))
    assert round(3 * (1 - clean[0].mean / whole[0].mean)) == 1
    assert clean[0].verdict == compare.over_folds(clean[0]).verdict == "above zero" and clean[1].verdict == UNCLEAR


def test_the_public_split():
    table = load_metrics("public")
    (_, found), (_, (clean, *_)) = compared("public")[0], compared("public", largest=True)[0]
    assert [row.verdict for row in found] == ["above zero"] + 5 * [UNCLEAR]
    assert (round(clean.mean, 3), clean.verdict) == (0.001, UNCLEAR)
    alone = 100 * np.array(list(compare.per_seed(table, teacher("labels_only", 8, "long")).values()))
    papers = [dice for labels, dice in published_points() if labels == 8]
    mean, half = alone.mean(), compare.interval95(alone)
    assert [sum(dice < edge for dice in papers) for edge in (mean, mean - half, mean + half)] == [6, 2, 11]
    assert len(papers) == 12
    assert min(papers) == 82.74, "five of the six had unlabelled volumes: the plain V-Net is the sixth"
