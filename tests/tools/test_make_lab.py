"""What `make lab` sets up asks for no news: the question would lie over the notebook, and an answer would leave the
machine."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parents[2]


def recipe(target):
    """The commands of a target of the Makefile."""
    return re.search(rf"^{re.escape(target)}:.*\n((?:\t.*\n)+)", (REPO / "Makefile").read_text(), re.M)[1]


def test_the_set_up_switches_the_question_about_news_off_where_jupyterlab_reads_it(tmp_path, monkeypatch):
    labextensions = pytest.importorskip("jupyterlab.labextensions")
    from jupyterlab.commands import get_app_dir
    from jupyterlab_server.config import get_page_config

    monkeypatch.setattr("jupyter_core.paths.ENV_CONFIG_PATH", [str(tmp_path / "environment")])
    monkeypatch.setenv("JUPYTER_CONFIG_DIR", str(tmp_path / "user"))
    before = get_page_config([])["disabledExtensions"]
    command = next(line for line in recipe("$(READY)").splitlines() if "labextensions disable" in line)
    app = labextensions.DisableLabExtensionsApp()
    app.initialize(shlex.split(command.split(" disable ")[1]))
    app.run_task()
    (off,) = set(get_page_config([])["disabledExtensions"]) - set(before)  # as JupyterLab puts its page together
    scripts = (Path(get_app_dir()) / "static").glob("jlab_core*.js")
    assert any(f'"{off}"'.encode() in path.read_bytes() for path in scripts), f"this JupyterLab has no plugin {off}"


def test_make_lab_names_no_place_for_news_and_looks_for_no_update():
    labapp = pytest.importorskip("jupyterlab.labapp")
    flags = dict(word[2:].split("=", 1) for word in shlex.split(recipe("lab").replace("\\\n", " ").split("$(if")[0])
                 if word.startswith("--"))
    assert labapp.LabApp.class_traits()["news_url"].from_string(flags["LabApp.news_url"]) is None
    assert flags["LabApp.check_for_updates_class"] == "jupyterlab.NeverCheckForUpdate"


def test_a_copied_environment_is_set_up_anew(tmp_path):
    """It would import the checkout that it was made in."""
    shutil.copy(REPO / "Makefile", tmp_path)
    ready = tmp_path / ".venv/.ready"
    ready.parent.mkdir()
    for said, kept in ((f"{tmp_path}\n", True), ("", True), ("/another/checkout\n", False)):
        ready.write_text(said)
        done = subprocess.run(["make", "-n", "help"], cwd=tmp_path, capture_output=True, text=True)
        assert done.returncode == 0 and ready.exists() == kept
