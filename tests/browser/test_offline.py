"""A page without its kernel shows the stills, and the net that catches requests off this machine has no hole."""

import json
import re

import nbformat
import pytest
from lab_page import STILL, View, opened

# What a page shows without a kernel: an orange outline in 01, two atria side by side in 10.
PAGES = {"01_left_atrium_data": ".jp-RenderedImage img", "10_atria_in_3d": "img.plot-img"}

VIEW = """import numpy as np
from laseg_lib.figures.viewer import SliderView
SliderView(lambda n: np.full((300, 840, 3), n, np.uint8), n=(0, 200))"""

# ipywidgets' manager asks a notebook that has no session for its session's kernel; nothing follows from it.
WIDGETS_WITHOUT_A_KERNEL = "page error: Cannot read properties of null (reading 'kernel')"


@pytest.mark.parametrize("name", opened([*PAGES, *STILL]))
def test_reopened_without_a_kernel_it_shows_the_stills(page, project, name):
    stored = json.loads((project / "notebooks" / f"{name}.ipynb").read_text(encoding="utf-8"))
    page.open(f"notebooks/{name}.ipynb", kernel=False)
    outputs = {number: cell["outputs"] for number, cell in enumerate(stored["cells"]) if cell.get("outputs")}
    stills = [number for number, found in outputs.items() if re.search('<img class|"image/png":', json.dumps(found))]
    assert stills
    for number in outputs:
        cell = page.show(number)
        if number in stills:
            picture = cell.locator(f"{PAGES.get(name, 'img.plot-img')}, .jp-RenderedImage img").first
            picture.wait_for()
            assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        assert not page.scroll_bars()
    assert not page.has_kernel()
    page.errors[:] = [error for error in page.errors if error != WIDGETS_WITHOUT_A_KERNEL]


def test_a_view_whose_kernel_was_shut_down_leaves_its_still(page, project):
    path = project / "notebooks" / "left.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(VIEW)], metadata={"kernelspec": {
        "name": "python3", "display_name": "Python 3", "language": "python"}}), path)
    page.open("notebooks/left.ipynb")
    assert page.run_all()
    View(page.show(0))
    page.command("docmanager:save")
    page.shut_down()
    page.open("notebooks/left.ipynb", kernel=False)
    cell = page.show(0)
    cell.locator(".jp-RenderedImage img").wait_for()
    assert not cell.locator(".laseg-view").count()
    page.errors.clear()    # the widget manager says on the console that the model is gone
    path.unlink()


def test_the_net_catches_what_leaves_and_what_the_page_complains_of(page):
    page.page.goto(f"{page.address}lab?reset")
    page.page.evaluate("() => fetch('https://cdn.plot.ly/plotly.min.js').catch(() => null)")
    page.page.evaluate("() => { const script = document.createElement('script');"
                       "script.src = 'https://unpkg.com/a.js'; document.head.append(script); }")
    page.page.wait_for_timeout(500)
    assert [url.split("/")[2] for url in page.left] == ["cdn.plot.ly", "unpkg.com"]
    assert any("ERR_NAME_NOT_RESOLVED" in error for error in page.errors)
    page.left.clear(), page.errors.clear()
