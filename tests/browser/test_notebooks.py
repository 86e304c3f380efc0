"""Notebooks in which something moves, run in a real browser: no error, and every slider, drop-down, toggle and scene
answers.  What comes after the last of these is executed by nbval alone.  A page for each kind; ``LASEG_EVERY_PAGE=1``:
all of them."""

import nbformat
import pytest
from axe import serious
from lab_page import ALIVE, Scene, View, opened

WIDGET, SCENE = "application/vnd.jupyter.widget-view+json", "application/vnd.plotly.v1+json"
# What must be there, lest a notebook that lost its view pass for want of anything to try.
CONTROLS = {"00_start_here": {"x", "y", "z", "window: black to white", "level: middle grey", "labels as", "smooth",
                              "show gold"},
            "01_left_atrium_data": {"case", "x", "y", "z"},
            "04_losses": {"teacher q"},
            "05_ema_teacher": {"α", "warm-up", "another student"},
            "06_ramp_up": {"iterations", "λ_max", "rampup", "ramp_every", "shape"},
            "10_atria_in_3d": {"voxels wider by", "triangles at most", "test case"}}
SCENES = {"10_atria_in_3d": 4, "14_your_own_scans": 1}
# Notebook 7 looks for settings, commands and fonts of JupyterLab that it doesn't have; nothing follows from it.
NOTEBOOKS_OWN = r"reading 'schema'|Command '.*' not registered|/static/notebook/"
VIEWER_AND_SCENE = """from laseg_lib.data.phantom import make_phantom
from laseg_lib.figures.meshes import atrium_scene, show_scene
from laseg_lib.figures.viewer import SliceViewer
image, label = make_phantom(0, (40, 36, 24))
SliceViewer(image, label, spacing=2.5)""", """show_scene(atrium_scene({"gold": label}, 2.5), "The atrium.")"""


@pytest.mark.parametrize("name", opened(ALIVE))
def test_run_then_move_everything(page, name):
    page.open(f"notebooks/{name}.ipynb")
    assert page.run_what_moves(), errors(page.cells())
    cells = page.cells()
    assert not errors(cells)
    assert not page.scroll_bars()
    handles = page.page.locator(".noUi-handle")  # named before they are scrolled to
    assert all(handles.evaluate_all("all => all.map(one => one.getAttribute('aria-label'))"))
    moved = set()
    for number in showing(cells, WIDGET, "text/plain"):  # a line of progress is a widget without words for others
        moved |= move_all(View(page.show(number)))
    assert moved >= CONTROLS.get(name, set())
    scenes = showing(cells, SCENE)
    assert len(scenes) == SCENES.get(name, 0)
    for number in scenes[:1]:
        cell = page.show(number)
        cell.locator(".jp-RenderedPlotly img[alt]").wait_for()
        assert serious(page.page, ".jp-RenderedPlotly") == []
        turn_and_toggle(Scene(cell))
    if pictures := [number for number, cell in enumerate(cells) if "laseg-picture" in str(cell.get("outputs"))]:
        page.show(pictures[0]).locator("img.laseg-picture").first.wait_for()
        assert serious(page.page, "div:has(> img.laseg-picture)") == []


def test_notebook_7_moves_the_viewer_and_has_the_scene(page, project):
    pytest.importorskip("notebook", reason="Notebook 7 is not installed")
    cells = [nbformat.v4.new_code_cell(source) for source in VIEWER_AND_SCENE]
    path = project / "notebooks" / "seven.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": {
        "name": "python3", "display_name": "Python 3", "language": "python"}}), path)
    page.not_ours = NOTEBOOKS_OWN
    page.open("notebooks/seven.ipynb", front="notebooks")
    assert page.run_all() and not errors(page.cells())
    view = View(page.show(0))
    assert view.stills() == 0 and not page.scroll_bars()
    before = view.picture()
    view.image.click(position={"x": 120, "y": 60})
    assert view.changes_from(before) and not view.message()
    before = view.picture()
    view.move(dict(view.controls())["x"])  # an arrow key, which this front end would take for its own
    assert view.changes_from(before)
    page.show(1).locator(".jp-RenderedPlotly").wait_for()
    path.unlink()


def errors(cells):
    """What went wrong in the cells: exceptions, and words on stderr."""
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    return [output.get("evalue", output.get("text")) for output in outputs
            if output["output_type"] == "error" or output.get("name") == "stderr"]


def showing(cells, *mimes):
    """The numbers of the cells with an output that has all of these kinds."""
    return [number for number, cell in enumerate(cells)
            if any(set(mimes) <= set(output.get("data", {})) for output in cell.get("outputs", []))]


def move_all(view):
    """Each control of a view takes a step by keyboard, and the picture follows; returns their names."""
    assert view.stills() == 0, "the still stands below the live view"
    names = set()
    for name, element in view.controls():
        before = view.picture()
        view.move(element)
        assert view.changes_from(before), f"{name} moves nothing"
        names.add(name)
    assert not view.message(), "an error under the picture"
    return names


def turn_and_toggle(scene):
    whole = scene.picture()
    scene.toggle(0)
    assert scene.visible()[0] == "legendonly" and scene.changes_from(whole)
    scene.toggle(0)
    assert scene.visible()[0] is True
    before = scene.picture()
    scene.turn(120, 40)
    assert scene.changes_from(before)
