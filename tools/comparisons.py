"""For readme_results.py and the tests: the comparisons of every record, as lists of (name, a, b), read as a − b."""

import pandas as pd

from laseg_lib.records.plans import ARM_NAMES, FIRST_SEEDS, LEVERS, OTHER_SEEDS
from laseg_lib.records.read import load_metrics
from laseg_lib.records.statistics import differences, of_values, student, teacher

BN, IN, LONG = "batchnorm", "instancenorm", "long"


def parts(norm="", none="lambda0"):
    """What separates mean teacher from supervised training, on phantoms; ``none``: the arm without consistency."""
    return [("mean teacher − supervised", student("MT", 4, norm), student("supervised", 4, norm)),
            ("4 labelled volumes in a batch − 2", student("supervised_equal", 4, norm), student("supervised", 4, norm)),
            ("teacher − student, no consistency", teacher(none, 4, norm), student(none, 4, norm)),
            ("mean teacher − no consistency, students", student("MT", 4, norm), student(none, 4, norm)),
            ("mean teacher − no consistency, teachers", teacher("MT", 4, norm), teacher(none, 4, norm)),
            ("noise alone − no consistency", student("MT", 4, f"{norm}_noise".strip("_")), student(none, 4, norm)),
            ("turned view − noise alone", student("MT", 4, norm), student("MT", 4, f"{norm}_noise".strip("_"))),
            ("40 labels − 4", student("supervised_equal", 40, norm), student("supervised_equal", 4, norm))]


def at_both(labels, pairs):
    """Each pair of arms as students and as teachers."""
    return [(f"{labels} labels: {name}, {who.__name__}s", who(a, labels), who(b, labels))
            for name, a, b in pairs for who in (student, teacher)]


WORTH = [(f"{n} labels: strong − labels only", teacher("strong", n), teacher("labels_only", n))
         for n in (2, 4, 8, 16)]
AGAINST_TIME = [("2 labels: strong − labels only, twice as long", teacher("strong", 2),
                 teacher("labels_only", 2, LONG))]
RIVALS = [(f"{n} labels: {name}", a, b) for n in (2, 4) for name, a, b in (
    ("labels only, twice as long − labels only", teacher("labels_only", n, LONG), teacher("labels_only", n)),
    ("self-training − labels only", teacher("self_training", n), teacher("labels_only", n)),
    ("strong − labels only, twice as long", teacher("strong", n), teacher("labels_only", n, LONG)),
    ("strong − self-training", teacher("strong", n), teacher("self_training", n)),
    ("strong − labels only", teacher("strong", n), teacher("labels_only", n)),
    ("all 80 labels − these", teacher("labels_only", 80), teacher("labels_only", n)))]
PUBLIC = [(f"{n} labels{words}: strong − labels only", teacher("strong", n, variant),
           teacher("labels_only", n, variant))
          for words, variant, counts in (("", "", (2, 4, 8, 16)), (", twice as long", LONG, (4, 8))) for n in counts]
NORMS = [(f"{n} labels: {name}", a, b) for n in (2, 4) for name, a, b in (
    ("labels only, InstanceNorm − BatchNorm", teacher("labels_only", n), teacher("labels_only", n, BN)),
    ("BatchNorm, company − labels only", teacher("company", n, BN), teacher("labels_only", n, BN)),
    ("BatchNorm, strong − company", teacher("strong", n, BN), teacher("company", n, BN)),
    ("InstanceNorm, labels only − BatchNorm, strong", teacher("labels_only", n), teacher("strong", n, BN)))]
# {record: [(what these rows are, the seeds that count or None, [(name, a, b)])]}
COMPARISONS = {
    "quick": [("BatchNorm", None, [("λ = 0 − supervised", student("lambda0"), student("supervised")), *parts()]),
              ("InstanceNorm", None, parts(IN, "supervised")[1:]),
              ("supervised", None, [
                  ("InstanceNorm − BatchNorm", student("supervised", 4, IN), student("supervised"))])],
    "replication": [("", None, [(f"mean teacher − no consistency, {who.__name__}s", who("MT"), who("lambda0"))
                                for who in (teacher, student)])],
    "levers": [("", None, [
        *((f"{name} − mean teacher", student("MT", 4, name), student("MT")) for name in LEVERS),
        ("all of them − mean teacher", student("strong"), student("MT")),
        ("all of them − the same on labels only", student("strong"), student("strong_supervised"))])],
    "half": [
        ("the walkthrough's arms", None, [
            *at_both(8, [("mean teacher − supervised", "MT", "supervised"),
                         ("batch of 4 − batch of 2", "supervised_equal", "supervised"),
                         ("λ = 0 − supervised", "lambda0", "supervised"),
                         ("mean teacher − no consistency", "MT", "lambda0")]),
            *((f"8 labels: teacher − student, {ARM_NAMES[arm]}", teacher(arm, 8), student(arm, 8))
              for arm in ("supervised", "supervised_equal", "lambda0", "MT")),
            *at_both(16, [("mean teacher − supervised", "MT", "supervised")])]),
        ("16 labels − 8, teachers", None, [(ARM_NAMES[arm], teacher(arm, 16), teacher(arm, 8))
                                           for arm in ("supervised", "MT", "strong")]),
        ("the first strong recipe, teachers", None, [
            *((f"8 labels: strong − {ARM_NAMES[arm]}", teacher("strong", 8), teacher(arm, 8))
              for arm in ("supervised", "supervised_equal", "lambda0", "MT", "strong_supervised")),
            *((f"16 labels: strong − {ARM_NAMES[arm]}", teacher("strong", 16), teacher(arm, 16))
              for arm in ("supervised", "MT")),
            ("labels only: 76 labels − 8", teacher("strong_supervised", 76), teacher("strong_supervised", 8))])],
    "two_labels": [("teachers", None, [
        ("BatchNorm: strong − labels only", teacher("strong", 2, BN), teacher("labels_only", 2, BN)),
        ("InstanceNorm: strong − labels only", teacher("strong", 2), teacher("labels_only", 2)),
        *NORMS[:4],
        ("InstanceNorm: 40 labels − 2", teacher("labels_only", 40), teacher("labels_only", 2))])],
    "labels": [
        ("the worth of a scan", None, WORTH),
        ("the replication, eight other trainings", OTHER_SEEDS, AGAINST_TIME),
        ("both for twice as long", None, [
            ("2 labels: strong − labels only", teacher("strong", 2, LONG), teacher("labels_only", 2, LONG)),
            ("2 labels: strong, twice as long − strong", teacher("strong", 2, LONG), teacher("strong", 2))]),
        ("more labels", None, [
            ("labels only: 4 labels − 2", teacher("labels_only", 4), teacher("labels_only", 2)),
            ("4 labels, labels only − 2 labels, strong", teacher("labels_only", 4), teacher("strong", 2)),
            ("80 labels: twice as long − 1,500 iterations", teacher("labels_only", 80, LONG),
             teacher("labels_only", 80))]),
        ("rivals, the first four trainings", FIRST_SEEDS, RIVALS), ("normalisation", None, NORMS)],
    "public": [("teachers", None, PUBLIC)],
}


def compared(record, largest=False):
    """[(what these rows are, [Difference])] of a record; ``largest``: of the largest components alone."""
    table = load_metrics(record, largest=largest)
    if record == "levers":  # added to the mean teacher of `quick`: the same phantoms
        table = pd.concat([load_metrics("quick"), table])
    found = [(title, differences(table if seeds is None else table[table.seed.isin(seeds)], rows,
                                 cases=record in ("half", "labels", "public")))
             for title, seeds, rows in COMPARISONS[record]]
    if record == "two_labels":
        bn, norm = found[0][1][:2]
        found.insert(0, ("the declared comparison", [of_values("BatchNorm's gain − InstanceNorm's gain", {
            seed: bn.values[seed] - norm.values[seed] for seed in bn.values})]))
    return found
