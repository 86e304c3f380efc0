"""For handout.py and slides.py: sliders, curves and viewers that move on a page without a kernel.

A cell's call, such as ``SliderView(draw_ema, alpha=[...])``, is read from the notebook and evaluated here.  So the
course's own ``draw`` makes the frames, one for each position of the sliders.  When tools/run_notebooks.py executes a
notebook, it stores the results of trainings (curves, masks) in data/recorded/pages.  handout_template/moving.js moves
the frames on the page.
"""

import ast
import base64
import gzip
import importlib.util
import io
import itertools
import json
import os
import re
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from PIL import Image

from laseg_lib.data.phantom import FIELD_MM, make_phantom
from laseg_lib.figures.names import in_html
from laseg_lib.figures.pictures import pixels
from laseg_lib.figures.plots import loss_curves
from laseg_lib.figures.slices import DIM, INK, PAPER, PLANES, plane_boxes, window_of
from laseg_lib.figures.style import LOOKS, looks_by_class
from laseg_lib.figures.viewer import control, positions
from laseg_lib.records.read import RECORDED

KEPT = RECORDED / "pages"
CALLS = ("SliderView", "SliceViewer", "LiveCurves")
SIZE = (95, 70, 44)  # the phantoms of notebook 01, voxels of 1.25 mm
GREYS = 63  # of a slice viewer: with more of them, most of its bytes would be noise
STEPS = 12  # pictures of a curve that grows

# The values that are stored from a kernel: {notebook: {name: expression}}; ``context`` has the same names.
KEEP = {
    "00_start_here": {"history": "live.history", "image": "image", "gold": "gold", "found": "found",
                      "spacing": "list(map(float, spacing))"},
    "07_train_mean_teacher": {"history": "live.history"},
    "11_what_helps": {"image": 'samples[0]["image"]', "entropy": "entropy[0]", "wrong": "wrong[0]",
                      "shares": "[list(map(float, masked_out(bits))) for bits in np.linspace(0.1, 1, 19)]"},
    "14_your_own_scans": {"image": "array_of(straight)", "gold": "gold", "ours": "ours"},
}
FIXED = {"05_ema_teacher": {"seed"}}  # sliders that are left out: they would need ten times as many frames


def keep(stem, values):
    """Store the data of a notebook's moving pictures: {name: array, {name: mask} or plain numbers}.  Nothing is stored
    of real volumes, which must not get into the repository."""
    if os.environ.get("LASEG_DATA"):
        return
    KEPT.mkdir(exist_ok=True)
    arrays, plain = {}, {}
    for name, value in values.items():
        parts = {f"{name}/{key}": part for key, part in value.items()} if isinstance(value, dict) else {name: value}
        for key, part in parts.items():
            if not isinstance(part, np.ndarray):
                plain[key] = part
            elif part.dtype.kind == "f" and part.ndim == 3:
                plain[f"{key} from"], plain[f"{key} to"] = float(part.min()), float(part.max())
                arrays[key] = np.round((part - part.min()) * (255 / max(np.ptp(part), 1e-9))).astype(np.uint8)
            else:  # a mask, or a label of several classes
                arrays[key] = part.astype(bool if part.max() <= 1 else np.uint8)
    arrays["plain"] = np.array(json.dumps(plain))
    np.savez_compressed(KEPT / f"{stem}.npz", **arrays)


def keep_code(stem):
    """The line that calls ``keep`` at the end of a notebook, in its kernel."""
    values = ", ".join(f"{name!r}: {code}" for name, code in KEEP[stem].items())
    folder = str(Path(__file__).resolve().parent)
    return f"import sys; sys.path.insert(0, {folder!r}); import moving; moving.keep({stem!r}, {{{values}}})"


def kept(stem):
    """The values that ``keep`` has stored, or {}."""
    path, values = KEPT / f"{stem}.npz", {}
    if not path.exists():
        return values
    with np.load(path) as file:
        plain = json.loads(str(file["plain"]))
        for key in file.files:
            if key != "plain":
                part = file[key]
                if f"{key} from" in plain:
                    low, high = plain.pop(f"{key} from"), plain.pop(f"{key} to")
                    part = (low + part.astype(np.float32) * ((high - low) / 255)).astype(np.float32)
                plain[key] = part
    for key, part in plain.items():
        name, _, inner = key.partition("/")
        if inner:
            values.setdefault(name, {})[inner] = part
        else:
            values[name] = part
    return values


def context(stem):
    """The names that the calls of a notebook's views are evaluated with; None if a stored value is missing."""
    if not importlib.util.find_spec(f"laseg_lib.course.nb{stem}"):
        return None
    page = importlib.import_module(f"laseg_lib.course.nb{stem}")
    names = {**vars(page), "page": page} | {call: record(call) for call in CALLS}
    found = kept(stem)
    if stem in KEEP and not set(KEEP[stem]) <= set(found):
        return None
    if stem == "01_left_atrium_data":
        names["data"] = SimpleNamespace(spacing=FIELD_MM[0] / SIZE[0])
        names["cases"] = {f"PHANTOM_{seed:04d}": make_phantom(seed, SIZE) for seed in range(6)}
    elif stem == "10_atria_in_3d":
        data = SimpleNamespace(real=False)
        names |= {"data": data, "cases": {"first": 0, "second": 1, "third": 2, "fourth": 3},
                  "fine": page.fine_gold(data, page.predicted_atrium(data).case)}
    elif stem == "11_what_helps":
        shares = dict(zip(np.linspace(0.1, 1, 19).round(2), found["shares"]))
        names |= {"samples": [found], "entropy": [found["entropy"]], "wrong": [found["wrong"]],
                  "masked_out": lambda bits: shares[round(float(bits), 2)]}
    elif stem == "14_your_own_scans":
        names |= {"array_of": lambda straight: straight, "straight": found["image"], **found}
    return names | {key: value for key, value in found.items() if key not in names}


def record(call):
    return lambda *args, **options: SimpleNamespace(call=call, args=args, options=options)


def calls(source):
    """The calls in a cell that make what moves, as code."""
    if not any(f"{call}(" in source for call in CALLS):
        return []
    return [ast.unparse(node) for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in CALLS]


def alive(source, stem, names):
    """The HTML of what moves in a cell of the notebook ``stem``, or None.  ``names``: those of ``context``."""
    found = calls(source)
    if not found or names is None:
        return None
    given = eval(found[0], dict(names))  # noqa: S307  (the course's own line)
    if given.call == "SliceViewer":
        return slice_viewer(given)
    if given.call == "LiveCurves":
        limit = re.search(r"max_iterations // (\d+)", source)  # the first of 07's two pictures ends early
        history = names["history"][:len(names["history"]) // int(limit[1])] if limit else names["history"]
        return curves(given, history)
    return ramp(given) if getattr(given.args[0], "__name__", "") == "draw_ramp" else sliders(given, FIXED.get(stem, ()))


# --- frames --------------------------------------------------------------------------------------


def sliders(given, fixed=()):
    """A SliderView as frames, one for each combination of its controls' values."""
    options = dict(given.options)
    alt, start, labels = (options.pop(name, default) for name, default in (("alt", ""), ("start", {}), ("labels", {})))
    options.pop("play", None)
    values, controls, still = {}, [], {}
    for name, choice in options.items():
        words, widget = labels.get(name, name.replace("_", " ")), control(choice, "", start.get(name))
        places = positions(widget)
        if name in fixed:
            still[name] = meaning(choice, widget.value)
            continue
        values[name] = [meaning(choice, place) for place in places]
        at = min(range(len(places)), key=lambda n: places[n] != widget.value)
        controls.append({"name": words, "texts": [in_words(place) for place in places], "start": at,
                         "kind": {bool: "toggle", str: "choice"}.get(type(places[0]), "slider")})
    frames = [frame(given.args[0](**dict(zip(values, combination)), **still))
              for combination in itertools.product(*values.values())]
    return figure("frames", alt, {"controls": controls, "frames": frames})


def curves(given, history):
    """A LiveCurves as the pictures of a training that goes on, with a play button."""
    draw, alt = given.options.get("draw", loss_curves), given.options.get("alt", "The curves of this training.")
    ends = sorted({round(len(history) * part) for part in np.linspace(1 / STEPS, 1, STEPS)})
    controls = [{"name": "iteration", "texts": [str(end) for end in ends], "start": len(ends) - 1, "kind": "slider",
                 "play": True}]
    return figure("frames", alt, {"controls": controls, "frames": [frame(draw(history[:end])) for end in ends]})


def meaning(choice, place):
    """The value that ``draw`` gets for a place; of a dict, the value behind the name."""
    return choice[place] if isinstance(choice, dict) else place


def in_words(value):
    return f"{value:g}" if isinstance(value, float) else str(value)


def frame(picture):
    """A picture as a WebP in a data URI: lossless if that is small, as with lines and letters."""
    image, found = Image.fromarray(pixels(picture, dpi=110 if hasattr(picture, "savefig") else None)), []
    for options in ({"lossless": True, "quality": 60, "method": 3}, {"quality": 80, "method": 4}):
        file = io.BytesIO()
        image.save(file, "WEBP", **options)
        found.append(file.getvalue())
    lossless, lossy = found
    small = lossless if len(lossless) < 1.3 * len(lossy) else lossy
    return "data:image/webp;base64," + base64.b64encode(small).decode()


def ramp(given):
    """06's ramp has too many places for frames: moving.js computes and draws it."""
    options = given.options
    controls = [{"name": options["labels"].get(name, name), "key": name, "texts": [in_words(v) for v in places],
                 "start": places.index(options["start"].get(name, places[0])),
                 "kind": "choice" if isinstance(places[0], str) else "slider"}
                for name, places in ((name, positions(control(options[name], "")))
                                     for name in ("iterations", "weight", "length", "every", "shape"))]
    looks_of = {"mine": LOOKS["MT"].colour, "other": LOOKS["supervised"].colour}
    return figure("ramp", options.get("alt", ""), {"controls": controls, "looks": looks_of})


def figure(kind, alt, content):
    """The HTML that moving.js brings to life; without scripts its still stays."""
    still = f'<img src="{content["frames"][start_of(content["controls"])]}" alt="{in_html(alt)}">' \
        if "frames" in content else f'<canvas role="img" aria-label="{in_html(alt)}"></canvas>'
    if "frames" in content:  # it stands in the page once
        content["frames"][start_of(content["controls"])] = None
    numbers = json.dumps(content, ensure_ascii=False).replace("</", r"<\/")
    return (f'<figure class="moving {kind}">{still}<div class="controls alive"></div>'
            f'<script type="application/json">{numbers}</script></figure>')


def start_of(controls):
    """The number of the frame that is shown first: controls count like digits, the last one fastest."""
    at = 0
    for given in controls:
        at = at * len(given["texts"]) + given["start"]
    return at


# --- slice viewers -------------------------------------------------------------------------------


def slice_viewer(given):
    """A SliceViewer as volumes that moving.js cuts: grey levels and masks, zipped, the same every time."""
    image, label, predictions, *_ = (*given.args, None, None, None)
    cases = given.options.get("cases") or {"": (image, label, predictions)}
    spacing = np.broadcast_to(np.asarray(given.options.get("spacing", 0.625), float), 3)
    alt = given.options.get("alt") or "Axial, coronal and sagittal slice through the heart."
    classes = given.options.get("classes", ())
    packed = {name: volume(*case, spacing=spacing, classes=classes) for name, case in cases.items()}
    head = {"cases": packed, "planes": PLANES, "ink": css(INK), "dim": css(DIM), "paper": css(PAPER)}
    numbers = json.dumps(head, ensure_ascii=False).replace("</", r"<\/")
    words = in_html(alt + " Arrow keys move the planes: left and right for x, up and down for z, Shift with up and "
                    "down for y.")
    return (f'<figure class="moving slices" tabindex="0" role="application" aria-label="{words}">'
            f'<div class="alive"><canvas></canvas><div class="controls"></div></div>'
            f'<script type="application/json">{numbers}</script></figure>')


def volume(image, label=None, predictions=None, *, spacing, classes=()):
    """One case: its shape, where it opens, and its voxels, zipped: a byte for grey, a bit for each mask."""
    given = ({} if label is None else {"gold": np.asarray(label)}) | (predictions or {})
    drawn = looks_by_class(given, classes)
    masks = [np.asarray(given[name]) == k if k else np.asarray(given[name]) > 0 for name, k in drawn]
    (window, level), (low, high) = window_of(image), (float(image.min()), float(image.max()))
    inside = np.argwhere(masks[0]) if masks else []
    point = [int(n) for n in (inside.mean(0) if len(inside) else np.array(image.shape) // 2)]
    grey = np.round((image - low) * (GREYS / max(high - low, 1e-9))).astype(np.uint8)
    bits = sum(mask.astype(np.uint8) << n for n, mask in enumerate(masks))
    both = grey.tobytes() + (bits.tobytes() if masks else b"")
    boxes = plane_boxes(image.shape, spacing)
    return {"shape": image.shape, "spacing": [round(float(mm), 4) for mm in spacing], "low": low, "high": high,
            "greys": GREYS, "start": dict(zip("xyz", point)) | {"window": round(window, 1), "level": round(level, 1)},
            "boxes": boxes, "masks": [{"name": name if k is None else look.label, "label": look.label,
                                       "colour": look.colour, "dash": [2.8 * length for length in look.dash]}
                                      for (name, k), look in drawn.items()],
            "volume": base64.b64encode(gzip.compress(both, mtime=0)).decode()}


def css(grey):
    return f"rgb{tuple(grey)}"

