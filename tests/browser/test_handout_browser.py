"""The hand-out opened from a folder, in a browser whose every other request is refused."""

import io
import os
import shutil
from pathlib import Path

import handout
import moving
import numpy as np
import pytest
import slides
from axe import serious
from PIL import Image

from laseg_lib.data.phantom import make_phantom
from laseg_lib.figures.plots import slices_figure
from laseg_lib.figures.slices import plane_boxes

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
if not CHROMIUM:
    pytest.skip("no Chromium: on Debian and Ubuntu, apt-get install chromium", allow_module_level=True)
sync_api = pytest.importorskip("playwright.sync_api")
SWIFT = ["--use-angle=swiftshader", "--enable-unsafe-swiftshader"]  # WebGL without a graphics card
DRAWN = "document.querySelector('.slices[data-ready]')"
PATIENCE = 120_000  # ms: a machine that is busy with something else draws slowly


@pytest.fixture(scope="module")
def folder(stored_handout):
    return stored_handout


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as play:
        root = hasattr(os, "geteuid") and os.geteuid() == 0
        browser = play.chromium.launch(executable_path=CHROMIUM, args=SWIFT + ["--no-sandbox"] * root)
        yield browser
        browser.close()


@pytest.fixture
def opened(folder, browser):
    """A function that opens a page of the hand-out; afterwards nothing was asked for and nothing failed."""
    asked, failed = [], []

    def route(request):
        inside = request.request.url.startswith(folder.as_uri() + "/")
        if not inside:
            asked.append(request.request.url)
        request.continue_() if inside else request.abort()

    page = browser.new_page(viewport={"width": 1280, "height": 800})
    page.set_default_timeout(PATIENCE)
    page.route(lambda url: not url.startswith(("data:", "blob:")), route)
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.on("console", lambda message: failed.append(message.text) if message.type == "error" else None)

    def open_page(name, scheme="light"):
        page.emulate_media(color_scheme=scheme)
        page.goto((Path(folder) / name).as_uri())
        return page

    yield open_page
    page.close()
    assert asked == [] and failed == []


def pixels(locator):
    return np.asarray(Image.open(io.BytesIO(locator.screenshot())).convert("RGB")).astype(int)


def drawn(canvas):
    """The canvas's own pixels at the size of a still, uint8 (560, 880, 3)."""
    url = canvas.evaluate("it => it.toDataURL()")
    image = Image.open(io.BytesIO(handout.base64.b64decode(url.split(",")[1]))).convert("RGB")
    return np.asarray(image.resize((880, 560), Image.Resampling.BOX)).astype(int)


def test_the_slice_viewer_draws_what_the_library_draws(opened):
    page = opened("01_left_atrium_data.html")
    page.locator(".slices").scroll_into_view_if_needed()
    page.wait_for_function(DRAWN)
    image, label = make_phantom(0, moving.SIZE)
    wanted = slices_figure(image, label, spacing=1.25).astype(int)
    found = drawn(page.locator(".slices canvas"))
    for plane, (left, top, width, height) in plane_boxes(moving.SIZE, 1.25).items():
        if plane == "panel":
            continue
        a, b = (picture[top:top + height, left:left + width] for picture in (found, wanted))
        assert np.corrcoef(a.mean(2).ravel(), b.mean(2).ravel())[0, 1] > 0.9, plane  # mirrored: below 0.5
        gold = [(abs(picture - (230, 159, 0)).max(2) < 60) for picture in (a, b)]
        assert (gold[0] & gold[1]).sum() > 0.7 * min(gold[0].sum(), gold[1].sum()) > 0, plane


def test_formulas_take_their_place_and_nothing_runs_out_of_the_page(opened):
    page = opened("01_left_atrium_data.html")
    assert page.locator("math mfrac").first.bounding_box()["height"] > 25  # laid out as a fraction, not as a line
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert page.evaluate("[...document.images].every(it => it.naturalWidth > 0)")


def test_a_scene_turns(opened):
    page = opened("10_atria_in_3d.html")
    page.set_viewport_size({"width": 640, "height": 640})  # fewer pixels for a processor that plays graphics card
    scene = page.locator(".scene").first
    scene.scroll_into_view_if_needed()
    page.wait_for_function("document.querySelector('.scene .gl-container canvas')")
    canvas = scene.locator("canvas").first
    assert canvas.evaluate("it => Boolean(it.getContext('webgl') || it.getContext('webgl2'))")
    eye = "JSON.stringify(document.querySelector('.scene')._fullLayout.scene._scene.getCamera().eye)"
    page.wait_for_timeout(1500)
    before, picture = page.evaluate(eye), pixels(scene)
    box = scene.bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    page.mouse.move(x, y)
    page.mouse.down()
    for step in range(1, 6):
        page.mouse.move(x + 40 * step, y + 6 * step)
        page.wait_for_timeout(100)
    page.mouse.up()
    page.wait_for_timeout(1500)
    assert page.evaluate(eye) != before
    assert (abs(pixels(scene) - picture).max(2) > 30).mean() > 0.02


def test_the_search_finds_by_keyboard_and_leads_to_the_place(opened):
    page = opened("01_left_atrium_data.html")
    page.keyboard.press("/")
    page.keyboard.type("marching cubes")
    assert page.locator("#found [role=status]").inner_text().split()[0].isdigit()
    page.locator("#found a", has_text="10 ·").first.press("Enter")
    page.wait_for_url("**/10_atria_in_3d.html*")
    page.fill("#search input", "no such words anywhere")
    assert page.locator("#found").inner_text() == "0 places"
    page.keyboard.press("Escape")
    assert page.locator("#found").is_hidden()
    page.fill("#search input", "<img src=x onerror=alert(1)>")
    assert page.locator("#found img").count() == 0


def test_dark_and_light_are_the_systems_until_one_is_chosen_and_then_stay(opened):
    page = opened("GLOSSARY.html")
    paper = "getComputedStyle(document.body).backgroundColor"
    assert page.evaluate(paper) == "rgb(255, 255, 255)"
    page.emulate_media(color_scheme="dark")
    page.reload()
    assert page.evaluate(paper) == "rgb(23, 24, 27)" and page.locator("#theme").inner_text() == "Light page"
    for tries in range(1, 8):  # Chromium hands on what a page stores in its own time; a reload before that loses it
        page.locator("#theme").press("Enter")
        page.wait_for_function(f"{paper} === 'rgb(255, 255, 255)'")
        page.wait_for_timeout(100 * tries**2)
        page.reload()
        if page.evaluate(paper) == "rgb(255, 255, 255)":
            break
    assert page.evaluate(paper) == "rgb(255, 255, 255)"


ON_SCREEN = """() => { const slide = document.querySelector(".slide.at"), main = document.querySelector("main");
    return [slide.scrollHeight <= main.clientHeight, slide.scrollWidth <= slide.clientWidth,
            +getComputedStyle(slide).getPropertyValue("--fit")]; }"""


@pytest.mark.parametrize("name", ["05_ema_teacher", "10_atria_in_3d"])
def test_slides_move_by_keys_and_each_fits_the_screen(name, browser, tmp_path):
    slides.write([slides.REPO / "notebooks" / f"{name}.ipynb"], tmp_path)
    page = browser.new_page(viewport={"width": 1280, "height": 800})
    asked, failed = [], []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: failed.append(str(error)))
    page.route("**/plotly.min.js", lambda route: route.abort())  # a scene has its size without it
    page.goto((tmp_path / f"{name}.html").as_uri())
    number = page.locator(".slide").count()
    for at in range(1, number + 1):
        assert page.locator("footer [role=status]").inner_text() == f"{at} / {number}"
        for figure in page.locator(".slide.at figure.moving").all():  # with its sliders it has to fit
            figure.locator(".controls :is(input, select)").first.wait_for()
        tall, wide, fit = page.evaluate(ON_SCREEN)
        assert tall and wide and fit >= 0.68, (at, tall, wide, fit)
        page.keyboard.press("ArrowRight")
    assert page.url.endswith(f"#{number}")  # and not past the end
    assert not [error for error in failed if "Plotly" not in error]
    page.keyboard.press("Home")
    page.set_viewport_size({"width": 390, "height": 844})
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert all(url.startswith(("file:", "data:", "blob:")) for url in asked)
    page.close()


# axe takes most of its time for what it has seen already: cells, rows, lines and words of code that hold no element
# which is the first of its kind are taken away. A kind: style, names of attributes, tags and classes up to three above.
ONE_OF_EACH = """() => { const seen = new Set(), first = new Set();
    const name = it => it ? `${it.tagName}.${it.getAttribute("class")}` : "";
    for (const it of document.querySelectorAll("main *")) {
        const up = it.parentElement, higher = [up, up?.parentElement, up?.parentElement?.parentElement];
        const kind = [it, ...higher].map(name).concat(it.getAttribute("style"), it.getAttributeNames()).join(" ");
        if (!seen.has(kind)) { seen.add(kind); first.add(it); }
    }
    for (const part of document.querySelectorAll("main :is(.jp-Cell, tr, li, p, pre span)"))
        if (![part, ...part.querySelectorAll("*")].some(it => first.has(it))) part.remove();
}"""
PAGES = ("index.html", "01_left_atrium_data.html", "README.html", "10_atria_in_3d.html", "GLOSSARY.html")


@pytest.mark.parametrize("scheme, names", [("light", PAGES), ("dark", PAGES[:2])])  # in the dark colours alone differ
def test_axe_finds_nothing_serious(opened, scheme, names):
    for name in names:
        page = opened(name, scheme)
        page.evaluate(ONE_OF_EACH)
        assert serious(page) == [], name


PHONE = """() => [document.documentElement.scrollWidth, [...document.querySelectorAll('main *')].filter(it =>
    it.getBoundingClientRect().right > innerWidth + 1
    && !it.closest('pre, table, math, .jp-RenderedImage, .slices, .scene')).map(it => it.outerHTML.slice(0, 120))]"""

# What scrolls in its own box, tables, formulas, code and printed columns aside.
BOXES = """() => [...document.querySelectorAll('main *')].filter(it => it.scrollWidth > it.clientWidth + 1
    && ['auto', 'scroll', 'hidden'].includes(getComputedStyle(it).overflowX) && !it.matches('table, math')
    && !(it.matches('pre') && it.textContent.trim().includes('\\n'))).map(it => it.outerHTML.slice(0, 120))"""


def test_on_a_phone_no_page_scrolls_sideways_and_at_200_per_cent_no_picture_does(folder, opened):
    names = sorted(path.name for path in Path(folder).glob("*.html"))
    assert {"GLOSSARY.html", "INSTRUCTOR.html", "README.html"} <= set(names)
    for name in names:
        page = opened(name)
        page.set_viewport_size({"width": 390, "height": 844})
        width, beyond = page.evaluate(PHONE)
        assert width <= 390, (name, beyond)
    page = opened("01_left_atrium_data.html")

    page.set_viewport_size({"width": 640, "height": 400})  # a screen of 1280 x 800, enlarged twice
    assert page.evaluate(BOXES) == []
    with_formula = page.locator("li:has(> math)").first
    assert with_formula.evaluate("it => getComputedStyle(it).overflowX") == "visible"  # else its bullet is cut off
