"""Every exercise knows its right answer, an untouched stub, and each mistake it foresees."""

import importlib
import inspect
import itertools
import math
import pkgutil

import pytest

from laseg_lib import course
from laseg_lib.course.exercise import Exercise
from laseg_lib.course.nb06_ramp_up import check_ramp
from laseg_lib.course.nb07_train_mean_teacher import check_order, order_of_a_step

MODULES = [importlib.import_module(f"laseg_lib.course.{module.name}")
           for module in pkgutil.iter_modules(course.__path__) if module.name.startswith("nb")]
EXERCISES = {name: value for module in MODULES for name, value in vars(module).items() if isinstance(value, Exercise)}
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
    verdict = check_ramp.verdict(lambda t, T: 0.5)
    assert "(0, 40)" in verdict and "0.0067" in verdict and "0.5000" in verdict


def test_code_that_raises_is_answered_not_raised():
    verdict = check_ramp.verdict(lambda t, T: math.exp(-5 * (1 - min(t, T) / T) ** 2))
    assert verdict == "Not yet: for (3, 0) your code stops with ZeroDivisionError: division by zero"


def test_an_answer_that_cannot_be_looked_at_is_told_too():
    assert "for () your code stops with TypeError" in check_order.verdict(lambda: 4)


def test_to_clear_the_gradients_after_the_step_is_right_too():
    for order in itertools.permutations(order_of_a_step()):
        clear, *others = map(order.index, order_of_a_step())
        right = sorted(others) == others and not others[0] < clear < others[1]
        assert check_order.verdict(lambda order=order: order).startswith("Correct") == right


@pytest.mark.parametrize("name", EXERCISES)
def test_every_solution_can_be_shown(name):
    assert inspect.getsource(EXERCISES[name].reference).startswith("def ")
