#!/usr/bin/env python3
"""For whoever adds a record: write the tables of data/recorded/README.md between their markers, with all comparisons.

    python tools/readme_results.py            writes them
    python tools/readme_results.py --check    fails if one differs from the records

The tables are those of our own results, of published ones, of each record's comparisons, and of speeds.  New numbers
for the speeds come by

    make bench && cp build/bench.json data/recorded/bench.json
    python tools/browser_latency.py && cp build/latency.json data/recorded
"""

import json
import statistics
import sys
from functools import partial
from pathlib import Path

import pandas as pd

from laseg_lib.data.atomic import write_whole
from laseg_lib.figures.style import ARMS, LOOKS
from laseg_lib.records.plans import (
    ALL_SEEDS,
    ARM_NAMES,
    FIRST_SEEDS,
    FOLDS,
    LEVERS,
    METHOD_ARMS,
    NNUNET,
    OTHER_SEEDS,
)
from laseg_lib.records.read import RECORDED, load_metrics, missing_runs, published
from laseg_lib.records.statistics import (
    UNCLEAR,
    Pick,
    differences,
    of_values,
    one_family,
    over_cases,
    over_folds,
    per_seed,
    rows_of,
    signed,
    student,
    teacher,
)

README = Path(__file__).resolve().parent.parent / "data" / "recorded" / "README.md"
MARKS = "<!-- {name}: tools/readme_results.py -->", "<!-- end of {name} -->"
RECORDS = {"half": (8, 16, 76), "quick": (4,)}  # the records shown, and their numbers of labels
WORDS = {"quick": "phantoms 32x32x16, 4 labelled of 40, 500 iterations, 4 filters",
         "half": "real volumes at half resolution, 8, 16 or all 76 labelled of the 76 trained on (4 more validate), "
                 "1,500 iterations, 8 filters",
         "labels": "real volumes at half resolution, four folds of 20 cases tested and 80 trained on, 1,500 iterations "
                   "(twice as long: 3,000), 8 filters, scored at full size",
         "methods": "the volumes, settings and budget of `labels`",
         "nnunet": "the volumes, settings and budget of `labels`",
         "full": "real volumes as stored, patches of 112x112x80, the public lists, 8 labels, 6,000 iterations, 16 "
                 "filters",
         "public": "real volumes at half resolution, the public lists, 1,500 iterations (twice as long: 3,000), 16 "
                   "filters, scored at full size"}
TRIED = {"": "the base: rotations up to 15°, InstanceNorm", "turned": "turns and mirrors", "batchnorm": "BatchNorm",
         "gentle": "rotations up to 7.5°", "wide": "rotations up to 30°", "long": "twice as long",
         "view": "the student's view moved once more", "view_long": "the same, twice as long",
         "view_two": "the same, 2 + 2 in a batch", "two": "two labelled in a batch", "slow": "teacher with α = 0.999",
         "all": "all of the teacher's answers, sure or not"}
NORMS = {"": "BatchNorm", "instancenorm": "InstanceNorm"}


# --- The comparisons of every record, as lists of (name, a, b), read as a − b -----------------------

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
BY_NORM = [(f"{n} labels: {name}", a, b) for n in (2, 4) for name, a, b in (
    ("labels only, InstanceNorm − BatchNorm", teacher("labels_only", n), teacher("labels_only", n, BN)),
    ("BatchNorm, company − labels only", teacher("company", n, BN), teacher("labels_only", n, BN)),
    ("BatchNorm, strong − company", teacher("strong", n, BN), teacher("company", n, BN)),
    ("InstanceNorm, labels only − BatchNorm, strong", teacher("labels_only", n), teacher("strong", n, BN)))]
FULL = [("mean teacher − supervised, the walkthrough's recipe", teacher("MT", 8), teacher("supervised", 8)),
        ("strong − labels only", teacher("strong", 8), teacher("labels_only", 8)),
        ("strong − mean teacher of the walkthrough's recipe", teacher("strong", 8), teacher("MT", 8)),
        *((f"{ARM_NAMES[arm]}: this size − half resolution (`public`)", teacher(arm, 8), teacher(arm, 8, "public"))
          for arm in ("strong", "labels_only")),
        ("labels only − mean teacher of the walkthrough's recipe (not declared)", teacher("labels_only", 8),
         teacher("MT", 8))]
METHODS = ("strong", *METHOD_ARMS, "self_training")


def family(labels, rival):
    """A declared family of `methods`: every method − ``rival``."""
    return [(f"{ARM_NAMES[method]} − {ARM_NAMES[rival]}", teacher(method, labels), teacher(rival, labels))
            for method in METHODS if method != rival]


def augmented(variant):
    """The family of `nnunet`, of one of its variants."""
    return [(f"{labels} labels: {name}", a, b) for labels in (2, 8) for name, a, b in (
        ("nnU-Net's augmentation − ours", teacher("nnunet", labels, variant), teacher("labels_only", labels)),
        ("strong − nnU-Net's augmentation", teacher("strong", labels), teacher("nnunet", labels, variant)))]


# {record: [(what these rows are, the seeds that count or None, [(name, a, b)])]}
COMPARISONS = {
    "quick": [("BatchNorm", None, [
                  ("no consistency − supervised", student("lambda0"), student("supervised")), *parts()]),
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
                         ("no consistency − supervised", "lambda0", "supervised"),
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
        *BY_NORM[:4],
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
        ("rivals, the first four trainings", FIRST_SEEDS, RIVALS), ("normalisation", None, BY_NORM)],
    "public": [("teachers", None, PUBLIC)],
    "methods": [(f"{labels} labels", seeds, family(labels, rival)) for rival in ("labels_only", "self_training")
                for labels, seeds in ((2, ALL_SEEDS[:2 * FOLDS]), (4, FIRST_SEEDS))],
    "nnunet": [(title, FIRST_SEEDS, augmented(variant)) for title, variant in zip(
        ("with mirror images", "without mirror images"), NNUNET)],
}
BY_CASE = ("half", "labels", "public", "methods", "nnunet")  # several seeds have the same test cases
OPEN = "not complete"  # the verdict of a record that lacks runs
ON_LABELS = ("methods", "nnunet")  # the other halves of their pairs are runs of `labels`; each part is one family


def compared(record, largest=False):
    """[(what these rows are, [Difference])] of a record; ``largest``: of the largest components alone."""
    table = load_metrics(record, largest=largest)
    if record == "levers":  # added to the mean teacher of `quick`: the same phantoms
        table = pd.concat([load_metrics("quick", largest=largest), table])
    if record in ON_LABELS:
        table = pd.concat([load_metrics("labels", largest=largest), table])
    found = [(title, differences(table if seeds is None else table[table.seed.isin(seeds)], rows,
                                 cases=record in BY_CASE))
             for title, seeds, rows in COMPARISONS[record]]
    if record in ON_LABELS:
        found = [(title, one_family([row for row in rows if len(row.values) > 1])) for title, rows in found]
        if missing_runs(record):  # the declared verdicts are those of all trainings
            found = [(title, [row._replace(verdict=OPEN) for row in rows]) for title, rows in found]
    if record == "two_labels":
        bn, norm = found[0][1][:2]
        found.insert(0, ("the declared comparison", [of_values("BatchNorm's gain − InstanceNorm's gain", {
            seed: bn.values[seed] - norm.values[seed] for seed in bn.values})]))
    return found


# --- The tables -----------------------------------------------------------------------------------

def results():
    """The tables of our own records, as lines of Markdown."""
    lines = ["| record | labels | arm | runs | student | teacher |", "|---|---|---|---|---|---|"]
    for record, labels in ((record, n) for record, numbers in RECORDS.items() for n in numbers):
        rows = load_metrics(record)
        rows = rows[(rows.labels == labels) & rows.variant.isin(list(NORMS))]
        lines += [f"| `{record}` | {labels} | {line}" for line in arm_lines(rows, named=record == "quick")]
    return [*lines, "", *(note(record) for record in RECORDS), "", *measures("half")]


def arm_lines(rows, named):
    """A line an arm; ``named``: with its normalisation."""
    seeds = rows.groupby(["variant", "arm", "seed", "weights"]).dice.mean()
    for variant in sorted(rows.variant.unique()):
        for arm in [arm for arm in ARMS if arm in set(rows.arm[rows.variant == variant])]:
            cells = []
            for weights in ("student", "teacher"):
                dice = seeds[variant, arm].xs(weights, level="weights")
                spread = f" ± {100 * dice.std():.1f}" if len(dice) > 1 else ""
                cells.append(f"{100 * dice.mean():.1f}{spread}")
            norm = f", {NORMS[variant]}" if named else ""
            yield f"{LOOKS[arm].label}{norm} | {len(dice)} | {cells[0]} | {cells[1]} |"


def measures(record):
    """The lines of a table of all four metrics of the teachers, as predicted and by the largest component alone."""
    whole, largest = load_metrics(record), load_metrics(record, largest=True)
    yield (f"All four metrics of the teachers of `{record}`, as predicted and then of each prediction's largest "
           "connected component alone: Dice and Jaccard in %, HD95 and ASD in mm (a voxel of the public volumes is "
           "0.625 mm wide).")
    yield ""
    yield ("| labels | arm, teacher | Dice | Jaccard | HD95 | ASD | largest: Dice | Jaccard | HD95 | ASD |\n"
           "|---|---|---|---|---|---|---|---|---|---|")
    for labels in RECORDS[record]:
        for arm in [arm for arm in ARMS if arm in set(whole.arm[whole.labels == labels])]:
            picked = [means(rows, Pick(arm, "teacher", labels)) for rows in (whole, largest)]
            yield f"| {labels} | {LOOKS[arm].label} | {' | '.join(sum(picked, []))} |"


def folds():
    """The table of the record `labels`, as lines of Markdown: all arms, both normalisations, students and teachers."""
    yield ("| labels | normalisation | arm | trainings | student: Dice | teacher: Dice | HD95 | ASD "
           "| largest: HD95 | ASD |")
    yield "|---|---|---|---|---|---|---|---|---|---|"
    whole, largest = load_metrics("labels"), load_metrics("labels", largest=True)
    for labels, arm, variant in recorded_arms(whole):
        picks = [Pick(arm, weights, labels, variant) for weights in ("student", "teacher")]
        dice = [100 * rows_of(whole, pick).groupby("seed").dice.mean() for pick in picks]
        mm = means(whole, picks[1])[2:] + means(largest, picks[1])[2:]
        norm = "BatchNorm" if variant == "batchnorm" else "InstanceNorm"
        yield (f"| {labels} | {norm} | {named(arm, variant)} | {len(dice[1])} | "
               + " | ".join([*(f"{seeds.mean():.1f} ± {seeds.std():.1f}" for seeds in dice), *mm]) + " |")
    yield ""
    yield note("labels")


def split(record):
    """The table of the record `public` or `full`, as lines of Markdown: teachers, in the units of the published
    tables."""
    yield "| labelled | arm | trainings | Dice | Jaccard | HD95 | ASD | largest: Dice | Jaccard | HD95 | ASD |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    whole, largest = load_metrics(record), load_metrics(record, largest=True)
    for labels, arm, variant in recorded_arms(whole):
        pick = Pick(arm, "teacher", labels, variant)
        dice = 100 * rows_of(whole, pick).groupby("seed").dice.mean()
        _, *others = means(whole, pick, "voxels")
        spread = f" ± {dice.std():.2f}" if len(dice) > 1 else ""
        cells = [f"{dice.mean():.2f}{spread}", *others, *means(largest, pick, "voxels")]
        yield f"| {labels} of 80 | {named(arm, variant)} | {len(dice)} | {' | '.join(cells)} |"
    yield ""
    yield note(record)


def by_case():
    """The comparisons of the record `full`, as lines of Markdown; one training an arm, so the case is the unit."""
    yield ("| difference of Dice | cases above zero | mean ± cases | smallest visible "
           "| largest component: mean ± cases |")
    yield "|---|---|---|---|---|"
    found, clean = (over_cases(pd.concat([load_metrics("full", largest=largest), load_metrics(
        "public", largest=largest).query("seed == 1337 and variant == ''").assign(variant="public")]), FULL)
        for largest in (False, True))
    for row, alone in zip(found, clean):
        above = f"{sum(gain > 0 for gain in row.values.values())} of {len(row.values)}"
        seen = f"{row.smallest:.3f}" if row.verdict == UNCLEAR else ""
        yield f"| {row.name} | {above} | {bold(row)} | {seen} | {bold(alone)} |"


def recorded_arms(rows):
    """(labels, arm, variant) of all that a record of the strong recipe holds, in the order in which they are shown."""
    return [(labels, arm, variant) for labels in sorted(rows.labels.unique()) for variant in ("", "long", "batchnorm")
            for arm in ARM_NAMES if not rows_of(rows, Pick(arm, "teacher", labels, variant)).empty]


def named(arm, variant):
    return ARM_NAMES[arm] + ", for twice as long" * (variant == "long")


def means(rows, pick, unit="mm"):
    """Dice and Jaccard in %, HD95 and ASD in mm (or 'voxels', with two digits all): means over cases and seeds."""
    found = rows_of(rows, pick)
    columns = (("dice", 100, 1), ("jaccard", 100, 1), ("hd95_mm", 1, 1), ("asd_mm", 1, 2)) if unit == "mm" else (
        ("dice", 100, 2), ("jaccard", 100, 2), ("hd95", 1, 2), ("asd", 1, 2))
    return [f"{factor * found[name].mean():.{digits}f}" if len(found) else "–" for name, factor, digits in columns]


def note(record):
    """Where the record's numbers come from, as a list item."""
    made = [json.loads(path.read_text(encoding="utf-8"))
            for path in sorted((RECORDED / record).glob("*/config.json"))]
    if not made:
        return f"- `{record}`: {WORDS[record]}; not recorded yet."
    origins = [", ".join(sorted({run[key][:length] for run in made})) for key, length in (
        ("hardware", 99), ("date", 10), ("commit", 7))]
    missing = len(missing_runs(record))
    return (f"- `{record}`: {WORDS[record]}; {origins[0]}, {origins[1]}, commit {origins[2]}. "
            + (f"{missing} of its runs are not made yet." if missing else "Complete."))


def others():
    """The table of published results, as lines of Markdown: every row of laseg_lib/records/published.csv."""
    yield "| labelled | method | Dice | Jaccard | HD95 | ASD | split | checkpoint | largest component |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in published().itertuples(index=False):
        yield f"| {' | '.join(cell or '–' for cell in map(str, row))} |"


def comparison_lines(record):
    """The table of a record's comparisons, as lines of Markdown: as predicted, and of the largest components alone."""
    folds, families = record in ("labels", *ON_LABELS), record in ON_LABELS
    columns = ["difference of Dice", "pairs above zero", "lowest to highest", "mean ± trainings"]
    columns += ["± cases"] * (record in BY_CASE) + ["± folds"] * folds + ["p (Holm)"] * families
    columns += ["smallest visible", "largest component: mean ± trainings"]
    clean = [row for _, rows in compared(record, largest=True) for row in rows]
    if not any(row.values for row in clean):
        columns.pop()
    yield f"| {' | '.join(columns)} |"
    yield "|" + "---|" * len(columns)
    clean = iter(clean)
    for title, rows in compared(record):
        for row in rows:
            cells = {"difference of Dice": f"*{title}:* {row.name}" if title else row.name} | cells_of(row)
            alone = next(clean)
            cells["largest component: mean ± trainings"] = bold(alone)
            yield f"| {' | '.join(cells[column] for column in columns)} |"
    if record in ON_LABELS:
        yield from ("", note(record))


def tried():
    """The table of the record `trials`, as lines of Markdown: Dice of the teachers, seed by seed."""
    yield "| labels | arm | variant | seed 100 | seed 101 |"
    yield "|---|---|---|---|---|"
    table = load_metrics("trials")
    for labels, arm, variant in sorted(set(zip(table.labels, table.arm, table.variant))):
        dice = per_seed(table, Pick(arm, "teacher", labels, variant))
        cells = [f"{dice[seed]:.3f}" if seed in dice else "" for seed in (100, 101)]
        yield f"| {labels} | {ARM_NAMES[arm]} | {TRIED[variant]} | {' | '.join(cells)} |"


def cells_of(row):
    """The columns of one Difference."""
    gains = list(row.values.values())
    folds = over_folds(row)
    return {"pairs above zero": f"{sum(gain > 0 for gain in gains)} of {len(gains)}",
            "lowest to highest": f"{signed(min(gains))} to {signed(max(gains))}",
            "mean ± trainings": bold(row), "± cases": f"{row.cases:.3f}" if row.cases is not None else "",
            "± folds": f"{folds.half:.3f}", "p (Holm)": "" if row.verdict == OPEN else f"{row.p:.3f}",
            "smallest visible": f"{row.smallest:.3f}" if row.verdict == UNCLEAR else ""}


def bold(row):
    """Mean and interval; in bold where the Difference is above or below zero."""
    text = f"{signed(row.mean)} ± {row.half:.3f}"
    return text if row.verdict in (UNCLEAR, OPEN) else f"**{text}**"


def seconds(value):
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def remarks_on(row):
    """What is worth telling of a row beside its times."""
    remarks = []
    if "ours_peak_mb" in row:
        remarks.append(f"peak memory {row['seed_peak_mb']:.0f} MB, ours {row['ours_peak_mb']:.0f} MB; "
                       f"{row['ours_s'] / (row['limit_s'] + row['moving_s']):.1f} times what the machine needs at "
                       f"least; PyTorch's convolutions alone: {row['seed_s'] / row['convolutions_s']:.1f} at best")
    if "copy_s" in row:
        best = row["seed_s"] / row["copy_s"]
        remarks.append(f"its bytes alone take {seconds(row['copy_s'])} to copy: {best:.0f} at best")
    if "moves" in row:
        theirs, ours = row["moves"]
        remarks.append(f"memory's part: {ours} moves a value in place of {theirs}, {theirs / ours:.1f}")
    if "dice" in row:
        remarks.append(f"Dice {row['dice']:.4f}, the walkthrough's way {row['dice_seed']:.4f} ({row['network']})")
    if "windows" in row:
        remarks.append(f"the walkthrough's time from {row['windows_timed']} of {row['windows']} windows")
    if "largest_difference" in row:
        remarks.append("equal to 1e-6")
    return "; ".join(remarks)


def speeds():
    """The table of speeds, as lines of Markdown."""
    bench = json.loads((RECORDED / "bench.json").read_text(encoding="utf-8"))
    lines = ["| task | the walkthrough's way | ours | ratio (rounds) | |", "|---|---|---|---|---|"]
    for row in bench["rows"]:
        task = row["task"].replace("window 'seed'", "window 'walkthrough'")  # its name when this was measured
        lines.append(f"| {task} | {seconds(row['seed_s'])} | {seconds(row['ours_s'])} | {row['ratio']:.1f} "
                     f"({row['low']:.1f} to {row['high']:.1f}) | {remarks_on(row)} |")
    remarks = f"{origin(bench)}, torch {bench['versions']['torch']}, {bench['data']} volumes."
    return [*lines, "", remarks, "", viewer()]


def steps():
    """The table of our own training steps, as lines of Markdown."""
    bench = json.loads((RECORDED / "steps.json").read_text(encoding="utf-8"))
    kinds = list(bench["rows"][0]["shares"])
    lines = [f"| step 2+2, 48x48x40 | time (lowest to highest) | times its convolutions | {' | '.join(kinds)} |",
             "|---" * (3 + len(kinds)) + "|"]
    for row in bench["rows"]:
        shares = " | ".join(f"{row['shares'][kind]:.0%}" for kind in kinds)
        times = f"{seconds(row['ours_s'])} ({seconds(row['low_s'])} to {seconds(row['high_s'])})"
        lines.append(f"| {row['task']} | {times} | {1 / row['shares']['convolutions']:.2f} | {shares} |")
    return [*lines, "", f"{origin(bench)}, torch {bench['versions']['torch']}, {bench['data']} volumes."]


def commands():
    """The table of whole commands, as lines of Markdown."""
    bench = json.loads((RECORDED / "commands.json").read_text(encoding="utf-8"))
    measured = "convolutions_s" in bench["rows"][0]
    columns = ["`laseg`", "time (lowest to highest)", *["of these, convolutions"] * measured]
    lines = [f"| {' | '.join(columns)} |", "|" + "---|" * len(columns)]
    for row in bench["rows"]:
        cells = [row["task"], f"{seconds(row['ours_s'])} ({seconds(row['low_s'])} to {seconds(row['high_s'])})",
                 seconds(row.get("convolutions_s", 0))]
        lines.append(f"| {' | '.join(cells[:len(columns)])} |")
    return [*lines, "", f"{origin(bench)}, torch {bench['versions']['torch']}."]


def norms():
    """The tables of the ways to compute InstanceNorm, as lines of Markdown: their times and their errors."""
    bench = json.loads((RECORDED / "norms.json").read_text(encoding="utf-8"))
    usual, *ways = [way for way in bench["rows"][0] if way != "task"]
    rest = f"{usual} | {' | '.join(ways)} |", "|---" * (2 + len(ways)) + "|"
    lines = [f"| forward and backward, 4 x 48x48x40 | {rest[0]}", rest[1]]
    for row in bench["rows"]:
        shares = " | ".join(f"{row[way] / row[usual]:.2f}" for way in ways)
        lines.append(f"| {row['task']} | {seconds(row[usual])} | {shares} |")
    lines += ["", f"| largest error, float32, 112x112x80 | {rest[0]}", rest[1]]
    for voxels, errors in bench["errors"].items():
        found = " | ".join(f"{errors[way]:.0e}" for way in (usual, *ways))
        lines.append(f"| {voxels}, standard deviation 1 | {found} |")
    return [*lines, "", f"{origin(bench)}, torch {bench['versions']['torch']}."]


def origin(found):
    """What made it, where and when."""
    return (f"`{found['command']}`: {found['hardware']}, {found['threads']} threads, {found['date'][:10]}, "
            f"commit {found['commit'][:7]}")


def viewer():
    """How long the slice viewer takes to answer, in words."""
    found = json.loads((RECORDED / "latency.json").read_text(encoding="utf-8"))
    times = found["milliseconds"]
    middle, most = statistics.median(times), statistics.quantiles(times, n=10)[-1]
    return (f"The slice viewer, from a key to the new picture, in a real browser: median {middle:.0f} ms, nine of ten "
            f"below {most:.0f} ms (volume 190x140x88, {len(times)} steps). {origin(found)}.")


BLOCKS = {"results": results, "labels": folds, "public": partial(split, "public"), "full": partial(split, "full"),
          "full compared": by_case, "published": others, "speeds": speeds, "steps": steps, "commands": commands,
          "norms": norms, "trials": tried,
          **{f"{record} compared": partial(comparison_lines, record) for record in COMPARISONS}}


def block(name):
    """What stands between the two markers of that name, with them."""
    begin, end = (mark.format(name=name) for mark in MARKS)
    return "\n".join([begin, "", *BLOCKS[name](), "", end])


def main():
    text = wanted = README.read_text(encoding="utf-8")
    for name in BLOCKS:
        begin, end = (mark.format(name=name) for mark in MARKS)
        before, rest = wanted.split(begin)
        wanted = before + block(name) + rest.split(end)[1]
    if "--check" in sys.argv:
        return int(wanted != text)
    write_whole(README, wanted)
    return 0


if __name__ == "__main__":
    sys.exit(main())
