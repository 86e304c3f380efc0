"""The badges that need the repository's address: left out while it is a placeholder, right once it isn't."""

import json
import os
import re
import stat
import subprocess

import badges
import nbformat
import pytest
import yaml

URL = "https://github.com/somebody/laseg"
README = badges.REPO / "README.md"
NOTEBOOKS = sorted((badges.REPO / "notebooks").glob("*.ipynb"))


def test_while_the_address_is_a_placeholder_there_are_no_badges_and_no_cell():
    """With a real one in pyproject.toml, `python tools/badges.py` writes them, and this test wants them there."""
    url = badges.address()
    text = README.read_text(encoding="utf-8")
    assert badges.with_badges(text, url) == text
    for path in NOTEBOOKS:
        cells = nbformat.read(path, as_version=4).cells
        assert any(cell.get("id") == badges.CELL_ID for cell in cells) == bool(url), path.name
        assert ("mybinder" in cells[0].source) == (bool(url) and path == NOTEBOOKS[0])


def test_with_an_address_every_door_leads_to_it_and_all_can_be_taken_out_again():
    text = README.read_text(encoding="utf-8")
    written = badges.with_badges(text, URL)
    assert written.count("somebody/laseg") == 4 and written.startswith("# LASeg\n\n<!-- badges -->")
    assert badges.with_badges(written, URL) == written and badges.with_badges(written, None) == text
    notebook = nbformat.read(NOTEBOOKS[0], as_version=4)
    before = nbformat.writes(notebook)
    for _ in range(2):
        badges.with_hosted_cell(notebook, URL, first=True)
    assert [cell.get("id") for cell in notebook.cells].count(badges.CELL_ID) == 1
    assert notebook.cells[1].id == badges.CELL_ID and notebook.cells[0].source.count("mybinder") == 1
    nbformat.validate(notebook)
    badges.with_hosted_cell(notebook, None)
    assert nbformat.writes(notebook) == before


def test_the_site_is_off_until_there_is_an_address():
    text = badges.SITE.read_text(encoding="utf-8")
    assert badges.with_site(text, badges.address()) == text
    for url in (URL, None, URL):
        text = badges.with_site(text, url)
        job = yaml.safe_load(text)["jobs"]["site"]
        assert job["if"] == f"${{{{ {str(bool(url)).lower()} }}}}"
        assert any("make handout" in step.get("run", "") for step in job["steps"])
    uploads, = (step for step in job["steps"] if "upload-pages-artifact" in step.get("uses", ""))
    assert uploads["with"]["path"] == "build/handout"


def test_links_are_asked_once_a_week():
    flow = yaml.safe_load((badges.REPO / ".github" / "workflows" / "links.yml").read_text(encoding="utf-8"))
    assert flow[True]["schedule"] and flow["jobs"]["links"]["steps"][-1]["run"].startswith("make links")


@pytest.mark.parametrize("place", ["here", "colab", "kaggle"])
def test_the_cell_acts_on_colab_and_kaggle_only(place, tmp_path, monkeypatch):
    import importlib.util
    import sys
    import types

    ran = []

    def run(command, check):
        ran.append(command)
        if command[0] == "git":
            (tmp_path / "laseg" / "notebooks").mkdir(parents=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", run)
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    monkeypatch.delenv("KAGGLE_KERNEL_RUN_TYPE", raising=False)
    if place == "colab":
        monkeypatch.setitem(sys.modules, "google.colab", types.ModuleType("google.colab"))
    if place == "kaggle":
        monkeypatch.setenv("KAGGLE_KERNEL_RUN_TYPE", "Interactive")
    exec(badges.hosted_cell(URL), {})
    assert [command[0] for command in ran] == ([] if place == "here" else [sys.executable, "git"])
    assert (os.path.basename(os.getcwd()) == "notebooks") == (place != "here")


def test_the_workflow_runs_make_test_on_every_system_and_python():
    text = (badges.REPO / ".github" / "workflows" / "ci.yml").read_text(encoding="utf-8")
    job = yaml.safe_load(text)["jobs"]["test"]
    assert job["strategy"]["matrix"] == {"os": ["ubuntu-latest", "macos-latest", "windows-latest"],
                                         "python": ["3.11", "3.12", "3.13"]}
    assert any(step.get("run", "").startswith("make test") for step in job["steps"])
    assert "index-url" not in text


def test_the_container_and_binder_call_what_there_is():
    text = (badges.REPO / ".devcontainer" / "devcontainer.json").read_text(encoding="utf-8")
    settings = json.loads(re.sub(r"^\s*//.*$", "", text, flags=re.M))
    build = (badges.REPO / "postBuild").read_text(encoding="utf-8")
    for command in (settings["postCreateCommand"], build):
        for tool in re.findall(r"tools/\w+\.py", command):
            assert (badges.REPO / tool).exists()
    if os.name == "posix":
        assert (badges.REPO / "postBuild").stat().st_mode & stat.S_IXUSR
        assert subprocess.run(["bash", "-n", badges.REPO / "postBuild"]).returncode == 0
