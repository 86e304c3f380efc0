#!/usr/bin/env python3
"""Write the tables of results in data/recorded/README.md, ours and published ones, between their markers.

    python tools/readme_results.py            writes it
    python tools/readme_results.py --check    fails when it isn't what the records say
"""

import json
import sys
from functools import partial
from pathlib import Path

from comparisons import COMPARISONS, compared

from laseg_lib.data.atomic import write_whole
from laseg_lib.figures.style import ARMS, LOOKS
from laseg_lib.records.plans import ARM_NAMES
from laseg_lib.records.read import RECORDED, load_metrics, missing_runs, published
from laseg_lib.records.statistics import UNCLEAR, Pick, over_folds, per_seed, rows_of, signed

README = Path(__file__).resolve().parent.parent / "data" / "recorded" / "README.md"
MARKS = "<!-- {name}: tools/readme_results.py -->", "<!-- end of {name} -->"
RECORDS = {"half": (8, 16, 76), "quick": (4,)}  # the records shown, and their numbers of labels
WORDS = {"quick": "phantoms 32x32x16, 4 labelled of 40, 500 iterations, 4 filters",
         "half": "real volumes at half resolution, 8, 16 or all 76 labelled of the 76 trained on (4 more validate), "
                 "1,500 iterations, 8 filters",
         "labels": "real volumes at half resolution, four folds of 20 cases tested and 80 trained on, 1,500 iterations "
                   "(twice as long: 3,000), 8 filters, scored at full size",
         "public": "real volumes at half resolution, the public lists, 1,500 iterations (twice as long: 3,000), 16 "
                   "filters, scored at full size"}
TRIED = {"": "the base: rotations up to 15°, InstanceNorm", "turned": "turns and mirrors", "batchnorm": "BatchNorm",
         "gentle": "rotations up to 7.5°", "wide": "rotations up to 30°", "long": "twice as long",
         "view": "the student's view moved once more", "view_long": "the same, twice as long",
         "view_two": "the same, 2 + 2 in a batch", "two": "two labelled in a batch", "slow": "teacher with α = 0.999",
         "all": "all of the teacher's answers, sure or not"}
NORMS = {"": "BatchNorm", "instancenorm": "InstanceNorm"}


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
        student, teacher = (Pick(arm, weights, labels, variant) for weights in ("student", "teacher"))
        dice = [100 * rows_of(whole, pick).groupby("seed").dice.mean() for pick in (student, teacher)]
        mm = means(whole, teacher)[2:] + means(largest, teacher)[2:]
        norm = "BatchNorm" if variant == "batchnorm" else "InstanceNorm"
        yield (f"| {labels} | {norm} | {named(arm, variant)} | {len(dice[1])} | "
               + " | ".join([*(f"{seeds.mean():.1f} ± {seeds.std():.1f}" for seeds in dice), *mm]) + " |")
    yield ""
    yield note("labels")


def split():
    """The table of the record `public`, as lines of Markdown: teachers, in the units of the published tables."""
    yield "| labelled | arm | trainings | Dice | Jaccard | HD95 | ASD | largest: Dice | Jaccard | HD95 | ASD |"
    yield "|---|---|---|---|---|---|---|---|---|---|---|"
    whole, largest = load_metrics("public"), load_metrics("public", largest=True)
    for labels, arm, variant in recorded_arms(whole):
        pick = Pick(arm, "teacher", labels, variant)
        dice = 100 * rows_of(whole, pick).groupby("seed").dice.mean()
        _, *others = means(whole, pick, "voxels")
        cells = [f"{dice.mean():.2f} ± {dice.std():.2f}", *others, *means(largest, pick, "voxels")]
        yield f"| {labels} of 80 | {named(arm, variant)} | {len(dice)} | {' | '.join(cells)} |"
    yield ""
    yield note("public")


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
    folds = record == "labels"
    columns = ["difference of Dice", "pairs above zero", "lowest to highest", "mean ± trainings"]
    columns += ["± cases"] * (record in ("half", "labels", "public")) + ["± folds"] * folds
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
            "± folds": f"{folds.half:.3f}", "smallest visible": f"{row.smallest:.3f}" if row.verdict == UNCLEAR else ""}


def bold(row):
    """Mean and interval; in bold where the Difference is above or below zero."""
    text = f"{signed(row.mean)} ± {row.half:.3f}"
    return text if row.verdict == UNCLEAR else f"**{text}**"


BLOCKS = {"results": results, "labels": folds, "public": split, "published": others, "trials": tried,
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
