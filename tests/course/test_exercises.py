"""Every exercise knows its right answer, an untouched stub, and each mistake it foresees."""

import inspect
import itertools
import math

import pytest

from laseg_lib.course import exercise as exercises
from laseg_lib.course import exercises_data, exercises_results, exercises_teacher

EXERCISES = {name: value for module in (exercises, exercises_data, exercises_results, exercises_teacher)
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
    verdict = exercises_teacher.check_ramp.verdict(lambda t, T: 0.5)
    assert "(0, 40)" in verdict and "0.0067" in verdict and "0.5000" in verdict


def test_code_that_raises_is_answered_not_raised():
    verdict = exercises_teacher.check_ramp.verdict(lambda t, T: math.exp(-5 * (1 - min(t, T) / T) ** 2))
    assert verdict == "Not yet: for (3, 0) your code stops with ZeroDivisionError: division by zero"


def test_an_answer_that_cannot_be_looked_at_is_told_too():
    assert "for () your code stops with TypeError" in exercises_teacher.check_order.verdict(lambda: 4)


def test_to_clear_the_gradients_after_the_step_is_right_too():
    for order in itertools.permutations(exercises_teacher.order_of_a_step()):
        clear, *others = map(order.index, exercises_teacher.order_of_a_step())
        right = sorted(others) == others and not others[0] < clear < others[1]
        assert exercises_teacher.check_order.verdict(lambda order=order: order).startswith("Correct") == right


@pytest.mark.parametrize("name", EXERCISES)
def test_every_solution_can_be_shown(name):
    assert inspect.getsource(EXERCISES[name].reference).startswith("def ")
