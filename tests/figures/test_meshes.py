"""Surfaces against closed forms, scenes and their stills, empty masks."""

import base64
import io
import json

import numpy as np
import plotly
import pytest
from PIL import Image

from laseg_lib.figures.meshes import (
    PLOTLY,
    WAITS,
    atrium_scene,
    distance_scene,
    packed_size,
    show_scene,
    surface,
    surface_distance,
)
from laseg_lib.figures.pictures import to_png
from laseg_lib.figures.stills import scene_still, unpack


def ball(radius, shape=(40, 36, 30), centre=(20, 18, 15), spacing=(1, 1, 1)):
    grid = np.indices(shape).reshape(3, -1).T + 0.5
    return (np.linalg.norm((grid - centre) * spacing, axis=1) <= radius).reshape(shape).astype(np.uint8)


@pytest.mark.parametrize(("spacing", "faces"), [(0.625, None), ((0.5, 1.0, 2.0), None), (0.625, 800)])
def test_a_ball_has_its_centre_and_radius_in_mm(spacing, faces):
    mm = np.broadcast_to(spacing, 3)
    mask = ball(7, spacing=mm)
    vertices, triangles = surface(mask, spacing, faces=faces)
    far = np.linalg.norm(vertices - np.array((20, 18, 15)) * mm, axis=1)
    assert abs(np.median(far) - 7) < mm.max() / 2
    assert (vertices.max(0) + vertices.min(0)) / 2 == pytest.approx(np.array((20, 18, 15)) * mm, abs=0.3)
    assert vertices.dtype == np.float32 and triangles.dtype == np.int32
    assert triangles.max() < len(vertices) and (faces is None or len(triangles) <= faces)


def test_a_surface_is_closed_even_at_the_border():
    _, triangles = surface(np.ones((6, 5, 4)), 1.0, faces=None)
    edges = np.sort(np.concatenate([triangles[:, [0, 1]], triangles[:, [1, 2]], triangles[:, [2, 0]]]), axis=1)
    assert (np.unique(edges, axis=0, return_counts=True)[1] == 2).all()


def test_coarse_steps_and_single_voxels():
    assert len(surface(ball(9), 1.0, step=2, faces=None)[1]) < len(surface(ball(9), 1.0, faces=None)[1]) / 2
    one = np.zeros((5, 5, 5))
    one[2, 2, 2] = 1
    vertices, _ = surface(one, 2.0)
    assert vertices.mean(0) == pytest.approx([5, 5, 5])


def test_distance_of_concentric_balls_is_the_difference_of_radii():
    gold, large = ball(8), ball(12, shape=(40, 36, 30))
    vertices, _ = surface(large, 0.625, faces=None)
    inner = vertices[np.linalg.norm(vertices - np.array((20, 18, 15)) * 0.625, axis=1) < 12.5 * 0.625]
    found = surface_distance(inner, gold, 0.625)
    assert found.mean() == pytest.approx(4 * 0.625, abs=0.25) and np.abs(found - 2.5).max() < 0.7
    own, _ = surface(gold, 0.625, faces=None)
    assert surface_distance(own, gold, 0.625).max() < 0.625


def test_distance_respects_the_spacing():
    gold, moved = np.zeros((20, 12, 12)), np.zeros((20, 12, 12))
    gold[4:8, 2:10, 2:10], moved[4:13, 2:10, 2:10] = 1, 1
    vertices, _ = surface(moved, (2.0, 1.0, 1.0), faces=None)
    end = vertices[vertices[:, 0] > 25.5]
    middle = end[np.abs(end[:, 1:] - 6).max(1) < 3]
    assert surface_distance(middle, gold, (2.0, 1.0, 1.0)) == pytest.approx(10, abs=0.7)  # 5 voxels of 2 mm
    with pytest.raises(ValueError, match="empty"):
        surface_distance(vertices, 0 * gold)


def test_a_scene_has_a_named_coloured_surface_for_each_mask():
    scene = atrium_scene({"gold": ball(8), "MT": ball(9)}, faces=1000)
    assert [(t.name, t.color, t.showlegend) for t in scene.data] == [
        ("gold label", "#E69F00", True), ("mean teacher (batch 2+2)", "#009E73", True)]
    assert [t.opacity for t in scene.data] == [0.35, 1.0]
    assert scene.layout.scene.aspectmode == "data" and "mm" in scene.layout.scene.xaxis.title.text
    assert atrium_scene({"MT": ball(9)}, opacity={"MT": 0.5}).data[0].opacity == 0.5


@pytest.mark.skipif(plotly.__version__.startswith("5."), reason="plotly 5 writes numbers out: larger, not different")
def test_arrays_travel_as_base64_below_the_limit():
    mask = ball(34, (80, 80, 80), (40, 40, 40))
    mask[::7] = np.roll(mask, 3, 1)[::7]  # rough, so that decimation has to work
    for scene in (atrium_scene({"gold": mask}), distance_scene(mask, np.roll(mask, 2, 0))):
        for trace in json.loads(scene.to_json())["data"]:
            assert all("bdata" in trace[key] for key in "xyzijk")
        assert max(packed_size(scene).values()) < 100_000
    trace = json.loads(scene.to_json())["data"][1]
    assert len(unpack(trace["intensity"])) == len(unpack(trace["x"]))


def test_distance_scene_colours_by_mm():
    scene = distance_scene(ball(8), ball(11), 0.625, limit=3)
    _, coloured = scene.data
    assert np.median(coloured.intensity) == pytest.approx(3 * 0.625, abs=0.3)
    assert (coloured.cmin, coloured.cmax) == (0, 3) and "mm" in coloured.colorbar.title.text


def test_empty_masks_are_told_not_drawn():
    full, empty = ball(8), np.zeros((40, 36, 30))
    vertices, triangles = surface(empty)
    assert vertices.shape == triangles.shape == (0, 3)
    assert "empty" in atrium_scene({"gold": full, "MT": empty}).data[1].name
    assert "every mask is empty" in atrium_scene({"gold": empty}).layout.annotations[0].text
    assert "prediction empty" in distance_scene(full, empty).layout.title.text
    assert "gold label empty" in distance_scene(empty, full).layout.title.text
    for masks in ({"gold": full, "MT": empty}, {"gold": empty}):
        assert to_png(scene_still(atrium_scene(masks)))
    assert to_png(scene_still(distance_scene(full, empty)))


def picture_of(scene):
    return np.asarray(Image.open(io.BytesIO(to_png(scene_still(scene))))).astype(int)


def test_the_still_has_the_scenes_arrangement_and_shows_the_inner_surface_through_the_outer():
    outer, inner = ball(10), ball(5)
    picture = picture_of(atrium_scene({"gold": outer, "MT": inner}))
    solid = picture_of(atrium_scene({"gold": outer, "MT": inner}, opacity={"gold": 1}))
    row, column = picture.shape[0] // 2, round(picture.shape[1] * 0.59)  # the middle of both balls
    through, hidden = (page[row, column - 5:column + 5, 2].mean() for page in (picture, solid))
    assert hidden < 20 and through > 40  # teal has blue in it, gold has none


def test_stills_on_a_narrow_page_are_not_cut_and_say_how_they_come_to_life(monkeypatch):
    got = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata=None, raw=False: got.append(data))
    show_scene(atrium_scene({"gold": ball(8)}), "A <ball>.")
    assert "max-width: 100%" in got[1]["text/html"] and "A &lt;ball&gt;." in got[1]["text/html"]
    page = scene_still(atrium_scene({"gold": ball(8)}), note=WAITS)
    assert any("comes to life" in text.get_text() for text in page.texts)


def test_show_scene_gives_plotly_and_a_png_in_one_output(monkeypatch):
    got = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata=None, raw=False: got.append((data, metadata)))
    show_scene(atrium_scene({"gold": ball(8)}), "A ball.")
    data, metadata = got[0]
    assert {PLOTLY, "image/png", "text/plain"} == set(data) and metadata["image/png"]["alt"] == "A ball."
    json.dumps(data)
    wide = Image.open(io.BytesIO(base64.b64decode(data["image/png"]))).size[0]
    assert 800 < wide <= 848    # an output of JupyterLab at 1280 pixels, where the still shows at its own size


def test_masks_of_different_shapes_are_told():
    one, other = np.zeros((12, 12, 6), bool), np.zeros((12, 12, 8), bool)
    one[3:8, 3:8, 2:4] = other[3:8, 3:8, 2:4] = True
    for draw in (lambda: atrium_scene({"a": one, "b": other}, 1), lambda: distance_scene(one, other, 1)):
        with pytest.raises(ValueError, match="must have one shape"):
            draw()
