"""The folders for reading recorded runs and for writing files, in a checkout or with an installed package."""

import os
import tempfile
from pathlib import Path

import platformdirs

PACKAGE = Path(__file__).resolve().parent.parent


def checkout():
    """The repository that holds this package, or None if it is installed without one."""
    root = PACKAGE.parent
    return root if all((root / folder).is_dir() for folder in ("notebooks", "data/recorded")) else None


def home():
    """The folder for volumes, runs and scratch files: ``LASEG_HOME``; else the checkout; else the platform's folder for
    the user's data; if that can't be written, a folder among the system's temporary files.  Never beside the library.
    """
    if os.environ.get("LASEG_HOME"):
        return Path(os.environ["LASEG_HOME"]).expanduser().absolute()
    if checkout() and os.access(checkout(), os.W_OK):
        return checkout()
    try:
        folder = Path(platformdirs.user_data_dir("laseg", appauthor=False))
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read only, or a user without a home
        folder = None
    if folder is None or not os.access(folder, os.W_OK):
        folder = Path(tempfile.gettempdir()) / f"laseg-{os.getuid() if hasattr(os, 'getuid') else 'user'}"
    return folder


def recorded():
    """The folder of the recorded runs: the checkout's, else a data/recorded in the working folder or above it, else the
    package's."""
    around = [folder / "data" / "recorded" for folder in (Path.cwd(), *Path.cwd().parents)]
    candidates = [checkout() / "data" / "recorded"] if checkout() else around
    return next((folder for folder in candidates if folder.is_dir()), PACKAGE / "recorded")


def weights(name):
    """The file of an included network: 'atrium' is the only one."""
    return PACKAGE / "weights" / f"{name}.safetensors"


def slurm_script():
    """The job script for a cluster, as text."""
    return (PACKAGE / "runtime" / "slurm.sh").read_text(encoding="utf-8")
