"""A picture on the page that is replaced in place, has a text for screen readers, and reports mouse and arrow keys.

ipywidgets.Image can only be replaced in place.  anywidget brings the JavaScript to the page without a network and
without a build.
"""

from pathlib import Path

import anywidget
import traitlets

_FOLDER = Path(__file__).parent


class LiveImage(anywidget.AnyWidget):
    """``value``: JPEG or PNG bytes; ``alt``: what is seen; ``asks``: whether mouse and keys are listened to.

    ``pointed``: [x, y, steps of the wheel, a number that counts]; x and y as shares of the picture's
    width and height.  ``stepped``: [steps along x, y, z by arrow keys, a number that counts].
    """

    _esm, _css = ((_FOLDER / f"live_image.{kind}").read_text(encoding="utf-8") for kind in ("js", "css"))
    value = traitlets.Bytes().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    asks = traitlets.Bool(False).tag(sync=True)
    pointed = traitlets.List().tag(sync=True)
    stepped = traitlets.List().tag(sync=True)
