"""Checks for the learner's own code, used in the notebooks as ``check_dice(my_dice)``.

An exercise has the right function, inputs to try it on, and functions with the mistakes that people make.  If an
attempt's answers agree with a mistake's, its hint is shown.
"""

import contextlib
import copy
import dis
import io
import itertools
import os
import sys
import traceback

import numpy as np
import torch

from ..data.atomic import write_whole
from ..errors import LasegError
from ..runtime import places

DONE, STARTED = "done", "begun"


class Exercise:
    """``reference``: the right function.  ``cases``: tuples of arguments.  ``mistakes``: hint -> wrong function.

    ``look(answer, *args)``: the part of an answer that is compared, if several answers are right.
    ``names``: the names of an answer's parts, if it has several.  ``given``: the notebook's function with mistakes, if
    the exercise is to fix it.  ``tolerance``: the largest absolute error of a number.
    A call with an attempt prints *not attempted*, *correct* or what is wrong, and notes for
    ``laseg_lib.course.progress()`` whether the exercise is begun or done.
    """

    def __init__(self, reference, cases, mistakes, look=lambda answer, *args: answer, names=(), given=None,
                 tolerance=1e-5):
        self.reference, self.cases, self.mistakes, self.look = reference, cases, mistakes, look
        self.names, self.given, self.tolerance = names, given, tolerance

    def __call__(self, attempt):
        verdict = self.verdict(attempt)
        print(verdict)
        if not verdict.startswith("Not attempted"):
            save_state(self, DONE if verdict.startswith("Correct") else STARTED)

    def verdict(self, attempt):
        """The sentence that the learner reads."""
        if not callable(attempt):
            return "Not yet: give the check your function itself, its name without brackets behind it."
        if same_code(attempt, lambda: None):
            return "Not attempted yet: replace `return None` by your own code and run the cell again."
        if self.given and same_code(attempt, self.given):
            return "Not attempted yet: this is the code as it was given. Fix it and run the cell again."
        given, said = [], io.StringIO()
        for case in self.cases:
            args = copy.deepcopy(case)  # an attempt may change its arguments
            try:
                with contextlib.redirect_stdout(said), np.errstate(all="ignore"):  # warnings would be red on the page
                    answer = attempt(*args)
                    given.append((list(itertools.islice(answer, 10**5)) if hasattr(answer, "__next__") else answer,
                                  args))
            except Exception as error:  # any error of the learner's code is shown
                return f"Not yet: for {format_value(case)} {where_it_stopped(error, attempt)}"
        if said.getvalue():
            print(said.getvalue(), end="")
        if all(answer is None for answer, _ in given):
            return ("Not yet: your function prints its answer and returns nothing. Write `return` in place of `print`."
                    if said.getvalue() else "Not yet: your function returns nothing. Is a `return` missing at its end?")
        return self._compare(given)

    def _compare(self, given):
        """The verdict on answers [(answer, the arguments it was made from)], one a case."""
        expected, answers = self.answers_of(self.reference), []
        for (answer, args), case in zip(given, self.cases):
            if answer is None:
                return f"Not yet: for {format_value(case)} your function returns nothing."
            try:
                answers.append(self.look(answer, *args))
            except Exception:  # of ``look``, which expects answers like the reference's
                kind = format_value(self.reference(*copy.deepcopy(case)))
                return (f"Not yet: for {format_value(case)} your answer is {format_value(answer)}. "
                        f"Another kind of answer is asked for, such as {kind}.")
        wrong = [i for i, pair in enumerate(zip(answers, expected)) if not self.same(*pair)]
        if not wrong:
            return "Correct. Your function and the library's agree on every case."
        found = {hint: self.answers_of(mistake) for hint, mistake in self.mistakes.items()}
        for hint, theirs in found.items():
            if self.same(answers, theirs):
                return f"Not yet. {hint}"
        one_number = shape_of(answers[0]) == shape_of(expected[0]) == ()
        differs = any(not self.same(expected[0], other) for other in expected)
        if one_number and differs and len(answers) > 2 and all(self.same(answers[0], other) for other in answers):
            case, right = format_value(self.cases[wrong[0]]), format_value(expected[wrong[0]])
            return (f"Not yet: your answer is {format_value(answers[0])} for every case. For {case} it should be "
                    f"{right}.")
        # Of two mistakes, some cases may show only one.  A single case, or an answer of 0 or 1, may agree by chance.
        telling = {hint: [i for i in wrong if self.same(answers[i], theirs[i]) and not is_trivial_number(answers[i])]
                   for hint, theirs in found.items()}
        hint = max(telling, key=lambda hint: len(telling[hint]), default=None)
        if hint and len(telling[hint]) > 1 and 2 * len(telling[hint]) >= len(wrong):
            i = telling[hint][0]
            return (f"Not yet. Your answer for {format_value(self.cases[i])} is {format_value(answers[i])}. "
                    f"It comes from this mistake, perhaps one of several: {hint}")
        return self._differ(self.cases[wrong[0]], expected[wrong[0]], answers[wrong[0]])

    def _differ(self, case, right, answer):
        """The sentence that shows a wrong answer, or the first part of it that is wrong."""
        what = "the answer"
        if self.names and shape_of(right) == shape_of(answer):
            part = next(i for i, pair in enumerate(zip(answer, right)) if not self.same(*pair))
            what, right, answer = self.names[part], right[part], answer[part]
        right, answer = format_distinctly(right, answer)
        return f"Not yet: for {format_value(case)} {what} should be {right}; yours is {answer}."

    def same(self, a, b):
        return same(a, b, self.tolerance)

    def answers_of(self, function):
        """The compared part of a function's answer to each case."""
        copies = [copy.deepcopy(case) for case in self.cases]
        with np.errstate(all="ignore"):
            return [self.look(function(*args), *args) for args in copies]


def progress_folder():
    """The folder with one file for each exercise, which says ``done`` or ``begun``.

    It is the user's, because each notebook has a kernel of its own.  Two kernels can write different files at once.
    """
    return places.home() / "data" / "progress"


def save_state(exercise, state):
    """Note that an exercise of a notebook is begun or done; a done one stays done.

    If the folder can't be written, nothing is noted, and ``progress()`` says so.  LASEG_PROGRESS=off: no notes.
    """
    if os.environ.get("LASEG_PROGRESS") == "off" or not (name := exercise_name(exercise)):
        return
    file = progress_folder() / name
    with contextlib.suppress(OSError, LasegError):
        if not file.exists() or file.read_text(encoding="utf-8") != DONE:
            write_whole(file, state)


def exercise_name(exercise):
    """The notebook and name of an exercise, such as 05_ema_teacher.check_teacher; None if no notebook has it."""
    for module, content in list(sys.modules.items()):
        if module.startswith(f"{__package__}.nb"):
            for name, value in vars(content).items():
                if value is exercise:
                    return f"{module.removeprefix(f'{__package__}.nb')}.{name}"
    return None


def same_code(one, two):
    """Whether two functions have the same code; names and docstrings don't count."""
    return (all(hasattr(function, "__code__") for function in (one, two))
            and instructions_of(one.__code__) == instructions_of(two.__code__))


def instructions_of(code):
    """[(operation, argument)] of a function's code, without what differs between a module and a cell."""
    found = []
    for step in dis.get_instructions(code):
        if step.opname in ("RESUME", "CACHE", "PUSH_NULL", "NOP"):
            continue
        value = instructions_of(step.argval) if hasattr(step.argval, "co_code") else step.argval
        jump = step.opcode in dis.hasjrel or step.opcode in dis.hasjabs
        inner = step.opname == "LOAD_CONST" and isinstance(value, str) and "<locals>" in value  # a qualified name
        found.append((step.opname.replace("LOAD_METHOD", "LOAD_ATTR"), None if jump or inner else value))
    return found


def where_it_stopped(error, attempt):
    """The error that the learner's code raised, with its line."""
    frames = traceback.extract_tb(error.__traceback__)
    file = getattr(getattr(attempt, "__code__", None), "co_filename", None)
    own = [frame for frame in frames if frame.filename == file]
    if isinstance(error, TypeError) and len(frames) == 1:  # no line of it ran
        return f"your function can't be called: {error}"
    line = f", in the line `{own[-1].line}`" if own and own[-1].line else ""
    return f"your code stops with {type(error).__name__}: {error}{line}"


def as_numbers(value):
    """An answer as a number, an array or a list of them; of another type, as it is."""
    if torch.is_tensor(value):
        value = value.detach().cpu().to(torch.float64).numpy()
    if isinstance(value, np.ndarray):
        return value.astype(float).item() if value.size == 1 and value.dtype != object else value
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, (list, tuple, range)) or (hasattr(value, "__next__") and hasattr(value, "__iter__")):
        return [as_numbers(part) for part in value]
    return value


def same(a, b, tolerance=1e-5):
    """Whether two answers agree: numbers and arrays to ``tolerance``, lists and tuples item by item."""
    a, b = as_numbers(a), as_numbers(b)
    if isinstance(a, list) and isinstance(b, list):
        return len(a) == len(b) and all(same(*pair, tolerance) for pair in zip(a, b))
    try:
        a, b = np.asarray(a, float), np.asarray(b, float)
    except (TypeError, ValueError):
        return type(a) is type(b) and bool(np.all(a == b))
    if a.size == b.size == 1:  # a number, or one in a list
        a, b = a.ravel(), b.ravel()
    return a.shape == b.shape and bool(np.allclose(a, b, rtol=1e-4, atol=tolerance, equal_nan=True))


def is_trivial_number(answer):
    """Whether an answer is the number 0, 1 or -1."""
    value = as_numbers(answer)
    return isinstance(value, (bool, int, float)) and value in (0, 1, -1)


def shape_of(answer):
    """The shape of an array or of nested lists; () for a number or a word."""
    try:
        return np.shape(np.asarray(as_numbers(answer)))
    except ValueError:  # lists of different lengths
        return (len(as_numbers(answer)), "uneven")


def format_value(value, digits=4):
    """A value in short: numbers with ``digits`` digits, of long lists and arrays the first values."""
    if not isinstance(value, (str, bytes, list, tuple)):
        value = as_numbers(value)
    if isinstance(value, (list, tuple)):
        shown = [format_value(part, digits) for part in value[:12]] + ["…"] * (len(value) > 12)
        return ("({})" if isinstance(value, tuple) else "[{}]").format(", ".join(shown))
    if isinstance(value, np.ndarray):
        if value.size <= 12:
            return format_value(value.tolist(), digits)
        return f"an array of shape {value.shape}, {format_value(value.ravel()[:3].tolist(), digits)[:-1]}, …]"
    if isinstance(value, float):
        return f"{value:.{digits}g}" if np.isfinite(value) else str(value)
    return str(value)


def format_distinctly(a, b):
    """Both values, with as many digits as show the difference."""
    for digits in range(4, 17):
        if format_value(a, digits) != format_value(b, digits):
            break
    return format_value(a, digits), format_value(b, digits)


def loss_and_gradients(loss, student, teacher, *others):
    """[the value, the size of its gradient at the student's logits, and at the teacher's].

    A plain number, from ``.item()`` or NumPy, has no gradient: this is another mistake than a detached tensor.
    """
    if not torch.is_tensor(loss):
        if isinstance(loss, str):
            raise TypeError("a loss is a number")
        return [float(loss), NUMBER, NUMBER]
    grads = [None, None]
    if loss.requires_grad:
        grads = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
    return [loss.item(), *(0.0 if g is None else g.abs().sum().item() for g in grads)]


NUMBER = "none: a plain number"
GRADIENTS = ("the value", "the gradient at the student's logits", "the gradient at the teacher's logits")
NO_TENSOR = "The value is right, but a plain number has no gradient: leave out `.item()` and NumPy."
