"""LASeg: the Mean Teacher for semi-supervised segmentation of the left atrium."""

import numpy as np  # the walkthrough's script has its np by a star import

from . import losses, ramps
from .ema import update_ema_variables
from .errors import LasegError
from .sampler import TwoStreamBatchSampler
from .transforms import CenterCrop, RandomCrop, RandomRotFlip, ToTensor
from .vnet import VNet
from .volumes import LAHeart

__version__ = "1.0.0"
__all__ = ["CenterCrop", "LAHeart", "LasegError", "RandomCrop", "RandomRotFlip", "ToTensor",
           "TwoStreamBatchSampler", "VNet", "losses", "np", "ramps", "update_ema_variables"]
