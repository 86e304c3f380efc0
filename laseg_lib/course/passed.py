"""Which exercises a learner has done."""

import importlib
import os
import pkgutil
from pathlib import Path

from .exercise import DONE, Exercise, progress_folder

IN_WORDS = {DONE: "✓ done", "begun": "… begun", "": "not tried yet"}


def exercises():
    """{notebook, such as 05_ema_teacher: {name of the check: Exercise}}, in the order of the course."""
    found = {}
    for module in pkgutil.iter_modules([str(Path(__file__).parent)]):
        if module.name.startswith("nb"):
            content = vars(importlib.import_module(f"{__package__}.{module.name}"))
            found[module.name.removeprefix("nb")] = {
                name: value for name, value in content.items() if isinstance(value, Exercise)}
    return {notebook: checks for notebook, checks in found.items() if checks}


def progress():
    """Show a table of the exercises: the notebook, the name of the check, and whether it is done.

    Each check notes its verdict in a folder of the user, whichever kernel runs it.
    """
    import pandas as pd

    from ..figures.pictures import show_table

    rows = [{"notebook": notebook, "exercise": name, "state": IN_WORDS[state_of(f"{notebook}.{name}")]}
            for notebook, checks in exercises().items() for name in checks]
    done = sum(row["state"] == IN_WORDS[DONE] for row in rows)
    print(f"{done} of {len(rows)} exercises done.  (Noted in {progress_folder()})")
    if not can_be_written(progress_folder()):
        print("That folder can't be written: nothing is noted. Set LASEG_HOME to a folder of yours and start again.")
    show_table(pd.DataFrame(rows))


def state_of(name):
    """What is noted of an exercise: "done", "begun" or nothing."""
    try:
        state = (progress_folder() / name).read_text(encoding="utf-8")
    except (OSError, ValueError):
        return ""
    return state if state in IN_WORDS else ""


def can_be_written(folder):
    """Whether a file can be made in ``folder``, or in the first folder above it that exists."""
    return os.access(next(above for above in (folder, *folder.parents) if above.exists()), os.W_OK)
