"""Trap 6: what a checkpoint chosen on the test set reports, and what it is worth."""

import numpy as np


def checkpoint_noise(table):
    """How far the mean Dice over the test cases is off for one checkpoint and not for its neighbour (a share of 1).

    Student and teacher of one run are near neighbours: the spread over cases of their difference, over sqrt(2) and
    the root of the number of cases; the mean over the runs.
    """
    both = table.pivot_table(index=["arm", "labels", "variant", "seed", "case"], columns="weights", values="dice")
    runs = (both.student - both.teacher).groupby(level=["arm", "labels", "variant", "seed"])
    return float((runs.std() / np.sqrt(2 * runs.count())).mean())


def choose(checkpoints, drift, noise, repeats=20_000, seed=0):
    """Trainings whose checkpoints are all alike but for chance: what choosing one reports, and what it is worth.

    A checkpoint's true Dice is normal with spread ``drift``; a test set measures it with an error of spread
    ``noise``, a validation set of the same size with an error of its own.  Dict of means; the average checkpoint is 0.
    """
    chance = np.random.default_rng(seed)
    true = drift * chance.normal(size=(repeats, checkpoints))
    test, validation = (true + noise * chance.normal(size=true.shape) for _ in range(2))
    rows, on_test, on_validation = np.arange(repeats), test.argmax(1), validation.argmax(1)
    return {"last checkpoint": float(test[:, -1].mean()),
            "chosen on validation cases": float(test[rows, on_validation].mean()),
            "chosen on the test cases": float(test[rows, on_test].mean()),
            "what that one is truly worth": float(true[rows, on_test].mean())}
