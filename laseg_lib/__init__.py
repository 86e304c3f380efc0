"""LASeg: the Mean Teacher for semi-supervised segmentation of the left atrium."""

import importlib
import os
import sys

from .runtime import program

if sys.argv[:1] == ["-m"] or os.path.basename(sys.argv[0] if sys.argv else "") in ("laseg", "laseg.exe"):
    program.before_imports()  # this is the command line: Ctrl-C must be answered while the imports below take seconds

# libgomp's threads (PyTorch's on Linux) wait for one another by spinning.  Beside two other trainings on two cores a
# small step took 6.2 s, with this setting 0.2 s (AMD EPYC, torch 2.13.0).  torch reads it when it is imported.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

__version__ = "1.1.0"
_FROM = {"LAHeart": "data.volumes", "update_ema_variables": "ema", "LasegError": "errors", "VNet": "vnet",
         "TwoStreamBatchSampler": "sampler", "losses": "losses", "ramps": "ramps",
         **dict.fromkeys(("CenterCrop", "RandomCrop", "RandomRotFlip", "ToTensor"), "transforms")}
__all__ = [*_FROM, "np"]  # the walkthrough's script gets np by a star import


def __getattr__(name):
    """A name of ``__all__``, imported at its first use: torch takes seconds, and `laseg --help` does not need it."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    module = importlib.import_module("numpy" if name == "np" else f"{__name__}.{_FROM[name]}")
    globals()[name] = getattr(module, name, module)
    return globals()[name]


def __dir__():
    return __all__
