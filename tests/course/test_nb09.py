"""What notebook 09 draws, and the numbers of its prose, from the records."""

import numpy as np
import pytest

from laseg_lib.course import nb09_supervised_comparison as nb09
from laseg_lib.records import read
from laseg_lib.records import statistics as compare
from laseg_lib.records.plans import FIRST_SEEDS
from laseg_lib.records.statistics import Difference, Pick


def test_the_forest_says_what_is_missing():
    rows = [compare.of_values("a", {0: 0.1, 1: 0.12}), compare.of_values("b", {0: -0.1}),
            Difference("c", {}, np.nan, np.inf, "not recorded yet")]
    texts = [text.get_text() for text in nb09.draw_forest(rows).axes[0].texts]
    assert "−0.100, one seed" in texts and "not recorded yet" in texts and any(t.startswith("+0.110 ±") for t in texts)


def test_published_results_say_how_they_were_chosen():
    assert set(read.published().labelled) == {"25 of 123", "4 of 80", "8 of 80", "16 of 80", "80 of 80"}
    assert read.published("25 of 123").dice.tolist() == ["88.35", "90.28"]
    for method in ("BCP", "AD-MT"):
        rows = read.published()[read.published().method == method]
        assert len(rows) and rows.checkpoint.str.contains("on the tests").all()
        assert (rows["largest component"] == "kept").all()


@pytest.mark.parametrize(("arms", "labels", "weights", "mean"), [
    (("MT", "supervised"), 8, "student", 0.014), (("MT", "supervised"), 8, "teacher", 0.024),
    (("MT", "lambda0"), 8, "student", 0.050), (("MT", "lambda0"), 8, "teacher", 0.008),
    (("MT", "supervised"), 16, "student", 0.006), (("MT", "supervised"), 16, "teacher", 0.001)])
def test_no_row_of_the_real_comparison_can_be_told_from_zero(arms, labels, weights, mean):
    one, two = (Pick(arm, weights, labels) for arm in arms)
    found = compare.over_seeds_and_cases(read.load_metrics("half"), "x", one, two)
    assert round(found.mean, 3) == mean and found.verdict == compare.UNCLEAR


def test_the_real_mean_teacher_tests_one_small_lambda():
    for seed in (1337, 1338, 1339):
        rows = read.history("half", f"MT_8_seed{seed}")
        shares = []
        for part in (rows, rows[-100:]):
            term = sum(row["consistency_weight"] * row["consistency_dist"] for row in part)
            shares.append(term / sum(row["loss"] for row in part))
        assert round(rows[-1]["consistency_weight"], 3) == 0.095
        assert 0.004 < shares[0] < 0.005 and 0.015 < shares[1] < 0.025


def test_what_the_mended_base_showed_on_phantoms():
    """The numbers of section 4, and its counts of seeds."""
    table = read.load_metrics("two_labels")
    assert not read.missing_runs("two_labels")
    company, bn, norm_free, labels_only, declared = compare.cures(table)
    strong = compare.difference(table, "x", Pick("strong", "teacher", 2, "batchnorm"),
                                Pick("company", "teacher", 2, "batchnorm"))
    assert [round(row.mean, 3) for row in (company, bn, declared, strong)] == [-0.004, 0.025, 0.038, 0.029]
    assert (declared.verdict, round(declared.smallest, 3)) == (compare.UNCLEAR, 0.057)
    assert bn.verdict == strong.verdict == "above zero" and norm_free.mean < 0
    assert norm_free.verdict == labels_only.verdict == company.verdict == compare.UNCLEAR
    values = np.array(list(declared.values.values()))
    assert ((values > 0.02).sum(), (abs(values) < 0.02).sum(), (values < -0.02).sum()) == (7, 1, 2)
    assert sum(value < -0.01 for value in norm_free.values.values()) == 5
    room = compare.difference(table, "x", *(Pick("labels_only", "teacher", labels) for labels in (40, 2)))
    assert round(room.mean, 3) == 0.118 and room.verdict == "above zero" and len(room.values) == 5
    for taught, least, most in ((False, 38, 56), (True, 74, 102)):  # seconds of a core
        took = [round(config["train_cpu_seconds"]) for config in read.configs("two_labels").values()
                if config["labels"] == 2 and (config["arm"] != "labels_only") == taught]
        assert (min(took), max(took)) == (least, most)


def test_what_section_4_says_of_real_atria():
    table = read.load_metrics("labels")

    def at_two(arm, variant):
        seeds = compare.per_seed(table, Pick(arm, "teacher", 2, variant))
        return np.array([seeds[seed] for seed in FIRST_SEEDS])

    few, company, free = at_two("labels_only", "batchnorm"), at_two("company", "batchnorm"), at_two("labels_only", "")
    assert [round(values.mean(), 2) for values in (few, company, free)] == [0.54, 0.71, 0.84]
    lifted = sorted(company - few)
    assert abs(lifted[0]) < 0.005 and lifted[1] >= 0.14
    two = compare.worth(table)[0]
    assert round(two.mean, 3) == 0.038 and len(two.values) == 12 and min(two.values.values()) > 0
