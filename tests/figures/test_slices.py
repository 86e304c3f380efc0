"""The slice drawing, on its pixels."""

from types import SimpleNamespace

import numpy as np
import pytest
from PIL import ImageDraw
from PIL.ImageColor import getrgb

from laseg_lib.figures.slices import KEPT, PLANES, _name, draw_slices, plane_boxes

SIZE = (600, 400)
SHAPE = (24, 16, 10)


def volume(shape=SHAPE):
    return np.zeros(shape, np.float32)


def at(picture, plane, voxel, shape=SHAPE, spacing=0.625):
    """The pixel of a voxel's centre, worked out apart from the code under test."""
    left, top, width, height = plane_boxes(shape, spacing, SIZE)[plane]
    across, down = {"axial": (0, 1), "coronal": (0, 2), "sagittal": (1, 2)}[plane]
    column = left + (voxel[across] + 0.5) / shape[across] * width
    row = (voxel[down] + 0.5) / shape[down] * height
    return picture[round(top + (row if plane == "axial" else height - row)), round(column)].astype(int)


def draw(image, label=None, predictions=None, point=(12, 8, 5), **options):
    return draw_slices(image, label, predictions, *point, **{"size": SIZE, "crosshair": False, "window": 1.0,
                                                             "level": 0.5, "smooth": False} | options)


def coloured(picture, colour, plane=None, shape=SHAPE, spacing=0.625):
    """(row, column) of the pixels nearly of this colour, within a plane."""
    close = np.abs(picture.astype(int) - getrgb(colour)).max(2) < 40
    if plane:
        left, top, width, height = plane_boxes(shape, spacing, SIZE)[plane]
        close = close[top : top + height, left : left + width]
    return np.argwhere(close)


@pytest.mark.parametrize("plane", PLANES)
@pytest.mark.parametrize("voxel", [(20, 3, 8), (2, 14, 1)])
def test_a_bright_voxel_is_where_the_orientation_puts_it(plane, voxel):
    image = volume()
    image[voxel] = 1
    picture = draw(image, point=voxel)
    assert at(picture, plane, voxel).min() > 200
    mirrored = tuple(n - 1 - v for v, n in zip(voxel, SHAPE))
    assert at(picture, plane, mirrored).max() < 60


def test_patients_left_is_on_the_right_and_the_head_is_up():
    image = volume()
    image[20:, :, :] = 0.5  # patient's left
    image[:, :, 8:] += 0.5  # head
    picture = draw(image)
    left, top, width, height = plane_boxes(SHAPE, 0.625, SIZE)["coronal"]
    coronal = picture[top : top + height, left : left + width, 0].astype(int)
    middle, right, across = height // 2 - 30, width - 30, width // 4
    assert coronal[middle, right] > coronal[middle, 30] + 100
    assert coronal[10, across] > coronal[-10, across] + 100


@pytest.mark.parametrize("plane", PLANES)
def test_the_outline_surrounds_the_label_and_spares_its_inside(plane):
    label = np.zeros(SHAPE, np.uint8)
    label[8:17, 5:12, 3:8] = 1
    picture = draw(volume(), label)
    found = coloured(picture, "#E69F00", plane)
    left, top, width, height = plane_boxes(SHAPE, 0.625, SIZE)[plane]
    scale = width / SHAPE[PLANES[plane][0]]
    (a, b), (c, d) = [((8, 17), (5, 12), (3, 8))[axis] for axis in PLANES[plane][:2]]
    if PLANES[plane][2]:
        c, d = SHAPE[2] - d, SHAPE[2] - c
    assert found[:, 1].min() == pytest.approx(a * scale, abs=3) and found[:, 1].max() == pytest.approx(b * scale, abs=3)
    assert found[:, 0].min() == pytest.approx(c * scale, abs=3) and found[:, 0].max() == pytest.approx(d * scale, abs=3)
    assert at(picture, plane, (12, 8, 5)).max() < 30


def test_a_filled_label_tints_its_inside_only():
    label = np.zeros(SHAPE, np.uint8)
    label[8:17, 5:12, 3:8] = 1
    picture = draw(volume(), label, style="fill")
    assert at(picture, "axial", (12, 10, 5)) == pytest.approx(np.multiply(getrgb("#E69F00"), 0.4), abs=2)
    assert at(picture, "axial", (20, 10, 5)).max() == 0


def test_one_voxel_is_outlined_in_all_planes_and_an_empty_label_in_none():
    label = np.zeros(SHAPE, np.uint8)
    label[12, 8, 5] = 1
    for plane in PLANES:
        assert len(coloured(draw(volume(), label), "#E69F00", plane)) > 10
        assert len(coloured(draw(volume(), 0 * label), "#E69F00", plane)) == 0


def test_a_label_at_the_border_is_closed():
    picture = draw(volume(), np.ones(SHAPE, np.uint8))
    left, top, width, height = plane_boxes(SHAPE, 0.625, SIZE)["axial"]
    assert np.ptp(coloured(picture, "#E69F00", "axial"), axis=0) == pytest.approx([height, width], abs=4)


def test_each_prediction_has_its_colour_and_dash():
    masks = {name: np.zeros(SHAPE, np.uint8) for name in ("supervised", "MT")}
    masks["supervised"][2:9, 4:12, 2:8], masks["MT"][13:21, 4:12, 2:8] = 1, 1
    picture = draw(volume(), None, masks, point=(5, 8, 5))
    dashed = coloured(picture, "#009E73", "axial")
    solid = coloured(draw(volume(), masks["MT"], point=(5, 8, 5)), "#E69F00", "axial")
    assert 0.3 < len(dashed) / len(solid) < 0.95  # gaps
    assert len(coloured(picture, "#0072B2", "axial")) > 50


@pytest.mark.parametrize(("shape", "spacing"), [
    ((190, 140, 88), 0.625), ((64, 48, 32), 1.9), ((30, 60, 10), (1, 0.5, 3))])
def test_planes_keep_the_proportions_in_mm_and_fit_the_canvas(shape, spacing):
    boxes = plane_boxes(shape, spacing, (880, 560))
    mm = np.array(shape) * np.broadcast_to(spacing, 3)
    for plane, (across, down, *_) in PLANES.items():
        left, top, width, height = boxes[plane]
        assert width / height == pytest.approx(mm[across] / mm[down], rel=0.03)
        assert left >= 0 and top >= 0 and left + width <= 880 and top + height <= 560
    used = boxes["sagittal"][0] + boxes["sagittal"][2] - boxes["axial"][0], boxes["axial"][3] + boxes["coronal"][3]
    assert used[0] > 860 or used[1] > 540  # small volumes are enlarged to the same size
    assert boxes["axial"][0] == boxes["coronal"][0] and boxes["coronal"][1] == boxes["sagittal"][1]


def test_the_readout_changes_with_the_point_and_the_window_with_the_level():
    image = volume() + np.arange(SHAPE[0], dtype=np.float32)[:, None, None] / SHAPE[0]
    one, two = draw(image, point=(3, 8, 5)), draw(image, point=(9, 8, 5))
    left, top, width, height = plane_boxes(SHAPE, 0.625, SIZE)["panel"]
    panel = np.s_[top : top + height, left : left + width]
    assert (one[panel] != two[panel]).any()
    assert draw(image, level=0.2).mean() > draw(image, level=0.8).mean() + 10


def test_a_value_below_zero_has_a_minus_sign_as_on_the_axes(monkeypatch):
    said = []
    monkeypatch.setattr(ImageDraw.ImageDraw, "text", lambda self, place, text, *rest, **more: said.append(text))
    draw(volume() - 0.5)
    assert "−0.50" in said


def test_the_crosshair_runs_through_the_point_and_leaves_it_free():
    picture = draw(volume(), crosshair=True, point=(12, 8, 5))
    assert at(picture, "axial", (12, 8, 5)).max() == 0
    assert at(picture, "axial", (12, 2, 5)).max() > 60 and at(picture, "axial", (3, 8, 5)).max() > 60


def test_planes_kept_between_steps_make_the_same_pictures():
    image, label = np.random.default_rng(0).normal(size=SHAPE), np.zeros(SHAPE, np.uint8)
    label[8:17, 5:12, 3:8] = 1
    steps = [((12, 8, z), {"style": style, "level": level, "smooth": smooth}) for z in (2, 5, 2)
             for style in ("outline", "fill") for level in (0, 1) for smooth in (True, False)]
    kept = {}
    for masks in ({}, {"MT": np.roll(label, 2, 0)}):
        for point, options in steps:
            assert np.array_equal(draw(image, label, masks, point, kept=kept, **options),
                                  draw(image, label, masks, point, **options))
    assert 0 < len(kept) <= KEPT


def test_canvas_size_points_outside_and_wrong_shapes():
    assert draw(volume(), point=(99, -5, 5)).shape == (400, 600, 3)
    with pytest.raises(ValueError, match=r"gold has shape \(2, 2, 2\)"):
        draw_slices(volume(), np.ones((2, 2, 2)))
    with pytest.raises(ValueError, match="three axes"):
        draw_slices(np.zeros((4, 4)))


@pytest.mark.parametrize("shape", [(12, 30, 8), (40, 9, 21), (9, 14, 30)])
def test_volumes_of_any_shape_show_a_label_where_it_is(shape):
    voxel = tuple(n // 3 for n in shape)
    label = volume(shape).astype(np.uint8)
    label[voxel] = 1
    picture = draw(volume(shape), label, point=voxel, style="fill")
    for plane in PLANES:
        assert at(picture, plane, voxel, shape) == pytest.approx(np.multiply(getrgb("#E69F00"), 0.4), abs=2)
        found = coloured(draw(volume(shape), label, point=voxel), "#E69F00", plane, shape)
        left, top, width, height = plane_boxes(shape, 0.625, SIZE)[plane]
        across, down, flip, *_ = PLANES[plane]
        row = (voxel[down] + 0.5) / shape[down] * height
        middle = (height - row if flip else row, (voxel[across] + 0.5) / shape[across] * width)
        assert (found.min(0) + found.max(0)) / 2 == pytest.approx(middle, abs=2)


def test_a_thin_voxel_is_drawn_thin():
    label = volume().astype(np.uint8)
    label[12, 8, 5] = 1
    spacing = (1, 1, 3)
    picture = draw(volume(), label, point=(12, 8, 5), spacing=spacing)
    high, wide = np.ptp(coloured(picture, "#E69F00", "coronal", spacing=spacing), axis=0)
    assert 2 < high / wide < 3.2    # three mm high, one wide, and the line's own width around both


def test_empty_predictions_leave_the_planes_as_they_are():
    image = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)
    bare, empty = draw(image), draw(image, 0 * image, {"MT": 0 * image})
    for plane in PLANES:
        left, top, width, height = plane_boxes(SHAPE, 0.625, SIZE)[plane]
        assert (bare[top : top + height, left : left + width] == empty[top : top + height, left : left + width]).all()


@pytest.mark.parametrize("name, lines", [("gold label", 1), ("mean teacher (batch 2+2), teacher", 2),
                                         ("a_name_of_a_file_that_has_no_space_at", 2)])
def test_a_long_name_in_the_legend_is_broken_not_cut(name, lines):
    said = []
    pen = SimpleNamespace(text=lambda place, text, ink, letters: said.append((text, letters.getlength(text))))
    _name(pen, (54, 4), name, 174)
    texts, lengths = zip(*said)
    assert len(texts) == lines and max(lengths) <= 174
    assert "".join(texts).replace(" ", "") == name.replace(" ", "")


def test_values_that_are_no_numbers_of_classes_are_told():
    """A predicted mask has the classes' own values."""
    image, mask = np.zeros((12, 12, 6), np.float32), np.zeros((12, 12, 6), np.int16)
    mask[3:8, 3:8, 2:4] = 200
    with pytest.raises(ValueError, match="gold holds 200, but the classes are numbered 1 to 2"):
        draw_slices(image, mask, classes=("wall", "cavity"))
