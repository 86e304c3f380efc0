#!/usr/bin/env python3
"""Write the README's table of results from data/recorded, between its two markers.

    python tools/readme_results.py            writes it
    python tools/readme_results.py --check    fails when it isn't what the records say
"""

import json
import sys
from pathlib import Path

from laseg_lib.records import RECORDED, load_metrics, missing_runs
from laseg_lib.style import LOOKS

README = Path(__file__).resolve().parent.parent / "README.md"
BEGIN, END = "<!-- results: tools/readme_results.py -->", "<!-- end of results -->"
WORDS = {"quick": "phantoms 32x32x16, 4 labelled of 40, 500 iterations, 4 filters",
         "half": "real volumes at half resolution, 8 labelled of 80 (76 trained on, 4 for validation), "
                 "1,500 iterations, 8 filters"}
NORMS = {"": "BatchNorm", "instancenorm": "InstanceNorm"}


def table():
    """The block of Markdown between the markers."""
    lines = ["| record | arm | runs | student | teacher |", "|---|---|---|---|---|"]
    for record, labels in (("half", 8), ("quick", 4)):
        rows = load_metrics(record)
        rows = rows[(rows.labels == labels) & rows.variant.isin(list(NORMS))]
        seeds = rows.groupby(["variant", "arm", "seed", "weights"]).dice.mean()
        for variant, arm in seeds.index.droplevel([2, 3]).unique():
            cells = []
            for weights in ("student", "teacher"):
                dice = seeds[variant, arm].xs(weights, level="weights")
                spread = f" ± {100 * dice.std():.1f}" if len(dice) > 1 else ""
                cells.append(f"{100 * dice.mean():.1f}{spread}")
            norm = f", {NORMS[variant]}" if record == "quick" else ""
            lines.append(f"| `{record}` | {LOOKS[arm].label}{norm} | {len(dice)} | {cells[0]} | {cells[1]} |")
    notes = []
    for record, words in WORDS.items():
        config = json.loads(next((RECORDED / record).glob("*/config.json")).read_text(encoding="utf-8"))
        missing = len(missing_runs(record))
        notes.append(f"- `{record}`: {words}; {config['hardware']}, {config['date'][:10]}, "
                     f"commit {config['commit'][:7]}. "
                     + (f"{missing} of its runs are not made yet." if missing else "Complete."))
    return "\n".join([BEGIN, "", *lines, "", *sorted(notes), "", END])


def main():
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    wanted = before + table() + rest.split(END)[1]
    if "--check" in sys.argv:
        return int(wanted != text)
    README.write_text(wanted, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
