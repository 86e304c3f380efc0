"""Every exercise knows its right answer, an untouched stub, and each mistake it foresees."""

import importlib
import inspect
import itertools
import pkgutil
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from laseg_lib import course
from laseg_lib.course.exercise import Exercise, same_code
from laseg_lib.course.nb01_left_atrium_data import check_ml
from laseg_lib.course.nb02_two_stream_sampler import check_endless, check_visits
from laseg_lib.course.nb04_losses import check_consistency
from laseg_lib.course.nb05_ema_teacher import check_teacher
from laseg_lib.course.nb06_ramp_up import check_half, half_weight
from laseg_lib.course.nb07_train_mean_teacher import check_order, order_of_a_step
from laseg_lib.course.nb15_many_gpus import check_share

NOTEBOOKS = sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
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


@pytest.mark.parametrize("name", [name for name in EXERCISES if EXERCISES[name].given])
def test_code_as_it_was_given_is_not_attempted_and_is_what_the_notebook_shows(name):
    given = EXERCISES[name].given
    assert EXERCISES[name].verdict(given).startswith("Not attempted")
    body = inspect.getsource(given).split("\n", 1)[1].strip()
    cells = [cell.source for path in NOTEBOOKS for cell in nbformat.read(path, 4).cells if f"\n{name}(" in cell.source]
    assert len(cells) == 1 and body in cells[0]
    shown = []  # compiled where no module imports NumPy, as in a notebook
    exec(cells[0], {"np": np, "torch": torch, name: shown.append})
    assert EXERCISES[name].verdict(shown[0]).startswith("Not attempted")
    changed = cells[0].replace("return ", "return 0 * ", 1)
    exec(changed, {"np": np, "torch": torch, name: shown.append})
    assert not same_code(shown[1], given)


@pytest.mark.parametrize("name", EXERCISES)
def test_a_wrong_answer_is_caught_by_its_hardest_case_alone(name):
    exercise = EXERCISES[name]
    right = exercise.answers_of(exercise.reference)
    missed = [sum(not exercise.same(*pair) for pair in zip(exercise.answers_of(mistake), right))
              for mistake in exercise.mistakes.values()]
    assert 0 not in missed and (1 in missed or name == "check_area")  # whose random meshes catch every mistake


def test_an_unforeseen_mistake_is_shown_a_case():
    verdict = check_half.verdict(lambda length, every: 7 + every)
    assert verdict == "Not yet: for (40, 150) the answer should be 3900; yours is 157."
    verdict = check_half.verdict(lambda length, every: 7)
    assert verdict == "Not yet: your answer is 7 for every case. For (40, 150) it should be 3900."


def test_code_that_raises_is_answered_not_raised_and_its_line_is_shown():
    def attempt(length, every):
        return length // 0

    assert check_half.verdict(attempt) == ("Not yet: for (40, 150) your code stops with ZeroDivisionError: integer "
                                           "division or modulo by zero, in the line `return length // 0`")
    assert "your function can't be called" in check_half.verdict(lambda length: length)
    assert "itself, its name without brackets" in check_half.verdict(3900)


def test_printing_instead_of_returning_is_told_so(capsys):
    assert "in place of `print`" in check_half.verdict(lambda length, every: print(half_weight(length, every)))
    assert "3900" in capsys.readouterr().out

    def forgets(length, every):
        half_weight(length, every)

    assert "Is a `return` missing" in check_half.verdict(forgets)
    assert "(0, 10) your function returns nothing" in check_half.verdict(
        lambda length, every: half_weight(length, every) or None)


def test_an_answer_that_cannot_be_looked_at_is_not_the_learners_error():
    assert "Another kind of answer" in check_order.verdict(lambda: 4)
    assert "stops with" not in check_order.verdict(lambda: 4)
    assert "Another kind of answer" in check_consistency.verdict(lambda s, t: "0.1")


@pytest.mark.parametrize("kind", [np.float32, np.array, torch.tensor, lambda value: np.array([value]),
                                  lambda value: torch.tensor(float(value), requires_grad=True)])
def test_numpy_torch_and_plain_numbers_pass(kind):
    assert check_half.verdict(lambda length, every: kind(half_weight(length, every))).startswith("Correct")


@pytest.mark.parametrize("kind", [list, iter, np.array, torch.tensor, lambda values: [torch.tensor(v) for v in values]])
def test_lists_arrays_and_iterators_pass(kind):
    reference = check_share.reference
    assert check_share.verdict(lambda *args: kind(reference(*args))).startswith("Correct")


def test_an_item_of_a_loss_is_told_from_a_detached_one():
    verdict = check_consistency.verdict(lambda s, t: check_consistency.reference(s, t).item())
    assert "leave out `.item()`" in verdict


def test_two_mistakes_at_once_get_the_first_ones_hint():
    verdict = check_teacher.verdict(lambda students, alpha: [s * min(alpha, 1) for s in students])
    assert verdict.startswith("Not yet")
    both = check_ml.verdict(lambda label, mm: float(label.sum() * mm**3))  # mm³, and labels added up
    assert "perhaps one of several: That is in cubic millimetres" in both


def test_an_attempt_that_changes_its_arguments_spoils_no_later_case():
    def shuffles(indices, n, seed):
        rng, found = np.random.default_rng(seed), []
        while len(found) < n:
            rng.shuffle(indices)
            found += indices
        return found[:n]

    before = [list(case[0]) for case in check_endless.cases]
    assert check_endless.verdict(shuffles).startswith("Correct")
    assert [list(case[0]) for case in check_endless.cases] == before


def test_a_share_by_number_is_refused():
    verdict = check_share.verdict(lambda indices, rank, world: [i for i in indices if i % world == rank])
    assert "Its place in the list counts" in verdict


def test_the_part_of_an_answer_that_is_wrong_is_named_and_arrays_are_shown():
    verdict = check_visits.verdict(lambda n, a, b, k, s: (3, 4, 5))
    assert "the number of epochs should be 1500; yours is 3" in verdict
    three = Exercise(lambda: np.array([1.0, 2.0]), [()], {})
    assert three.verdict(lambda: np.array([1.0, 2.5])) == (
        "Not yet: for () the answer should be [1, 2]; yours is [1, 2.5].")


def test_numbers_that_differ_look_different():
    near = Exercise(lambda: 0.1234567, [()], {})
    for off in (1e-3, 2e-4, 5e-5):
        words = near.verdict(lambda off=off: 0.1234567 + off)
        right, yours = words.split("should be ")[1].rstrip(".").split("; yours is ")
        assert right != yours


def test_to_clear_the_gradients_after_the_step_is_right_too():
    for order in itertools.permutations(order_of_a_step()):
        clear, *others = map(order.index, order_of_a_step())
        right = sorted(others) == others and not others[0] < clear < others[1] and list(order) != order_of_a_step()
        assert check_order.verdict(lambda order=order: order).startswith("Correct") == right


@pytest.mark.parametrize("name", EXERCISES)
def test_every_solution_can_be_shown(name):
    assert inspect.getsource(EXERCISES[name].reference).startswith("def ")
