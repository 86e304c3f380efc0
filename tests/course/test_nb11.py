"""What notebook 11 draws, and what its prose says of the records beyond what its cells print."""

import numpy as np
import pytest

from laseg_lib.course import nb11_what_helps as nb11
from laseg_lib.records import statistics as compare
from laseg_lib.records.read import load_metrics
from laseg_lib.records.statistics import student, teacher


def test_the_last_panel_shows_errors_of_which_the_teacher_was_sure():
    chance = np.random.default_rng(0)
    image, entropy = chance.normal(size=(8, 6, 4)), chance.uniform(size=(8, 6, 4))
    label, wrong = chance.random((2, 8, 6, 4)) < 0.5
    z = int(np.argmax(wrong.sum((0, 1))))
    figure = nb11.draw_uncertainty(image, label, entropy, wrong)
    shown = np.asarray(figure.axes[3].images[0].get_array())
    np.testing.assert_array_equal(shown.T, (wrong & (entropy < 0.5))[:, :, z])


def test_turns_and_batchnorm_cost_more_than_unlabelled_volumes_add():
    """Section 1, on held-out training cases."""
    table, base = load_metrics("trials"), teacher("labels_only", 2)

    def gains(arm, variant=""):
        found, = compare.differences(table, [("x", teacher(arm, 2, variant), base)])
        return [round(100 * gain) for gain in found.values.values()]

    assert gains("labels_only", "turned") == [-6, -6] and gains("labels_only", "batchnorm") == [-14, -3]
    ways = sum((gains(*way) for way in (("strong",), ("strong", "view"), ("self_training",))), [])
    assert (min(ways), max(ways)) == (1, 3)
    assert min(gains("labels_only", "wide")) >= 0


def test_what_company_does_for_batchnorm_on_two_labels():
    table = load_metrics("labels")
    few, company, strong, free = (compare.per_seed(table, teacher(arm, 2, variant)) for arm, variant in (
        ("labels_only", "batchnorm"), ("company", "batchnorm"), ("strong", "batchnorm"), ("labels_only", "")))
    same = [free[seed] for seed in few]
    assert (round(min(same), 2), round(max(same), 2)) == (0.81, 0.86)
    assert [round(np.mean([*dice]), 2) for dice in (few.values(), company.values(), same)] == [0.54, 0.71, 0.84]
    lifted = sorted(company[seed] - few[seed] for seed in few)
    assert lifted[0] < 0.005 and lifted[1] > 0.14, "three of four"
    assert round(min(strong.values()), 3) == 0.149


def test_the_share_of_the_headroom_is_hardly_known():
    """Section 3: every share r for which gain − r · room, seed by seed, has an interval that holds zero."""
    table = load_metrics("quick")
    control, ours, top = (np.array(list(compare.per_seed(table, pick).values())) for pick in (
        student("lambda0"), student("MT"), student("supervised_equal", 40)))
    rests = {r: ours - control - r * (top - control) for r in np.linspace(-5, 5, 1001)}
    held = [r for r, rest in rests.items() if abs(np.mean(rest)) <= compare.interval95(rest)]
    assert (round(min(held), 2), round(max(held), 2)) == (-0.46, 0.75)


def test_mean_teacher_is_worse_in_29_of_100_cases():
    table = load_metrics("quick")
    ours, control = (compare.rows_of(table, student(arm)).set_index(["seed", "case"]).dice for arm in ("MT", "lambda0"))
    assert (len(ours), int((ours < control).sum())) == (100, 29)


@pytest.mark.parametrize(("one", "two", "mean", "smallest"), [
    (("strong", 8), ("strong_supervised", 8), 0.011, 0.034),
    (("strong_supervised", 76), ("strong_supervised", 8), 0.037, None),
    (("strong", 16), ("strong", 8), 0.004, 0.055), (("strong", 8), ("supervised", 8), 0.053, 0.076)])
def test_what_is_said_of_the_first_recipe(one, two, mean, smallest):
    """A smallest visible effect where there is no clear difference; None where the row is above zero."""
    found, = compare.differences(load_metrics("half"), [("x", teacher(*one), teacher(*two))], cases=True)
    assert round(found.mean, 3) == mean
    assert (round(found.smallest, 3) == smallest and found.verdict == compare.UNCLEAR if smallest
            else found.verdict == "above zero")
