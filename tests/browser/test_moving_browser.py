"""The hand-out opened from a folder without a network: everything is moved, by keyboard, mouse and finger."""

import os
import shutil
import sys
from pathlib import Path

import handout
import numpy as np
import pytest

from laseg_lib.course import nb06_ramp_up

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tools"))
from test_moving import ALL  # noqa: E402  (the list of all that moves)

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM:
    pytest.skip("no Chromium: on Debian and Ubuntu, apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
PATIENCE = 120_000  # ms
KIND = {"SliderView": "frames", "LiveCurves": "frames", "SliceViewer": "slices"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The pages on which something moves."""
    folder = tmp_path_factory.mktemp("moving")
    handout.write([handout.REPO / "notebooks" / f"{stem}.ipynb" for stem in ALL], folder)
    return folder


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        flags = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"] + ["--no-sandbox"] * root
        browser = play.chromium.launch(executable_path=CHROMIUM, args=flags)
        yield browser
        browser.close()


@pytest.fixture
def opened(folder, browser):
    """A function that opens a page; afterwards nothing was asked for but the folder, and nothing failed."""
    asked, failed, contexts = [], [], []

    def open_page(stem, width=1280, height=800, **options):
        context = browser.new_context(viewport={"width": width, "height": height}, has_touch=width < 600, **options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE)
        page.on("request", lambda request: asked.append(request.url))
        page.on("pageerror", lambda error: failed.append(str(error)))
        page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)
        page.goto((Path(folder) / f"{stem}.html").as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    inside = (folder.as_uri() + "/", "data:", "blob:")
    assert [url for url in asked if not url.startswith(inside)] == [] and failed == []


SEEN = """figure => { const it = figure.querySelector("canvas") ?? figure.querySelector("img");
    return it.tagName === "IMG" ? it.src : it.toDataURL(); }"""


def moved(figure, act):
    """Whether ``act()`` changes what a figure shows."""
    before = figure.evaluate(SEEN)
    act()
    return figure.evaluate(SEEN) != before


@pytest.mark.parametrize("stem", ALL)
def test_everything_moves(stem, opened):
    page = opened(stem)
    wanted = ["ramp" if stem.startswith("06") else KIND[name] for name in ALL[stem] if name in KIND]
    figures = page.locator("figure.moving").all()
    assert [figure.get_attribute("class").split()[1] for figure in figures] == wanted
    assert page.locator(".scene").count() == ALL[stem].count("show_scene")
    assert not page.get_by_text("A still. In JupyterLab this picture moves.").count()
    for figure in figures:
        figure.scroll_into_view_if_needed()
        figure.locator(".controls :is(input, select):visible").first.wait_for()
        if "slices" in figure.get_attribute("class"):
            figure.and_(page.locator("[data-ready]")).wait_for()
        for control in figure.locator(".controls label:visible :is(input, select)").all():
            name = control.get_attribute("name")
            if control.evaluate("it => it.type === 'range'"):
                at_end = control.evaluate("it => +it.value >= +it.max")
                assert moved(figure, lambda c=control, end=at_end: c.press("ArrowLeft" if end else "ArrowRight")), name
            elif control.evaluate("it => it.tagName === 'SELECT'"):
                control.select_option(index=1)
                page.wait_for_timeout(500)  # another case is unzipped first
            else:
                assert moved(figure, lambda c=control: c.press("Space")), name
        for button in figure.locator("button").all():
            before = figure.evaluate(SEEN)
            button.click()
            page.wait_for_timeout(900)
            assert figure.evaluate(SEEN) != before, "play"
            button.click()


def test_another_case_is_another_patient(opened):
    page = opened("01_left_atrium_data")
    page.locator(".slices").scroll_into_view_if_needed()
    figure = page.locator(".slices[data-ready]")
    figure.wait_for()
    before = figure.evaluate(SEEN)
    figure.locator("select[name=case]").select_option("PHANTOM_0004")
    page.wait_for_timeout(1500)
    assert figure.evaluate(SEEN) != before


def test_the_wheel_is_the_page_s_until_a_click(opened):
    page = opened("01_left_atrium_data")
    page.locator(".slices").scroll_into_view_if_needed()
    figure = page.locator(".slices[data-ready]")
    figure.wait_for()
    canvas = figure.locator("canvas")
    canvas.scroll_into_view_if_needed()
    canvas.hover(position={"x": 150, "y": 120})
    top = page.evaluate("scrollY")

    def turn():
        page.mouse.wheel(0, 100)
        page.wait_for_timeout(400)

    assert not moved(figure, turn) and page.evaluate("scrollY") > top
    canvas.scroll_into_view_if_needed()
    canvas.click(position={"x": 150, "y": 120})
    top = page.evaluate("scrollY")
    assert moved(figure, turn) and page.evaluate("scrollY") == top
    for key in ("ArrowUp", "ArrowRight", "Shift+ArrowDown"):  # the click has brought the focus
        assert moved(figure, lambda key=key: page.keyboard.press(key)), key
    page.locator("h1").click()
    canvas.scroll_into_view_if_needed()
    canvas.hover(position={"x": 150, "y": 120})
    assert not moved(figure, turn)


@pytest.mark.parametrize("shape", ["sigmoid", "linear"])
def test_the_ramp_in_the_page_is_python_s(opened, shape):
    page = opened("06_ramp_up")
    for iterations in (300, 6000):
        for weight, length, every in ((0.1, 40, 150), (10, 0, 1), (30, 80, 50), (1, 7, 10)):
            given = [iterations, weight, length, every, shape]
            found = page.evaluate("given => { const curve = laseg.consistencyWeights(...given);"
                                  "return [curve, laseg.rampMarks(curve, given[1])]; }", given)
            curve = nb06_ramp_up.consistency_weights(*given)
            assert np.allclose(found[0], curve, rtol=1e-12)
            for name, share in (("half", 0.5), ("full", 1)):
                reached = np.flatnonzero(curve >= share * weight * (1 - 1e-12))
                assert found[1][name] == (int(reached[0]) if len(reached) else None), (given, name)
            assert abs(found[1]["mean"] - curve.mean()) < 1e-9


@pytest.mark.parametrize("stem", ALL)
def test_a_phone_shows_one_plane_and_no_page_scrolls_sideways(stem, opened):
    page = opened(stem, 390, 844)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    for figure in page.locator("figure.slices").all():
        figure.scroll_into_view_if_needed()
        figure.and_(page.locator("[data-ready]")).wait_for()
        box = figure.locator("canvas").bounding_box()
        assert 300 <= box["width"] <= 366 and box["x"] >= 8  # beside it a finger scrolls the page
        for plane in ("coronal", "sagittal"):
            assert moved(figure, lambda p=plane, f=figure: f.locator("select[name=plane]").select_option(p)), plane
        assert moved(figure, lambda f=figure: f.locator("canvas").tap(position={"x": 90, "y": 60}))
    for control in page.locator("figure.moving input[type=range]:visible").all():
        box = control.bounding_box()
        assert box["height"] >= 28 and box["x"] + box["width"] <= 390


def test_a_scene_turns_with_two_fingers_and_scrolls_with_one(opened):
    page = opened("10_atria_in_3d", 390, 844)
    scene = page.locator(".scene").first
    scene.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.scene .gl-container canvas')")
    page.wait_for_timeout(1500)
    session = page.context.new_cdp_session(page)
    eye = "JSON.stringify(document.querySelector('.scene')._fullLayout.scene._scene.getCamera().eye)"

    def drag(fingers):
        box = scene.bounding_box()
        x, y = box["x"] + 150, box["y"] + box["height"] / 2
        for kind, by in (("touchStart", 0), *(("touchMove", 15 * n) for n in range(1, 8))):
            points = [{"x": x + 40 * n + (by if fingers == 2 else 0), "y": y - by, "id": n} for n in range(fingers)]
            session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})
            page.wait_for_timeout(60)
        session.send("Input.dispatchTouchEvent", {"type": "touchEnd", "touchPoints": []})
        page.wait_for_timeout(800)

    before, top = page.evaluate(eye), page.evaluate("scrollY")
    drag(1)
    assert page.evaluate(eye) == before and page.evaluate("scrollY") > top
    scene.scroll_into_view_if_needed()
    drag(2)
    assert page.evaluate(eye) != before


def test_on_a_dark_page_nothing_glares(opened):
    page = opened("05_ema_teacher", color_scheme="dark")
    image = page.locator("figure.frames img")
    assert image.evaluate("it => getComputedStyle(it).filter") != "none"
    assert image.evaluate("it => parseFloat(getComputedStyle(it).borderTopWidth)") > 0
    page = opened("10_atria_in_3d", color_scheme="dark")
    page.locator(".scene").first.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.scene')._fullLayout?.paper_bgcolor")
    assert page.evaluate("document.querySelector('.scene')._fullLayout.paper_bgcolor") == "#202226"
