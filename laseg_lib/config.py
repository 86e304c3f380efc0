"""Every setting of a training, under the names of the walkthrough's command line.

What a setting means stands below it; ``laseg train --help`` prints the same sentences.
"""

import ast
import inspect
from dataclasses import asdict, dataclass, fields
from functools import cache
from typing import Literal, get_args, get_origin, get_type_hints

from .errors import LasegError

# What tells the arms of the comparison apart: the labelled and unlabelled volumes of a batch,
# given the batch size and the labelled share of it, and whether consistency counts.
ARMS = {
    "supervised": "labelled volumes only, as many as mean teacher has in a batch",
    "supervised_equal": "labelled volumes only, a full batch of them",
    "lambda0": "mean teacher's batch, but consistency counts nothing (lambda = 0)",
    "MT": "mean teacher",
}

# The library's own methods (``laseg_lib.methods``): what a batch of labelled and unlabelled volumes costs.
METHODS = {
    "mean_teacher": "the student agrees with its teacher",
    "uncertainty": "it agrees where several answers of the teacher do (UA-MT)",
    "copy_paste": "boxes change places between labelled and unlabelled volumes (BCP)",
    "cross_teaching": "two networks are each other's teacher (CPS)",
}

# The walkthrough to the letter, with what the notebooks call its traps.
WALKTHROUGH_RECIPE = {"flip_probability": 1.0, "walkthrough_offsets": True, "teacher_mode": "train",
                      "ema_buffers": "keep"}

# What trials on held-out training cases chose (the last 20 of the public 80, half resolution; the record `trials` has
# those of consistency's form, and what turns cost; earlier ones are no record).  The base first: small rotations and
# scales in place of turns and mirrors, each volume normalised by itself, no dropout, a learning rate that starts
# higher and falls to 0, another scanner's intensities.  On it, consistency: the teacher's sure answers are labels for a
# student that sees the volume moved once more; unlabelled volumes come beside the labelled ones, not in their place.
STRONG_RECIPE = {"has_dropout": False, "base_lr": 0.05, "schedule": "poly", "intensity": 1.0, "turns": False,
                 "affine": 15.0, "student_affine": 15.0, "normalization": "instancenorm", "consistency_type": "pseudo",
                 "consistency": 1.0}

RECIPES = {"right": {}, "walkthrough": WALKTHROUGH_RECIPE, "seed": WALKTHROUGH_RECIPE, "strong": STRONG_RECIPE}

# How files of before this version are read: a setting that has another name now, and one that is gone while it was off.
RENAMED = {"seed_offsets": "walkthrough_offsets"}
RETIRED = {"copy_paste": False, "consistency_on": "unlabelled"}


@dataclass
class TrainConfig:
    """One training.  Defaults are the walkthrough's with its plain bugs mended; ``WALKTHROUGH_RECIPE`` brings those
    back, ``STRONG_RECIPE`` turns on what helps.  Raises LasegError for a value that can't work, with its remedy."""

    root_path: str = ""
    """the folder that holds the cases; train.list and test.list lie beside it"""
    train_list: str | None = None
    """a file that lists the training cases, labelled ones first (default: train.list beside the folder); a
    test.list beside it is this split's own"""
    model: Literal["supervised", "supervised_equal", "lambda0", "MT"] = "MT"
    """the arm: {choices}"""
    method: str = "mean_teacher"
    """how unlabelled volumes are used: {choices}"""
    exp: str = "vnet"
    """a name for the run's folder, when --snapshot_path gives none"""
    labelnum: int | None = None
    """how many of the first cases of train.list are labelled (default: a fifth)"""
    max_samples: int | None = None
    """how many of the first cases of train.list are trained on (default: all but the validation cases)"""
    val_num: int | None = None
    """how many of the last cases of train.list validate (default: up to 4 of those not trained on)"""
    init_weights: str | None = None
    """begin from these weights (the teacher's, where a file holds one): a checkpoint, or atrium, the network that comes
    along; the last layer begins anew where the classes differ"""
    max_iterations: int = 6000
    """steps of the optimiser"""
    batch_size: int = 4
    """volumes in a batch, labelled and unlabelled together; of each process, where there are several"""
    labeled_bs: int = 2
    """labelled volumes in a batch; the others are unlabelled"""
    base_lr: float = 0.01
    """learning rate of SGD (momentum 0.9, weight decay 1e-4)"""
    ema_decay: float = 0.99
    """alpha: how much of the teacher stays from step to step"""
    consistency_type: Literal["mse", "kl", "pseudo"] = "mse"
    """how the two are compared: mse or kl of their softmaxes; pseudo: the teacher's sure answers are labels"""
    confidence: float = 0.8
    """for pseudo: the least probability at which the teacher is sure of a voxel"""
    consistency: float = 0.1
    """lambda, the weight of the consistency loss, at the end of its ramp"""
    consistency_rampup: float = 40.0
    """length of lambda's ramp, in units of --ramp_every iterations"""
    ramp_every: int = 150
    """lambda changes every so many iterations"""
    seed: int = 1337
    """of every random draw"""
    deterministic: int = 1
    """1: cuDNN may not choose its algorithms by timing; 0: it may, which is quicker on a GPU"""
    patch_size: tuple[int, int, int] = (112, 112, 80)
    """sides of the patches in voxels: multiples of 16, 16 and 8"""
    downsample: int = 1
    """average this many voxels to one in each direction (label by majority)"""
    n_filters: int = 16
    """V-Net's channels at full size"""
    normalization: Literal["none", "batchnorm", "groupnorm", "instancenorm"] = "batchnorm"
    """what follows each convolution"""
    has_dropout: bool = True
    """drop half of the channels at V-Net's bottom and before its output, while training"""
    device: str = "auto"
    """auto (a GPU where there is one), cpu, cuda or cuda:N"""
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    """of the networks' arithmetic; auto: bf16 where the hardware has it"""
    cache: Literal["none", "memory", "device"] = "memory"
    """where volumes stay once they are read; none: each is read each time; device: where the network is"""
    snapshot_path: str | None = None
    """where log, history.csv, TensorBoard's log and checkpoints go (default: model/LA_EXP_LABELNUM_labeled/MODEL)"""
    val_every: int = 200
    """validate every so many iterations"""
    save_every: int = 200
    """write the last checkpoint every so many iterations"""
    # The traps: each default is the mended behaviour, or the walkthrough's where that is no bug.
    turns: bool = True
    """turn every volume by quarters and mirror it (hearts lie one way only: trap 10)"""
    flip_probability: float = 0.5
    """how often a volume is mirrored; 1: always, as the walkthrough does (trap 1)"""
    walkthrough_offsets: bool = False
    """never draw a crop's last offset, as the walkthrough's doesn't (trap 2)"""
    teacher_mode: Literal["train", "eval"] = "eval"
    """the teacher's while it gives targets; train: it normalises by its own batch, and drops out (trap 3)"""
    ema_buffers: Literal["keep", "average", "copy"] = "average"
    """what becomes of the teacher's BatchNorm statistics; keep: the student's never reach it (trap 3)"""
    noise_on: Literal["teacher", "both", "none"] = "teacher"
    """whose unlabelled input gets noise; both: independent noise on either side"""
    teacher_view: Literal["same", "turned"] = "same"
    """turned: the teacher sees the volume turned and mirrored, its answer is turned back"""
    # The strong recipe's levers: off by default.
    schedule: Literal["constant", "poly"] = "constant"
    """of the learning rate; poly: down to 0 at the end"""
    affine: float = 0.0
    """every second volume is rotated by up to so many degrees about each axis, and scaled by up to 1.2^(affine/15)"""
    student_affine: float = 0.0
    """the same once more for the student's unlabelled volumes; the teacher's answer is moved along"""
    intensity: float = 0.0
    """strength of the student's changes of brightness, contrast, shading, sharpness and noise; 1 is strong"""
    sync_norm: bool = False
    """several processes: BatchNorm and Dice over the batches of all of them, not of each"""

    def __post_init__(self):
        for field in fields(self):
            setattr(self, field.name, plain(field.name, getattr(self, field.name)))
        self._check()

    @property
    def unlabeled_bs(self):
        """Unlabelled volumes in a batch."""
        return self.batch_size - self.labeled_bs if self.model in ("MT", "lambda0") else 0

    @property
    def labelled_in_batch(self):
        """Labelled volumes in a batch: equal volumes means a full batch of them."""
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
                             f"volume in a batch, which --model {self.model} needs: lower --labeled_bs, or use --model "
                             "supervised")
        if any(s < d or s % d for s, d in zip(self.patch_size, (16, 16, 8))):
            near = tuple(max(d, round(s / d) * d) for s, d in zip(self.patch_size, (16, 16, 8)))
            raise LasegError(f"--patch_size {self.patch_size}: V-Net halves W and H four times and D three times, "
                             f"so the sides must be multiples of 16, 16 and 8; {near} would do")
        volumes = {"batchnorm": self.labelled_in_batch + self.unlabeled_bs, "instancenorm": 1,
                   "groupnorm": self.n_filters}.get(self.normalization)
        if self.normalization == "batchnorm" and self.teacher_mode == "train" and self.unlabeled_bs:
            volumes = self.unlabeled_bs
        if (self.normalization, self.ema_buffers, self.teacher_mode) == ("batchnorm", "keep", "eval"):
            raise LasegError("--ema_buffers keep with --teacher_mode eval: the teacher would normalise for ever by the "
                             "statistics it was born with, and see nothing. Use --ema_buffers average, or, as the "
                             "walkthrough, --teacher_mode train")
        if volumes == 1 and self.patch_size == (16, 16, 8):
            raise LasegError(f"--patch_size {self.patch_size} leaves one voxel at V-Net's bottom, too few for "
                             f"{self.normalization}: use a larger patch, or a larger batch with batchnorm")

    def to_dict(self):
        """Plain values only, fit for JSON and for a checkpoint."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values):
        """The config that ``to_dict`` wrote, by this version or an earlier one; unknown names raise LasegError."""
        if not isinstance(values, dict):
            raise LasegError(f"the settings must be a dictionary, not {type(values).__name__}")
        values = {RENAMED.get(name, name): value for name, value in values.items()}
        for name, off in RETIRED.items():
            if values.pop(name, off) != off:
                raise LasegError(f"--{name} is gone from LASeg, this was made with it: use the version that wrote it")
        unknown = sorted(map(str, set(values) - {field.name for field in fields(cls)}))
        if unknown:
            raise LasegError(f"unknown settings {', '.join(unknown)}: written by another version of LASeg?")
        return cls(**values)


KINDS = get_type_hints(TrainConfig)


def choices(name):
    """The values that a setting may have, where they are few words; otherwise None."""
    return get_args(KINDS[name]) if get_origin(KINDS[name]) is Literal else None


def kind_of(name):
    """(the plain type of a setting: int, float, bool, str or tuple; whether it may be None)."""
    if choices(name):
        return str, False
    kinds = [kind for kind in get_args(KINDS[name]) if kind is not type(None)]
    if get_origin(KINDS[name]) is tuple:
        return tuple, False
    return (kinds[0], True) if kinds else (KINDS[name], False)


@cache
def explanations():
    """{setting: the sentence below it}, from the source of TrainConfig."""
    body = ast.parse(inspect.getsource(TrainConfig)).body[0].body
    said = {setting.target.id: text.value.value for setting, text in zip(body, body[1:])
            if isinstance(setting, ast.AnnAssign) and isinstance(text, ast.Expr)}
    for name, table in (("model", ARMS), ("method", METHODS)):
        said[name] = said[name].format(choices="; ".join(f"{key} = {text}" for key, text in table.items()))
    return said


def plain(name, value):
    """``value`` as the plain int, float, bool, str or tuple that the setting ``name`` holds, or LasegError."""
    kind, optional = kind_of(name)
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
            converted = kind(value)
            if kind is not str and converted != value:  # 2.5 is no int, and NaN is nothing
                raise ValueError
    except (TypeError, ValueError, OverflowError) as error:
        want = "three whole numbers" if kind is tuple else f"of type {kind.__name__}"
        got = " ".join(repr(value).split())[:60]  # a tensor has many lines
        raise LasegError(f"--{name} must be {want}; got {got}") from error
    whole = converted if kind is tuple else (converted,)
    if kind in (int, tuple) and max(map(abs, whole)) >= 2**63:
        raise LasegError(f"--{name} must lie between -2^63 and 2^63, as far as PyTorch counts")
    if choices(name) and converted not in choices(name):
        raise LasegError(f"--{name} must be one of {', '.join(choices(name))}; got {converted!r}")
    return converted
