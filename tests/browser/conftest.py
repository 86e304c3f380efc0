"""JupyterLab as `make lab` starts it, on a copy of the course, and a Chromium that can reach nothing else."""

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from lab_page import LabPage

REPO = Path(__file__).resolve().parents[2]
SHOTS = REPO / "build" / "browser"
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
# WebGL in software; no name but loopback's is resolved, whatever asks for it.
FLAGS = ["--no-sandbox", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--no-proxy-server",
         "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"]
LOOPBACK = {"127.0.0.1", "localhost", None}    # None: data: and about: have no host, blob: is of the page

# nbval trains in full and compares; here the pages are looked at, and trainings take a fifth of their iterations:
# those that ask the course for their settings, and those that say how long themselves.
LONG = {"04_losses": {"range(75)": "range(15)", "range(1, 76)": "range(1, 16)"},
        "07_train_mean_teacher": {"data.real else 300": "data.real else 60"},
        "14_your_own_scans": {"ramp_every=10, max_iterations=90": "ramp_every=10, max_iterations=24",
                              "  max_iterations=90": "  max_iterations=18"}}
SHORTER = """

def _config(self, _whole=CourseData.config, **changes):
    config = _whole(self, **changes)
    config.max_iterations, config.val_every = -(-config.max_iterations // 5), -(-config.val_every // 5)
    return config


CourseData.config = _config
"""


@pytest.fixture(scope="session")
def project(tmp_path_factory):
    """A copy of what the course needs, so that neither the checkout nor nbval's kernels meet these."""
    home = tmp_path_factory.mktemp("course")
    for folder in ("notebooks", "laseg_lib"):
        shutil.copytree(REPO / folder, home / folder,
                        ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
    with open(home / "laseg_lib" / "course" / "__init__.py", "a") as course:
        course.write(SHORTER)
    for name, fifths in LONG.items():
        path = home / "notebooks" / f"{name}.ipynb"
        text = path.read_text(encoding="utf-8")
        for whole, fifth in fifths.items():
            assert text.count(whole) == 1, f"{name} says otherwise now how long it trains"
            text = text.replace(whole, fifth)
        path.write_text(text, encoding="utf-8")
    (home / "data").mkdir()
    for shared in ("recorded", "README.md"):
        (home / "data" / shared).symlink_to(REPO / "data" / shared)
    return home


@pytest.fixture(scope="session")
def lab(project, tmp_path_factory):
    """The address of a JupyterLab with the flags of `make lab`, but any free port and no token."""
    if not CHROMIUM:
        pytest.skip("no Chromium on the PATH: `apt install chromium`, or your system's chromium or google-chrome")
    with running_lab(project, tmp_path_factory.mktemp("jupyter")) as address:
        yield address


@contextmanager
def running_lab(project, own):
    """JupyterLab on the folder ``project``, with what it writes for itself in ``own``; gives its address."""
    own.mkdir(exist_ok=True)
    folders = ("JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR", "JUPYTER_RUNTIME_DIR", "JUPYTERLAB_SETTINGS_DIR",
               "JUPYTERLAB_WORKSPACES_DIR", "IPYTHONDIR")
    environment = {**os.environ, "PYTHONPATH": str(project)} | {name: str(own / name.lower()) for name in folders}
    environment.pop("LASEG_DATA", None)
    # The question about Jupyter news would lie over the outputs.
    page_config = own / "jupyter_config_dir" / "labconfig" / "page_config.json"
    page_config.parent.mkdir(parents=True, exist_ok=True)
    page_config.write_text('{"disabledExtensions": {"@jupyterlab/apputils-extension:announcements": true}}')
    command = [sys.executable, "-m", "jupyterlab", *make_lab_flags(project), "--allow-root", "--no-browser", "--port=0",
               "--IdentityProvider.token=", "--LabApp.expose_app_in_browser=True",
               "--JupyterNotebookApp.expose_app_in_browser=True"]
    with open(own / "log", "w") as log:
        server = subprocess.Popen(command, cwd=project, env=environment, stdout=log, stderr=subprocess.STDOUT)
    try:
        yield server_address(own / "jupyter_runtime_dir", server, own / "log")
    finally:
        server.terminate()    # it ends its kernels
        server.wait(60)


def make_lab_flags(project):
    """The flags of `make lab`, read from the Makefile."""
    recipe = re.search(r"^lab:.*\n((?:\t.*\n)+)", (REPO / "Makefile").read_text(), re.M)[1].replace("\\\n", " ")
    recipe = recipe.replace("$(CURDIR)", str(project)).split("$(if")[0]
    return [word for word in shlex.split(recipe) if word.startswith("--")]


def server_address(runtime, server, log, patience=180):
    for _ in range(patience * 10):
        for path in runtime.glob("jpserver-*.json"):
            try:
                return json.loads(path.read_text())["url"]
            except ValueError:
                pass    # not yet written to its end
        if server.poll() is not None:
            break
        time.sleep(0.1)
    raise RuntimeError(f"JupyterLab does not start:\n{log.read_text()[-3000:]}")


@pytest.fixture(scope="session")
def chromium(lab):
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def page(lab, chromium, request):
    """A LabPage at 1280 x 800.  At its end: no page error, no console error, and nothing was asked for off loopback."""
    context = chromium.new_context(viewport={"width": 1280, "height": 800})
    view = LabPage(context.new_page(), lab)
    context.on("request", lambda asked: view.left.append(asked.url) if leaves(asked.url) else None)
    view.page.on("websocket", lambda socket: view.left.append(socket.url) if leaves(socket.url) else None)
    view.page.on("pageerror", lambda error: view.errors.append(f"page error: {error}"))
    view.page.on("console", lambda said: view.errors.append(f"console: {said.text} {said.location}")
                 if said.type == "error" else None)
    yield view
    try:
        assert not view.left, "requests that leave this machine"
        assert not [error for error in view.errors if not (view.not_ours and re.search(view.not_ours, error))]
    except AssertionError:
        request.node.failed_in_browser = True
        raise
    finally:
        if getattr(request.node, "failed_in_browser", False):
            SHOTS.mkdir(parents=True, exist_ok=True)
            view.page.screenshot(path=SHOTS / (re.sub(r"[^\w-]+", "-", request.node.name) + ".png"))
        view.shut_down()
        context.close()


def leaves(url):
    return urlsplit(url).hostname not in LOOPBACK


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item, call):
    report = yield
    if report.when == "call" and report.failed:
        item.failed_in_browser = True    # the page fixture takes the picture
    return report
