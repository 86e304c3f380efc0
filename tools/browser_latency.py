#!/usr/bin/env python3
"""After a change of the viewer: how long it takes from a key press to the new picture, in a real Chromium.

    python tools/browser_latency.py             forty steps through a phantom of 190 x 140 x 88 voxels
    python tools/browser_latency.py --steps 100

Measured inside the page: from the key press on the slider's handle until the <img> has loaded and decoded the
bytes that the kernel drew for it.  Needs what tests/browser needs.  build/latency.json holds every step's time.
"""

import argparse
import json
import statistics
import sys
from pathlib import Path

import nbformat
import torch

from laseg_lib.data.atomic import write_whole
from laseg_lib.records.make import current_provenance
from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(REPO / "tests" / "browser"))
SOURCE = """import numpy as np
from laseg_lib.data.phantom import make_phantom
from laseg_lib.figures.viewer import SliceViewer
image, label = make_phantom(0, (190, 140, 88))
SliceViewer(image, label, {"supervised": np.roll(label, 4, 0), "MT": np.roll(label, 2, 1)})"""
# Not the tests' flags: they have a processor play the graphics card for 3D, which takes a whole core.
FLAGS = ["--no-sandbox", "--disable-gpu", "--no-proxy-server"]
STEP = """([handle, image, key]) => new Promise(resolve => {
    const was = image.src, began = performance.now();
    const seen = new MutationObserver(() => {
        if (image.src === was) return;
        seen.disconnect();
        image.decode().then(() => resolve(performance.now() - began));
    });
    seen.observe(image, {attributes: true, attributeFilter: ['src']});
    handle.dispatchEvent(new KeyboardEvent('keydown', {key, bubbles: true, cancelable: true}));
})"""


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=40, help="steps of each of the three planes' sliders together")
    parser.add_argument("--json", type=Path, default=REPO / "build" / "latency.json")
    args = parser.parse_args(argv)
    times = measure(args.steps)
    write_whole(args.json, json.dumps({"command": f"python tools/browser_latency.py --steps {args.steps}",
                                       **current_provenance(torch.device("cpu")), "milliseconds": times},
                                      indent=1) + "\n")
    low, high = min(times), max(times)
    print(f"{len(times)} steps: median {statistics.median(times):.0f} ms, {low:.0f} to {high:.0f} ms; "
          f"nine of ten below {statistics.quantiles(times, n=10)[-1]:.0f} ms")


def measure(steps):
    """Milliseconds of each step; the sliders of x, y and z in turn, after three steps each to warm up."""
    import tempfile

    import conftest
    from lab_page import LabPage, View
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        home = Path(folder)
        cell = nbformat.v4.new_code_cell(SOURCE)
        nbformat.write(nbformat.v4.new_notebook(cells=[cell], metadata={"kernelspec": {
            "name": "python3", "display_name": "Python 3", "language": "python"}}), home / "latency.ipynb")
        (home / "laseg_lib").symlink_to(REPO / "laseg_lib")
        with conftest.running_lab(home, home / "jupyter") as address:
            browser = playwright.chromium.launch(executable_path=conftest.CHROMIUM, args=FLAGS)
            page = LabPage(browser.new_page(viewport={"width": 1280, "height": 800}), address)
            page.open("latency.ipynb")
            page.run_all()
            view = View(page.show(0))
            handles = [element for name, element in view.controls() if name in "xyz"]
            times = [step(view, handles[n % 3], n) for n in range(steps + 9)][9:]
            browser.close()
    return times


def step(view, handle, number):
    key = "ArrowRight" if number // 60 % 2 == 0 else "ArrowLeft"
    return view.page.evaluate(STEP, [handle.element_handle(), view.image.element_handle(), key])


if __name__ == "__main__":
    sys.exit(main())
