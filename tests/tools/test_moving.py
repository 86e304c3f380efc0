"""What moves without a kernel: every view of the course has its place here, and is drawn by the course's own code."""

import ast
import base64
import gzip
import io
import re
from types import SimpleNamespace

import moving
import nbformat
import numpy as np
import pytest
from bs4 import BeautifulSoup
from PIL import Image

from laseg_lib.data.phantom import make_phantom
from laseg_lib.figures.pictures import pixels

NOTEBOOKS = sorted((moving.Path(__file__).resolve().parents[2] / "notebooks").glob("*.ipynb"))
# Every view and scene of the course.  A new one belongs into this list, and into tests/browser/test_moving_browser.py.
ALL = {
    "00_start_here": ["LiveCurves", "SliceViewer"],
    "01_left_atrium_data": ["SliceViewer"],
    "04_losses": ["SliderView"],
    "05_ema_teacher": ["SliderView"],
    "06_ramp_up": ["SliderView"],
    "07_train_mean_teacher": ["LiveCurves", "LiveCurves"],
    "10_atria_in_3d": ["SliderView", "show_scene", "show_scene", "show_scene", "show_scene", "SliderView"],
    "11_what_helps": ["SliderView"],
    "14_your_own_scans": ["SliceViewer", "show_scene"],
}


def code(path):
    return [cell.source for cell in nbformat.read(path, 4).cells if cell.cell_type == "code"]


def made(source):
    """The names of what a cell shows that moves, in their order."""
    return [node.func.id for node in ast.walk(ast.parse(re.sub(r"^[%!].*", "pass", source, flags=re.M)))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in (*moving.CALLS, "show_scene")]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_nothing_that_moves_is_forgotten(path):
    found = [name for source in code(path) for name in made(source)]
    assert found == ALL.get(path.stem, []), "a view is new or gone: see ALL above"
    names = moving.context(path.stem) if set(found) - {"show_scene"} else None
    views = [source for source in code(path) if moving.calls(source)]
    assert not views or names is not None, f"data/recorded/pages/{path.stem}.npz: make notebooks NOTEBOOKS={path}"
    for source in views:
        assert len(moving.calls(source)) == 1


def of(stem):
    """{call: soup} of a page's views."""
    path, = (path for path in NOTEBOOKS if path.stem == stem)
    names = moving.context(stem)
    return [BeautifulSoup(moving.alive(source, stem, names), "html.parser").figure for source in code(path)
            if moving.calls(source)]


def content(figure):
    return moving.json.loads(figure.script.string)


def test_a_frame_is_what_draw_draws():
    figure, = of("04_losses")
    given = content(figure)
    control, = given["controls"]
    assert control["texts"][0] == "0.05" and len(given["frames"]) == len(control["texts"]) == 19
    assert given["frames"][control["start"]] is None and figure.img["src"].startswith("data:image/webp")  # stands there
    names = moving.context("04_losses")
    seen = np.asarray(Image.open(io.BytesIO(base64.b64decode(given["frames"][3].split(",")[1]))).convert("RGB"))
    drawn = pixels(names["draw_consistency"](teacher=0.2), dpi=110)
    assert seen.shape == drawn.shape and abs(seen.astype(int) - drawn).mean() < 2


def test_frames_count_like_digits_and_a_fixed_slider_is_left_out():
    drawn = []

    def draw(a, b, kind, seed):
        drawn.append((a, b, kind, seed))
        return np.full((8, 8, 3), 10 * a + b, np.uint8)

    given = SimpleNamespace(args=(draw,), options=dict(a=[1, 2], b=(0, 2), kind={"x": "X"}, seed=(0, 9),
                                                       start={"a": 2, "b": 1, "seed": 7}, alt="Grey."))
    figure = BeautifulSoup(moving.sliders(given, {"seed"}), "html.parser").figure
    assert drawn == [(a, b, "X", 7) for a in (1, 2) for b in (0, 1, 2)]
    given = content(figure)
    assert [c["name"] for c in given["controls"]] == ["a", "b", "kind"] and given["frames"][4] is None


def test_curves_grow_and_the_first_picture_of_07_ends_early():
    first, second = (content(figure) for figure in of("07_train_mean_teacher"))
    assert all(control["play"] for given in (first, second) for control in given["controls"])
    ends = [int(given["controls"][0]["texts"][-1]) for given in (first, second)]
    assert ends == [100, 300] and len(second["frames"]) == moving.STEPS


def test_a_viewer_holds_all_cases_and_the_course_s_own_volumes():
    figure, = of("01_left_atrium_data")
    cases = content(figure)["cases"]
    assert list(cases) == [f"PHANTOM_{n:04d}" for n in range(6)]
    case = cases["PHANTOM_0003"]
    image, label = make_phantom(3, moving.SIZE)
    grey, bits = np.frombuffer(gzip.decompress(base64.b64decode(case["volume"])), "uint8").reshape(2, *moving.SIZE)
    assert (bits == (label > 0)).all()
    step = (case["high"] - case["low"]) / case["greys"]
    assert abs(case["low"] + grey * step - image).max() <= 0.51 * step


def test_masks_of_a_network_are_bits_beside_the_label():
    figure = of("00_start_here")[1]
    case = content(figure)["cases"][""]
    assert [mask["label"].split(",")[0] for mask in case["masks"]] == ["gold label", "student", "teacher"]
    assert len({mask["colour"] for mask in case["masks"]}) == 3
    voxels = np.prod(case["shape"])
    bits = np.frombuffer(gzip.decompress(base64.b64decode(case["volume"])), "uint8")[voxels:]
    assert len(bits) == voxels and set(np.unique(bits)) > {0, 7}  # nobody, and all three


def test_what_is_kept_comes_back(tmp_path, monkeypatch):
    monkeypatch.setattr(moving, "KEPT", tmp_path / "pages")
    monkeypatch.delenv("LASEG_DATA", raising=False)  # of real volumes nothing is kept
    image = np.random.default_rng(0).normal(size=(5, 4, 3)).astype(np.float32)
    masks = {"student, Dice 0.9": image > 0, "teacher": image > 1, "two classes": np.uint8(image > 0) + (image > 1)}
    moving.keep("page", {"history": [{"loss": 1.0}], "image": image, "found": masks, "spacing": [1.0, 2.0, 3.0]})
    found = moving.kept("page")
    assert found["history"] == [{"loss": 1.0}] and found["spacing"] == [1.0, 2.0, 3.0]
    assert abs(found["image"] - image).max() < np.ptp(image) / 500
    assert all((found["found"][name] == mask).all() for name, mask in masks.items())
    assert moving.kept("another") == {}


def test_a_page_of_which_nothing_was_kept_stays_a_still(tmp_path, monkeypatch):
    monkeypatch.setattr(moving, "KEPT", tmp_path)
    assert moving.context("07_train_mean_teacher") is None and moving.context("99_no_such_page") is None
    assert moving.alive("LiveCurves()", "07_train_mean_teacher", None) is None


def test_frames_and_volumes_are_few_megabytes():
    stems = ["04_losses", "05_ema_teacher", "11_what_helps"]
    frames = [frame for stem in stems for figure in of(stem) for frame in content(figure)["frames"] if frame]
    assert 50 <= len(frames) <= 70 and sum(map(len, frames)) < 3e6


def test_a_viewer_of_several_classes_has_a_mask_for_each():
    image, label = make_phantom(3, (24, 20, 12), classes=2)
    found = moving.volume(image, label, {"MT": label}, spacing=np.full(3, 2.5), classes=("cavity", "wall"))
    assert [mask["label"] for mask in found["masks"]] == [
        "gold label, cavity", "gold label, wall", "mean teacher, cavity", "mean teacher, wall"]
    voxels = np.frombuffer(gzip.decompress(base64.b64decode(found["volume"])), np.uint8)[image.size:]
    assert np.array_equal(voxels & 1, (label == 1).ravel()) and np.array_equal(voxels >> 3 & 1, (label == 2).ravel())
