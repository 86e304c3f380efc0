"""Fixtures shared by the tests: phantoms, real volumes, and one thread a process."""

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

os.environ.setdefault("GOMP_SPINCOUNT", "1000")  # before torch is imported: see laseg_lib/__init__.py

import matplotlib
import pytest
import torch

REPO = Path(__file__).resolve().parent.parent
# A job in the background, or under nohup, has these ignored; the tests and the processes that they start send them.
for number, handler in ((signal.SIGINT, signal.default_int_handler), (getattr(signal, "SIGHUP", None), signal.SIG_DFL)):
    if number and signal.getsignal(number) == signal.SIG_IGN:
        signal.signal(number, handler)
PACKED = REPO.parent / "shared" / "la2018"    # the developers' copy of the public volumes

# Not through the environment: the notebooks' kernels would inherit it and show no figures.
matplotlib.use("Agg")
torch.set_num_threads(1 if os.environ.get("PYTEST_XDIST_WORKER") else min(2, os.cpu_count() or 1))


def pytest_collection_modifyitems(items):
    """`-m real` and `-m browser` select by what a test uses, so nobody has to remember the marker."""
    for item in items:
        if "real_root" in getattr(item, "fixturenames", ()):
            item.add_marker("real")
        if Path(__file__).parent / "browser" in item.path.parents:
            item.add_marker("browser")


@pytest.fixture(scope="session")
def phantom_root(tmp_path_factory):
    """root_path of eight training and three test phantoms of 48 x 32 x 16 voxels. Read only."""
    from laseg_lib.data.phantom import write_phantoms
    return Path(write_phantoms(tmp_path_factory.mktemp("phantoms"), train=8, test=3, size=(48, 32, 16), seed=0))


@pytest.fixture(scope="session")
def stored_handout(tmp_path_factory):
    """The hand-out of notebooks 01 and 10 and of the prose, written once for all workers.  Read only."""
    import handout
    from filelock import FileLock

    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if os.environ.get("PYTEST_XDIST_WORKER") else base) / "stored_handout"
    with FileLock(f"{folder}.lock"):
        if not folder.exists():
            handout.write([REPO / "notebooks" / name for name in ("01_left_atrium_data.ipynb", "10_atria_in_3d.ipynb")],
                          folder.with_suffix(".partial"))
            folder.with_suffix(".partial").rename(folder)
    return folder


@pytest.fixture(scope="session")
def real_root(tmp_path_factory):
    """root_path of real volumes: LASEG_DATA, or at least four training and three test cases unpacked. Read only."""
    from laseg_lib.data.volumes import find_root
    if os.environ.get("LASEG_DATA"):
        yield Path(find_root(os.environ["LASEG_DATA"]))
        return
    if not (PACKED / "unpack.py").exists():
        pytest.skip("no real volumes: set LASEG_DATA to a folder that `laseg fetch` filled")
    dest = tmp_path_factory.mktemp("la2018")
    for split, limit in {"train": 4, "test": 3}.items():
        subprocess.run([sys.executable, PACKED / "unpack.py", dest, "--split", split, "--limit", str(limit)],
                       check=True)
    for split, limit in {"train": 4, "test": 3}.items():    # the lists name all cases: keep those that are there
        names = (dest / f"{split}.list").read_text().split()
        (dest / f"{split}.list").write_text("\n".join(names[:limit]) + "\n")
    yield Path(find_root(dest))
    shutil.rmtree(dest, ignore_errors=True)
