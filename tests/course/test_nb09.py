"""What notebook 09 draws, and the numbers of its prose, from the records."""

import numpy as np
from scipy.stats import ttest_rel

from laseg_lib.course import nb09_supervised_comparison as nb09
from laseg_lib.records import read
from laseg_lib.records import statistics as compare
from laseg_lib.records.statistics import Difference, teacher


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
    assert read.published()[read.published().method == "CrossMatch"].checkpoint.str.contains("on the tests").all()
    assert read.published()[read.published().method.isin(["nnFilterMatch", "TCSeg"])].split.str.contains("index").all()


def test_the_real_mean_teacher_tests_one_small_lambda():
    for seed in (1337, 1338, 1339):
        rows = read.history("half", f"MT_8_seed{seed}")
        shares = []
        for part in (rows, rows[-100:]):
            term = sum(row["consistency_weight"] * row["consistency_dist"] for row in part)
            shares.append(term / sum(row["loss"] for row in part))
        assert round(rows[-1]["consistency_weight"], 3) == 0.095
        assert 0.004 < shares[0] < 0.005 and 0.015 < shares[1] < 0.025


def test_on_phantoms_company_is_not_what_helps_batchnorm():
    """Section 4: the declared comparison, by SciPy, and the rows beside it."""
    table = read.load_metrics("two_labels")
    assert not read.missing_runs("two_labels")
    dice = {(arm, variant): np.array(list(compare.per_seed(table, teacher(arm, 2, variant)).values()))
            for arm, variant in (("strong", "batchnorm"), ("labels_only", "batchnorm"), ("company", "batchnorm"),
                                 ("strong", ""), ("labels_only", ""))}
    gain = {norm: dice["strong", norm] - dice["labels_only", norm] for norm in ("batchnorm", "")}
    test = ttest_rel(gain["batchnorm"], gain[""])
    assert test.pvalue > 0.05 and round(float((gain["batchnorm"] - gain[""]).mean()), 3) == 0.038
    assert gain["batchnorm"].mean() > 0 > gain[""].mean()
    assert (dice["company", "batchnorm"] - dice["labels_only", "batchnorm"]).mean() < 0
