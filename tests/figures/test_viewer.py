"""Sliders without a browser: controls, redrawing, errors, stills.  tests/browser moves them for real."""

import base64
import io

import ipywidgets as widgets
import numpy as np
import pytest
from PIL import Image

from laseg_lib.figures.viewer import SliceViewer, SliderView, control


def grey(level=0, **_):
    return np.full((20, 30, 3), level, np.uint8)


def pixel(view):
    return np.asarray(Image.open(io.BytesIO(bytes(view.picture.value))))[0, 0, 0]


@pytest.fixture
def shown(monkeypatch):
    """What a cell would get to display: a list of (data, metadata)."""
    got = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata=None, raw=False: got.append((data, metadata)))
    return got


@pytest.mark.parametrize(("given", "kind", "value"), [
    ((0, 10), widgets.IntSlider, 5), ((0, 10, 5), widgets.IntSlider, 5), (range(0, 9, 2), widgets.IntSlider, 4),
    ((0.0, 1.0), widgets.FloatSlider, 0.5), ([0.9, 0.99], widgets.SelectionSlider, 0.9),
    (["a", "b"], widgets.Dropdown, "a"), ({"mse": 1, "kl": 2}, widgets.Dropdown, "mse"),
    (True, widgets.Checkbox, True)])
def test_values_make_the_control(given, kind, value):
    made = control(given, "name")
    assert type(made) is kind and made.value == value and made.description == "name"


def test_a_range_ends_before_its_stop_and_start_is_taken():
    assert control(range(0, 10), "z").max == 9
    assert control((0, 10), "z", start=7).value == 7


def test_moving_a_control_redraws_with_all_values():
    calls = []
    view = SliderView(lambda level, kind: calls.append((level, kind)) or grey(level), level=(0, 200),
                      kind={"one": np.arange(3), "two": None})
    view.controls["level"].value = 42
    assert pixel(view) == 42
    assert calls[-1][0] == 42 and list(calls[-1][1]) == [0, 1, 2]  # a dict's value, not its name
    view.set(level=7, kind="two")
    assert calls[-1] == (7, None) and len(calls) == 3  # one drawing for both


def test_an_error_is_told_under_the_last_good_picture_and_goes_away():
    def draw(n):
        if n > 5:
            raise ValueError("n is <too> big")
        return grey(n)

    view = SliderView(draw, n=(0, 10))
    view.controls["n"].value = 9
    assert "ValueError" in view.message.value and "<too>" not in view.message.value and pixel(view) == 5
    view.controls["n"].value = 3
    assert view.message.value == "" and pixel(view) == 3
    with pytest.raises(ZeroDivisionError):
        SliderView(lambda n: 1 / 0, n=(0, 10))
    with pytest.raises(TypeError, match="uint8"):
        SliderView(lambda n: np.zeros((2, 2)), n=(0, 10))


def test_it_leaves_a_live_view_and_a_still_with_words(shown):
    view = SliderView(grey, alt="a grey card", level=(0, 200))
    view._ipython_display_()
    (live, _), (still, metadata) = shown
    assert "application/vnd.jupyter.widget-view+json" in live and "image/png" not in live
    assert live["text/plain"].startswith("a grey card\n")
    assert Image.open(io.BytesIO(base64.b64decode(still["image/png"]))).size == (30, 20)
    assert metadata["image/png"]["alt"] == still["text/plain"] == "a grey card"
    assert "laseg-view" in view._dom_classes
    # The style that hides the still while the view lives looks for the class this metadata makes.
    assert metadata["needs_background"] == "light"
    assert "jp-needs-light-background" in view.children[-1].value


def test_play_moves_whole_numbers_only():
    view = SliderView(grey, level=(0, 200), play="level")
    played = [w for w in view.children[1].children if isinstance(w, widgets.HBox)]
    assert isinstance(played[0].children[1], widgets.Play)
    with pytest.raises(ValueError, match="whole numbers"):
        SliderView(grey, level=(0.0, 1.0), play="level")


def case(shape=(24, 16, 10), at=(5, 6, 3)):
    image, label = np.random.default_rng(0).normal(size=shape).astype(np.float32), np.zeros(shape, np.uint8)
    label[at] = 1
    return image, label


def test_slice_viewer_opens_at_the_label_and_hides_a_mask():
    image, label = case()
    view = SliceViewer(image, label, {"MT": np.roll(label, 4, 0)}, size=(400, 300))
    assert [view.controls[axis].value for axis in "xyz"] == [5, 6, 3]
    assert [view.controls[axis].max for axis in "xyz"] == [23, 15, 9]
    before = bytes(view.picture.value)
    view.controls["mask0"].value = False
    assert bytes(view.picture.value) != before and view.controls["mask0"].description == "show gold"
    view.controls["z"].value = 8
    assert view.message.value == ""


def test_slice_viewer_picks_cases_and_loads_them_when_asked():
    loads = []

    def second():
        loads.append(1)
        return (*case((12, 30, 40), (9, 20, 33)), None)

    def broken():
        raise OSError("no such file")

    view = SliceViewer(cases={"first": case(), "second": second, "broken": broken}, size=(400, 300))
    assert not loads
    view.controls["case"].value = "second"
    assert loads == [1] and view.message.value == ""
    assert [view.controls[axis].value for axis in "xyz"] == [9, 20, 33]
    assert [view.controls[axis].max for axis in "xyz"] == [11, 29, 39]
    view.controls["z"].value = 30
    assert loads == [1] and view.message.value == ""
    view.controls["case"].value = "broken"
    assert "no such file" in view.message.value


def test_slice_viewer_wants_an_image_or_cases():
    with pytest.raises(ValueError, match="either an image or cases"):
        SliceViewer()


def test_another_case_is_drawn_from_its_own_planes():
    cases = {name: case(at=at) for name, at in (("a", (5, 6, 3)), ("b", (5, 6, 4)))}
    cases["b"][0][:] = np.roll(cases["b"][0], 2, 0)  # the same grey levels, elsewhere
    view = SliceViewer(cases=cases, size=(400, 300))
    view.controls["case"].value = "b"
    view.controls["z"].value = 3  # where the first case opened
    assert np.array_equal(view.drawn, SliceViewer(cases={"b": cases["b"]}, size=(400, 300))._draw(**view.values))
