"""What a record says: means over seeds, paired differences with 95 % intervals, and where the numbers come from.

The seed is the unit of everything here: runs of one seed share their volumes and their first weights, so two arms
are compared seed by seed, and what is left over varies from seed to seed.
"""

from collections import namedtuple

import numpy as np

from .plans import ARM_NAMES, LEVERS

Pick = namedtuple("Pick", "arm weights labels variant", defaults=("student", 4, ""))
# values: {seed: a - b}; half: of the interval; ends: its two ends, where the mean is not in its middle
Difference = namedtuple("Difference", "name values mean half verdict ends", defaults=[None])


def interval95(values):
    """Half the width of the 95 % confidence interval of a mean (Student's t); 0 for a single value."""
    from scipy.stats import t

    n = len(values)
    return float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def rows_of(table, pick):
    """The rows of one arm's student or teacher in ``load_metrics``'s table."""
    return table[(table.arm == pick.arm) & (table.weights == pick.weights) & (table.labels == pick.labels)
                 & (table.variant == pick.variant)]


def per_seed(table, pick, value="dice"):
    """{seed: mean over the test cases} of one arm's student or teacher."""
    return {int(seed): float(mean) for seed, mean in rows_of(table, pick).groupby("seed")[value].mean().items()}


def difference(table, name, a, b, value="dice"):
    """a - b over the seeds that both have.  Without any, ``mean`` is NaN; with one, ``half`` is infinite."""
    one, two = per_seed(table, a, value), per_seed(table, b, value)
    return of_values(name, {seed: one[seed] - two[seed] for seed in sorted(one.keys() & two.keys())})


def of_values(name, values):
    """A Difference of {seed: value}, with what its interval says."""
    numbers = list(values.values())
    if len(numbers) < 2:
        return Difference(name, values, numbers[0] if numbers else np.nan, np.inf,
                          "one seed says nothing about spread" if numbers else "not recorded yet")
    mean, half = float(np.mean(numbers)), interval95(numbers)
    verdict = ("above zero" if mean > half else "below zero" if mean < -half else "cannot be told from zero")
    return Difference(name, values, mean, half, verdict)


def over_seeds_and_cases(table, name, a, b, value="dice", repeats=10_000):
    """a - b with an interval over seeds and test cases, for records of few seeds on the same cases.

    A bootstrap that draws seeds and cases anew, each on its own (crossed), from the table of paired differences;
    ``ends`` are the 2.5th and the 97.5th percentile, ``half`` is half of their distance.  Two or three seeds are too
    few to draw from: what varies from seed to seed is then underrated, so look at ``values`` as well.
    """
    one, two = (rows_of(table, pick).pivot(index="seed", columns="case", values=value) for pick in (a, b))
    gaps = (one - two).dropna()
    if not len(gaps):
        return of_values(name, {})
    chance, grid = np.random.default_rng(0), gaps.to_numpy()
    seeds, cases = (chance.integers(n, size=(repeats, n)) for n in grid.shape)
    means = grid[seeds[:, :, None], cases[:, None, :]].mean((1, 2))
    low, high = np.percentile(means, (2.5, 97.5))
    verdict = "above zero" if low > 0 else "below zero" if high < 0 else "cannot be told from zero"
    return Difference(name, dict(zip(map(int, gaps.index), map(float, grid.mean(1)))), float(grid.mean()),
                      float(high - low) / 2, verdict, (float(low), float(high)))


def told(given):
    """A Difference as a line: name, mean ± half of the interval (or its two ends), verdict."""
    spread = (f" [{given.ends[0]:+.3f} to {given.ends[1]:+.3f}]" if given.ends
              else f" ± {given.half:.3f}" if np.isfinite(given.half) else "")
    return f"{given.name:55} " + (f"{given.mean:+.3f}{spread}   " if given.values else "") + given.verdict


def decomposition(table, labels=4, variant="", value="dice"):
    """What separates mean teacher from plain supervised training, a Difference for each cause.

    With InstanceNorm there is no lambda = 0 arm, for it is the supervised one: that stands in its place.
    """
    def pick(arm, weights="student"):
        return Pick(arm, weights, labels, variant)

    zero = "supervised" if "instancenorm" in variant else "lambda0"
    unseen = [] if zero == "supervised" else [
        ("BatchNorm sees unlabelled volumes: λ = 0 − supervised", pick(zero), pick("supervised"))]
    steps = [("batch: 4 labelled volumes − 2", pick("supervised_equal"), pick("supervised")), *unseen,
             ("averaging: teacher − student, without consistency", pick(zero, "teacher"), pick(zero)),
             ("consistency, students: mean teacher − no consistency", pick("MT"), pick(zero)),
             ("consistency, teachers: mean teacher − no consistency", pick("MT", "teacher"), pick(zero, "teacher"))]
    return [difference(table, *step, value) for step in steps]


def ablations(table, value="dice"):
    """One change a row: the teacher's view, consistency by noise alone, the normalisation, all labels."""
    zero = {"": Pick("lambda0"), "instancenorm": Pick("supervised", variant="instancenorm")}
    rows = []
    for name, variant, noise in (("BatchNorm", "", "noise"), ("InstanceNorm", "instancenorm", "instancenorm_noise")):
        turned, same = Pick("MT", variant=variant), Pick("MT", variant=noise)
        few, all_of_them = (Pick("supervised_equal", "student", labels, variant) for labels in (4, 40))
        rows += [difference(table, f"{name}: consistency by noise alone − none", same, zero[variant], value),
                 difference(table, f"{name}: turned view − noise alone", turned, same, value),
                 difference(table, f"{name}: 40 labels − 4 labels", all_of_them, few, value)]
    return rows + [difference(table, "supervised: InstanceNorm − BatchNorm", zero["instancenorm"], Pick("supervised"),
                              value)]


def levers(table, base, value="dice"):
    """Each lever of the strong recipe added to mean teacher alone, then all of them, and all of them without
    unlabelled volumes: Differences of students.  ``table``: record `levers`; ``base``: record `quick`, same seeds."""
    import pandas as pd

    both, plain = pd.concat([base[base.labels == 4], table]), Pick("MT")
    rows = [difference(both, f"{name} − mean teacher", Pick("MT", variant=name), plain, value) for name in LEVERS]
    return [*rows, difference(both, "all of them − mean teacher", Pick("strong"), plain, value),
            difference(both, "all of them − the same on labels only", Pick("strong"), Pick("strong_supervised"), value)]


def strong_against(table, labels=8, value="dice"):
    """The strong recipe's teacher less the better half (student or teacher) of every other arm: Differences."""
    rows = []
    for arm in [name for name in ARM_NAMES if name != "strong" and name in set(table.arm[table.labels == labels])]:
        picks = [Pick(arm, weights, labels) for weights in ("student", "teacher")]
        best = max(picks, key=lambda pick: np.mean(list(per_seed(table, pick, value).values())))
        rows.append(over_seeds_and_cases(table, f"strong − {ARM_NAMES[arm]}, {best.weights}",
                                         Pick("strong", "teacher", labels), best, value))
    return rows


def against_strongest(table, labels=4, variant="", value="dice"):
    """(best mean-teacher Pick, strongest control Pick, their Difference); None where an arm isn't recorded.

    Best and strongest by the mean over seeds.  Choosing the highest of several controls leans to their side.
    """
    found = {pick: per_seed(table, pick, value) for arm in ("supervised", "supervised_equal", "lambda0", "MT")
             for weights in ("student", "teacher") for pick in [Pick(arm, weights, labels, variant)]}
    means = {pick: np.mean(list(seeds.values())) for pick, seeds in found.items() if seeds}
    ours = [pick for pick in means if pick.arm == "MT"]
    controls = [pick for pick in means if pick.arm != "MT"]
    if not ours or not controls:
        return None
    best, control = max(ours, key=means.get), max(controls, key=means.get)
    return best, control, difference(table, "best mean teacher − strongest control", best, control, value)


def arm_rows(table, labels=4, variant="", value="dice"):
    """Rows for ``plots.arm_comparison``: arm, seed, student, teacher."""
    rows = []
    for arm in table.arm.unique():
        student, teacher = (per_seed(table, Pick(arm, w, labels, variant), value) for w in ("student", "teacher"))
        rows += [{"arm": arm, "seed": s, "student": student.get(s), "teacher": teacher.get(s)} for s in student]
    return rows


def aim_sentence(strongest, least=0.02):
    """Whether the course's aim is met: best mean teacher above strongest control by ``least``, surely above zero."""
    if strongest is None:
        return "Not recorded yet: no verdict."
    best, control, found = strongest
    met = found.mean >= least and found.verdict == "above zero"
    return (f"{ARM_NAMES[best.arm]}, {best.weights}, against the strongest control\n"
            f"({ARM_NAMES[control.arm]}, {control.weights}): {found.mean:+.3f} ± {found.half:.3f}, {found.verdict}.\n"
            f"Aim: at least {least:+.2f} and an interval above zero. " + ("Reached." if met else "NOT reached."))


def arm_table(table, labels=4, variant=""):
    """A table to read: a row an arm and its student or teacher; mean over seeds ± half of the 95 % interval."""
    import pandas as pd

    rows = []
    for arm in [name for name in ARM_NAMES if name in set(table.arm)]:
        for weights in ("student", "teacher"):
            pick = Pick(arm, weights, labels, variant)
            seeds = {name: list(per_seed(table, pick, name).values()) for name in ("dice", "jaccard", "hd95", "asd")}
            if not seeds["dice"]:
                continue
            row = {"arm": ARM_NAMES[arm], "weights": weights, "seeds": len(seeds["dice"])}
            for name, title, factor, digits in (("dice", "Dice %", 100, 1), ("jaccard", "Jaccard %", 100, 1),
                                                ("hd95", "HD95", 1, 2), ("asd", "ASD", 1, 2)):
                values = factor * np.array(seeds[name])
                spread = f" ± {interval95(values):.{digits}f}" if len(values) > 1 else ""
                row[title] = f"{values.mean():.{digits}f}{spread}"
            rows.append(row | {"empty": int(rows_of(table, pick)["empty"].sum())})
    return pd.DataFrame(rows)
