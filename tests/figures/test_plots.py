"""Figures: the numbers in them, nothing clipped, no pyplot, and PNGs that decode."""

import base64
import io
import json
import subprocess
import sys

import numpy as np
import pytest
from bs4 import BeautifulSoup
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.text import Text
from PIL import Image
from scipy import stats

from laseg_lib import ramps
from laseg_lib.course import nb05_ema_teacher, nb06_ramp_up
from laseg_lib.figures import plots
from laseg_lib.figures.method_diagram import pipeline_figure
from laseg_lib.figures.pictures import show, to_png
from laseg_lib.figures.style import ARMS, LOOKS, looks

HISTORY = [{"iteration": i, "loss": 1 / i, "loss_seg": 0.5 / i, "loss_seg_dice": 1.5 / i, "consistency_weight": 0.1,
            "consistency_dist": 0.02} | ({"val_dice_student": 0.7, "val_dice_teacher": 0.8} if i % 50 == 0 else {})
           for i in range(1, 201)]
TABLE = [{"arm": arm, "seed": s, "student": 0.7 + 0.01 * s, "teacher": 0.8 + 0.01 * s}
         for arm in ("supervised", "MT") for s in range(3)]
BATCHES = [(0, 3, 12, 40), (1, 2, 13, 12)]
FIGURES = {
    "loss": lambda: plots.loss_curves(HISTORY), "no loss yet": lambda: plots.loss_curves([]),
    "supervised": lambda: plots.loss_curves([{"iteration": 1, "loss": 0.5}]),
    "arms": lambda: plots.arm_comparison(TABLE), "batches": lambda: plots.batch_figure(BATCHES, 4, 60),
    "cases": lambda: plots.case_comparison({"supervised": {"a": 0.5, "b": 0.4}, "MT": {"a": 0.7, "b": 0.8}}),
    "lines": lambda: plots.lines(np.arange(5), {"MT": np.arange(5), "other": np.arange(5)}, xlabel="t", ylabel="v"),
    "panels": lambda: plots.panels([np.eye(6)] * 5, [np.eye(6) > 0] * 5, list("abcde")),
    "pipeline": pipeline_figure,
    "ema": nb05_ema_teacher.draw_ema, "ema, long": lambda: nb05_ema_teacher.draw_ema(0.999, warm_up=False),
    "ramp": nb06_ramp_up.draw_ramp, "no ramp": lambda: nb06_ramp_up.draw_ramp(weight=0.0, length=0),
}


@pytest.mark.parametrize("name", FIGURES)
def test_nothing_is_clipped_and_every_text_is_large_enough(name):
    figure = FIGURES[name]()
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    pixels = np.asarray(canvas.buffer_rgba())[:, :, :3]
    for edge in (pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]):
        assert edge.min() > 250  # whatever runs off the page leaves its mark on the page's edge
    hidden = {t for ax in figure.axes if not ax.axison for axis in (ax.xaxis, ax.yaxis) for t in axis.findobj(Text)}
    texts = [t for t in figure.findobj(Text) if t.get_visible() and t.get_text() and t not in hidden]
    assert texts and min(t.get_fontsize() for t in texts) >= 12


def test_png_of_arrays_is_exact_and_other_things_are_refused():
    picture = np.random.default_rng(0).integers(0, 256, (31, 17, 3), dtype=np.uint8)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(to_png(picture)))), picture)
    assert to_png(b"png") == b"png"
    with pytest.raises(TypeError, match="uint8"):
        to_png(picture / 255)


def test_panels_draw_every_image_with_its_outline():
    figure = plots.panels([np.eye(6), 2 * np.eye(6)], [np.eye(6) > 0, np.zeros((6, 6))], ["a", "b"])
    first, second = figure.axes
    assert np.array_equal(first.images[0].get_array(), np.eye(6)) and len(first.collections) == 1
    assert len(second.images) == 1 and not second.collections


def test_loss_curves_show_the_history():
    left, middle, right = plots.loss_curves(HISTORY).axes
    raw = next(line for line in left.lines if line.get_linewidth() < 1)
    assert np.allclose(raw.get_ydata(), [row["loss"] for row in HISTORY])
    product = next(line for line in middle.lines if line.get_label() == "λ × distance")
    assert np.allclose(product.get_ydata(), 0.002)
    assert {line.get_label(): line.get_ydata()[0] for line in right.lines} == {"student": 0.7, "teacher": 0.8}


def test_live_curves_redraw_at_most_every_so_often_and_end_with_a_still(monkeypatch):
    got = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata=None, raw=False: got.append((data, metadata)))
    with pytest.raises(KeyboardInterrupt), plots.LiveCurves(every=3600) as live:
        first = bytes(live.view.picture.value)
        for n in range(1, 30):
            live(HISTORY[:n])
        assert live.drawings == 2 and bytes(live.view.picture.value) != first
        raise KeyboardInterrupt  # the learner's interrupt
    assert live.drawings == 3 and live.history == HISTORY[:29]
    assert [sorted(data) for data, _ in got] == [["application/vnd.jupyter.widget-view+json", "text/plain"],
                                                 ["text/html", "text/plain"]]
    assert 'class="laseg-still"' in got[1][0]["text/html"]


def test_arm_comparison_shows_each_seed_the_mean_and_students_interval():
    figure = plots.arm_comparison(TABLE)
    lines = figure.axes[0].lines
    dots = [line.get_xdata() for line in lines if line.get_linestyle() == "None"]
    assert sorted(map(len, dots)) == [3, 3, 3, 3]
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert texts.count("0.710  student") == 2 and texts.count("0.810  teacher") == 2
    assert texts.count("not recorded yet") == len(ARMS) - 2
    values = [0.7, 0.71, 0.72]
    low, high = stats.t.interval(0.95, 2, loc=0.71, scale=stats.sem(values))
    bars = [line.get_xdata() for line in lines if line.get_linewidth() == 2]
    assert any(np.allclose(bar, (low, high)) for bar in bars)


def test_batch_figure_counts_who_was_seen():
    _, low = plots.batch_figure(BATCHES, 4, 60).axes
    heights = [bar.get_height() for bar in low.patches]
    assert heights == list(np.bincount(np.concatenate(BATCHES), minlength=60))


def test_ema_of_is_the_moving_average():
    values = nb05_ema_teacher.student_walk(30)
    teacher = [values[0]]
    for step, value in enumerate(values[1:], 1):
        alpha = min(1 - 1 / (step + 1), 0.9)
        teacher.append(alpha * teacher[-1] + (1 - alpha) * value)
    assert np.allclose(nb05_ema_teacher.ema_of(values, 0.9), teacher, atol=1e-5)
    cold = nb05_ema_teacher.ema_of(np.r_[0, np.ones(10)], 0.9, warm_up=False)
    assert np.allclose(cold, 1 - 0.9 ** np.arange(11), atol=1e-5)


def test_ramp_is_the_librarys_and_steps():
    curve = nb06_ramp_up.consistency_weights(6000, 0.1, 40, 150)
    assert curve[150] == 0.1 * ramps.sigmoid_rampup(1, 40) == curve[299]
    labels = nb06_ramp_up.draw_ramp().axes[0].get_legend_handles_labels()[1]
    assert "half weight at t = 3900" in labels and "full weight: never" in labels
    longer = nb06_ramp_up.draw_ramp(iterations=6001).axes[0].get_legend_handles_labels()[1]
    assert "full weight at t = 6000" in longer


def test_show_carries_alt_text_and_a_caption(monkeypatch):
    got = []
    monkeypatch.setattr("IPython.display.display", lambda data, metadata=None, raw=False: got.append((data, metadata)))
    show(FIGURES["lines"](), 'Two "lines" & <more>.')
    (data, _), (caption, _) = got
    image = BeautifulSoup(data["text/html"], "html.parser").img
    assert image["alt"] == data["text/plain"] == 'Two "lines" & <more>.' and image["width"] == "960"
    png = base64.b64decode(image["src"].removeprefix("data:image/png;base64,"))
    assert Image.open(io.BytesIO(png)).size[0] == 1536  # sharp on a projector
    assert caption["text/markdown"] == '*Two "lines" &amp; &lt;more&gt;.*'


def test_looks_never_repeat_a_colour_or_a_line():
    assert len({entry.colour for entry in LOOKS.values()}) == len({entry.dash for entry in LOOKS.values()}) == 7
    given = looks(["gold", "MT", "mine", "yours"])
    assert len({entry.colour for entry in given.values()}) == 4
    assert given["MT"].colour == LOOKS["MT"].colour and given["mine"].label == "mine"
    assert looks(["MT"])["MT"].label == "mean teacher (batch 2+2)"


def test_no_pyplot_is_imported():
    code = ("import sys, json, laseg_lib.figures.plots as p, laseg_lib.course.nb05_ema_teacher as e;"
            "import laseg_lib.figures.viewer;"
            "from laseg_lib.figures.pictures import to_png; to_png(e.draw_ema());"
            "print(json.dumps('matplotlib.pyplot' in sys.modules))")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert json.loads(done.stdout) is False


def test_the_label_curve_has_a_dot_a_fold_a_line_of_means_and_the_ceiling():
    rows = [{"arm": arm, "labels": labels, "fold": fold, "dice": dice + fold}
            for arm, labels, dice in (("labels_only", 4, 85), ("strong", 4, 87), ("labels_only", 80, 91))
            for fold in range(4)]
    ax, = plots.label_curve(rows, [(8, 89.0), (25, 90.0)]).axes
    drawn = [list(line.get_ydata()) for line in ax.lines]
    assert [85, 86, 87, 88] in drawn and [87, 88, 89, 90] in drawn, "folds"
    assert [86.5, 92.5] in drawn and [88.5] in drawn and [92.5, 92.5] in drawn, "means, and the ceiling"
    assert [89.0] in drawn, "published, at the counts that are shown"
    assert [text.get_text() for text in ax.get_xticklabels()] == ["2", "4", "8", "16", "80"]
