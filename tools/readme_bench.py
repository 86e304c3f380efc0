#!/usr/bin/env python3
"""Write the table of speeds in data/recorded/README.md from bench.json and latency.json, between its two markers.

    make bench && cp build/bench.json data/recorded/bench.json && python tools/readme_bench.py
    python tools/browser_latency.py && cp build/latency.json data/recorded && python tools/readme_bench.py
"""

import json
import statistics
from pathlib import Path

from laseg_lib.data.atomic import write_whole
from laseg_lib.records.read import RECORDED

README = Path(__file__).resolve().parent.parent / "data" / "recorded" / "README.md"
BEGIN, END = "<!-- speeds: tools/readme_bench.py -->", "<!-- end of speeds -->"


def seconds(value):
    return f"{value:.1f} s" if value >= 1 else f"{1000 * value:.1f} ms"


def notes(row):
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


def table():
    """The block of Markdown between the markers."""
    bench = json.loads((RECORDED / "bench.json").read_text(encoding="utf-8"))
    lines = ["| task | the walkthrough's way | ours | ratio (rounds) | |", "|---|---|---|---|---|"]
    for row in bench["rows"]:
        task = row["task"].replace("window 'seed'", "window 'walkthrough'")  # its name when this was measured
        lines.append(f"| {task} | {seconds(row['seed_s'])} | {seconds(row['ours_s'])} | {row['ratio']:.1f} "
                     f"({row['low']:.1f} to {row['high']:.1f}) | {notes(row)} |")
    remarks = f"{origin(bench)}, torch {bench['versions']['torch']}, {bench['data']} volumes."
    return "\n".join([BEGIN, "", *lines, "", remarks, "", viewer(), "", END])


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


def main():
    text = README.read_text(encoding="utf-8")
    before, rest = text.split(BEGIN)
    write_whole(README, before + table() + rest.split(END)[1])


if __name__ == "__main__":
    main()
