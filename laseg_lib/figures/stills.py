"""Draws a plotly scene of meshes with matplotlib: for pages without scripts, and for print.

The arrangement is that of the scene, with transparent outer surfaces.  It is an orthographic view: the triangles of all
surfaces are painted from back to front, and shaded by their angle to the light.
"""

import base64
import html

import matplotlib
import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.collections import PolyCollection
from matplotlib.colors import Normalize, to_rgb
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from .names import in_figure
from .style import INK

CAMERA = {"eye": {"x": 0.6, "y": -1.95, "z": 0.8}, "up": {"x": 0, "y": 0, "z": 1}}
SCALE = "Cividis"  # even in lightness, and the same to every kind of colour vision
LIGHT = np.array([-0.35, -0.75, 0.55])


def scene_still(figure, width=9.6, note=""):
    """A matplotlib Figure of a plotly ``figure``: its meshes, seen from its first camera.

    ``note``: a line below, such as how the scene comes to life.
    """
    return meshes_still(figure.data, [_arrays(trace) for trace in figure.data], figure.layout.title.text, width, note)


def meshes_still(traces, meshes, title, width=9.6, note=""):
    """The same of ``meshes``, [(vertices, triangles)], with the looks of ``traces``."""
    view = np.stack(_camera())  # rows: right, up, towards the eye
    points = np.concatenate([vertices for vertices, _ in meshes]) @ view.T
    page = Figure(figsize=(width, 4.6), dpi=100)
    coloured = next((trace for trace in traces if trace.intensity is not None), None)
    ax = page.add_axes((0.25, 0.13, 0.61 if coloured else 0.73, 0.78 if title else 0.85))
    ax.set_axis_off()
    ax.set_aspect("equal")
    if len(points):
        low, high = points[:, :2].min(0) - 3, points[:, :2].max(0) + 3
        ax.set(xlim=(low[0], high[0]), ylim=(low[1] - 6, high[1]))
        _paint(ax, traces, meshes, view)
        ax.plot([low[0] + 3, low[0] + 23], [low[1] - 3] * 2, color=INK, linewidth=4, solid_capstyle="butt")
        ax.text(low[0] + 25, low[1] - 3, "20 mm", fontsize=13, va="center", color=INK)
    else:
        ax.text(0.5, 0.5, "empty", fontsize=18, ha="center", transform=ax.transAxes, color="#666666")
    names = [Patch(facecolor=trace.color or "#8A8A8A", alpha=max(trace.opacity or 1, 0.3), edgecolor=INK,
                   label=in_figure(html.unescape(trace.name)).replace(" (", "\n("))
             for trace in traces if trace is not coloured]
    page.legend(handles=names, fontsize=14, frameon=False, loc="upper left", bbox_to_anchor=(0.0, 0.93))
    if coloured:
        bar = page.colorbar(ScalarMappable(Normalize(coloured.cmin, coloured.cmax), SCALE.lower()),
                            cax=page.add_axes((0.885, 0.16, 0.022, 0.66)), extend="max")
        bar.set_label("distance to gold label (mm)", fontsize=14)
        bar.ax.tick_params(labelsize=13)
    page.text(0.5, 0.075, "seen from the front: the patient's right is on the left", fontsize=13, ha="center",
              color=INK)
    page.text(0.5, 0.015, note, fontsize=13, ha="center", color=INK, weight="bold")
    if title:
        page.suptitle(in_figure(html.unescape(title)), fontsize=16, y=0.98, color=INK)
    return page


def _arrays(trace):
    """(vertices (N, 3), triangles (M, 3)) of a mesh."""
    return (np.stack([unpack(getattr(trace, axis)) for axis in "xyz"], 1).astype(float),
            np.stack([unpack(getattr(trace, side)) for side in "ijk"], 1).astype(int))


def _paint(ax, traces, meshes, view):
    """Paint all triangles of all meshes, the farthest first, so that inner surfaces show through transparent ones."""
    parts = [_triangles(trace, *mesh, view) for trace, mesh in zip(traces, meshes) if len(mesh[0])]
    corners, colours = (np.concatenate(part) for part in zip(*parts))
    order = np.argsort((corners @ view[2]).mean(1))  # the painter's: from back to front
    # Edges of the same colour close the gaps between triangles.  Transparent ones have none: they would show.
    edges = np.where(colours[:, 3:] < 1, 0, colours)
    ax.add_collection(PolyCollection((corners @ view[:2].T)[order], facecolors=colours[order], edgecolors=edges[order],
                                     linewidths=0.5))


def _triangles(trace, vertices, triangles, view):
    """Corners (M, 3, 3) and colours (M, 4) of a mesh."""
    corners = vertices[triangles]
    flat = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    smooth = np.zeros_like(vertices)  # a vertex's normal is the mean of its triangles', larger ones counting more
    for corner in range(3):
        np.add.at(smooth, triangles[:, corner], flat)
    normal = smooth[triangles].sum(1)
    normal /= np.linalg.norm(normal, axis=1, keepdims=True) + 1e-9
    if (normal @ view[2])[np.argmax((corners @ view[2]).mean(1))] < 0:
        normal = -normal  # the nearest triangle faces the eye
    light = np.clip(normal @ (LIGHT / np.linalg.norm(LIGHT)), 0, 1)
    if trace.intensity is not None:
        shade = Normalize(trace.cmin, trace.cmax)(unpack(trace.intensity)[triangles].mean(1))
        colours = matplotlib.colormaps[SCALE.lower()](shade)[:, :3] * (0.72 + 0.33 * light[:, None])
    else:
        colours = np.multiply(to_rgb(trace.color), 0.42 + 0.75 * light[:, None])
    through = 1 if trace.opacity is None else trace.opacity
    return corners, np.column_stack([np.clip(colours, 0, 1), np.full(len(colours), through)])


def _camera():
    towards = np.array([CAMERA["eye"][axis] for axis in "xyz"])
    towards = towards / np.linalg.norm(towards)
    right = np.cross([0, 0, 1], towards)
    right /= np.linalg.norm(right)
    return right, np.cross(towards, right), towards


def unpack(array):
    """A plotly array, be it NumPy or {'dtype', 'bdata'}, as NumPy."""
    if isinstance(array, dict):
        return np.frombuffer(base64.b64decode(array["bdata"]), array["dtype"])
    return np.asarray(array)
