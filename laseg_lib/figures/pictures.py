"""Converts arrays and matplotlib figures to PNG, and displays them in a notebook with a text alternative."""

import base64
import io
import threading

import numpy as np
from PIL import Image

from .names import in_html, in_markdown

_drawing = threading.Lock()  # widget callbacks run on another thread than the cell


def to_png(picture, dpi=None, small=False):
    """PNG bytes of a uint8 array (H, W, 3), a matplotlib Figure made without pyplot, or PNG bytes.

    ``small``: fewer bytes but slower, for a notebook's stored outputs.
    """
    if isinstance(picture, bytes):
        return _shrink(picture) if small else picture
    picture = pixels(picture, dpi)
    return _shrink(picture) if small else _save(Image.fromarray(picture), "PNG", compress_level=1)


def to_frame(picture):
    """The same as JPEG bytes, for a picture that changes: a tenth of a PNG's time, a third of its bytes, without
    visible loss.

    Stored pictures (the still of a view, a figure) are PNG, which changes no pixel.
    """
    return picture if isinstance(picture, bytes) else _save(Image.fromarray(pixels(picture)), "JPEG", quality=85,
                                                            subsampling=0)


def pixels(picture, dpi=None):
    """uint8 (H, W, 3) of such an array or of a Figure made without pyplot, drawn at ``dpi``."""
    if hasattr(picture, "savefig"):
        picture = _render(picture, dpi)
    picture = np.asarray(picture)
    if picture.dtype != np.uint8 or picture.ndim != 3 or picture.shape[2] != 3:
        raise TypeError("a picture is a uint8 array of shape (height, width, 3), a Figure or PNG bytes; "
                        f"got {picture.dtype} of shape {picture.shape}")
    return picture


def _render(figure, dpi):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    with _drawing:
        if dpi:
            figure.set_dpi(dpi)
        parts = getattr(figure, "parts", ())  # the artists that change, of a figure that is drawn again and again
        if not parts or figure.ground is None or figure.ground[2] != figure.dpi:
            canvas = FigureCanvasAgg(figure)
            for part in parts:
                part.set_animated(True)  # canvas.draw leaves these out
            canvas.draw()
            for part in parts:
                part.set_animated(False)
            if parts:
                figure.ground = canvas, canvas.copy_from_bbox(figure.bbox), figure.dpi
        if parts:
            canvas, ground, _ = figure.ground
            canvas.restore_region(ground)
            for part in parts:
                part.draw(canvas.get_renderer())
        return np.array(canvas.buffer_rgba())[:, :, :3]


def keep_ground(figure, parts):
    """Draw all of ``figure`` but ``parts`` (its artists that change, in the order of drawing) only once.

    A slider's ``draw`` changes their data and returns the same figure, which takes a third of the time.
    """
    figure.parts, figure.ground = parts, None


def _save(image, kind, **options):
    out = io.BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


GREYS = 216  # of a palette's 256 places: a scan with fewer looks like a contour map


def _shrink(picture):
    """At most 256 colours, 216 of them grey: a third of the size, and no eye sees the difference in these figures."""
    image = Image.open(io.BytesIO(picture)) if isinstance(picture, bytes) else Image.fromarray(picture)
    rgb = np.asarray(image.convert("RGB"))
    grey = np.ptp(rgb, axis=2) <= 6
    scan = (grey & (rgb.max(2) < 245)).mean() > 0.15  # where there is none, paper and letters need few greys
    greys = GREYS if scan else 256 - GREYS
    level = np.round(rgb.mean(2) * ((greys - 1) / 255)).astype(np.uint8)
    palette = [np.repeat(np.round(np.linspace(0, 255, greys)).astype(np.uint8), 3)]
    if not grey.all():
        coloured = Image.fromarray(rgb[~grey][None]).quantize(256 - greys, Image.Quantize.MEDIANCUT, dither=0)
        level[~grey] = greys + np.asarray(coloured)[0]
        palette.append(np.array(coloured.getpalette(), np.uint8))
    small = Image.fromarray(level, "L").convert("P")
    small.putpalette(np.concatenate(palette).tobytes())
    return _save(small, "PNG", optimize=True)


def show(picture, alt, caption=True):
    """Display a Figure, an array or PNG bytes, with ``alt``: one or two sentences that describe it.

    ``alt`` is also the caption under the picture, unless ``caption=False``.
    """
    from IPython.display import display

    display(bundle(picture, alt), raw=True)
    if caption:
        display({"text/markdown": f"*{in_markdown(alt)}*", "text/plain": alt}, raw=True)


STILL = "laseg-still"  # the class of a still that a live view hides


def bundle(picture, alt, kind="laseg-picture"):
    """A PNG for IPython's ``display``: sharp on a projector, at its natural width on the page.

    As HTML, since JupyterLab gives a plain PNG no alternative text, whatever its metadata say.  ``kind``: its class.
    """
    figure = hasattr(picture, "savefig")
    width = f' width="{round(picture.get_figwidth() * 100)}"' if figure else ""
    png = base64.b64encode(to_png(picture, dpi=160 if figure else None, small=True)).decode()
    image = f'<img class="{kind}" alt="{in_html(alt)}"{width} src="data:image/png;base64,{png}">'
    return {"text/html": f'<div class="jp-RenderedImage">{image}</div>', "text/plain": alt}


def show_table(table):
    """Display a pandas table without its index: HTML on a page, columns where there is only text."""
    from IPython.display import display

    plain = table.to_string(index=False) if len(table) else "not recorded yet"
    html = table.to_html(index=False, border=0) if len(table) else "<p><em>not recorded yet</em></p>"
    display({"text/html": html, "text/plain": plain}, raw=True)
