"""Three orthogonal slices through a volume as one picture: pure NumPy, Pillow and Agg, no pyplot.

Which side is which: the h5 files carry no orientation, so it was read off the anatomy of twelve
public cases.  In all of them the liver is at low z and low x, the spine at high y, and the
descending aorta lies beside the spine at higher x.  Hence x runs from the patient's right to the
left, y from front to back, z from feet to head (what NIfTI and DICOM people call LPS), and the
pictures are as radiologists look at them: **patient's left on the right of the screen**, head up.
"""

from functools import lru_cache
from pathlib import Path

import contourpy
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D
from PIL import Image, ImageDraw, ImageFont

from .style import looks, rgb

GAP, LINE, PAPER, INK, DIM = 10, 28, (16, 16, 16), (240, 240, 240), (165, 165, 165)  # px; grey levels
#        axes shown (right, down), is "down" the reverse of the array, letters left-right, top-bottom
PLANES = {"axial": (0, 1, False, "RL", "AP"), "coronal": (0, 2, True, "RL", "SI"),
          "sagittal": (1, 2, True, "AP", "SI")}


def plane_boxes(shape, spacing=0.625, size=(880, 560)):
    """Where each plane lies on a canvas of ``size`` (width, height) in pixels.

    Returns {'axial' | 'coronal' | 'sagittal' | 'panel': (left, top, width, height)}: axial over
    coronal (same x), sagittal beside coronal (same z), text in the fourth corner.  One scale in
    pixels per mm holds for all, so that non-square voxels keep their true proportions.
    """
    mm = np.asarray(shape) * np.broadcast_to(spacing, 3)
    scale = min((size[0] - GAP) / (mm[0] + mm[1]), (size[1] - GAP) / (mm[1] + mm[2]))
    w, h, d = (max(1, int(v)) for v in np.round(mm * scale))
    left, top = (size[0] - w - h - GAP) // 2, (size[1] - h - d - GAP) // 2
    right, low = left + w + GAP, top + h + GAP
    return {"axial": (left, top, w, h), "coronal": (left, low, w, d), "sagittal": (right, low, h, d),
            "panel": (right, top, size[0] - right, h)}


def window_of(image):
    """(window, level) that show the tissue of ``image``: its 1st to 99.7th percentile."""
    low, high = np.percentile(image[::2, ::2, ::2], (1, 99.7))
    return float(max(high - low, 1e-6)), float((high + low) / 2)


def draw_slices(image, label=None, predictions=None, x=None, y=None, z=None, *, spacing=0.625, size=(880, 560),
                window=None, level=None, style="outline", smooth=True, crosshair=True, title=""):
    """The axial, coronal and sagittal slice through voxel (x, y, z) → uint8 (height, width, 3).

    ``image`` (W, H, D) of any real dtype; ``label`` and each of ``predictions`` ({name: mask}) of
    the same shape, foreground where non-zero.  x, y, z default to the middle and are clipped to the
    volume.  ``spacing`` in mm, one number or three.  ``style`` is 'outline', 'fill' or 'both';
    ``smooth=False`` shows bare voxels.  Raises ValueError when a mask's shape isn't the image's.
    """
    masks = ({} if label is None else {"gold": label}) | (predictions or {})
    for name, mask in masks.items():
        if mask.shape != image.shape:
            raise ValueError(f"{name} has shape {mask.shape}, the image {image.shape}")
    if image.size == 0 or image.ndim != 3:
        raise ValueError(f"an image has three axes and at least one voxel, not shape {image.shape}")
    style_of = looks(masks)
    point = [n // 2 if p is None else int(np.clip(p, 0, n - 1)) for p, n in zip((x, y, z), image.shape)]
    auto = window_of(image) if window is None or level is None else (window, level)
    window, level = auto[0] if window is None else window, auto[1] if level is None else level
    boxes = plane_boxes(image.shape, spacing, size)
    canvas, outlines = Image.new("RGBA", size, PAPER), []
    for plane in PLANES:
        left, top, width, height = boxes[plane]
        grey = (_cut(image, plane, point).astype(np.float32) - (level - window / 2)) * (255 / window)
        picture = _resize(np.clip(grey, 0, 255).astype(np.uint8), width, height, smooth)
        canvas.paste(picture.convert("RGBA"), (left, top))
        for name, mask in masks.items():
            flat = _cut(mask, plane, point) != 0
            if style != "outline":
                where = _resize(flat.astype(np.uint8) * 102, width, height, False)  # 102 of 255: 40 %
                canvas.paste(rgb(style_of[name].colour), (left, top), where)
            if style != "fill":
                outlines += [(style_of[name], line) for line in _contours(flat, boxes[plane])]
    agg = RendererAgg(*size, 72)  # 72 dpi: a point is a pixel
    drawn = np.asarray(agg.buffer_rgba())  # Agg's own memory, row 0 on top
    drawn[:] = canvas
    for plane in PLANES if crosshair else ():
        _cross(drawn[..., :3], boxes[plane], _screen(plane, point, image.shape, boxes[plane]))
    _stroke(agg, outlines)
    picture = Image.frombuffer("RGBA", size, agg.buffer_rgba()).convert("RGB")
    inside = tuple(bool(mask[tuple(point)]) for mask in masks.values())
    frame = _frame(size, tuple(boxes.items()), tuple(style_of.values()), style, title)
    picture.paste(frame, mask=frame)
    _readout(picture, boxes["panel"], point, image[tuple(point)], inside, np.broadcast_to(spacing, 3), bool(title))
    return np.asarray(picture)


def _cut(volume, plane, point):
    """The plane through ``point`` as rows from the top of the screen down."""
    across, down, flip, *_ = PLANES[plane]
    fixed = 3 - across - down
    flat = np.take(volume, point[fixed], axis=fixed).T
    return flat[::-1] if flip else flat


def _screen(plane, point, shape, box):
    """The pixel of the centre of voxel ``point``."""
    across, down, flip, *_ = PLANES[plane]
    row = shape[down] - 1 - point[down] if flip else point[down]
    return (int(box[0] + (point[across] + 0.5) * box[2] / shape[across]),
            int(box[1] + (row + 0.5) * box[3] / shape[down]))


def _resize(flat, width, height, smooth):
    how = Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST
    return Image.fromarray(flat).resize((width, height), how)


def _contours(flat, box):
    """Outlines of a mask as lists of screen points; a frame of zeros closes them at the border."""
    rows, columns = (np.flatnonzero(flat.any(axis)) for axis in (1, 0))
    if not len(rows):
        return []
    inside = flat[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    framed = np.zeros((inside.shape[0] + 2, inside.shape[1] + 2), np.float32)
    framed[1:-1, 1:-1] = inside
    # contourpy's grid points are the centres of the framed voxels.
    lines = contourpy.contour_generator(z=framed).lines(0.5)
    scale, corner = np.array([box[2] / flat.shape[1], box[3] / flat.shape[0]]), (columns[0] - 0.5, rows[0] - 0.5)
    return [(line + corner) * scale + box[:2] for line in lines]


def _stroke(agg, outlines):
    """Antialiased lines with their dashes; the rim sets bright lines off from bright blood, dark from dark."""
    gc = agg.new_gc()
    flip = Affine2D().scale(1, -1).translate(0, agg.height)  # Agg's paths count rows from the bottom
    for rim in (True, False):
        for style, line in outlines:
            shade = 0.0 if sum(rgb(style.colour)) > 300 else 1.0
            gc.set_linewidth(4.6 if rim else 2.6)
            gc.set_foreground((shade, shade, shade, 0.55) if rim else style.colour, isRGBA=rim)
            gc.set_dashes(0, [2.8 * length for length in style.dash] or None)
            agg.draw_path(gc, Outline(line), flip)


def _cross(canvas, box, centre):
    """Hair lines through ``centre``, open in the middle so that they don't hide the voxel."""
    left, top, width, height = box
    for start, end in ((left, centre[0] - 8), (centre[0] + 9, left + width)):
        _brighten(canvas[centre[1] : centre[1] + 1, max(start, left) : max(end, left)])
    for start, end in ((top, centre[1] - 8), (centre[1] + 9, top + height)):
        _brighten(canvas[max(start, top) : max(end, top), centre[0] : centre[0] + 1])


def _brighten(pixels):
    pixels[:] = pixels // 2 + np.array([70, 127, 127], np.uint8)  # cyan-white: not a label's colour


@lru_cache
def font(size, bold=False):
    """DejaVu Sans as matplotlib ships it, so that text looks alike on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


@lru_cache(maxsize=8)
def _frame(size, boxes, styles, style, title):
    """What stays the same from step to step, once: side letters on the planes, legend in the panel."""
    picture = Image.new("RGBA", size)
    pen, boxes = ImageDraw.Draw(picture), dict(boxes)
    for plane, (_, _, _, sides, ends) in PLANES.items():
        left, top, width, height = boxes[plane]
        for text, at, anchor in ((sides[0], (left + 5, top + height // 2), "lm"),
                                 (sides[1], (left + width - 5, top + height // 2), "rm"),
                                 (ends[0], (left + width // 2, top + 4), "mt"),
                                 (ends[1], (left + width // 2, top + height - 4), "mb"),
                                 (plane, (left + 6, top + 4), "lt")):
            pen.text(at, text, INK, font(16, plane != text), anchor, stroke_width=2, stroke_fill=(0, 0, 0))
    left, top, width, height = boxes["panel"]
    if title:
        pen.text((left + 4, top + 4), _fit(title, width - 8, 17, True), INK, font(17, True))
    for row, given in enumerate(styles):
        y = top + 4 + LINE * (row + bool(title))
        _sample(pen, left + 4, y + 10, given, style)
        pen.text((left + 54, y), _fit(given.label, width - 140, 16), INK, font(16))
    for row, name in enumerate(("voxel", "mm", "value"), len(styles) + bool(title)):
        pen.text((left + 4, top + 12 + LINE * row), name, DIM, font(16))
    for row, line in enumerate(("R L A P S I: patient's right, left,", "front, back, head, feet")):
        if top + 40 + LINE * (len(styles) + bool(title) + 3) < top + height:
            pen.text((left + 4, top + height - 38 + 19 * row), _fit(line, width - 8, 14), DIM, font(14))
    return picture


def _readout(picture, box, point, value, inside, spacing, titled):
    """What lies under the cross-hair."""
    pen = ImageDraw.Draw(picture)
    left, top, width, _ = box
    for row, within in enumerate(inside, titled):
        pen.text((left + width - 8, top + 4 + LINE * row), "inside" if within else "outside",
                 INK if within else DIM, font(16), "ra")
    mm = ", ".join(f"{(p + 0.5) * s:.1f}" for p, s in zip(point, spacing))
    for row, text in enumerate((", ".join(map(str, point)), mm, f"{value:.2f}"), len(inside) + titled):
        pen.text((left + 72, top + 12 + LINE * row), text, INK, font(16))


def _sample(pen, left, middle, given, style):
    if style == "fill":
        pen.rectangle((left, middle - 8, left + 42, middle + 8), fill=rgb(given.colour))
        return
    dash = [3.0 * length for length in given.dash] or [42.0]
    at, i = 0.0, 0
    while at < 42:
        if i % 2 == 0:
            pen.line((left + at, middle, left + min(at + dash[i % len(dash)], 42) - 1, middle), rgb(given.colour), 4)
        at, i = at + dash[i % len(dash)], i + 1


def _fit(text, width, size, bold=False):
    """``text``, cut with an ellipsis where it would run out of the panel."""
    while font(size, bold).getlength(text) > width and len(text) > 2:
        text = text[:-2].rstrip("…") + "…"
    return text
