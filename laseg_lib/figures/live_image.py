"""A picture on the page that is replaced in place, has words for screen readers, and says where it is pointed at.

ipywidgets.Image can do the first of these three only.  anywidget brings the few lines of JavaScript to the
page, without a network and without a build.
"""

import anywidget
import traitlets

_SCRIPT = """
export default { render({ model, el }) {
  const image = document.createElement("img");
  image.className = "widget-image";
  image.draggable = false;
  el.append(image);
  const show = () => {
    const old = image.src;
    image.src = URL.createObjectURL(new Blob([model.get("value")], { type: "image/jpeg" }));
    if (old) URL.revokeObjectURL(old);
  };
  const say = () => { image.alt = model.get("alt"); };
  model.on("change:value", show);
  model.on("change:alt", say);
  show();
  say();
  if (!model.get("asks")) return () => URL.revokeObjectURL(image.src);

  // The newest place only: a message a frame, and the widget manager waits until the last was drawn.
  let waiting = null, turned = 0, number = 0;
  const tell = (event, steps = 0) => {
    const box = image.getBoundingClientRect();
    turned += steps;
    const next = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
    if (!waiting) requestAnimationFrame(() => {
      model.set("pointed", [...waiting, turned, ++number]);
      model.save_changes();
      waiting = null; turned = 0;
    });
    waiting = next;
  };
  image.style.cursor = "crosshair";
  image.style.touchAction = "none";
  image.addEventListener("pointerdown", event => { image.setPointerCapture(event.pointerId); tell(event); });
  image.addEventListener("pointermove", event => { if (event.buttons) tell(event); });
  image.addEventListener("wheel", event => { event.preventDefault(); tell(event, -Math.sign(event.deltaY)); },
                         { passive: false });
  return () => URL.revokeObjectURL(image.src);
} };
"""
_STYLE = ".laseg-image img { display: block; max-width: 100%; height: auto; margin: 0; user-select: none }"


class LiveImage(anywidget.AnyWidget):
    """``value``: JPEG or PNG bytes; ``alt``: what is seen; ``asks``: whether the mouse is listened to.

    ``pointed``: [x, y, steps of the wheel, a number that counts]; x and y as shares of the picture's
    width and height.
    """

    _esm, _css = _SCRIPT, _STYLE
    value = traitlets.Bytes().tag(sync=True)
    alt = traitlets.Unicode().tag(sync=True)
    asks = traitlets.Bool(False).tag(sync=True)
    pointed = traitlets.List().tag(sync=True)
