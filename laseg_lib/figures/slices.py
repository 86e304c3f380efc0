"""Three orthogonal slices through a volume as one picture: pure NumPy, Pillow and Agg, no pyplot.

Orientation: the h5 files have none, so it was found from the anatomy of twelve public cases.  In all of them the liver
is at low z and low x, the spine at high y, and the descending aorta lies beside the spine at higher x.  Hence x runs
from the patient's right to the left, y from front to back, z from feet to head (LPS in NIfTI's and DICOM's terms).  The
pictures follow the radiologists' convention: **patient's left on the right of the screen**, head up.
"""

from functools import lru_cache
from pathlib import Path

import contourpy
import matplotlib
import numpy as np
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.path import Path as Outline
from matplotlib.transforms import Affine2D
from PIL import Image, ImageColor, ImageDraw, ImageFont

from .style import looks_by_class

KEPT = 60  # planes between steps: some 30 MB
PANEL, WIDE = 120, 480  # px: height of the text below planes in a row; its width for two columns
GAP, LINE, PAPER, INK, DIM = 10, 28, (16, 16, 16), (240, 240, 240), (165, 165, 165)  # px; grey levels
#        axes shown (right, down), is "down" the reverse of the array, letters left-right, top-bottom
PLANES = {"axial": (0, 1, False, "RL", "AP"), "coronal": (0, 2, True, "RL", "SI"),
          "sagittal": (1, 2, True, "AP", "SI")}


def plane_boxes(shape, spacing=0.625, size=(880, 560), in_a_row=False):
    """{'axial' | 'coronal' | 'sagittal' | 'panel': (left, top, width, height)} on a canvas of ``size`` pixels.

    Axial is over coronal (same x), sagittal beside coronal (same z), text in the fourth corner.  ``in_a_row``: all
    three side by side, the text below the last two.  One scale in pixels per mm holds for all, whatever the voxels.
    """
    mm = np.asarray(shape) * np.broadcast_to(spacing, 3)
    if not (mm > 0).all():
        raise ValueError(f"a voxel's sides must be above 0 mm, not {spacing}: give spacing=1 if they aren't known")
    if in_a_row:
        text = min(PANEL, size[1] // 2) + GAP
        scale = min((size[0] - 2 * GAP) / (2 * mm[0] + mm[1]), size[1] / mm[1], (size[1] - text) / mm[2])
        w, h, d = (max(1, int(v)) for v in mm * scale)
        left = (size[0] - 2 * w - h - 2 * GAP) // 2
        middle, right = left + w + GAP, left + 2 * (w + GAP)
        return {"axial": (left, 0, w, h), "coronal": (middle, 0, w, d), "sagittal": (right, 0, h, d),
                "panel": (middle, d + GAP, size[0] - middle, size[1] - d - GAP)}
    scale = min((size[0] - GAP) / (mm[0] + mm[1]), (size[1] - GAP) / (mm[1] + mm[2]))
    w, h, d = (max(1, int(v)) for v in np.round(mm * scale))
    left, top = (size[0] - w - h - GAP) // 2, (size[1] - h - d - GAP) // 2
    right, low = left + w + GAP, top + h + GAP
    return {"axial": (left, top, w, h), "coronal": (left, low, w, d), "sagittal": (right, low, h, d),
            "panel": (right, top, size[0] - right, h)}


def window_of(image):
    """(window, level) that show the tissue of ``image``: its 1st to 99.7th percentile."""
    some = image[::2, ::2, ::2]
    some = some[np.isfinite(some)] if image.dtype.kind == "f" else some
    low, high = np.percentile(some, (1, 99.7)) if some.size else (0, 1)
    return float(max(high - low, 1e-6)), float((high + low) / 2)


def draw_slices(image, label=None, predictions=None, x=None, y=None, z=None, *, spacing=0.625, size=(880, 560),
                window=None, level=None, style="outline", smooth=True, crosshair=True, title="", kept=None,
                in_a_row=False, classes=()):
    """The axial, coronal and sagittal slice through voxel (x, y, z) → uint8 (height, width, 3).

    ``image`` (W, H, D) of any real dtype; ``label`` and each of ``predictions`` ({name: mask}) of the same shape,
    foreground where non-zero.  With the names of two ``classes`` or more, they hold 0 and 1 to K; a class has a colour.
    x, y, z default to the middle and are clipped to the volume.  ``spacing`` in mm, one number or three.  ``style`` is
    'outline', 'fill' or 'both'; ``smooth=False`` shows single voxels; ``in_a_row`` as for ``plane_boxes``.
    ``kept``: the caller's dict for drawn planes of these volumes, so that a step along z draws one plane, not three.
    Raises ValueError if a mask's shape isn't the image's.
    """
    image, masks = np.asarray(image), ({} if label is None else {"gold": label}) | (predictions or {})
    masks = {name: np.asarray(mask) for name, mask in masks.items()}
    for name, mask in masks.items():
        if len(classes) > 1 and mask.size and mask.max() > len(classes):
            raise ValueError(f"{name} holds {mask.max()}, but the classes are numbered 1 to {len(classes)}: replace "
                             "each class's value by its number first")
        if mask.shape != image.shape:
            raise ValueError(f"{name} has shape {mask.shape}, the image {image.shape}")
    if image.size == 0 or image.ndim != 3:
        raise ValueError(f"an image has three axes and at least one voxel, not shape {image.shape}")
    point = [n // 2 if p is None else int(np.clip(p, 0, n - 1)) for p, n in zip((x, y, z), image.shape)]
    auto = window_of(image) if window is None or level is None else (window, level)
    look = (auto[0] if window is None else window, auto[1] if level is None else level, style, smooth)
    boxes = plane_boxes(image.shape, spacing, size, in_a_row)
    styles, kept = looks_by_class(masks, classes), {} if kept is None else kept
    picture = Image.new("RGB", size, PAPER)
    for plane, (across, down, *_) in PLANES.items():
        at = boxes[plane]
        drawn = _plane(image, masks, styles, plane, point[3 - across - down], at[2:], *look, kept)
        picture.paste(drawn, at[:2])
        if crosshair:
            _cross(ImageDraw.Draw(picture, "RGBA"), at, _screen(plane, point, image.shape, at))
    panel = boxes["panel"]
    picture.paste(_legend(panel[2:], tuple(styles.values()), style, title), panel[:2])
    inside = tuple(bool(_within(masks[name][tuple(point)], k)) for name, k in styles)
    _readout(picture, panel, point, image[tuple(point)], inside, np.broadcast_to(spacing, 3), bool(title))
    return np.asarray(picture)


def _plane(image, masks, styles, plane, number, size, window, level, style, smooth, kept):
    """Slice ``number`` of a plane with its masks and side letters: an RGB picture of ``size``."""
    key = (plane, number, tuple(styles), size, window, level, style, smooth)
    if key in kept:
        return kept[key]
    grey = (_cut(image, plane, number).astype(np.float32) - (level - window / 2)) * (255 / window)
    picture = _resize(np.nan_to_num(np.clip(grey, 0, 255)).astype(np.uint8), size, smooth).convert("RGBA")
    outlines = []
    for (name, k), look in styles.items():
        flat = _within(_cut(masks[name], plane, number), k)
        if style != "outline":
            where = _resize(flat.astype(np.uint8) * 102, size, False)  # 102 of 255: 40 %
            picture.paste(look.colour, mask=where)
        if style != "fill":
            outlines.append((look, k, _contours(flat, size)))
    if any(k for _, k, _ in outlines):  # the shorter on top: a wall's border holds its cavity's, and would hide it
        outlines.sort(key=lambda one: -sum(map(len, one[2])))
    picture = _stroke(picture, [(look, line) for look, _, lines in outlines for line in lines])
    letters = _letters(plane, size)
    picture.paste(letters, mask=letters)
    if len(kept) >= KEPT:
        kept.clear()
    kept[key] = picture
    return picture


def _within(label, k=None):
    """Where ``label`` is of class ``k``; with None, of any class."""
    return label != 0 if k is None else label == k


def _cut(volume, plane, number):
    """Slice ``number`` of the plane as rows from the top of the screen down."""
    across, down, flip, *_ = PLANES[plane]
    flat = volume[tuple(number if axis == 3 - across - down else slice(None) for axis in range(3))].T  # a view
    return flat[::-1] if flip else flat


def _screen(plane, point, shape, box):
    """The pixel of the centre of voxel ``point``."""
    across, down, flip, *_ = PLANES[plane]
    row = shape[down] - 1 - point[down] if flip else point[down]
    return (int(box[0] + (point[across] + 0.5) * box[2] / shape[across]),
            int(box[1] + (row + 0.5) * box[3] / shape[down]))


def _resize(flat, size, smooth):
    return Image.fromarray(flat).resize(size, Image.Resampling.BICUBIC if smooth else Image.Resampling.NEAREST)


def _contours(flat, size):
    """Outlines of a mask as lists of points of a picture of ``size``; a frame of zeros closes them at the border."""
    rows, columns = (np.flatnonzero(flat.any(axis)) for axis in (1, 0))
    if not len(rows):
        return []
    inside = flat[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    framed = np.zeros((inside.shape[0] + 2, inside.shape[1] + 2), np.float32)
    framed[1:-1, 1:-1] = inside
    # contourpy's grid points are the centres of the framed voxels.
    lines = contourpy.contour_generator(z=framed).lines(0.5)
    scale, corner = np.array(size) / flat.shape[::-1], (columns[0] - 0.5, rows[0] - 0.5)
    return [(line + corner) * scale for line in lines]


def _stroke(picture, outlines, width=2.6, rims=(True, False)):
    """Antialiased lines with their dashes, and a rim that separates bright lines from bright blood, dark from dark."""
    agg = RendererAgg(*picture.size, 72)  # 72 dpi: a point is a pixel
    np.asarray(agg.buffer_rgba())[:] = picture  # Agg's own memory, row 0 on top
    gc = agg.new_gc()
    flip = Affine2D().scale(1, -1).translate(0, agg.height)  # Agg's paths count rows from the bottom
    for rim in rims:
        for style, line in outlines:
            shade = 0.0 if sum(ImageColor.getrgb(style.colour)) > 300 else 1.0
            gc.set_linewidth(width + 2 if rim else width)
            gc.set_foreground((shade, shade, shade, 0.55) if rim else style.colour, isRGBA=rim)
            gc.set_dashes(0, [2.8 * length for length in style.dash] or None)
            agg.draw_path(gc, Outline(line), flip)
    return Image.frombuffer("RGBA", picture.size, agg.buffer_rgba()).convert("RGB")


def _cross(pen, box, centre):
    """Thin lines through ``centre``, open in the middle so that they don't hide the voxel."""
    left, top, width, height = box
    x, y = centre
    for line in ((left, y, x - 9, y), (x + 9, y, left + width - 1, y),
                 (x, top, x, y - 9), (x, y + 9, x, top + height - 1)):
        if line[0] <= line[2] and line[1] <= line[3]:  # the voxel is not at the border
            pen.line(line, (255, 255, 255, 120))  # half of white: no label's and no network's colour


@lru_cache
def font(size, bold=False):
    """DejaVu Sans from matplotlib, so that text looks the same on every machine."""
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"
    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)


@lru_cache(maxsize=16)
def _letters(plane, size):
    """The plane's name and the letters of its sides, on a transparent picture."""
    picture, (width, height), (*_, sides, ends) = Image.new("RGBA", size), size, PLANES[plane]
    for text, at, anchor in ((sides[0], (5, height // 2), "lm"), (sides[1], (width - 5, height // 2), "rm"),
                             (ends[0], (width // 2, 4), "mt"), (ends[1], (width // 2, height - 4), "mb"),
                             (plane, (6, 4), "lt")):
        ImageDraw.Draw(picture).text(at, text, INK, font(16, plane != text), anchor, stroke_width=2,
                                     stroke_fill=(0, 0, 0))
    return picture


@lru_cache(maxsize=8)
def _legend(size, styles, style, title):
    """The part of the panel that doesn't change from step to step."""
    picture, (width, height), lines = Image.new("RGBA", size, PAPER), size, []
    pen = ImageDraw.Draw(picture)
    if title:
        pen.text((4, 4), _fit(title, _first_column(width) - 8, 17, True), INK, font(17, True))
    for row, given in enumerate(styles, bool(title)):
        y = 4 + LINE * row
        if style == "fill":
            pen.rectangle((4, y + 2, 46, y + 18), given.colour)
        else:
            lines.append((given, [(4, y + 10), (46, y + 10)]))
        _name(pen, (54, y), given.label, _first_column(width) - 126)
    x, y = _readout_place(width, len(styles) + bool(title))
    for row, name in enumerate(("voxel", "mm", "value")):
        pen.text((x, y + LINE * row), name, DIM, font(16))
    wide = width >= WIDE
    x, top = (x, max(y + 3 * LINE - 4, height - 38)) if wide else (4, height - 38)
    if wide or 40 + LINE * (len(styles) + bool(title) + 3) < height:
        for row, line in enumerate(("R L A P S I: patient's right, left,", "front, back, head, feet")):
            pen.text((x, top + 18 * row), _fit(line, width - x - 8, 14), DIM, font(14))
    return _stroke(picture, lines, width=4, rims=[False])


def _readout(picture, box, point, value, inside, spacing, titled):
    """The values under the cross-hair."""
    pen = ImageDraw.Draw(picture)
    left, top, width, _ = box
    end = left + _first_column(width) - (24 if width >= WIDE else 8)
    for row, within in enumerate(inside, titled):
        pen.text((end, top + 4 + LINE * row), "inside" if within else "outside",
                 INK if within else DIM, font(16), "ra")
    mm = ", ".join(f"{(p + 0.5) * s:.1f}" for p, s in zip(point, spacing))
    x, y = _readout_place(width, len(inside) + titled)
    number = f"{value:.3g}" if 0 < abs(value) < 0.01 else f"{value:.2f}"
    for row, text in enumerate((", ".join(map(str, point)), mm, number.replace("-", "−"))):
        pen.text((left + x + 68, top + y + LINE * row), text, INK, font(16))


def _first_column(width):
    """How wide the names are in a panel ``width`` wide: a wide one has the readout beside them."""
    return width - 246 if width >= WIDE else width


def _readout_place(width, rows):
    """(x, y) of the readout: below ``rows`` of names, or beside them."""
    return (_first_column(width), 4) if width >= WIDE else (4, 12 + LINE * rows)


def voxel_at(place, point, shape, boxes):
    """The voxel under ``place`` (x, y) of a picture with these ``boxes``: (plane, x, y, z), or None beside the planes.

    ``point``: the cross-hair, which gives the place along the plane's own axis.
    """
    for plane, (across, down, flip, *_) in PLANES.items():
        left, top, width, height = boxes[plane]
        column, row = ((at - low) / side for at, low, side in zip(place, (left, top), (width, height)))
        if 0 <= column < 1 and 0 <= row < 1:
            found = list(point)
            found[across] = int(column * shape[across])
            found[down] = int((1 - row if flip else row) * shape[down] - (1e-9 if flip else 0))
            return plane, *found
    return None


def _name(pen, place, text, width):
    """A name in the legend; a long one has two lines of smaller letters, divided at the middlemost space."""
    (x, y), small = place, 13
    if font(16).getlength(text) <= width:
        pen.text((x, y), text, INK, font(16))
        return
    spaces = [at for at, letter in enumerate(text) if letter == " "] or [len(text) // 2]
    cut = min(spaces, key=lambda at: abs(at - len(text) / 2))
    for row, part in ((y - 4, text[:cut]), (y + 10, text[cut:].lstrip())):
        pen.text((x, row), _fit(part, width, small), INK, font(small))


def _fit(text, width, size, bold=False):
    """``text``, shortened with an ellipsis if it is wider than the panel."""
    while font(size, bold).getlength(text) > width and len(text) > 2:
        text = text[:-2].rstrip("…") + "…"
    return text
