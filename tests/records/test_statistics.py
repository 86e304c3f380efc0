"""Means, paired differences and intervals against textbook numbers, and what is said where nothing is recorded."""

import json

import numpy as np
import pytest
from scipy import stats

from laseg_lib.records import read
from laseg_lib.records import statistics as compare
from laseg_lib.records.plans import Plan, Run
from laseg_lib.records.statistics import Pick

pd = pytest.importorskip("pandas")


def table(arms, variant="", cases=4, weights=("student", "teacher")):
    """``arms``: {arm: student's Dice for each seed}; the teacher has 0.01 more; cases differ by a known pattern."""
    rows = [{"arm": arm, "labels": 4, "variant": variant, "seed": seed, "weights": w, "case": f"C{case}",
             "dice": dice + 0.01 * (w == "teacher") + 0.02 * (case - (cases - 1) / 2)}
            for arm, seeds in arms.items() for seed, dice in enumerate(seeds) for w in weights for case in range(cases)]
    return pd.DataFrame(rows)


def difference(table, a, b, cases=False):
    """The Difference of one comparison."""
    found, = compare.differences(table, [("x", a, b)], cases=cases)
    return found


A, B = [0.70, 0.74, 0.69, 0.75, 0.72], [0.68, 0.71, 0.68, 0.73, 0.69]


def test_a_paired_difference_is_scipys():
    found = difference(table({"MT": A, "lambda0": B}), Pick("MT"), Pick("lambda0"))
    test = stats.ttest_rel(A, B)
    assert found.mean == pytest.approx(test.statistic * stats.sem(np.subtract(A, B)))
    low, high = test.confidence_interval(0.95)
    assert (found.mean - found.half, found.mean + found.half) == pytest.approx((low, high))
    assert found.verdict == "above zero"
    assert difference(table({"MT": B, "lambda0": A}), Pick("MT"), Pick("lambda0")).verdict == "below zero"


def test_seeds_and_cases_are_two_intervals():
    """Cases that differ alike in both arms don't count; both intervals must leave out zero."""
    two = table({"MT": A, "lambda0": B}, cases=20)
    found = difference(two, Pick("MT"), Pick("lambda0"), cases=True)
    seeds = difference(two, Pick("MT"), Pick("lambda0"))
    assert (found.mean, found.half) == pytest.approx((seeds.mean, seeds.half))
    assert found.verdict == "above zero" and found.cases == pytest.approx(0, abs=1e-12)
    chance = np.random.default_rng(0)
    two.loc[two.arm == "MT", "dice"] += np.tile(chance.normal(0, 0.2, 20), 10)  # the same cases in every seed
    wide = difference(two, Pick("MT"), Pick("lambda0"), cases=True)
    rows = two[two.weights == "student"].pivot_table(index="case", columns="arm", values="dice")
    assert wide.cases == pytest.approx(compare.interval95((rows.MT - rows.lambda0).tolist()))
    assert wide.half == pytest.approx(found.half) and wide.verdict == "no clear difference"
    assert wide.smallest == pytest.approx(compare.smallest_visible((rows.MT - rows.lambda0).tolist()))
    assert difference(two, Pick("strong"), Pick("MT"), cases=True).verdict == "not recorded yet"
    one = difference(two[two.seed == 0], Pick("MT"), Pick("lambda0"), cases=True)
    assert "one seed" in one.verdict and one.cases is None


def test_a_single_training_is_compared_over_its_cases():
    """SciPy's paired t test of the cases; there is nothing to say over trainings."""
    from scipy.stats import ttest_rel

    one = table({"MT": A[:1], "lambda0": B[:1]}, cases=20)
    one.loc[one.arm == "MT", "dice"] += np.tile(np.random.default_rng(0).normal(0.02, 0.05, 20), 2)
    rows = one[one.weights == "student"].pivot(index="case", columns="arm", values="dice")
    [found] = compare.over_cases(one, [("a − b", Pick("MT"), Pick("lambda0"))])
    theirs = ttest_rel(rows.MT, rows.lambda0)
    assert found.values == pytest.approx((rows.MT - rows.lambda0).to_dict())
    assert found.half == pytest.approx(np.diff(theirs.confidence_interval(0.95)).item() / 2)
    assert found.p == pytest.approx(theirs.pvalue)
    shown = compare.difference_table([found], unit="cases")
    assert shown.cases.item() == 20 and shown["± over cases"].item() == f"{found.half:.3f}"


def test_in_folds_each_case_is_averaged_over_the_seeds_that_test_it():
    """Two folds of two cases, two seeds each; SciPy's t tests of the four trainings and of the four cases."""
    gains = {("A", 0): 0.04, ("B", 0): 0.02, ("A", 1): 0.03, ("B", 1): 0.05, ("C", 2): 0.01, ("D", 2): 0.06,
             ("C", 3): 0.02, ("D", 3): 0.02}
    rows = [{"arm": arm, "labels": 4, "variant": "", "seed": seed, "weights": "student", "case": case,
             "dice": 0.8 + (arm == "strong") * gain} for (case, seed), gain in gains.items()
            for arm in ("strong", "labels_only")]
    found = difference(pd.DataFrame(rows), Pick("strong"), Pick("labels_only"), cases=True)
    over_seeds, over_cases = ([np.mean([gain for key, gain in gains.items() if key[unit] == one]) for one in ones]
                              for unit, ones in ((1, range(4)), (0, "ABCD")))
    assert list(found.values.values()) == pytest.approx(over_seeds)
    for half, values in ((found.half, over_seeds), (found.cases, over_cases)):
        low, high = stats.ttest_1samp(values, 0).confidence_interval()
        assert half == pytest.approx((high - low) / 2)


def fold_table(gain, seeds=range(12)):
    """The record `labels`, made up: seed s tests the 20 cases of fold s // 3."""
    chance = np.random.default_rng(0)
    return pd.DataFrame([
        {"arm": arm, "labels": 4, "variant": "", "seed": seed, "weights": "teacher", "case": f"{seed // 3} {case}",
         "dice": 0.85 + (arm == "strong") * gain + chance.normal(0, 0.01)}
        for seed in seeds for case in range(20) for arm in ("strong", "labels_only")])


def test_a_label_curve_has_a_mean_for_each_fold():
    rows = compare.label_rows(fold_table(0.02), 3)
    assert [(row["arm"], row["fold"]) for row in rows] == [(arm, fold) for arm in ("labels_only", "strong")
                                                           for fold in range(4)]
    table = fold_table(0.02)
    first = table[(table.arm == "strong") & (table.seed < 3)].dice.mean()
    assert rows[4]["dice"] == pytest.approx(100 * first)


def test_three_seeds_that_a_bootstrap_calls_sure_are_not():
    """Drawing from three seeds can't leave their range: all above zero is then "above zero", whatever their spread."""
    found = difference(table({"MT": [0.60, 0.70, 0.80], "lambda0": [0.59, 0.66, 0.70]}), Pick("MT"), Pick("lambda0"),
                       cases=True)
    assert min(found.values.values()) > 0 and found.verdict == "no clear difference"


@pytest.mark.parametrize("n", [5, 10, 20])
def test_the_smallest_visible_effect_is_seen_four_times_in_five(n):
    """By the noncentral t distribution, and by trying."""
    values = np.random.default_rng(n).normal(size=n)
    effect = compare.smallest_visible(values) / np.std(values, ddof=1)
    edge = stats.t.ppf(0.975, n - 1)
    power = 1 - stats.nct.cdf(edge, n - 1, effect * np.sqrt(n)) + stats.nct.cdf(-edge, n - 1, effect * np.sqrt(n))
    assert power == pytest.approx(0.8, abs=0.01)
    draws = np.random.default_rng(0).normal(effect, 1, size=(2000, n))
    seen = np.abs(draws.mean(1)) > edge * draws.std(1, ddof=1) / np.sqrt(n)
    assert seen.mean() == pytest.approx(0.8, abs=0.03)


def test_the_smallest_visible_effect_of_three_and_of_one():
    assert compare.smallest_visible([0.0, 1.0, 2.0]) == pytest.approx(5.3633 / np.sqrt(3), rel=1e-4)
    assert np.isinf(compare.smallest_visible([0.1]))


def test_only_seeds_that_both_have_are_compared():
    found = difference(table({"MT": A, "lambda0": B[:2]}), Pick("MT"), Pick("lambda0"))
    assert sorted(found.values) == [0, 1]


def test_too_few_seeds_are_not_evidence():
    nothing = difference(table({"MT": A}), Pick("MT"), Pick("lambda0"))
    assert np.isnan(nothing.mean) and nothing.verdict == "not recorded yet"
    one = difference(table({"MT": A[:1], "lambda0": B}), Pick("MT"), Pick("lambda0"))
    assert one.mean == pytest.approx(0.02) and np.isinf(one.half) and "one seed" in one.verdict


def test_differences_as_a_table():
    rows = [compare.of_values(*given) for given in (
        ("sure", {0: 0.1, 1: 0.1}), ("unclear", {0: 0.1, 1: -0.1}), ("one", {0: 0.1}), ("none", {}))]
    found = compare.difference_table(rows).set_index("difference")
    assert found.loc["sure"].tolist() == [2, "+0.100", "0.000", "above zero", ""]
    assert found.loc["unclear", "smallest visible"] == f"{compare.smallest_visible([0.1, -0.1]):.3f}"
    assert found.loc["one"].tolist() == [1, "+0.100", "", "one seed says nothing about spread", ""]
    assert found.loc["none"].tolist() == [0, "", "", "not recorded yet", ""]
    two = table({"MT": A, "lambda0": B})
    both = compare.difference_table([difference(two, Pick("MT"), Pick("lambda0"), cases=True)])
    assert both["± over cases"].tolist() == ["0.000"]


def test_an_interval_that_holds_zero_is_called_so():
    assert compare.of_values("x", {0: 0.1, 1: -0.1, 2: 0.05}).verdict == "no clear difference"


def test_rows_for_the_figure():
    rows = compare.arm_rows(table({"MT": [0.5]}))
    assert rows == [{"arm": "MT", "seed": 0, "student": pytest.approx(0.5), "teacher": pytest.approx(0.51)}]
    assert compare.arm_rows(table({"MT": [0.5]}), variant="noise") == []


def test_a_missing_record_is_said_to_be_missing(tmp_path, monkeypatch):
    monkeypatch.setattr(read, "RECORDS", {"tiny": Plan("real", [Run("MT", 2, 1, {}), Run("supervised", 2, 1, {})])})
    assert "NOT RECORDED YET (2 runs)" in read.provenance("tiny", tmp_path)
    folder = tmp_path / "tiny" / "MT_2_seed1"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({
        "commit": "0123456789", "changed": False, "hardware": "abacus", "cores": 2, "date": "2026-01-02 03:04 UTC",
        "versions": {"torch": "2.9"}}))
    (folder / "history.csv").write_text("iteration,loss,val_dice_student\n1,0.5,\n2,0.25,0.75\n")
    told = read.provenance("tiny", tmp_path)
    for word in ("1 runs, 1 MISSING", "0123456", "abacus", "2 cores", "2026-01-02", "make record RECORD=tiny"):
        assert word in told
    assert read.history("tiny", "MT_2_seed1", tmp_path)[-1] == \
        {"iteration": 2, "loss": 0.25, "val_dice_student": 0.75}


def test_longer_trainings_are_arms_of_their_own_in_the_curve():
    longer = pd.concat([fold_table(0.02), table({"labels_only": A}, "long"), table({"strong": A}, "long"),
                        table({"company": A}, "batchnorm")])
    assert {row["arm"] for row in compare.label_rows(longer)} == {
        "labels_only", "strong", "labels_only_long", "strong_long", "company_batchnorm"}


def test_a_mark_of_the_curve_is_a_fold_or_a_training():
    assert {row["fold"] for row in compare.label_rows(fold_table(0.02), 3)} == set(range(4))
    assert {row["fold"] for row in compare.label_rows(fold_table(0.02))} == set(range(12))


def test_holms_correction_by_hand():
    """m = 4: .005 · 4 = .02, .01 · 3 = .03, .03 · 2 = .06; .04 · 1 is less than the one before it, so .06 too."""
    assert compare.holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert compare.holm([0.5, 0.6]) == [1, 1] and compare.holm([]) == []


def test_p_is_scipys_and_a_family_asks_for_more():
    rows = [compare.of_values(name, dict(enumerate(values))) for name, values in (
        ("sure", [0.05, 0.06, 0.055, 0.052]), ("alone", [0.01, 0.03, 0.02, 0.005]), ("no", [0.02, -0.02, 0.01, -0.02]))]
    for row in rows:
        assert row.p == pytest.approx(stats.ttest_1samp(list(row.values.values()), 0).pvalue)
    alone = rows[1]._replace(p=0.04, verdict="above zero")
    found = compare.one_family([rows[0], alone, rows[2]])
    assert [row.verdict for row in found] == ["above zero", "no clear difference", "no clear difference"]
    assert found[1].p == pytest.approx(0.08) and "p" in compare.difference_table(found, p=True)


def test_of_several_classes_the_mean_counts():
    rows = table({"MT": A, "lambda0": B})
    classes = pd.concat([rows.assign(**{"class": "wall", "dice": 0.1}), rows.assign(**{"class": "mean"})])
    one, two = (difference(some, Pick("MT"), Pick("lambda0")) for some in (rows, classes))
    assert one == two


def test_where_patients_count_p_is_the_larger_of_the_two():
    two = table({"MT": A, "lambda0": B}, cases=20)
    chance = np.random.default_rng(0)
    two.loc[two.arm == "MT", "dice"] += np.tile(chance.normal(0, 0.2, 20), 10)
    found = difference(two, Pick("MT"), Pick("lambda0"), cases=True)
    rows = two[two.weights == "student"].pivot_table(index="case", columns="arm", values="dice")
    assert found.p == pytest.approx(stats.ttest_rel(rows.MT, rows.lambda0).pvalue)
