"""What a record says: means over seeds, paired differences with 95 % intervals, and where the numbers come from.

The seed is the unit of everything here: runs of one seed share their volumes and their first weights, so two arms
are compared seed by seed, and what is left over varies from seed to seed.  Where seeds share their test cases, the case
stands beside it (``over_seeds_and_cases``).
"""

from collections import namedtuple

import numpy as np

from .plans import ARM_NAMES, FIRST_SEEDS, FOLDS, LEVERS, OTHER_SEEDS, SEEDS_A_FOLD

UNCLEAR = "cannot be told from zero"
Pick = namedtuple("Pick", "arm weights labels variant", defaults=("student", 4, ""))
# values: {seed: a - b}; half: of the interval over seeds; cases: half of the one over test cases, where both are asked;
# smallest: the smallest effect that these would have seen
Difference = namedtuple("Difference", "name values mean half verdict smallest cases", defaults=[np.nan, None])


def interval95(values):
    """Half the width of the 95 % confidence interval of a mean (Student's t); 0 for a single value."""
    from scipy.stats import t

    n = len(values)
    return float(t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n)) if n > 1 else 0.0


def smallest_visible(values):
    """The smallest true mean that ``interval95`` of so many values, as spread as these, tells from zero in four of
    five experiments: power 80 %, two-sided 5 %.  Infinite for a single value.

    (t(.975, n - 1) + t(.8, n - 1)) s / sqrt(n), the usual approximation; with three values its power is .77.
    """
    from scipy.stats import t

    n = len(values)
    if n < 2:
        return np.inf
    return float((t.ppf(0.975, n - 1) + t.ppf(0.8, n - 1)) * np.std(values, ddof=1) / np.sqrt(n))


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
    verdict = ("above zero" if mean > half else "below zero" if mean < -half else UNCLEAR)
    return Difference(name, values, mean, half, verdict, smallest_visible(numbers))


def over_seeds_and_cases(table, name, a, b, value="dice"):
    """a - b with two intervals: over seeds (each the mean of its cases) and over cases (each the mean of its seeds),
    both Student's t.  For few seeds on the same cases, and for folds, where a case is tested by some of the seeds only.

    It is above or below zero only where both intervals say so: another training and another patient must both be
    expected to show it.  ``smallest`` is then the larger of the two.  One seed leaves nothing to say about trainings.
    """
    one, two = (rows_of(table, pick).pivot(index="seed", columns="case", values=value) for pick in (a, b))
    gaps = one - two  # a seed that one arm has not, or a case that a seed doesn't test, is NaN
    seeds, cases = (of_values(name, {key: float(mean) for key, mean in gaps.mean(axis=axis).dropna().items()})
                    for axis in (1, 0))
    if len(seeds.values) < 2:
        return seeds
    verdict = seeds.verdict if seeds.verdict == cases.verdict else UNCLEAR
    return seeds._replace(verdict=verdict, cases=cases.half, smallest=max(seeds.smallest, cases.smallest))


def over_folds(given):
    """A Difference of the record `labels`, its values by seed, with the fold as the unit: the trainings of a fold are
    tested on the same cases, so these few means are all that is independent whatever the trainings do."""
    folds = {}
    for seed, value in given.values.items():
        folds.setdefault(seed // SEEDS_A_FOLD, []).append(value)
    return of_values(f"{given.name}, by fold", {fold: float(np.mean(values)) for fold, values in folds.items()})


def signed(value, digits=3):
    """+0.012 or −0.012: with the minus sign that the axes have, and no minus before a zero."""
    return f"{round(float(value), digits) + 0.0:+.{digits}f}".replace("-", "−")


def difference_table(differences):
    """Differences as a table to read: mean, half of the 95 % interval over seeds (and over cases, where that was
    asked), what it says, and beside every "cannot be told" the smallest effect that would have been seen."""
    import pandas as pd

    rows = []
    for given in differences:
        row = {"difference": given.name, "seeds": len(given.values),
               "Dice": signed(given.mean) if given.values else "",
               "± over seeds": f"{given.half:.3f}" if np.isfinite(given.half) else ""}
        if any(other.cases is not None for other in differences):
            row["± over cases"] = f"{given.cases:.3f}" if given.cases is not None else ""
        rows.append(row | {"95 % interval": given.verdict, "could have seen":
                           f"{given.smallest:.3f}" if given.verdict == UNCLEAR else ""})
    return pd.DataFrame(rows)


def decomposition(table, labels=4, variant="", value="dice"):
    """What separates mean teacher from plain supervised training, a Difference for each cause.

    With InstanceNorm there is no lambda = 0 arm, for it is the supervised one: that stands in its place.
    """
    def pick(arm, weights="student"):
        return Pick(arm, weights, labels, variant)

    zero = "supervised" if "instancenorm" in variant else "lambda0"
    unseen = [] if zero == "supervised" else [
        ("BatchNorm, its batch and company: λ = 0 − supervised", pick(zero), pick("supervised"))]
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
    unclear = f" ({len(found.values)} seeds could have seen {found.smallest:.3f})" * (found.verdict == UNCLEAR)
    return (f"{ARM_NAMES[best.arm]}, {best.weights}, against the strongest control\n"
            f"({ARM_NAMES[control.arm]}, {control.weights}): "
            f"{signed(found.mean)} ± {found.half:.3f}, {found.verdict}{unclear}.\n"
            f"Aim: at least {least:+.2f} and an interval above zero. " + ("Reached." if met else "NOT reached."))


def declared(table):
    """The one declared comparison of the record `labels`: strong − labels only, 4 labels, InstanceNorm, teachers."""
    return over_seeds_and_cases(table, "4 labels: strong − labels only, teachers", Pick("strong", "teacher", 4),
                                Pick("labels_only", "teacher", 4))


def declared_sentence(found, pairs=FOLDS * SEEDS_A_FOLD):
    """What ``declared`` says; while trainings are missing, only how many are there: it is read once, when all are."""
    if len(found.values) < pairs:
        return f"{len(found.values)} of {pairs} pairs of trainings are made: the comparison is read when all are."
    unclear = f" (this design could have seen {found.smallest:.3f})" * (found.verdict == UNCLEAR)
    return (f"{found.name}: {signed(found.mean)}, ± {found.half:.3f} over {pairs} trainings, ± {found.cases:.3f} over "
            f"cases: {found.verdict}{unclear}.")


def cures(table, labels=2):
    """What unlabelled volumes give with BatchNorm and with InstanceNorm, and the declared comparison of the record
    `two_labels`, the first less the second: Differences of teachers, seed by seed."""
    def pick(arm, variant=""):
        return Pick(arm, "teacher", labels, variant)

    bn, in_ = (difference(table, f"{name}: strong − labels only", pick("strong", variant), pick("labels_only", variant))
               for name, variant in (("BatchNorm", "batchnorm"), ("InstanceNorm", "")))
    both = sorted(bn.values.keys() & in_.values.keys())
    return [difference(table, "BatchNorm: company, λ = 0 − labels only", pick("company", "batchnorm"),
                       pick("labels_only", "batchnorm")), bn, in_,
            difference(table, "labels only: InstanceNorm − BatchNorm", pick("labels_only"),
                       pick("labels_only", "batchnorm")),
            of_values("declared: BatchNorm's gain − InstanceNorm's gain",
                      {seed: bn.values[seed] - in_.values[seed] for seed in both})]


def worth(table):
    """What unlabelled volumes give on the mended base at 2, 4, 8 and 16 labels, by the record `labels`: strong − labels
    only, Differences of teachers."""
    return [_of_teachers(table, labels, "strong − labels only", ("strong", ""), ("labels_only", ""))
            for labels in (2, 4, 8, 16)]


def rivals(table):
    """What else lifts a training on 2 or on 4 labels, and what unlabelled volumes add to that: twice the iterations,
    and the labels-only teacher's own labels.  Differences of teachers, of the record's first four trainings."""
    table = table[table.seed.isin(FIRST_SEEDS)]
    steps = [("labels only for twice as long − labels only", ("labels_only", "long"), ("labels_only", "")),
             ("strong − labels only for twice as long", ("strong", ""), ("labels_only", "long")),
             ("self-training − labels only", ("self_training", ""), ("labels_only", "")),
             ("strong − self-training", ("strong", ""), ("self_training", "")),
             ("all 80 labels − these", ("labels_only", "", 80), ("labels_only", ""))]
    return [_of_teachers(table, labels, *step) for labels in (2, 4) for step in steps]


def time_at_two(table):
    """What unlabelled volumes give at 2 labels where labels only train for twice as long: its declared replication, by
    the eight trainings that ``rivals`` doesn't hold; and where both train so.  Differences of teachers."""
    long = ("labels_only", "long")
    return [_of_teachers(table[table.seed.isin(OTHER_SEEDS)], 2, "strong − labels only for twice as long, eight others",
                         ("strong", ""), long),
            _of_teachers(table, 2, "strong − labels only, both for twice as long", ("strong", "long"), long),
            _of_teachers(table, 2, "strong for twice as long − strong", ("strong", "long"), ("strong", ""))]


def ceiling(table):
    """What twice the time gives all 80 labels, by the record `labels`: whether its ceiling is one.  Difference of
    teachers."""
    return _of_teachers(table, 80, "labels only for twice as long − labels only", ("labels_only", "long"),
                        ("labels_only", ""))


def public_worth(table):
    """What unlabelled volumes give on the public split, by the record `public`: strong − labels only, Differences of
    teachers, over three seeds and 20 test cases; then of the trainings for twice as long."""
    return [_of_teachers(table, labels, "strong − labels only" + ", both for twice as long" * bool(variant),
                         ("strong", variant), ("labels_only", variant))
            for variant, counts in (("", (2, 4, 8, 16)), ("long", (4, 8))) for labels in counts]


def illness(table):
    """What BatchNorm costs at 2 and 4 labels, and what unlabelled volumes do about it: Differences of teachers."""
    steps = [("labels only, InstanceNorm − BatchNorm", ("labels_only", ""), ("labels_only", "batchnorm")),
             ("BatchNorm: company, λ = 0 − labels only", ("company", "batchnorm"), ("labels_only", "batchnorm")),
             ("BatchNorm: strong − company", ("strong", "batchnorm"), ("company", "batchnorm")),
             ("labels only with InstanceNorm − strong with BatchNorm", ("labels_only", ""), ("strong", "batchnorm"))]
    return [_of_teachers(table, labels, *step) for labels in (2, 4) for step in steps]


def _of_teachers(table, labels, name, *arms):
    """a − b of two (arm, variant) at that number of labels, or (arm, variant, labels)."""
    picks = [Pick(arm, "teacher", (*others, labels)[0], variant) for arm, variant, *others in arms]
    return over_seeds_and_cases(table, f"{labels} labels: {name}", *picks)


def label_rows(table, value="dice", a_fold=SEEDS_A_FOLD):
    """Rows for ``plots.label_curve`` of the record `labels`, InstanceNorm, teachers: arm, labels, fold, dice in % (a
    mean over the fold's ``a_fold`` trainings; 1: each training is a fold, as in the record `public`).  What trained
    for twice as long is an arm of its own: 'long', 'strong_long'."""
    rows = []
    table = table[table.variant.isin(["", "long"])]
    for arm, labels, variant in set(zip(table.arm, map(int, table.labels), table.variant)):
        folds = {}
        for seed, dice in per_seed(table, Pick(arm, "teacher", labels, variant), value).items():
            folds.setdefault(seed // a_fold, []).append(100 * dice)
        name = arm if not variant else {"labels_only": "long", "strong": "strong_long"}[arm]
        rows += [{"arm": name, "labels": labels, "fold": fold, "dice": float(np.mean(values))}
                 for fold, values in folds.items()]
    return sorted(rows, key=lambda row: (row["arm"], row["labels"], row["fold"]))


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
