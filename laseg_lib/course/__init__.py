"""What only the notebooks use: volumes, trainings on a page, the library's source, the check of the machine."""

import atexit
import contextlib
import inspect
import os
import platform
import shutil
import sys
import tempfile
import textwrap
from collections import namedtuple
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from IPython import get_ipython
from IPython.display import Code, display

from ..config import TrainConfig
from ..data.phantom import FIELD_MM, write_phantoms
from ..data.volumes import SPACING_MM, LAHeart, case_names, find_root
from ..figures.progress import Progress, counted
from ..inference import predict_volume
from ..records.make import find_data
from ..records.plans import COURSE, RECORDS
from ..records.read import HOME
from .passed import progress  # noqa: F401  (laseg_lib.course.progress())

Volumes = namedtuple("Volumes", "root real spacing")  # real: not phantoms; spacing: mm


@dataclass(frozen=True)
class CourseData:
    """The volumes of a notebook, and the settings with which they train in a minute or two on two cores."""

    root: Path  # the folder that holds the cases
    real: bool  # whether LASEG_DATA named real volumes
    settings: dict  # for TrainConfig: patch_size, downsample, n_filters, labelnum, ...

    def config(self, **changes):
        """A TrainConfig on these volumes; ``changes`` win."""
        return TrainConfig(root_path=str(self.root), **{**self.settings, **changes})


def course_data():
    """The real volumes in the folder LASEG_DATA; without this variable phantoms, written if they are missing."""
    if os.environ.get("LASEG_DATA"):
        root = find_root(os.environ["LASEG_DATA"])
        n = len(case_names(root, "train"))
        settings = dict(patch_size=(48, 48, 40), downsample=2, n_filters=8, labelnum=min(8, n // 3),
                        max_samples=max(n - 4, n * 2 // 3), max_iterations=150, consistency_rampup=10, ramp_every=10,
                        val_every=50)
        return CourseData(root, True, settings)
    return CourseData(find_data(RECORDS["quick"].data, progress=on_the_page), False, COURSE)


def on_the_page(names):
    """The progress of write_phantoms on the page, from its third second on: phantoms that exist show nothing."""
    return counted(names, "phantom", patience=2.0)


def volumes_to_look_at():
    """The real volumes in LASEG_DATA; without it twelve phantoms with voxels of 1.25 mm, written if missing."""
    if os.environ.get("LASEG_DATA"):
        return Volumes(find_root(os.environ["LASEG_DATA"]), True, SPACING_MM)
    size = (95, 70, 44)
    root = write_phantoms(HOME / "data" / "course_phantoms", train=10, test=2, size=size, progress=on_the_page)
    return Volumes(root, False, FIELD_MM[0] / size[0])


def spacing_of(shape, real):
    """The three sides of a voxel in mm.  The voxels of a phantom divide its field of view."""
    return np.full(3, SPACING_MM) if real else np.divide(FIELD_MM, shape)


def train(trainer, until=None, callback=None):
    """Train until iteration ``until``, by default the last one, with *iteration n of N* on the page.

    An interrupt stops the cell and Run All; the same call then continues the training.  If the training is already at
    ``until``, a line says so.  ``callback(trainer)`` is called before the first step and after each step.
    """
    config = trainer.config
    end = config.max_iterations if until is None else min(config.max_iterations, until)
    if callback:
        callback(trainer)
    if trainer.iteration >= end:
        print(f"Nothing to train: this training is at iteration {trainer.iteration} of {config.max_iterations}.")
        return trainer.history
    with Progress(end, "iteration") as at, contextlib.redirect_stderr(sys.stdout):  # stderr is red on a page
        def after_step(trainer):
            at(trainer.iteration)
            if callback:
                callback(trainer)

        trainer.run(end - trainer.iteration, callback=after_step, progress=False)
        if trainer.iteration < end:  # the next cells would show a half-done training
            raise KeyboardInterrupt(f"stopped after iteration {trainer.iteration} of {end}")
    return trainer.history


def at_its_end(trainer):
    """Whether a training has reached its last iteration; if not, a line says how to continue it."""
    there, end = trainer.iteration, trainer.config.max_iterations
    if there < end:
        print(f"This training was stopped after iteration {there} of {end}. Run its cell again, then this one.")
    return there >= end


def explain_interrupt(shell, kind, error, trace, tb_offset=None):
    """One line in place of a red traceback.  The cell still counts as failed, so that Run All stops."""
    print(f"Interrupted: {error}." if str(error) else "Interrupted.", "Nothing is broken; the cell can be run again.")


if (shell := get_ipython()) is not None:
    shell.set_custom_exc((KeyboardInterrupt,), explain_interrupt)


def try_on_test(trainer, number=0):
    """A test case that the training never saw: (image, gold label, {'student' | 'teacher': mask}, spacing in mm)."""
    config, real = trainer.config, bool(os.environ.get("LASEG_DATA"))
    sample = LAHeart(config.root_path, "test", downsample=config.downsample)[number]
    masks = {}
    for who in ("student", "teacher"):
        network = getattr(trainer, who)
        was_training = network.training
        masks[who] = predict_volume(network.eval(), sample["image"], config.patch_size, window="fast")[0]
        network.train(was_training)
    spacing = spacing_of(sample["image"].shape, real) * (config.downsample if real else 1)
    return sample["image"], sample["label"], masks, spacing


def scratch_folder(name):
    """A new folder under data/ for this kernel's files; it is removed when the kernel ends."""
    parent = HOME / "data"
    parent.mkdir(parents=True, exist_ok=True)
    # A new name each time, because two kernels may run the same notebook.
    folder = tempfile.TemporaryDirectory(prefix=f"scratch_{name}_", dir=parent, ignore_cleanup_errors=True)
    atexit.register(folder.cleanup)
    return Path(folder.name)


class Listing(Code):
    """Code in a monospaced font: JupyterLab sets a ``pre`` of an output in the font of its text."""

    def _repr_html_(self):
        letters = "font-family: var(--jp-code-font-family, monospace); font-size: var(--jp-code-font-size, 13px)"
        return super()._repr_html_().replace("<pre>", f'<pre style="{letters}">')


def source(*things):
    """Show the code of functions or classes of the library: the very lines that run."""
    for thing in things:
        display(Listing(textwrap.dedent(inspect.getsource(thing)), language="python"))


def check_machine():
    """Print a line [OK], [--] or [FAIL] for each thing the course needs or can use."""
    import h5py
    import ipywidgets
    import matplotlib
    import plotly

    from ..runtime.machine import has_fast_bf16, pick_device

    def line(good, text, mark="FAIL"):
        print(f"[{'OK' if good else mark}]".ljust(7) + text)

    version = tuple(int(part) for part in torch.__version__.split("+")[0].split(".")[:2])
    line((3, 11) <= tuple(map(int, platform.python_version_tuple()[:2])), f"Python {platform.python_version()}")
    line(version >= (2, 6) and not torch.__version__.startswith("2.9.0"), f"PyTorch {torch.__version__}")
    for module in (h5py, ipywidgets, matplotlib, plotly):
        line(True, f"{module.__name__} {module.__version__}")
    device = pick_device("auto")
    gpu = torch.cuda.get_device_name(device) if device.type == "cuda" else "no GPU: the course is made for this"
    line(device.type == "cuda", gpu, mark="--")
    line(has_fast_bf16(device), "bfloat16 in hardware (faster training, coarser rounding)", mark="--")
    line(os.cpu_count() >= 2, f"{os.cpu_count()} processor cores", mark="--")
    (HOME / "data").mkdir(parents=True, exist_ok=True)
    free = shutil.disk_usage(HOME).free / 1e9
    line(free > 1, f"{free:.0f} GB free on the disk")
    line(os.access(HOME / "data", os.W_OK), "the data folder can be written")
