"""Sliders without a browser: controls, redrawing, errors, stills.  tests/browser moves them for real."""

import base64
import io
from types import SimpleNamespace

import ipywidgets as widgets
import numpy as np
import pytest
import torch
from bs4 import BeautifulSoup
from PIL import Image

from laseg_lib.figures.live_image import LiveImage
from laseg_lib.figures.slices import KEPT, PLANES, plane_boxes
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


def test_a_page_is_never_given_a_view_without_its_picture(monkeypatch):
    first, whole = [], LiveImage.open
    monkeypatch.setattr(LiveImage, "open", lambda self: (first.append(bytes(self.value)), whole(self)))
    view = SliderView(grey, level=(0, 9))
    assert first == [bytes(view.picture.value)] and first[0]


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
    (live, _), (still, _) = shown
    assert "application/vnd.jupyter.widget-view+json" in live and "text/html" not in live
    assert live["text/plain"].startswith("a grey card\n")
    image = BeautifulSoup(still["text/html"], "html.parser").img
    assert Image.open(io.BytesIO(base64.b64decode(image["src"].partition(",")[2]))).size == (30, 20)
    assert image["alt"] == still["text/plain"] == "a grey card"
    assert "laseg-view" in view._dom_classes
    # The style that hides the still while the view lives looks for its class.
    assert image["class"] == ["laseg-still"] and "img.laseg-still" in view.children[-1].value
    assert view.picture.alt == "a grey card"


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


def test_a_track_is_never_shorter_than_a_hand_can_aim_at():
    view = SliderView(grey, level=(0, 200), labels={"level": "voxels wider by that many times"})
    slider = view.controls["level"]
    assert (slider.layout.width, slider.layout.flex) == ("max-content", "0 0 auto")  # not cut by the words beside it
    assert ".slider-container{min-width:150px" in view.children[-1].value


@pytest.mark.parametrize(("plane", "voxel"), [("axial", (20, 3)), ("coronal", (2, 8)), ("sagittal", (15, 1))])
def test_a_click_moves_the_cross_hair_to_the_voxel_under_it(plane, voxel):
    image, label = case()
    view = SliceViewer(image, label, size=(880, 310))
    across, down, flip, *_ = PLANES[plane]
    left, top, width, height = plane_boxes(image.shape, 0.625, view.size, in_a_row=True)[plane]
    row = image.shape[down] - 1 - voxel[1] if flip else voxel[1]
    x = left + (voxel[0] + 0.5) / image.shape[across] * width
    y = top + (row + 0.5) / image.shape[down] * height
    view.picture.pointed = [x / 880, y / 310, 0, 1]
    at = [view.controls[axis].value for axis in "xyz"]
    assert (at[across], at[down]) == voxel and at[3 - across - down] == (5, 6, 3)[3 - across - down]


def test_the_wheel_moves_the_slice_of_the_plane_under_it_and_stops_at_the_end():
    image, label = case()
    view = SliceViewer(image, label, size=(880, 310))
    left, top, *_ = plane_boxes(image.shape, 0.625, view.size, in_a_row=True)["axial"]
    for number, (steps, z) in enumerate(((2, 5), (-1, 4), (-90, 0))):
        view.picture.pointed = [(left + 9) / 880, (top + 9) / 310, steps, number]
        assert [view.controls[axis].value for axis in "xyz"] == [5, 6, z]
    view.picture.pointed = [0.99, 0.99, 0, 9]  # beside the planes
    assert [view.controls[axis].value for axis in "xyz"] == [5, 6, 0] and view.message.value == ""


def test_window_and_level_say_what_they_are():
    view = SliceViewer(*case(), size=(400, 300))
    assert "black to white" in view.controls["window"].description
    assert "middle grey" in view.controls["level"].description


def test_a_cell_that_runs_again_leaves_no_widgets_of_its_last_run(monkeypatch, shown):
    run = {"header": {"msg_id": "0"}, "metadata": {"cellId": "a"}}
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(get_parent=lambda: run))
    counts = []
    for number in range(3):
        run["header"]["msg_id"] = str(number)
        for _ in range(2):  # two views in one cell live side by side
            view = SliceViewer(*case(), size=(400, 300))
            view._ipython_display_()
        counts.append(len(instances()))
    assert counts[1] == counts[2] == counts[0] and view.picture.comm is not None
    run["metadata"]["cellId"] = "b"
    SliceViewer(*case(), size=(400, 300))._ipython_display_()
    assert len(instances()) > counts[0] and view.picture.comm is not None  # another cell's stays


def test_a_view_whose_drawing_fails_leaves_no_widgets():
    before = len(instances())
    with pytest.raises(ZeroDivisionError):
        SliderView(lambda x=0: 1 / 0, x=(0, 3), play="x")
    assert len(instances()) == before


def instances():
    from ipywidgets.widgets import widget

    return widget._instances if hasattr(widget, "_instances") else widget.Widget.widgets  # ipywidgets 8, 7


def test_moving_a_widget_keeps_no_pictures():
    view = SliceViewer(*case((60, 40, 30), (9, 9, 9)), size=(400, 300))
    for x in range(60):
        view.controls["x"].value = x
        view.controls["y"].value = x % 40
    assert len(view._kept) <= KEPT + 3


def test_arrow_keys_move_the_planes_and_stop_at_the_volumes_end():
    view = SliceViewer(np.zeros((8, 7, 6)))
    view.picture.stepped = [1, -2, 50, 1]
    assert [view.values[axis] for axis in "xyz"] == [5, 1, 5]
    view.picture.stepped = [0, 0, -1, 2]
    assert view.values["z"] == 4


def test_few_places_are_drawn_beforehand_and_no_place_twice():
    calls = []

    def draw(level, kind=1):
        calls.append((level, kind))
        return grey(level)

    view = SliderView(draw, level=[10, 200], kind={"one": 1, "two": 2})
    first = len(calls)
    assert set(calls) == {(level, kind) for level in (10, 200) for kind in (1, 2)}
    view.controls["level"].value = 200
    assert pixel(view) == 200 and len(calls) == first
    calls.clear()
    view = SliderView(draw, level=(0, 50))
    for level in (1, 2, 1, 2):
        view.controls["level"].value = level
        assert pixel(view) == level
    assert len(calls) == 3  # the start, 1 and 2


def test_each_case_is_shown_in_its_own_intensities():
    image, label = case()
    alone = SliceViewer(100 * image + 500, label)
    view = SliceViewer(cases={"a": (image, label), "b": (100 * image + 500, label)})
    view.controls["case"].value = "b"
    assert view.values["window"] == pytest.approx(alone.values["window"])
    assert view.values["level"] == pytest.approx(alone.values["level"])


def test_sliders_stand_at_whole_steps_and_show_their_digits():
    image, _ = case()
    for factor, decimals in ((1, 2), (1e-3, 4), (300, 2)):
        slider = SliceViewer((factor * image).astype(np.float32)).controls["level"]
        steps = np.array([slider.min, slider.max, slider.value]) / slider.step
        assert np.abs(steps - np.round(steps)).max() < 1e-6 and slider.min <= slider.value <= slider.max
        assert slider.readout_format == f".{decimals}f"


def test_small_values_keep_their_contrast_and_a_voxel_that_is_no_number_harms_nothing():
    image, _ = case()
    want = SliceViewer(image).drawn.std()
    assert SliceViewer(image / 3000).drawn.std() == pytest.approx(want, rel=0.05)
    image[0, 0, 0], image[1, 0, 0] = np.nan, np.inf
    assert SliceViewer(image).drawn.std() == pytest.approx(want, rel=0.05)
    with pytest.raises(ValueError, match="above 0 mm.*give spacing=1"):
        SliceViewer(image, spacing=np.full(3, np.nan))


def test_tensors_are_shown_as_arrays_are():
    image, label = case()
    given = SliceViewer(torch.from_numpy(image), torch.from_numpy(label))
    assert (given.drawn == SliceViewer(image, label).drawn).all()
