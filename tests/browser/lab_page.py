"""One page of JupyterLab: open a notebook, run it, look at its outputs, use its controls by keyboard."""

import os
import re
from pathlib import Path

NOTEBOOKS = {path.stem: path.read_text(encoding="utf-8")
             for path in sorted((Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))}
# What moves on a page. A notebook without it is executed by nbval alone, and here looked at as it is stored.
MOVES = re.compile(r"\b(SliceViewer|SliderView|LiveCurves|show_scene)\(")
ALIVE = [name for name, text in NOTEBOOKS.items() if MOVES.search(text)]
STILL = [name for name in NOTEBOOKS if name not in ALIVE]
# Each kind once: curves, slices, sliders, a ramp and scenes that move; pictures and tables that don't.
# LASEG_EVERY_PAGE=1 opens all pages, as before a release.
EVERY_PAGE = bool(os.environ.get("LASEG_EVERY_PAGE"))
ONE_OF_EACH = ["00_start_here", "01_left_atrium_data", "05_ema_teacher", "06_ramp_up", "10_atria_in_3d",
               "03_vnet", "09_supervised_comparison", "12_what_a_scan_is_worth"]


def opened(names):
    """Those of ``names`` that the browser tests open."""
    return [name for name in names if EVERY_PAGE or name in ONE_OF_EACH]


assert set(ONE_OF_EACH) <= set(NOTEBOOKS), "a page of the browser tests has another name now"

PATIENCE = 240_000    # ms for whatever is waited for: on a busy machine a scene alone takes a minute

PANEL = "window.jupyterapp.shell.currentWidget"
READY = "() => Boolean(window.jupyterapp?.shell?.currentWidget?.context?.isReady)"
IDLE = f"() => {PANEL}.sessionContext.session?.kernel?.status === 'idle'"
RUN = """command => { window.finished = null;
    window.jupyterapp.commands.execute(command).then(ok => { window.finished = Boolean(ok); }); }"""
CELLS = f"() => {PANEL}.context.model.toJSON().cells"
SHOW_CELL = f"async number => {{ {PANEL}.content.activeCellIndex = number; "\
            f"await {PANEL}.content.scrollToItem(number, 'start'); }}"
BYTES = """async image => { const bytes = await (await fetch(image.src)).arrayBuffer();
    return Array.from(new Uint8Array(await crypto.subtle.digest('SHA-256', bytes))).join(' '); }"""

NAME = """e => [...e.closest('.widget-inline-hbox').querySelectorAll('label, .widget-label')]
    .map(label => label.textContent.replace(/[\\s\\u200b]+$/, '')).find(Boolean)"""

SCROLL_BARS = """() => [...document.querySelectorAll('.jp-OutputArea-output, .jp-OutputArea-output *')].filter(e => {
    const style = getComputedStyle(e), bar = way => ['auto', 'scroll'].includes(way);
    return bar(style.overflowX) && e.scrollWidth > e.clientWidth
        || bar(style.overflowY) && e.scrollHeight > e.clientHeight;
}).map(e => `${e.className}: ${e.scrollWidth} x ${e.scrollHeight} in ${e.clientWidth} x ${e.clientHeight}`)"""


class LabPage:
    """``page`` is Playwright's; ``errors`` and ``left`` are what the page complained of and asked for elsewhere.
    ``not_ours``: a pattern of complaints that the front end has of itself."""

    not_ours = None

    def __init__(self, page, address):
        self.page, self.address, self.errors, self.left = page, address, [], []
        page.set_default_timeout(PATIENCE)

    def open(self, path, kernel=True, front="lab/tree"):
        """Open a notebook of the project, with or without a kernel; Notebook 7's ``front`` is "notebooks"."""
        start = f"{front}/{path}" if kernel else "lab"
        self.page.goto(f"{self.address}{start}?reset")
        if not kernel:
            self.page.wait_for_function("() => window.jupyterapp?.shell?.currentWidget")
            # Not kernel=None: a notebook that names its kernel would be given one a moment later.
            self.command("docmanager:open", path=path, kernelPreference={"shouldStart": False, "shouldReuse": False})
        self.page.wait_for_function(READY)
        if kernel:
            self.page.wait_for_function(IDLE)

    def run_all(self):
        """Run All Cells, and wait for the last; true when none raised."""
        return self._run("notebook:run-all-cells")

    def run_what_moves(self):
        """Run all cells until the last that moves, and wait for it; true when none raised."""
        last = max(number for number, cell in enumerate(self.cells()) if MOVES.search("".join(cell["source"])))
        self.show(last + 1)
        return self._run("notebook:run-all-above")

    def _run(self, command):
        self.page.evaluate(RUN, command)
        self.page.wait_for_function("() => window.finished !== null")
        return self.page.evaluate("window.finished")

    def has_kernel(self):
        return self.page.evaluate(f"() => Boolean({PANEL}.sessionContext.session)")

    def command(self, name, **arguments):
        self.page.evaluate("([name, given]) => window.jupyterapp.commands.execute(name, given).then(() => null)",
                           [name, arguments])

    def cells(self):
        """The notebook's cells as they would be saved, outputs included."""
        return self.page.evaluate(CELLS)

    def scroll_bars(self):
        """Outputs, and what lies in them, that are larger than their frame: [words that find them]."""
        return self.page.evaluate(SCROLL_BARS)

    def shut_down(self):
        """End the kernels."""
        self.page.evaluate("() => window.jupyterapp?.serviceManager.sessions.shutdownAll()")

    def show(self, number):
        """Scroll to a cell; returns its element."""
        self.page.evaluate(SHOW_CELL, number)
        cell = self.page.locator(f'.jp-Notebook .jp-Cell[data-windowed-list-index="{number}"]')
        cell.wait_for()
        return cell


class Pictured:
    """What has a ``picture()`` on a ``page``."""

    def changes_from(self, before, patience=PATIENCE // 4, pause=200):
        """Whether the picture becomes another than ``before`` within ``patience``, in ms."""
        # Not wait_for_function: it takes the promise of an async function for true.
        for _ in range(patience // pause):
            if self.picture() != before:
                return True
            self.page.wait_for_timeout(pause)
        return False


class View(Pictured):
    """A live view in a cell: its picture and its controls."""

    def __init__(self, cell):
        self.cell, self.page, self.element = cell, cell.page, cell.locator(".laseg-view")
        self.image = self.element.locator("img.widget-image")
        self.image.wait_for()

    def controls(self):
        """Every slider's handle, drop-down and toggle, with what stands beside it: [(words, element)]."""
        found = self.element.locator(".noUi-handle, select, input[type=checkbox]").all()
        return [(element.evaluate(NAME), element) for element in found]

    def picture(self):
        """A digest of the bytes of the picture."""
        return self.image.evaluate(BYTES)

    def move(self, element):
        """One step: an arrow key that has somewhere to go, the space bar for a toggle; a drop-down is chosen from."""
        if element.evaluate("e => e.type === 'checkbox'"):
            key = "Space"
        elif element.evaluate("e => e.tagName === 'SELECT'"):  # its list opens outside the page
            index, last = element.evaluate("e => [e.selectedIndex, e.options.length - 1]")
            element.select_option(index=index - 1 if index == last else index + 1)
            return
        else:
            now, top = (float(element.get_attribute(f"aria-value{which}")) for which in ("now", "max"))
            key = "ArrowLeft" if now >= top else "ArrowRight"
        element.press(key)

    def message(self):
        """The error under the picture, or nothing."""
        return "".join(self.element.locator("[role=alert]").all_inner_texts())

    def stills(self):
        """How many stills are to be seen in the cell's outputs."""
        return self.cell.locator(".jp-OutputArea-output img:not(.widget-image):visible").count()


class Scene(Pictured):
    """A plotly scene in a cell: a still until the mouse comes over it."""

    def __init__(self, cell):
        self.page, self.plot = cell.page, cell.locator(".jp-RenderedPlotly")
        self.plot.scroll_into_view_if_needed()
        self.plot.hover(force=True)
        self.canvas = self.plot.locator(".gl-container canvas").first
        self.canvas.wait_for()
        self.plot.evaluate("plot => plot.scrollIntoView({block: 'center'})")

    def picture(self):
        """The pixels as they are on the screen."""
        return self.canvas.screenshot()

    def visible(self):
        """Per surface: true, or 'legendonly' when the legend switched it off."""
        return self.plot.evaluate("plot => plot._fullData.map(trace => trace.visible)")

    def toggle(self, number):
        """A click on a name in the legend."""
        was = self.visible()[number]
        self.page.mouse.click(*middle(self.plot.locator(".legendtoggle").nth(number)))
        self.page.wait_for_function("([plot, number, was]) => plot._fullData[number].visible !== was",
                                    arg=[self.plot.element_handle(), number, was])

    def turn(self, right, down):
        """Drag with the mouse, and wait until the camera has moved."""
        eye = "plot => JSON.stringify(plot._fullLayout.scene._scene.getCamera().eye)"
        was, (x, y) = self.plot.evaluate(eye), middle(self.canvas)
        self.page.mouse.move(x, y)
        self.page.mouse.down()
        self.page.mouse.move(x + right, y + down, steps=6)
        self.page.mouse.up()
        self.page.wait_for_function(f"([plot, was]) => ({eye})(plot) !== was", arg=[self.plot.element_handle(), was])


def middle(element):
    box = element.bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
