"""The slice viewer on a projector: it fits, can be grasped, follows the mouse, and leaves nothing behind."""

import nbformat
import pytest
from axe import serious
from lab_page import PANEL, View

CELLS = ["""import numpy as np
from laseg_lib.data.phantom import make_phantom
from laseg_lib.figures.viewer import SliceViewer, SliderView
image, label = make_phantom(0, (95, 70, 44))""",
         """view = SliceViewer(image, label, {"student, Dice 0.66": label, "teacher, Dice 0.71": label}, spacing=1.25)
view""",
         """SliderView(lambda n, m: np.full((300, 840, 3), n, np.uint8), n=(0, 200), m=(0.0, 1.0),
           labels={"n": "voxels wider by that many times", "m": "triangles at most"})""",
         """from laseg_lib.figures.progress import counted
done = list(counted(range(3), "step"))""",
         """from ipywidgets.widgets.widget import _instances
print(len(_instances))"""]

BROKEN_LINKS = """() => [...document.querySelectorAll('.jupyter-widgets-disconnected')].filter(e =>
    e.getClientRects().length && !['none', 'normal'].includes(getComputedStyle(e, '::before').content)
    && getComputedStyle(e, '::before').display !== 'none').map(e => e.className)"""


@pytest.fixture
def small_page(page, project):
    cells = [nbformat.v4.new_code_cell(source) for source in CELLS]
    notebook = nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {
        "name": "python3", "display_name": "Python 3", "language": "python"}, "language_info": {"name": "python"}})
    nbformat.write(notebook, project / "notebooks" / "viewer.ipynb")
    page.page.set_viewport_size({"width": 853, "height": 533})  # 1280 x 800 at 150 %
    page.open("notebooks/viewer.ipynb")
    page.command("application:toggle-left-area")
    page.command("application:toggle-mode")
    assert page.run_all()
    yield page
    (project / "notebooks" / "viewer.ipynb").unlink()


def test_it_fits_a_projector_follows_the_mouse_and_leaves_nothing_behind(small_page):
    view = View(small_page.show(1))
    picture, element = view.image.bounding_box(), view.element.bounding_box()
    assert picture["width"] > 600 and element["height"] < 445, "picture and sliders on one screen, its bars aside"
    assert element["x"] + element["width"] <= 853
    tracks = small_page.page.locator(".slider-container").all()
    assert len(tracks) >= 5 and min(track.bounding_box()["width"] for track in tracks) >= 150

    assert "Ctrl with the wheel" in view.element.locator(".laseg-hint").inner_text()
    before, z = view.picture(), dict(view.controls())["z"].get_attribute("aria-valuenow")
    view.image.hover(position={"x": 60, "y": 60})
    small_page.page.mouse.wheel(0, -100)  # the page's, as long as nobody has clicked
    assert not view.changes_from(before, patience=2000)
    small_page.page.keyboard.down("Control")
    small_page.page.mouse.wheel(0, -100)
    small_page.page.keyboard.up("Control")
    assert view.changes_from(before)
    assert float(dict(view.controls())["z"].get_attribute("aria-valuenow")) == float(z) + 1
    before, x = view.picture(), dict(view.controls())["x"].get_attribute("aria-valuenow")
    view.image.click(position={"x": 60, "y": 60})
    assert view.changes_from(before)
    assert dict(view.controls())["x"].get_attribute("aria-valuenow") != x
    before, z = view.picture(), dict(view.controls())["z"].get_attribute("aria-valuenow")
    small_page.page.mouse.wheel(0, -100)
    assert view.changes_from(before)
    assert float(dict(view.controls())["z"].get_attribute("aria-valuenow")) == float(z) + 1
    assert view.image.get_attribute("alt").startswith("Axial")

    view.image.focus()
    for key, axis, step in (("ArrowUp", "z", 1), ("ArrowRight", "x", 1), ("Shift+ArrowDown", "y", 1)):
        was, before = float(dict(view.controls())[axis].get_attribute("aria-valuenow")), view.picture()
        small_page.page.keyboard.press(key)
        assert view.changes_from(before) and view.image.evaluate("image => image === document.activeElement")
        assert float(dict(view.controls())[axis].get_attribute("aria-valuenow")) == was + step
    assert view.image.evaluate("image => getComputedStyle(image).outlineStyle") == "solid"  # the focus is to be seen
    view.image.press("Control")
    assert view.image.get_attribute("data-lm-suppress-shortcuts") is None  # Ctrl+S is the notebook's, also from here
    assert serious(small_page.page, ".laseg-view") == []

    view = View(small_page.show(2))
    tracks = view.element.locator(".slider-container").all()
    assert min(track.bounding_box()["width"] for track in tracks) >= 150

    widgets = int(small_page.cells()[4]["outputs"][0]["text"])
    assert small_page.run_all() and int(small_page.cells()[4]["outputs"][0]["text"]) == widgets

    line = small_page.page.locator(".laseg-line")
    assert line.count() and line.first.is_visible()
    small_page.page.evaluate(f"() => {PANEL}.sessionContext.session.kernel.restart()")
    dead = small_page.page.locator(".laseg-view.jupyter-widgets-disconnected")
    dead.first.wait_for()
    assert "run this cell again" in dead.first.evaluate("e => getComputedStyle(e, '::after').content")
    assert not line.first.is_visible()
    assert small_page.page.evaluate(BROKEN_LINKS) == []
