"""Every exercise knows its right answer, an untouched stub, and each mistake it foresees."""

import pytest

from laseg_lib.course import exercises, exercises_data, exercises_results

EXERCISES = {name: value for module in (exercises, exercises_data, exercises_results)
             for name, value in vars(module).items() if isinstance(value, exercises.Exercise)}
MISTAKES = [(name, hint) for name, exercise in EXERCISES.items() for hint in exercise.mistakes]


@pytest.mark.parametrize("name", EXERCISES)
def test_the_reference_is_correct(name):
    assert EXERCISES[name].verdict(EXERCISES[name].reference).startswith("Correct")


@pytest.mark.parametrize("name", EXERCISES)
def test_an_untouched_stub_is_not_attempted(name):
    assert EXERCISES[name].verdict(lambda *args: None).startswith("Not attempted")


@pytest.mark.parametrize(("name", "hint"), MISTAKES)
def test_each_mistake_gets_its_own_hint(name, hint):
    assert EXERCISES[name].verdict(EXERCISES[name].mistakes[hint]) == f"Not yet. {hint}"


def test_an_unforeseen_mistake_is_shown_a_case():
    verdict = exercises.check_ramp.verdict(lambda t, T: 0.5)
    assert "(0, 40)" in verdict and "0.0067" in verdict and "0.5000" in verdict


def test_code_that_raises_is_answered_not_raised():
    assert "ZeroDivisionError" in exercises.check_ramp.verdict(lambda t, T: 1 / 0)
