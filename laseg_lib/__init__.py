"""LASeg: the Mean Teacher for semi-supervised segmentation of the left atrium."""

import os
import sys

from .runtime import manners

if sys.argv[:1] == ["-m"] or os.path.basename(sys.argv[0] if sys.argv else "") in ("laseg", "laseg.exe"):
    manners.begin()  # this is the program, not somebody's own: what follows takes seconds to import

# Where other programs want the processor too, libgomp's threads (PyTorch's on Linux) wait for one another by spinning:
# on two cores with two other trainings a small step took 6.2 s, with this 0.2 s (idle: 0.055 and 0.065 s; AMD EPYC,
# torch 2.13.0, 2026-11-24).
# Read when torch is imported, so it stands first; a value from outside wins.
os.environ.setdefault("GOMP_SPINCOUNT", "1000")

import numpy as np  # the walkthrough's script has its np by a star import

from . import losses, ramps
from .data.volumes import LAHeart
from .ema import update_ema_variables
from .errors import LasegError
from .sampler import TwoStreamBatchSampler
from .transforms import CenterCrop, RandomCrop, RandomRotFlip, ToTensor
from .vnet import VNet

__version__ = "1.1.0"
__all__ = ["CenterCrop", "LAHeart", "LasegError", "RandomCrop", "RandomRotFlip", "ToTensor",
           "TwoStreamBatchSampler", "VNet", "losses", "np", "ramps", "update_ema_variables"]
