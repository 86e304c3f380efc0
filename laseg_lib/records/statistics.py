"""Comparisons of a record's arms: means, paired differences a − b with 95 % intervals, power, folds, Holm's correction.

The seed is the unit: the runs of one seed have the same volumes and the same first weights, so two arms are compared
seed by seed.  If seeds share their test cases, the case is a second unit (``cases=True``).

    from laseg_lib.records.statistics import differences, difference_table, teacher
    gains = differences(table, [("2 labels: strong − labels only", teacher("strong", 2), teacher("labels_only", 2))])
    print(difference_table(gains))
"""

from collections import namedtuple

import numpy as np

from .plans import ARM_NAMES, SEEDS_A_FOLD

UNCLEAR = "no clear difference"
# One arm's student or teacher, as a record names it.
Pick = namedtuple("Pick", "arm weights labels variant", defaults=("student", 4, ""))
# values: {seed: a - b}; half: half the interval over seeds; p: of the t test; smallest: the smallest visible effect;
# cases: half the interval over test cases, or None if it was not computed.
Difference = namedtuple("Difference", "name values mean half verdict p smallest cases", defaults=[np.nan, np.nan, None])


def student(arm, labels=4, variant=""):
    """The Pick of an arm's student."""
    return Pick(arm, "student", labels, variant)


def teacher(arm, labels=4, variant=""):
    """The Pick of an arm's teacher."""
    return Pick(arm, "teacher", labels, variant)


def interval95(values):
    """Half the 95 % confidence interval of the mean of ``values`` (Student's t); 0 for one value or none."""
    from scipy.stats import t

    n = len(values)
    return float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def smallest_visible(values):
    """The smallest true mean that such an experiment detects four times in five.

    Power 80 %, two-sided 5 %.  ``values`` give the number and the spread.
    (t(.975, n - 1) + t(.8, n - 1)) s / sqrt(n), the usual approximation; with three values its
    power is .77.  Infinite for a single value.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return np.inf
    return float((t.ppf(0.975, n - 1) + t.ppf(0.8, n - 1)) * np.std(values, ddof=1) / np.sqrt(n))


def rows_of(table, pick):
    """The rows of one Pick in ``load_metrics``'s table; of a table with a row for each class, the rows of the mean."""
    table = table[table["class"].fillna("mean") == "mean"] if "class" in table else table
    return table[(table.arm == pick.arm) & (table.weights == pick.weights) & (table.labels == pick.labels)
                 & (table.variant == pick.variant)]


def per_seed(table, pick, value="dice"):
    """{seed: mean over the test cases} of one Pick."""
    return {int(seed): float(mean) for seed, mean in rows_of(table, pick).groupby("seed")[value].mean().items()}


def differences(table, comparisons, *, cases=False, value="dice"):
    """A Difference for each (name, a, b): a − b, paired by seed, over the seeds that both Picks have.

    ``cases``: for seeds that share their test cases, also an interval over cases (each the mean of its seeds).  A
    difference is then above or below zero only if both intervals leave out zero: other trainings and other patients
    must both be expected to show it.  ``p`` and ``smallest`` are the larger of the two.
    """
    found = []
    for given in comparisons:
        seeds, patients = (of_values(given[0], gaps(table, *given[1:], unit, value)) for unit in ("seed", "case"))
        if cases and len(seeds.values) > 1:
            verdict = seeds.verdict if seeds.verdict == patients.verdict else UNCLEAR
            seeds = seeds._replace(verdict=verdict, cases=patients.half, p=max(seeds.p, patients.p),
                                   smallest=max(seeds.smallest, patients.smallest))
        found.append(seeds)
    return found


def over_cases(table, comparisons, value="dice"):
    """As ``differences``, with the test case as the only unit: for arms with a single training.  What is found holds
    for these networks; it says nothing about other trainings of the same arms."""
    return [of_values(name, gaps(table, a, b, "case", value)) for name, a, b in comparisons]


def gaps(table, a, b, unit, value="dice"):
    """{unit: mean of a − b} of two Picks over what both have; ``unit``: 'seed' or 'case'."""
    one, two = (rows_of(table, pick).pivot(index="seed", columns="case", values=value) for pick in (a, b))
    apart = one - two  # NaN: a seed that one arm lacks, or a case that a seed doesn't test
    means = apart.mean(axis=1 if unit == "seed" else 0).dropna()
    return {key: float(mean) for key, mean in means.items()}


def of_values(name, values):
    """A Difference of {seed: value} with its interval and verdict.  Without values ``mean`` is NaN; with a single one
    ``half`` is infinite."""
    from scipy.stats import t

    numbers = list(values.values())
    if len(numbers) < 2:
        return Difference(name, values, numbers[0] if numbers else np.nan, np.inf,
                          "one seed says nothing about spread" if numbers else "not recorded yet")
    mean, half, n = float(np.mean(numbers)), interval95(numbers), len(numbers)
    verdict = ("above zero" if mean > half else "below zero" if mean < -half else UNCLEAR)
    error = np.std(numbers, ddof=1) / np.sqrt(n)
    p = float(2 * t.sf(abs(mean) / error, n - 1)) if error else float(mean == 0)
    return Difference(name, values, mean, half, verdict, p, smallest_visible(numbers))


def over_folds(given):
    """A Difference with the fold as the unit.  The trainings of one fold share their test cases, so only the means of
    the folds are independent."""
    folds = {}
    for seed, value in given.values.items():
        folds.setdefault(seed // SEEDS_A_FOLD, []).append(value)
    return of_values(f"{given.name}, by fold", {fold: float(np.mean(values)) for fold, values in folds.items()})


def holm(p_values):
    """Holm's correction of one family's p values, in their order: the chance of *any* false finding stays 5 %.

    The smallest of m is multiplied by m, the next by m - 1, and so on; none becomes smaller than the one before it.
    NaN, of a comparison that couldn't be tested, stays NaN and doesn't count.
    Source: Holm, Scandinavian Journal of Statistics 6, 1979.

    >>> [round(p, 3) for p in holm([0.01, 0.04, 0.03, 0.005])]
    [0.03, 0.06, 0.06, 0.02]
    """
    corrected, least = list(p_values), 0.0
    tested = sorted((i for i, p in enumerate(p_values) if not np.isnan(p)), key=p_values.__getitem__)
    for rank, i in enumerate(tested):
        least = max(least, min(1.0, (len(tested) - rank) * p_values[i]))
        corrected[i] = least
    return corrected


def one_family(found):
    """The same Differences with p corrected by Holm; a verdict stays only if the corrected p is below .05."""
    return [given._replace(p=p, verdict=given.verdict if p < 0.05 else UNCLEAR)
            for given, p in zip(found, holm([given.p for given in found]))]


def signed(value, digits=3):
    """+0.012 or −0.012, with the axes' minus sign, and no minus before a zero."""
    return f"{round(float(value), digits) + 0.0:+.{digits}f}".replace("-", "−")


def difference_table(found, *, p=False, unit="seeds"):
    """Differences as a pandas table: the mean, half of each 95 % interval, the verdict, and beside every unclear row
    the smallest visible effect.  ``p``: with a column of p values.  ``unit``: what the values are of (seeds, folds or
    cases)."""
    import pandas as pd

    rows = []
    for given in found:
        row = {"difference": given.name, unit: len(given.values),
               "Dice": signed(given.mean) if given.values else "",
               f"± over {unit}": f"{given.half:.3f}" if np.isfinite(given.half) else ""}
        if any(other.cases is not None for other in found):
            row["± over cases"] = f"{given.cases:.3f}" if given.cases is not None else ""
        if p:
            row["p"] = f"{given.p:.3f}" if np.isfinite(given.p) else ""
        rows.append(row | {"95 % interval": given.verdict, "smallest visible":
                           f"{given.smallest:.3f}" if given.verdict == UNCLEAR else ""})
    return pd.DataFrame(rows)


def arm_rows(table, labels=4, variant="", value="dice"):
    """Rows for ``plots.arm_comparison``: arm, seed, student, teacher."""
    rows = []
    for arm in table.arm.unique():
        ours, average = (per_seed(table, pick(arm, labels, variant), value) for pick in (student, teacher))
        rows += [{"arm": arm, "seed": seed, "student": ours[seed], "teacher": average.get(seed)} for seed in ours]
    return rows


def label_rows(table, seeds_a_mark=1, value="dice"):
    """Rows for ``plots.label_curve``, teachers: arm (with its variant: 'strong', 'strong_long'), labels, fold, dice in
    %.  A mark is the mean of ``seeds_a_mark`` seeds: of the trainings of a fold, or of one training."""
    rows = []
    for arm, labels, variant in sorted(set(zip(table.arm, map(int, table.labels), table.variant))):
        marks = {}
        for seed, dice in per_seed(table, teacher(arm, labels, variant), value).items():
            marks.setdefault(seed // seeds_a_mark, []).append(100 * dice)
        rows += [{"arm": "_".join(filter(None, (arm, variant))), "labels": labels, "fold": mark,
                  "dice": float(np.mean(values))} for mark, values in marks.items()]
    return rows


def arm_table(table, labels=4, variant=""):
    """A table to read, with a row for each arm's student and teacher: mean over seeds ± half of the 95 % interval."""
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
