"""One slider class for the whole course, and the slice viewer built on it.

The picture is a widget that receives encoded bytes.  There is no pyplot, because widget callbacks run on another thread
than the cell.  While a picture is drawn, the browser keeps only the newest slider move, so that no moves queue up.

Each view also leaves a still in the output, for a page without a kernel.  A style that is part of the live view hides
the still, which JupyterLab would show below it.
"""

import contextlib
import itertools
import math
import textwrap
import threading
import traceback
from pathlib import Path

import ipywidgets as widgets
import numpy as np

from .live_image import LiveImage
from .names import in_html
from .pictures import STILL, bundle, pixels, to_frame
from .slices import PLANES, draw_slices, plane_boxes, voxel_at, window_of

_STYLE = f"<style>{Path(__file__).with_name('viewer.css').read_text(encoding='utf-8')}</style>"
_DEAD = "(A still: run this cell to bring it to life.)"
KEPT_FRAMES = 100  # of a SliderView: some megabytes


class LivePicture(widgets.VBox):
    """A picture that changes in place, and the two outputs it makes: the live view and a still."""

    def __init__(self, picture, alt, below=(), asks=False):
        self.alt, self.asks = alt or "A still of a picture that changes.", asks
        # It is made with its bytes: without them a page would show the sign of a broken picture.
        self.picture = LiveImage(value=self._encoded(picture), alt=self.alt, asks=asks)
        self.picture.add_class("laseg-image")
        super().__init__([self.picture, *below, widgets.HTML(_STYLE)])
        self.add_class("laseg-view")

    def put(self, picture):
        """Show another picture: uint8 array (H, W, 3), Figure without pyplot, or PNG bytes."""
        self.picture.value = self._encoded(picture)

    def _encoded(self, picture):
        self.drawn = picture if isinstance(picture, bytes) else pixels(picture)
        return to_frame(self.drawn)

    def show_live(self):
        from IPython.display import display

        _replace(self)
        # Without a kernel these words stand above the still: few pages show an image's own alternative text.
        words = "\n".join((*textwrap.wrap(self.alt, 110), _DEAD))
        display(_view_of(self) | {"text/plain": words}, raw=True)

    def _ipython_display_(self, **kwargs):
        from IPython.display import display

        self.show_live()
        display(bundle(self.drawn, self.alt, STILL), raw=True)

    def close(self):
        """Remove the view and its parts from the kernel, and release its data."""
        _close_parts(self)
        super().close()


class LiveLine(widgets.HBox):
    """A line of widgets that exists with the kernel only: it is not stored, and disappears when the kernel restarts."""

    def __init__(self, *parts):
        super().__init__([*parts, widgets.HTML(_STYLE)])
        self.add_class("laseg-line")

    def show_live(self):
        from IPython import get_ipython
        from IPython.display import display

        if get_ipython() is None:  # a test, or a script
            return
        _replace(self)
        display(_view_of(self), raw=True)

    def close(self):
        _close_parts(self)
        super().close()


def _view_of(widget):
    """The mime bundle of a widget, without text.  Written by hand, because ipywidgets 7, which Colab has, lacks it."""
    return {"application/vnd.jupyter.widget-view+json": {"version_major": 2, "version_minor": 0,
                                                         "model_id": widget.model_id}}


_views_of_cells = {}  # the cell's name in the notebook: (the run of it, the views that stand in its output)


def _replace(view):
    """Close the views of the cell's last run, because this run replaces its output."""
    from IPython import get_ipython

    shell = get_ipython()
    request = shell.get_parent() if hasattr(shell, "get_parent") else {}
    cell, run = request.get("metadata", {}).get("cellId"), request.get("header", {}).get("msg_id")
    if cell is None:  # not in JupyterLab: nobody says which output is replaced
        return
    before, views = _views_of_cells.get(cell, (run, []))
    if before != run:
        for old in views:
            old.close()
        views = []
    _views_of_cells[cell] = run, [*views, view]


def _close_parts(view):
    for widget in _parts(view):
        if widget is not view:
            widget.close()


def _parts(widget):
    """A widget with its children, their layouts and styles: all objects that the kernel keeps for it."""
    for child in getattr(widget, "children", ()):
        yield from _parts(child)
    yield from (getattr(widget, name) for name in ("layout", "style") if getattr(widget, name, None) is not None)
    yield from getattr(widget, "links", ())
    yield widget


class SliderView(LivePicture):
    """``draw(**values)`` under sliders, drop-downs and toggles; display it as a cell's last line.

    ``draw`` is a pure function that returns a uint8 array (H, W, 3), a Figure without pyplot, or PNG bytes.
    A slider is made for ``(low, high)``, ``(low, high, step)``, a range or a list of numbers.  A drop-down is
    made for a list of strings or a dict {name: value}, a toggle for a bool.  An ipywidget is used as it is.
    ``start``: {name: first value}; ``labels``: {name: text beside it}; ``play``: names of whole-number sliders that get
    a play button; ``alt``: a sentence or two that describe the picture.
    An error in the first drawing is raised; later errors are shown under the last good picture.
    Each position is drawn once; if there are few, all are drawn at the start.
    """

    few = 6  # places that are drawn beforehand

    def __init__(self, draw, *, alt="", start=None, labels=None, play=(), asks=False, **controls):
        self.draw = draw
        self._choices = {name: given for name, given in controls.items() if isinstance(given, dict)}
        self._lock, self._drawn, self._held = threading.RLock(), None, False
        self.controls = {name: control(given, (labels or {}).get(name, name.replace("_", " ")), (start or {}).get(name))
                         for name, given in controls.items()}
        self.message = widgets.HTML()
        played = {play} if isinstance(play, str) else set(play)
        items = [play_button(w) if name in played else w for name, w in self.controls.items()]
        slides = [w for w in items if not isinstance(w, (widgets.Dropdown, widgets.Checkbox))]
        rows = [widgets.HBox(row, layout=widgets.Layout(flex_flow="row wrap", grid_gap="0 6px"))
                for row in (slides, [w for w in items if w not in slides]) if row]
        below = [*rows, self.message]
        try:
            picture = draw(**self.values)
        except BaseException:  # there will be no view, so none of its widgets may stay in the kernel
            for row in below:
                _close_parts(row)
                row.close()
            raise
        super().__init__(picture, alt, below, asks)
        self._frames = {}  # of pure functions of few values; a volume has too many places
        places = [positions(widget) for widget in self.controls.values()]
        if 1 < math.prod(map(len, places)) <= self.few:
            start = [widget.value for widget in self.controls.values()]
            for place in itertools.product(*places):
                self._frames[place] = to_frame(draw(**dict(zip(self.controls, map(self._meant, self.controls, place)))))
            self._drawn = start
        for widget in self.controls.values():
            widget.observe(self._changed, "value")

    def close(self):
        super().close()
        self.draw, self.drawn, self._frames = _closed, None, {}

    @property
    def values(self):
        """{name: value} as ``draw`` gets them now."""
        return {name: self._meant(name, w.value) for name, w in self.controls.items()}

    def _meant(self, name, value):
        """The value that ``draw`` gets; of a dict, the value behind the name."""
        return self._choices[name][value] if name in self._choices else value

    def set(self, **values):
        """Move several controls at once, with one drawing."""
        with self._lock, self._hold():
            for name, value in values.items():
                self.controls[name].value = value
        self._changed()

    @contextlib.contextmanager
    def _hold(self):
        """Controls move without a drawing."""
        self._held = True
        try:
            yield
        finally:
            self._held = False

    def _changed(self, change=None):
        if self._held:
            return
        with self._lock:  # a call that has waited here draws the newest values, unless they are drawn
            state = [w.value for w in self.controls.values()]
            if state == self._drawn:
                return
            try:
                if tuple(state) in self._frames:
                    self.picture.value = self._frames[tuple(state)]
                else:
                    self.put(self.draw(**self.values))
                    if len(self._frames) < KEPT_FRAMES and not self.asks:
                        self._frames[tuple(state)] = bytes(self.picture.value)
                self.message.value = ""
            except Exception as error:
                self.message.value = _explain(error)
            self._drawn = [w.value for w in self.controls.values()]  # drawing may move controls (a new case)


def _closed(**values):
    raise RuntimeError("this view was replaced when its cell ran again")


def control(given, description, start=None):
    """The widget for one description of values; see SliderView."""
    if isinstance(given, widgets.Widget):
        given.description = given.description or description
        return given
    if isinstance(given, range):
        given = (given.start, given[-1], given.step)
    if isinstance(given, (tuple, bool)):
        made = widgets.interactive.widget_from_abbrev(given)
    elif not isinstance(given, dict) and all(isinstance(option, (int, float, np.number)) for option in given):
        made = widgets.SelectionSlider(options=list(given))
    else:
        made = widgets.Dropdown(options=list(given))
    if isinstance(made, widgets.FloatSlider) and len(given) == 2:
        made.step = (made.max - made.min) / 100
    if isinstance(made, widgets.FloatSlider):
        made.readout_format = _decimals(made.step)
    if isinstance(made, widgets.Checkbox):
        made.indent = False
    elif not isinstance(made, widgets.Dropdown):
        made.layout.flex = "0 0 auto"  # wide enough for the words, the whole track and the value
    made.layout.width = "max-content" if made.layout.flex else "auto"
    made.style.description_width, made.description = "initial", description
    if start is not None:
        made.value = start
    return made


def _decimals(step):
    """The format of numbers that are whole ``step``s: two decimals, or more for smaller steps."""
    return f".{max(2, -int(np.floor(np.log10(step))))}f"


def positions(widget):
    """The values that a control can have, in their order."""
    if hasattr(widget, "options"):
        return [option[1] if isinstance(option, tuple) else option for option in widget.options]
    if isinstance(widget.value, bool):
        return [False, True]
    count = round((widget.max - widget.min) / widget.step)
    found = [widget.min + n * widget.step for n in range(count + 1)]
    return found if isinstance(widget.value, int) else [round(value, 6) for value in found]


def play_button(slider, interval=120):
    """``slider`` with a play button; the browser moves it, and waits for the picture."""
    if not isinstance(slider, widgets.IntSlider):
        raise ValueError(f"only a slider of whole numbers can play, not {slider.description!r}")
    play = widgets.Play(min=slider.min, max=slider.max, step=slider.step, value=slider.value, interval=interval,
                        layout=widgets.Layout(width="140px"))
    play.tooltip = f"play {slider.description}"  # not above: ipywidgets 7 has no such argument
    link = widgets.jslink((play, "value"), (slider, "value"))
    widgets.dlink((slider, "max"), (play, "max"))
    together = widgets.HBox([slider, play])
    together.links = [link]
    return together


def _explain(error):
    """An exception as one red line, with the traceback to unfold."""
    details = in_html("".join(traceback.format_exception(error)))
    return (f'<div role="alert" style="color:#B00020;font-size:16px;line-height:1.4"><b>{type(error).__name__}</b>: '
            f"{in_html(error)} <i>(the picture above is the last good one)</i>"
            f"<details><summary>traceback</summary><pre>{details}</pre></details></div>")


class SliceViewer(SliderView):
    """Three orthogonal planes in a row, with cross-hair, gold label and any number of predictions.

    Sliders move the planes.  A click or drag in a picture moves the cross-hair.  After a click, or with Ctrl, the wheel
    moves the slice under the mouse; otherwise it scrolls the page.  If the picture has the focus, so do the arrow keys:
    left and right for x, up and down for z, with Shift for y.

    ``image`` (W, H, D), ``label`` and ``predictions`` ({name: mask}) as for ``draw_slices``; or ``cases``, a drop-down:
    {name: (image, label) or (image, label, predictions), or a function without arguments that loads them}.
    It opens at the label's centre.  ``spacing`` in mm; ``size`` of the picture in pixels; ``classes``: the names of the
    labels' classes 1 to K, if there are several (``LAHeart.classes``).
    """

    def __init__(self, image=None, label=None, predictions=None, *, spacing=0.625, cases=None, size=(880, 276),
                 alt=None, classes=()):
        if (image is None) == (cases is None):
            raise ValueError("give either an image or cases={name: (image, label), …}")
        self.cases = dict(cases) if cases else {"": (image, label, predictions)}
        self.spacing, self.size, self.classes = spacing, size, tuple(classes)
        self._load(next(iter(self.cases)))
        image, masks = self.image, list(self.masks)
        picker = {"case": list(self.cases)} if cases else {}
        self._toggles = {f"mask{i}": name for i, name in enumerate(masks)}
        limits, start = _window_sliders(self.image)
        super().__init__(
            self._draw, play="z", asks=True, **picker,
            alt=alt or "Axial, coronal and sagittal slice through the heart, with " + (", ".join(masks) or "no label")
            + (f" ({', '.join(self.classes)})" if self.classes else "")
            + "; sliders and the mouse move the three planes.",
            labels={key: f"show {name}" for key, name in self._toggles.items()}
            | {"look": "labels as", "window": "window: black to white", "level": "level: middle grey"},
            start=dict(zip("xyz", self.centre)) | start,
            **{axis: (0, n - 1) for axis, n in zip("xyz", image.shape)},
            **limits,
            look={"outlines": "outline", "fills": "fill", "both": "both"}, smooth=True,
            **dict.fromkeys(self._toggles, True))
        self.picture.observe(self._pointed, "pointed")
        self.picture.observe(self._stepped, "stepped")

    def close(self):
        super().close()
        self.cases, self.image, self.masks, self._kept = {}, None, {}, {}

    def _pointed(self, change):
        """Move the cross-hair to where the mouse is; the wheel moves the slice of the plane under it."""
        across, down, steps, _ = change["new"]
        boxes = plane_boxes(self.image.shape, self.spacing, self.size, in_a_row=True)
        place, point = (across * self.size[0], down * self.size[1]), [self.values[axis] for axis in "xyz"]
        if not (found := voxel_at(place, point, self.image.shape, boxes)):
            return
        plane, *target = found
        if steps:
            axis = 3 - sum(PLANES[plane][:2])
            point[axis] = int(np.clip(point[axis] + steps, 0, self.image.shape[axis] - 1))
            target = point
        self.set(**dict(zip("xyz", target)))

    def _stepped(self, change):
        """Move the planes by the arrow keys' steps, as far as the volume goes."""
        self.set(**{axis: int(np.clip(self.values[axis] + step, 0, n - 1))
                    for axis, step, n in zip("xyz", change["new"], self.image.shape)})

    def _load(self, name):
        given = self.cases[name]
        image, label, *rest = given() if callable(given) else given
        predictions = rest[0] if rest and rest[0] else {}
        self.case, self.image, self._kept = name, np.asarray(image), {}
        self.masks = {key: np.asarray(mask) for key, mask in
                      (({} if label is None else {"gold": label}) | predictions).items()}
        inside = np.argwhere(self.masks["gold"]) if "gold" in self.masks else []
        self.centre = [int(v) for v in (inside.mean(0) if len(inside) else np.array(self.image.shape) // 2)]

    def _draw(self, x, y, z, window, level, look, smooth, case="", **toggles):
        if case != self.case:
            self._load(case)
            self._fit()
            return self._draw(**self.values)
        hidden = {self._toggles[key] for key, on in toggles.items() if not on}
        masks = {name: mask for name, mask in self.masks.items() if name not in hidden}
        label = masks.pop("gold", None)
        return draw_slices(self.image, label, masks, x, y, z, spacing=self.spacing, size=self.size, window=window,
                           level=level, style=look, smooth=smooth, title=case, kept=self._kept, in_a_row=True,
                           classes=self.classes)

    def _fit(self):
        """Sliders to the new case's size and its label's centre, without drawing in between."""
        with self._hold():
            for axis, n, at in zip("xyz", self.image.shape, self.centre):
                self.controls[axis].max = n - 1
                self.controls[axis].value = at
            limits, start = _window_sliders(self.image)
            for name, (low, high, step) in limits.items():
                slider = self.controls[name]
                slider.max = max(high, slider.max)  # first wider, because the minimum may not pass the maximum
                slider.min, slider.max, slider.step, slider.value = low, high, step, start[name]
                slider.readout_format = _decimals(step)


def _window_sliders(image):
    """({'window': (low, high, step), 'level': ...}, {'window', 'level'}): the limits of the two sliders, whatever the
    unit of ``image``, and where they begin, all in whole steps."""
    window, level = window_of(image)
    step = 10.0 ** np.floor(np.log10(window / 20))
    finite = image[np.isfinite(image)] if image.dtype.kind == "f" else image
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    ends = (1, 2 * window / step), (low / step, high / step + 1)  # in steps
    limits = {name: (_steps(np.floor(first), step), _steps(np.ceil(last), step), step)
              for name, (first, last) in zip(("window", "level"), ends)}
    return limits, {"window": _steps(round(window / step), step), "level": _steps(round(level / step), step)}


def _steps(count, step):
    """``count`` steps, without the digits that floats add."""
    return float(f"{count * step:.10g}")
