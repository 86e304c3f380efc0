"""Atria as surfaces in mm: marching cubes, plotly scenes, and a matplotlib still for each.

x runs to the patient's left, y to the back, z to the head (see ``slices``).  The first view is from the
front, from slightly above: the patient's right is on the left of the screen.
"""

import base64
import json

import numpy as np

from .names import in_html
from .pictures import to_png
from .stills import CAMERA, SCALE, scene_still
from .style import INK, looks, looks_by_class

PLOTLY = "application/vnd.plotly.v1+json"
FONT = {"size": 16, "color": INK, "family": "DejaVu Sans, Arial, sans-serif"}
# Enough ambient light for the far side, a highlight low enough not to wash the colours out.
LIGHT = {"ambient": 0.42, "diffuse": 0.75, "specular": 0.22, "roughness": 0.55, "fresnel": 0.1}
EMPTY = "empty: no voxel to draw"
WAITS = "a still: in JupyterLab it comes to life when the mouse is over it"


def surface(mask, spacing=0.625, step=1, faces=4000):
    """The border of ``mask`` (W, H, D) → vertices float32 (N, 3) in mm, triangles int32 (M, 3).

    Voxel (i, j, k) has its centre at (i + ½, j + ½, k + ½) × spacing, as in the viewer's readout.
    ``faces``: at most so many triangles (fast-simplification); None keeps all.
    ``step``: marching cubes on every step-th voxel.
    An empty mask gives no vertices and no triangles.
    """
    from skimage.measure import marching_cubes

    mask, spacing = np.asarray(mask), np.broadcast_to(np.asarray(spacing, float), 3)
    if not np.any(mask):
        return np.empty((0, 3), np.float32), np.empty((0, 3), np.int32)
    low, high = _bounds(mask)
    # A frame of zeros closes the surface where the mask touches the volume's border.
    box = np.pad((mask[tuple(map(slice, low, high))] != 0).astype(np.float32), step)
    vertices, triangles, _, _ = marching_cubes(box, 0.5, spacing=tuple(spacing), step_size=step)
    vertices, triangles = vertices.astype(np.float32), triangles.astype(np.int32)
    if faces and len(triangles) > faces:
        import fast_simplification

        vertices, triangles = fast_simplification.simplify(vertices, triangles, target_count=faces)
    vertices = vertices + (np.array(low) - step + 0.5) * spacing
    return vertices.astype(np.float32), triangles.astype(np.int32)


def _bounds(mask):
    inside = [np.flatnonzero(np.any(mask, axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    return [i[0] for i in inside], [i[-1] + 1 for i in inside]


def surface_distance(vertices, mask, spacing=0.625):
    """The distance of each vertex (N, 3, in mm) to the border of ``mask``, in mm (float32, never negative).

    It is SciPy's exact Euclidean distance to voxel centres (the border lies half a voxel further), sampled linearly at
    the vertices: accurate to about half a voxel.  Raises ValueError for an empty mask.
    """
    from scipy.ndimage import distance_transform_edt, map_coordinates

    if not np.any(mask):
        raise ValueError("the distance to an empty mask is not defined")
    if not len(vertices):
        return np.empty(0, np.float32)
    spacing = np.broadcast_to(np.asarray(spacing, float), 3)
    # The box of mask and vertices is enough: a small part of the volume.
    at = vertices / spacing - 0.5  # in voxels: their centres lie at half spacings
    low = np.minimum(_bounds(mask)[0], np.floor(at.min(0)).astype(int))
    high = np.maximum(_bounds(mask)[1], np.ceil(at.max(0)).astype(int) + 1)
    low, high = np.maximum(low, 0), np.minimum(high, np.shape(mask))
    inside = np.pad(mask[tuple(map(slice, low, high))] != 0, 1)
    half = spacing.mean() / 2
    signed = np.where(inside, half - distance_transform_edt(inside, spacing),
                      distance_transform_edt(~inside, spacing) - half).astype(np.float32)
    return np.abs(map_coordinates(signed, (at - low + 1).T, order=1, mode="nearest")).astype(np.float32)


def enclosed(label, k, classes):
    """Those of ``classes`` for which class ``k`` surrounds more than half of their border in ``label``."""
    from scipy.ndimage import binary_dilation

    borders = {j: label[binary_dilation(label == j) & (label != j)] for j in classes if j != k}
    return [j for j, around in borders.items() if (around == k).sum() > len(around) / 2]


def atrium_scene(masks, spacing=0.625, *, opacity=None, faces=4000, title="", classes=()):
    """A plotly Figure of {name: mask}; clicking a name in the legend hides or shows its surface.

    'gold' and the arms have their colours of the course.  ``opacity``: {name: 0 to 1}; by default the first of several
    surfaces is see-through (0.35).  ``classes``: the names of the classes 1 to K of these labels, a surface and colour
    each.  A class that encloses another, as a wall does, is drawn by its outer surface, see-through.
    """
    import plotly.graph_objects as go

    masks = {name: np.asarray(mask) for name, mask in masks.items()}
    _same_shape(masks)
    given = looks_by_class(masks, classes)
    traces = []
    for (name, k), look in given.items():
        inner = enclosed(masks[name], k, range(1, len(classes) + 1)) if k else []
        vertices, triangles = surface(np.isin(masks[name], [k, *inner]) if k else masks[name], spacing, faces=faces)
        label = look.label if len(vertices) else f"{look.label} ({EMPTY})"
        first = len(masks) > 1 and name == next(iter(masks))
        through = (opacity or {}).get(name, 0.35 if first or inner else 1.0)
        traces.append(go.Mesh3d(**_mesh(vertices, triangles), name=in_html(label), color=look.colour,
                                opacity=through, showlegend=True, hovertemplate="%{x:.0f}, %{y:.0f}, %{z:.0f} mm"))
    return _scene(traces, title, all(len(trace.x) == 0 for trace in traces))


def distance_scene(gold, prediction, spacing=0.625, *, faces=4000, limit=None, title=""):
    """The predicted surface, coloured by its distance to the gold surface, with a bar in mm.

    The gold surface lies in it as a faint shell that the legend toggles.  ``limit``: the bar's top in mm,
    by default the 99th percentile of the distances.
    """
    import plotly.graph_objects as go

    gold, prediction = np.asarray(gold), np.asarray(prediction)
    _same_shape({"gold": gold, "prediction": prediction})
    shell, shell_faces = surface(gold, spacing, faces=faces)
    vertices, triangles = surface(prediction, spacing, faces=faces)
    traces = [go.Mesh3d(**_mesh(shell, shell_faces), name="gold label", color=looks(["gold"])["gold"].colour,
                        opacity=0.15, showlegend=True, hoverinfo="skip", visible=True)]
    missing = [name for name, v in (("gold label", shell), ("prediction", vertices)) if not len(v)]
    if len(vertices) and len(shell):
        far = surface_distance(vertices, gold, spacing)
        limit = limit or max(float(np.percentile(far, 99)), 0.1)
        traces.append(go.Mesh3d(
            **_mesh(vertices, triangles), name="prediction", intensity=far, colorscale=SCALE, cmin=0, cmax=limit,
            showlegend=True, hovertemplate="%{intensity:.1f} mm from the gold label<extra></extra>",
            colorbar={"title": {"text": "distance to<br>gold label (mm)", "font": FONT}, "tickfont": FONT,
                      "len": 0.75, "thickness": 22}))
    elif len(vertices):
        traces.append(go.Mesh3d(**_mesh(vertices, triangles), name="prediction", color="#999999", showlegend=True))
    return _scene(traces, title or " and ".join(missing) + (f" {EMPTY}" if missing else ""), len(missing) == 2)


def _same_shape(masks):
    if len(shapes := {mask.shape for mask in masks.values()}) > 1:
        raise ValueError(f"masks of one scene must have one shape; these have {sorted(shapes)}")


def _mesh(vertices, triangles):
    """Plotly's arrays; contiguous float32 and int32 ones are packed as base64."""
    columns = {axis: np.ascontiguousarray(vertices[:, n], np.float32) for n, axis in enumerate("xyz")}
    # Fewer bytes where the indices fit; plotly packs 16 bits as well as 32.
    index = np.uint16 if len(vertices) < 65536 else np.int32
    columns |= {side: np.ascontiguousarray(triangles[:, n], index) for n, side in enumerate("ijk")}
    return columns | {"lighting": LIGHT, "lightposition": {"x": -800, "y": -1500, "z": 1200}}


def _scene(traces, title, empty):
    import plotly.graph_objects as go

    axis = {"backgroundcolor": "#F4F4F4", "showbackground": True, "gridcolor": "#CCCCCC", "tickfont": {"size": 13},
            "nticks": 5}
    names = {"x": "right → left (mm)", "y": "front → back (mm)", "z": "feet → head (mm)"}
    figure = go.Figure(traces)
    figure.update_layout(
        template="none", height=560, margin={"l": 0, "r": 0, "t": 46 if title else 8, "b": 0}, font=FONT,
        title={"text": in_html(title), "font": {"size": 19}} if title else None,
        legend={"x": 0.01, "y": 0.98, "bgcolor": "rgba(255,255,255,0.8)", "itemsizing": "constant",
                "font": {"size": 17}},
        scene={"aspectmode": "data", "camera": CAMERA}
        | {f"{key}axis": axis | {"title": {"text": text, "font": {"size": 14}}} for key, text in names.items()})
    if empty:
        figure.add_annotation(text=f"Nothing to draw: every mask is {EMPTY.split(':')[0]}.", showarrow=False,
                              font={"size": 20}, xref="paper", yref="paper", x=0.5, y=0.5)
    return figure


def show_scene(figure, alt):
    """Display a plotly figure with a still in the same output, so that no page is blank; ``alt`` describes it."""
    from IPython.display import display

    still = to_png(scene_still(figure, width=8.4, note=WAITS), dpi=100, small=True)
    png = base64.b64encode(still).decode()
    scene = json.loads(figure.to_json()) | {"config": {"displaylogo": False}}
    display({PLOTLY: scene, "image/png": png, "text/plain": alt}, metadata={"image/png": {"alt": alt}}, raw=True)
    # JupyterLab shows the still, at its own size, until the mouse comes: it must not be cut on a narrow page.
    display({"text/html": f"<style>.jp-RenderedPlotly img {{max-width: 100%; height: auto}}</style><p><em>"
                          f"{in_html(alt)}</em></p>", "text/plain": alt}, raw=True)


def packed_size(figure):
    """Bytes of each trace of ``figure`` in the notebook: {name: bytes}."""
    parts = json.loads(figure.to_json())["data"]
    return {part["name"]: len(json.dumps(part)) for part in parts}
