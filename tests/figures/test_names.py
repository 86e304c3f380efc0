"""A name of any letters is shown as it is: in a figure's legend and title, in Markdown, under the slice viewer."""

import warnings

import mistune
import numpy as np
import pytest

from laseg_lib.data.phantom import make_phantom
from laseg_lib.figures.meshes import atrium_scene, scene_still
from laseg_lib.figures.names import in_figure, in_html, in_markdown
from laseg_lib.figures.plots import case_comparison, lines, panels
from laseg_lib.figures.viewer import SliceViewer

NAMES = ["<b>a</b>", r"$\frac$", "a$b$c", r"back\slash", "_hidden", "*a* [b](c) `d` ~~e~~ _f_ &lt;", "# one\n\n- two"]


def written(figure):
    """Every text of a figure, as matplotlib sets it."""
    figure.canvas.draw()
    texts = figure.findobj(lambda part: hasattr(part, "_preprocess_math"))
    return {text.lstrip("\u200b"): formula for text, formula in (
        text._preprocess_math(text.get_text()) for text in texts)}


@pytest.mark.parametrize("name", NAMES)
def test_a_legend_and_a_title_show_the_name(name):
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    _, label = make_phantom(0, (24, 20, 12))
    scene = atrium_scene({"gold": label, name: label}, 4.0, title=name)
    assert scene.data[1].name == scene.layout.title.text == in_html(name)
    figures = [lines([0, 1], {name: [0, 1], "MT": [1, 0]}, xlabel="x", ylabel="y"),
               case_comparison({name: {"p": 0.5}, "MT": {"p": 0.6}}), scene_still(scene),
               panels([label[:, :, 5]], titles=[name])]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for figure in figures:
            FigureCanvasAgg(figure)
            assert written(figure).get(name) is False, "not there, or a formula"


@pytest.mark.parametrize("name", NAMES)
def test_markdown_shows_the_name(name):
    shown = mistune.create_markdown(escape=False, plugins=["strikethrough", "math", "url"])(f"*{in_markdown(name)}*")
    assert shown == f"<p><em>{mistune.escape(' '.join(name.split()))}</em></p>\n"


def test_what_needs_no_escape_has_none():
    for text in ("eight_up and nine", "Dice 0.71 (two of five)", "λ = 0, the teacher's"):
        assert in_figure(text) == text == in_markdown(text)


def test_the_viewer_takes_such_names():
    image, label = make_phantom(0, (24, 20, 12))
    view = SliceViewer(cases={name: (image, label, {name: label}) for name in NAMES})
    view.controls["case"].value = NAMES[1]
    assert view.case == NAMES[1] and view.message.value == "" and view.drawn.dtype == np.uint8
    for name in ("mask1", "case"):  # ipywidgets 7 has no such switch
        assert not getattr(view.controls[name], "description_allow_html", False)
