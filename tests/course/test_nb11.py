"""What notebook 11 draws, and the numbers of its prose, from the records."""

import numpy as np
import pytest

from laseg_lib.course import nb11_what_really_helps as nb11
from laseg_lib.records import statistics as compare
from laseg_lib.records.read import load_metrics, published_points
from laseg_lib.records.statistics import Pick


def test_the_last_panel_shows_errors_of_which_the_teacher_was_sure():
    chance = np.random.default_rng(0)
    image, entropy = chance.normal(size=(8, 6, 4)), chance.uniform(size=(8, 6, 4))
    label, wrong = chance.random((2, 8, 6, 4)) < 0.5
    z = int(np.argmax(wrong.sum((0, 1))))
    figure = nb11.draw_uncertainty(image, label, entropy, wrong)
    shown = np.asarray(figure.axes[3].images[0].get_array())
    np.testing.assert_array_equal(shown.T, (wrong & (entropy < 0.5))[:, :, z])


@pytest.mark.parametrize(("one", "two", "mean", "smallest"), [
    (("strong", 8), ("strong_supervised", 8), 0.011, 0.034),
    (("strong_supervised", 76), ("strong_supervised", 8), 0.037, None),
    (("strong", 16), ("strong", 8), 0.004, 0.055), (("strong", 8), ("supervised", 8), 0.053, 0.076)])
def test_what_the_page_says_of_the_strong_recipe(one, two, mean, smallest):
    """A smallest visible effect where the row can't be told from zero; None where it is above."""
    picks = [Pick(arm, "teacher", labels) for arm, labels in (one, two)]
    found = compare.over_seeds_and_cases(load_metrics("half"), "x", *picks)
    assert round(found.mean, 3) == mean
    assert (round(found.smallest, 3) == smallest and found.verdict == compare.UNCLEAR if smallest
            else found.verdict == "above zero")


def test_which_of_the_walkthroughs_arms_the_strong_recipe_surely_beats():
    rows = compare.strong_against(load_metrics("half"), labels=8)
    sure = [row.name for row in rows if row.verdict == "above zero"]
    assert len(rows) == 5 and ["equal" in sure[0], "λ = 0" in sure[1], len(sure)] == [True, True, 2]


def test_what_the_page_says_of_the_mended_base():
    """Section 7: what turns and BatchNorm cost, and how far each use of unlabelled volumes lies above labels only."""
    table = load_metrics("trials")

    def dice(arm, variant="", labels=2):
        seeds = compare.per_seed(table, Pick(arm, "teacher", labels, variant))
        return [round(seeds[seed], 3) for seed in sorted(seeds)]

    base = dice("labels_only")
    assert base == [0.859, 0.853] and dice("labels_only", "turned") == [0.801, 0.793]
    assert [round(a - b, 2) for a, b in zip(base, dice("labels_only", "batchnorm"))] == [0.14, 0.03]
    assert dice("labels_only", "gentle") == [0.844, 0.844] and dice("labels_only", "wide") == [0.861, 0.868]
    gains = [compare.difference(table, "x", Pick("strong", "teacher", 2, variant), Pick("labels_only", "teacher", 2))
             for variant in ("", "view")]
    gains = [value for row in gains for value in row.values.values()]
    assert (round(min(gains), 3), round(max(gains), 3)) == (0.010, 0.021)
    once = compare.difference(table, "x", Pick("self_training", "teacher", 2), Pick("labels_only", "teacher", 2))
    assert [round(gain, 3) for gain in once.values.values()] == [0.014, 0.030]
    assert dice("labels_only", "long") == [0.856] and dice("strong", "view_long") == [0.887]
    assert dice("strong", "slow")[0] < base[0] and dice("strong", "all") < dice("strong")[:1]
    every = {(arm, variant): dice(arm, variant) for arm, variant in set(zip(table.arm, table.variant))}
    assert max(every, key=lambda key: max(every[key], default=0)) == ("strong", "view_long")
    assert [dice(arm, variant, 4)[0] for arm, variant in (
        ("labels_only", ""), ("strong", ""), ("strong", "view"), ("self_training", ""))] == [0.876, 0.879, 0.888, 0.888]


def test_what_the_page_says_of_the_record_labels():
    """Section 7: the declared comparison, the others beside it, and BatchNorm."""
    table = load_metrics("labels")
    two, four, eight, sixteen = compare.worth(table)
    assert [round(row.mean, 3) for row in (two, four, eight, sixteen)] == [0.038, 0.010, 0.003, 0.002]
    assert (round(four.half, 3), round(four.cases, 3), four.verdict) == (0.008, 0.005, "above zero")
    assert sum(value > 0 for value in four.values.values()) == 10 and len(four.values) == 12
    gains = sorted(two.values.values())
    assert (two.verdict, round(gains[0], 3), round(gains[-1], 3)) == ("above zero", 0.012, 0.057) and len(gains) == 12
    assert [(row.verdict, round(row.smallest, 3), len(row.values)) for row in (eight, sixteen)] == [
        (compare.UNCLEAR, 0.006, 4), (compare.UNCLEAR, 0.013, 4)]
    more = compare.over_seeds_and_cases(table, "x", *(Pick("labels_only", "teacher", labels) for labels in (4, 2)))
    assert (round(more.mean, 3), more.verdict, len(more.values)) == (0.039, "above zero", 12)
    ceiling, many = (np.mean(list(compare.per_seed(table, Pick("labels_only", "teacher", n)).values()))
                     for n in (80, 16))
    assert round(ceiling, 3) == 0.886 and many > ceiling


def test_what_the_page_says_of_batchnorm_on_two_labels():
    table = load_metrics("labels")
    few, company, strong, free = (compare.per_seed(table, Pick(arm, "teacher", 2, variant)) for arm, variant in (
        ("labels_only", "batchnorm"), ("company", "batchnorm"), ("strong", "batchnorm"), ("labels_only", "")))
    assert (round(min(few.values()), 2), round(max(few.values()), 2)) == (0.39, 0.70)
    same = [free[seed] for seed in few]
    assert (round(min(same), 2), round(max(same), 2)) == (0.81, 0.86)
    lifted = sorted(company[seed] - few[seed] for seed in few)
    assert lifted[0] < 0.005 and (round(lifted[1], 2), round(lifted[3], 2)) == (0.15, 0.30)
    worse = [seed for seed in few if strong[seed] < company[seed]]
    assert worse == [9] and round(strong[9], 3) == 0.149
    ruined = compare.rows_of(table, Pick("strong", "teacher", 2, "batchnorm"))
    assert ruined[ruined.seed == 9]["empty"].sum() == 7
    first, *others = compare.illness(table)
    assert (first.verdict, round(first.mean, 3)) == ("above zero", 0.300)
    assert {row.verdict for row in others} == {compare.UNCLEAR}
    assert (round(min(strong[seed] for seed in (0, 3, 6)), 2), round(max(strong.values()), 2)) == (0.73, 0.84)


def test_what_the_page_says_of_the_rivals():
    table = load_metrics("labels")
    rows = {row.name: row for row in compare.rivals(table)}
    two, four = ([rows[f"{labels} labels: {name}"] for name in (
        "labels only for twice as long − labels only", "strong − labels only for twice as long",
        "all 80 labels − these", "self-training − labels only", "strong − self-training")] for labels in (2, 4))
    assert [round(row.mean, 3) for row in two] == [-0.002, 0.032, 0.049, 0.029, 0.001]
    assert [round(row.mean, 3) for row in four] == [0.013, -0.002, 0.030, 0.013, -0.003]
    assert {len(row.values) for row in two + four} == {4}
    assert {row.verdict for row in two[2:4] + four[2:4]} == {"above zero"}
    assert {row.verdict for row in two[:2] + four[:2] + [two[4], four[4]]} == {compare.UNCLEAR}
    ahead = sorted(two[1].values.values())
    assert round(ahead[0], 3) == 0.002 and ahead[1] >= 0.03 and two[1].mean > two[1].cases
    assert [round(row.smallest, 3) for row in (two[1], two[4], four[4])] == [0.046, 0.018, 0.031]
    same = [np.mean([row.values[seed] for seed in two[0].values]) for row in compare.worth(table)[:2]]
    assert [round(float(gain), 3) for gain in same] == [0.030, 0.011]


def test_what_the_page_says_of_the_replication():
    """Eight other trainings than those of the row it repeats; and both arms for twice as long."""
    table = load_metrics("labels")
    again, both, longer = compare.time_at_two(table)
    first = next(row for row in compare.rivals(table) if row.name == "2 labels: strong − labels only for twice as long")
    assert len(again.values) == len(both.values) == 8 and not again.values.keys() & first.values.keys()
    assert (again.verdict, round(again.mean, 3), round(again.half, 3)) == ("above zero", 0.035, 0.014)
    assert (round(min(again.values.values()), 3), round(max(again.values.values()), 3)) == (0.014, 0.056)
    assert (both.verdict, round(both.mean, 3), round(both.half, 3)) == ("above zero", 0.045, 0.025)
    below = [seed for seed, gain in both.values.items() if gain < 0]
    assert below == [1] and round(longer.values[1], 3) == -0.061
    assert (longer.verdict, round(longer.mean, 3)) == (compare.UNCLEAR, 0.005)


def test_what_the_page_says_of_the_public_split():
    table = load_metrics("public")
    rows = compare.public_worth(table)
    assert [(round(row.mean, 3), row.verdict) for row in rows] == [
        (0.018, "above zero"), (0.009, compare.UNCLEAR), (-0.003, compare.UNCLEAR), (0.004, compare.UNCLEAR),
        (0.012, compare.UNCLEAR), (0.007, compare.UNCLEAR)]
    seen = [round(row.smallest, 3) for row in rows[1:]]
    assert (min(seen), max(seen)) == (0.015, 0.042) and {len(row.values) for row in rows} == {3}
    alone, eight, four = ([100 * dice for dice in compare.per_seed(table, Pick(*pick, "long")).values()] for pick in (
        ("labels_only", "teacher", 8), ("strong", "teacher", 8), ("strong", "teacher", 4)))
    assert [round(np.mean(dice), 1) for dice in (alone, eight, four)] == [89.7, 90.3, 88.8]
    assert max(eight) - min(eight) < 0.4
    papers = [dice for labels, dice in published_points() if labels == 8]
    assert len(papers) == 10 and sum(dice < np.mean(alone) for dice in papers) == 6 and min(papers) == 82.74


def test_what_the_page_says_of_the_largest_component_alone():
    clean = load_metrics("labels", largest=True)
    (two, four, *_), again = compare.worth(clean), compare.time_at_two(clean)[0]
    assert [(round(row.mean, 3), round(row.half, 3), row.verdict) for row in (two, again)] == [
        (0.025, 0.007, "above zero"), (0.016, 0.008, "above zero")]
    assert (round(four.mean, 3), four.verdict, round(four.smallest, 3)) == (0.004, compare.UNCLEAR, 0.013)
    whole = load_metrics("labels")
    kept = [row.mean / other.mean for row, other in zip((two, again), (compare.worth(whole)[0],
                                                                      compare.time_at_two(whole)[0]))]
    assert kept[1] < 0.5 and round(3 * kept[0]) == 2, "smaller by a third and by more than half"
    once = [row for row in compare.rivals(clean) if "self-training − labels only" in row.name]
    assert [(round(row.mean, 3), round(row.smallest, 3), row.verdict) for row in once] == [
        (0.023, 0.036, compare.UNCLEAR), (0.008, 0.018, compare.UNCLEAR)]
    on_public = compare.public_worth(load_metrics("public", largest=True))[0]
    assert (round(on_public.mean, 3), on_public.verdict) == (0.001, compare.UNCLEAR)
