"""Every setting of a training, under the names of the walkthrough's command line.

The text below a setting explains it; ``laseg train --help`` prints the same text.
"""

import ast
import inspect
import os
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Literal, get_args, get_origin, get_type_hints

from .errors import LasegError

# The arms of the comparison differ in the volumes of a batch, and in the weight of the consistency loss.
ARMS = {
    "supervised": "labelled volumes only, as many as a batch of mean teacher has",
    "supervised_equal": "labelled volumes only, a full batch",
    "lambda0": "mean teacher's batch without consistency (lambda = 0)",
    "MT": "mean teacher",
}

# The library's own methods (``laseg_lib.methods``): the loss of a batch of labelled and unlabelled volumes.
METHODS = {
    "mean_teacher": "the student agrees with its teacher",
    "uncertainty": "the student agrees where several teacher answers have a mean of low entropy (UA-MT)",
    "copy_paste": "labelled and unlabelled volumes exchange boxes (BCP)",
    "cross_teaching": "two networks teach each other (CPS)",
}

# The walkthrough exactly as it is, with the bugs that the notebooks call traps.
WALKTHROUGH_RECIPE = {"flip_probability": 1.0, "walkthrough_offsets": True, "teacher_mode": "train",
                      "ema_buffers": "keep"}

# Chosen by trials on held-out training cases (the last 20 of the public 80, half resolution).  The record `trials` has
# those about the form of the consistency loss and about turns; earlier trials were not recorded.
STRONG_RECIPE = {"has_dropout": False, "base_lr": 0.05, "schedule": "poly", "intensity": 1.0, "turns": False,
                 "affine": 15.0, "student_affine": 15.0, "normalization": "instancenorm", "consistency_type": "pseudo",
                 "consistency": 1.0}

RECIPES = {"right": {}, "walkthrough": WALKTHROUGH_RECIPE, "seed": WALKTHROUGH_RECIPE, "strong": STRONG_RECIPE}

# For files of earlier versions: settings with another name today; settings that are gone, with the value for "off".
RENAMED = {"seed_offsets": "walkthrough_offsets"}
RETIRED = {"copy_paste": False, "consistency_on": "unlabelled"}


@dataclass
class TrainConfig:
    """The settings of one training.  Defaults are the walkthrough's with its plain bugs fixed; see ``RECIPES`` for
    others.  Raises LasegError for a value that can't work."""

    root_path: str = ""
    """the folder that holds the cases; train.list and test.list lie beside it"""
    train_list: str | None = None
    """a file that lists the training cases, labelled ones first (default: train.list beside the folder); if a
    test.list lies beside this file, it belongs to the same split"""
    model: Literal["supervised", "supervised_equal", "lambda0", "MT"] = "MT"
    """the arm: {choices}"""
    method: str = "mean_teacher"
    """how unlabelled volumes are used: {choices}"""
    exp: str = "vnet"
    """a name for the run's folder, if --snapshot_path is not given"""
    labelnum: int | None = None
    """how many of the first cases of train.list are labelled (default: a fifth)"""
    max_samples: int | None = None
    """how many of the first cases of train.list are used for training (default: all but the validation cases)"""
    val_num: int | None = None
    """how many of the last cases of train.list are used for validation (default: up to 4 that are not trained on)"""
    init_weights: str | None = None
    """begin from these weights: a checkpoint (its teacher, if it has one), or atrium, the included network; if
    the classes differ, the last layer begins anew"""
    max_iterations: int = 6000
    """steps of the optimiser"""
    batch_size: int = 4
    """volumes in a batch, labelled and unlabelled together; with several processes, in the batch of each"""
    labeled_bs: int = 2
    """labelled volumes in a batch; the others are unlabelled"""
    base_lr: float = 0.01
    """learning rate of SGD (momentum 0.9, weight decay 1e-4)"""
    ema_decay: float = 0.99
    """alpha: the share of the teacher's weights that is kept at each step"""
    consistency_type: Literal["mse", "kl", "pseudo"] = "mse"
    """how student and teacher are compared: mse or kl of their softmaxes; pseudo: the teacher's classes are
    labels where they are probable enough"""
    confidence: float = 0.8
    """for pseudo: the lowest probability at which the teacher's class of a voxel counts as a label"""
    consistency: float = 0.1
    """lambda, the weight of the consistency loss, at the end of its ramp"""
    consistency_rampup: float = 40.0
    """length of lambda's ramp, in units of --ramp_every iterations"""
    ramp_every: int = 150
    """number of iterations after which lambda changes"""
    seed: int = 1337
    """the random seed"""
    deterministic: int = 1
    """1: cuDNN always takes the same algorithms; 0: it chooses them by timing, which is faster on a GPU"""
    patch_size: tuple[int, int, int] = (112, 112, 80)
    """sides of the patches in voxels: multiples of 16, 16 and 8"""
    downsample: int = 1
    """average this many voxels to one along each axis (the label by majority)"""
    n_filters: int = 16
    """V-Net's channels at full size"""
    normalization: Literal["none", "batchnorm", "groupnorm", "instancenorm"] = "batchnorm"
    """the normalisation after each convolution"""
    has_dropout: bool = True
    """in training, drop half of the channels at V-Net's bottom and before its output"""
    device: str = "auto"
    """auto (a GPU if there is one), cpu, cuda or cuda:N"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """precision of the networks; auto: bf16 if the hardware supports it"""
    cache: Literal["none", "memory", "device"] = "memory"
    """where volumes are kept once read; none: they are read each time; device: on the network's device"""
    snapshot_path: str | None = None
    """folder for log, history.csv, TensorBoard's log and checkpoints (default: model/LA_EXP_LABELNUM_labeled/MODEL)"""
    val_every: int = 200
    """number of iterations between two validations"""
    save_every: int = 200
    """number of iterations between two writings of the last checkpoint"""
    # The traps: each default is the corrected behaviour, or the walkthrough's if that is no bug.
    turns: bool = True
    """turn every volume by multiples of 90 degrees, and mirror it (trap 10: hearts have one orientation only)"""
    flip_probability: float = 0.5
    """probability that a volume is mirrored; 1: always, as in the walkthrough (trap 1)"""
    walkthrough_offsets: bool = False
    """never draw a crop's last offset, as in the walkthrough (trap 2)"""
    teacher_mode: Literal["train", "eval"] = "eval"
    """the teacher's mode for its targets; train: with its batch's statistics, and with dropout (trap 3)"""
    ema_buffers: Literal["keep", "average", "copy"] = "average"
    """the teacher's BatchNorm statistics: average or copy the student's; keep: they never change (trap 3)"""
    noise_on: Literal["teacher", "both", "none"] = "teacher"
    """whose unlabelled input gets noise; both: with independent noise for each"""
    teacher_view: Literal["same", "turned"] = "same"
    """turned: the teacher sees the volume turned and mirrored, and its answer is turned back"""
    # The strong recipe's settings: off by default.
    schedule: Literal["constant", "poly"] = "constant"
    """schedule of the learning rate; poly: it falls to 0 at the end"""
    affine: float = 0.0
    """with probability 1/2, rotate a volume by up to so many degrees about each axis, and scale it by up to
    1.2^(affine/15)"""
    student_affine: float = 0.0
    """degrees of a second rotation and scaling, always applied, of the student's unlabelled volumes and targets"""
    intensity: float = 0.0
    """strength of random brightness, contrast, shading, sharpness and noise in the student's input; 1 is strong"""
    sync_norm: bool = False
    """with several processes: BatchNorm and Dice over the batches of all, not over each one's"""

    def __post_init__(self):
        for field in fields(self):
            setattr(self, field.name, convert_setting(field.name, getattr(self, field.name)))
        self._check()

    @property
    def unlabeled_bs(self):
        """Unlabelled volumes in a batch."""
        return self.batch_size - self.labeled_bs if self.model in ("MT", "lambda0") else 0

    @property
    def labelled_in_batch(self):
        """Labelled volumes in a batch; for ``supervised_equal`` a full batch."""
        return self.batch_size if self.model == "supervised_equal" else self.labeled_bs

    def _check(self):
        for name in ("max_iterations", "batch_size", "labeled_bs", "downsample", "n_filters", "val_every",
                     "save_every", "ramp_every"):
            if getattr(self, name) < 1:
                raise LasegError(f"--{name} must be at least 1; got {getattr(self, name)}")
        for name, most in {"base_lr": 1e9, "consistency": 1e9, "consistency_rampup": 1e9, "ema_decay": 1,
                           "flip_probability": 1, "confidence": 1, "intensity": 10, "affine": 90, "student_affine": 90,
                           "seed": 2**63 - 1}.items():
            if not 0 <= getattr(self, name) <= most:
                raise LasegError(f"--{name} must be between 0 and {most}; got {getattr(self, name)}")
        if self.labeled_bs > self.batch_size:
            raise LasegError(f"--labeled_bs {self.labeled_bs} is more than --batch_size {self.batch_size}")
        if self.model in ("MT", "lambda0") and not self.unlabeled_bs:
            raise LasegError(f"--labeled_bs {self.labeled_bs} of --batch_size {self.batch_size} leaves no unlabelled "
                             f"volume in a batch, and --model {self.model} needs one: lower --labeled_bs, or use "
                             "--model supervised")
        if any(s < d or s % d for s, d in zip(self.patch_size, (16, 16, 8))):
            near = tuple(max(d, round(s / d) * d) for s, d in zip(self.patch_size, (16, 16, 8)))
            raise LasegError(f"--patch_size {self.patch_size}: V-Net halves W and H four times and D three times, "
                             f"so the sides must be multiples of 16, 16 and 8; {near} is possible")
        volumes = {"batchnorm": self.labelled_in_batch + self.unlabeled_bs, "instancenorm": 1,
                   "groupnorm": self.n_filters}.get(self.normalization)
        if self.normalization == "batchnorm" and self.teacher_mode == "train" and self.unlabeled_bs:
            volumes = self.unlabeled_bs
        if (self.normalization, self.ema_buffers, self.teacher_mode) == ("batchnorm", "keep", "eval"):
            raise LasegError("--ema_buffers keep with --teacher_mode eval: the teacher would always normalise with the "
                             "statistics of an untrained network. Use --ema_buffers average, or, as the walkthrough, "
                             "--teacher_mode train")
        if volumes == 1 and self.patch_size == (16, 16, 8):
            raise LasegError(f"--patch_size {self.patch_size} leaves one voxel at V-Net's bottom, too few for "
                             f"{self.normalization}: use a larger patch, or a larger batch with batchnorm")

    def to_dict(self):
        """The settings as plain values, for JSON and checkpoints."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values):
        """The inverse of ``to_dict``, also for earlier versions' files; unknown names raise LasegError."""
        if not isinstance(values, dict):
            raise LasegError(f"the settings must be a dictionary, not {type(values).__name__}")
        values = {RENAMED.get(name, name): value for name, value in values.items()}
        for name, off in RETIRED.items():
            if values.pop(name, off) != off:
                raise LasegError(f"--{name} no longer exists, and these settings use it: use the version of LASeg that "
                                 "wrote them")
        unknown = sorted(map(str, set(values) - {field.name for field in fields(cls)}))
        if unknown:
            raise LasegError(f"unknown settings {', '.join(unknown)}; use the LASeg version that wrote them")
        return cls(**values)


SETTING_TYPES = get_type_hints(TrainConfig)


def choices(name):
    """The values that a setting may have, if it is a choice of words; otherwise None."""
    return get_args(SETTING_TYPES[name]) if get_origin(SETTING_TYPES[name]) is Literal else None


def type_of_setting(name):
    """(the plain type of a setting: int, float, bool, str or tuple; whether it may be None)."""
    if choices(name):
        return str, False
    kinds = [kind for kind in get_args(SETTING_TYPES[name]) if kind is not type(None)]
    if get_origin(SETTING_TYPES[name]) is tuple:
        return tuple, False
    return (kinds[0], True) if kinds else (SETTING_TYPES[name], False)


@cache
def explanations():
    """{setting: the text below it}, from the source of TrainConfig."""
    body = ast.parse(inspect.getsource(TrainConfig)).body[0].body
    said = {setting.target.id: text.value.value for setting, text in zip(body, body[1:])
            if isinstance(setting, ast.AnnAssign) and isinstance(text, ast.Expr)}
    for name, table in (("model", ARMS), ("method", METHODS)):
        said[name] = said[name].format(choices="; ".join(f"{key} = {text}" for key, text in table.items()))
    return said


def convert_setting(name, value):
    """``value`` as the plain int, float, bool, str or tuple that the setting ``name`` holds, or LasegError."""
    kind, optional = type_of_setting(name)
    try:
        if value is None and optional:
            return None
        if kind is tuple:
            converted = tuple(int(side) for side in value if int(side) == side)
            if len(converted) != 3:
                raise ValueError
        else:
            if isinstance(value, str) != (kind is str) and not (kind is str and hasattr(value, "__fspath__")):
                raise TypeError
            converted = str(os.path.expanduser(value)) if kind is str else kind(value)
            if kind is not str and converted != value:  # 2.5 is no int, and NaN is not equal to itself
                raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        want = "three whole numbers" if kind is tuple else f"of type {kind.__name__}"
        got = " ".join(repr(value).split())[:60]  # a tensor has many lines
        raise LasegError(f"--{name} must be {want}; got {got}") from error
    whole = converted if kind is tuple else (converted,)
    if kind in (int, tuple) and max(map(abs, whole)) >= 2**63:
        raise LasegError(f"--{name} must lie between -2^63 and 2^63, the range of PyTorch's integers")
    if choices(name) and converted not in choices(name):
        raise LasegError(f"--{name} must be one of {', '.join(choices(name))}; got {converted!r}")
    return converted
