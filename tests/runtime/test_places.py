"""What is found and where is written: in a checkout, installed without one, without a home."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from laseg_lib.runtime import places

REPO = Path(__file__).resolve().parent.parent.parent


def test_in_a_checkout_everything_is_in_its_folders(monkeypatch):
    monkeypatch.delenv("LASEG_HOME", raising=False)
    assert places.checkout() == places.home() == REPO and places.recorded() == REPO / "data" / "recorded"


def test_laseg_home_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("LASEG_HOME", str(tmp_path / "mine"))
    assert places.home() == tmp_path / "mine"


def test_installed_it_writes_to_the_users_folder_and_never_beside_the_library(monkeypatch, tmp_path):
    monkeypatch.delenv("LASEG_HOME", raising=False)
    monkeypatch.setattr(places, "PACKAGE", tmp_path / "site-packages" / "laseg_lib")
    user = tmp_path / "user"
    monkeypatch.setattr(places.platformdirs, "user_data_dir", lambda name, **options: str(user / name))
    assert places.checkout() is None and places.home() == tmp_path / "user" / "laseg" and places.home().is_dir()

    def homeless(*names, **options):
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(places.platformdirs, "user_data_dir", homeless)
    monkeypatch.setattr(places.tempfile, "gettempdir", lambda: str(tmp_path / "temporary"))
    assert places.home().parent == tmp_path / "temporary"


def test_installed_it_reads_the_records_around_the_notebook_or_those_of_the_package(monkeypatch, tmp_path):
    package = tmp_path / "site-packages" / "laseg_lib"
    monkeypatch.setattr(places, "PACKAGE", package)
    (tmp_path / "course" / "notebooks").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "course" / "notebooks")
    assert places.recorded() == package / "recorded"
    (tmp_path / "course" / "data" / "recorded").mkdir(parents=True)
    assert places.recorded() == tmp_path / "course" / "data" / "recorded"


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """The wheel's files in a folder, as pip lays them out."""
    folder = tmp_path_factory.mktemp("wheel")
    for part in ("laseg_lib", "data/recorded"):  # a build leaves files beside what it builds
        shutil.copytree(REPO / part, folder / "source" / part, ignore=shutil.ignore_patterns("__pycache__"))
    for part in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPO / part, folder / "source")
    done = subprocess.run([sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
                           "--wheel-dir", str(folder), str(folder / "source")], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    wheel, = folder.glob("*.whl")
    zipfile.ZipFile(wheel).extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_all_that_the_package_and_the_notebooks_read(installed):
    here = {path.relative_to(REPO) for path in (REPO / "laseg_lib").rglob("*")
            if path.is_file() and "__pycache__" not in path.parts}
    assert here <= {path.relative_to(installed) for path in installed.rglob("*") if path.is_file()}
    recorded = {path.relative_to(REPO / "data" / "recorded") for path in (REPO / "data" / "recorded").rglob("*")
                if path.is_file()}
    assert recorded == {path.relative_to(installed / "laseg_lib" / "recorded")
                        for path in (installed / "laseg_lib" / "recorded").rglob("*") if path.is_file()}


def test_from_the_wheel_records_are_read_and_volumes_are_written_for_the_user(installed, tmp_path):
    """In an empty folder, without a home, the installed files read only."""
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(installed), "LASEG_HOME": str(tmp_path / "home"),
                   "MPLCONFIGDIR": str(tmp_path), "IPYTHONDIR": str(tmp_path)}
    code = ("from laseg_lib.records import read; from laseg_lib.course import volumes_to_look_at; "
            "print(len(read.load_metrics('quick'))); print(read.provenance('half')); print(volumes_to_look_at().root)")
    before = sorted(installed.rglob("*.py"))
    done = subprocess.run([sys.executable, "-B", "-c", code], env=environment, cwd=tmp_path, capture_output=True,
                          text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] != "0" and "record half: 30 runs, complete" in done.stdout
    assert str(tmp_path / "home" / "data") in done.stdout.splitlines()[-1]
    assert sorted(installed.rglob("*.py")) == before and not list(installed.glob("data"))
