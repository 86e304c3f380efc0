"""Every setting of a training, under the names of the walkthrough's command line."""

from dataclasses import asdict, dataclass, fields, replace
from typing import get_args

from .errors import LasegError

# What tells the arms of the comparison apart: the labelled and unlabelled volumes of a batch,
# given the batch size and the labelled share of it, and whether consistency counts.
ARMS = {
    "supervised": "labelled volumes only, as many as mean teacher has in a batch",
    "supervised_equal": "labelled volumes only, a full batch of them",
    "lambda0": "mean teacher's batch, but consistency counts nothing (lambda = 0)",
    "MT": "mean teacher",
}

# The walkthrough to the letter, with what the notebooks call its traps.
SEED_RECIPE = {"flip_probability": 1.0, "seed_offsets": True, "teacher_mode": "train", "ema_buffers": "keep"}

# The best mean teacher of some trials on held-out training cases (the last 20 of the public 80, half resolution, 1,000
# iterations): the student sees other intensities, the teacher's sure answers are labels, three of four volumes are
# labelled, and the learning rate starts higher and falls to 0.  Copy-paste made it worse there and is off; the same on
# labels only did no worse (notebook 10).
STRONG_RECIPE = {"has_dropout": False, "base_lr": 0.05, "schedule": "poly", "intensity": 1.0, "labeled_bs": 3,
                 "consistency_type": "pseudo", "consistency": 0.5}


@dataclass
class TrainConfig:
    """One training.  Defaults are the walkthrough's, its plain bugs mended; ``SEED_RECIPE`` brings those back."""

    root_path: str = ""  # the folder that holds the cases; train.list lies beside it
    train_list: str | None = None  # a list of training cases; None: train.list beside root_path
    model: str = "MT"  # one of ARMS
    exp: str = "vnet"
    labelnum: int | None = None  # the first labelnum cases are labelled; None: a fifth of them
    max_samples: int | None = None  # the first max_samples cases are trained on; None: all but the validation cases
    val_num: int | None = None  # the last val_num cases of train.list validate; None: up to 4 of those not trained on
    max_iterations: int = 6000
    batch_size: int = 4  # per process
    labeled_bs: int = 2
    base_lr: float = 0.01
    ema_decay: float = 0.99
    consistency_type: str = "mse"  # or 'kl', or 'pseudo': the teacher's sure answers as labels
    confidence: float = 0.8  # of 'pseudo': how sure of a voxel the teacher must be
    consistency: float = 0.1  # lambda at the end of the ramp
    consistency_rampup: float = 40.0  # length of the ramp, in units of ramp_every iterations
    seed: int = 1337
    deterministic: int = 1
    patch_size: tuple[int, int, int] = (112, 112, 80)
    downsample: int = 1
    n_filters: int = 16
    normalization: str = "batchnorm"
    has_dropout: bool = True
    device: str = "auto"
    precision: str = "auto"
    cache: str = "memory"  # 'none' reads each file each time; 'device' keeps volumes where the network is
    snapshot_path: str | None = None  # None: nothing is written
    val_every: int = 200
    save_every: int = 200
    # The traps: each default is the mended behaviour, or the walkthrough's where that is no bug.
    turns: bool = True  # quarter turns and mirrors of every volume; hearts lie one way only (trap 10)
    flip_probability: float = 0.5  # 1.0: always mirrored
    seed_offsets: bool = False  # True: never the last crop
    teacher_mode: str = "eval"  # 'train': the teacher normalises by its own batch, and drops out
    ema_buffers: str = "average"  # 'keep': BatchNorm's statistics aren't averaged
    noise_on: str = "teacher"  # or 'both', independent noise on either side, or 'none'
    teacher_view: str = "same"  # 'turned': the teacher sees the volume turned and mirrored (views.py)
    # The strong recipe's levers (STRONG_RECIPE): off by default.
    schedule: str = "constant"  # of the learning rate; 'poly': down to 0 at the end (ramps.py)
    affine: float = 0.0  # half the time: up to so many degrees about each axis, and 1.2^(affine/15) of scale
    student_affine: float = 0.0  # the same once more for the student's unlabelled volumes, its targets moved along
    intensity: float = 0.0  # strength of the student's intensity augmentation (intensity.py); 1 is strong
    copy_paste: bool = False  # boxes swapped between the two halves of the batch (mixing.py)
    ramp_every: int = 150  # lambda changes every ramp_every iterations
    sync_norm: bool = False  # several processes: BatchNorm and Dice over the batches of all of them, not of each

    def __post_init__(self):
        for field in fields(self):
            setattr(self, field.name, plain(field, getattr(self, field.name)))
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
        choices = {"model": ARMS, "consistency_type": ("mse", "kl", "pseudo"),
                   "schedule": ("constant", "poly"), "precision": ("auto", "fp32", "bf16"),
                   "cache": ("none", "memory", "device"), "teacher_mode": ("train", "eval"),
                   "ema_buffers": ("keep", "average", "copy"), "noise_on": ("teacher", "both", "none"),
                   "teacher_view": ("same", "turned"),
                   "normalization": ("none", "batchnorm", "groupnorm", "instancenorm")}
        for name, allowed in choices.items():
            if getattr(self, name) not in allowed:
                raise LasegError(f"--{name} must be one of {', '.join(allowed)}; got {getattr(self, name)!r}")
        for name in ("max_iterations", "batch_size", "labeled_bs", "downsample", "n_filters", "val_every",
                     "save_every", "ramp_every"):
            if getattr(self, name) < 1:
                raise LasegError(f"--{name} must be at least 1; got {getattr(self, name)}")
        for name, most in {"base_lr": 1e9, "consistency": 1e9, "consistency_rampup": 1e9, "ema_decay": 1,
                           "flip_probability": 1, "intensity": 10, "affine": 90, "student_affine": 90,
                           "confidence": 1, "seed": 2**63 - 1}.items():
            if not 0 <= getattr(self, name) <= most:
                raise LasegError(f"--{name} must be between 0 and {most}; got {getattr(self, name)}")
        if self.copy_paste and (self.labelled_in_batch + self.unlabeled_bs) % 2:
            raise LasegError("--copy_paste pairs the volumes of a batch: make --batch_size (for --model supervised "
                             "--labeled_bs) even")
        if self.labeled_bs > self.batch_size:
            raise LasegError(f"--labeled_bs {self.labeled_bs} is more than --batch_size {self.batch_size}")
        if any(s < d or s % d for s, d in zip(self.patch_size, (16, 16, 8))):
            near = tuple(max(d, round(s / d) * d) for s, d in zip(self.patch_size, (16, 16, 8)))
            raise LasegError(f"--patch_size {self.patch_size}: V-Net halves W and H four times and D three times, "
                             f"so the sides must be multiples of 16, 16 and 8; {near} would do")
        volumes = {"batchnorm": self.labelled_in_batch + self.unlabeled_bs, "instancenorm": 1,
                   "groupnorm": self.n_filters}.get(self.normalization)
        if self.normalization == "batchnorm" and self.teacher_mode == "train" and self.unlabeled_bs:
            volumes = self.unlabeled_bs
        if volumes == 1 and self.patch_size == (16, 16, 8):
            raise LasegError(f"--patch_size {self.patch_size} leaves one voxel at V-Net's bottom, too few for "
                             f"{self.normalization}: use a larger patch, or a larger batch with batchnorm")

    def with_split(self, n_cases, list_path="train.list", processes=1):
        """This config with labelnum, max_samples and val_num decided for ``n_cases`` names in the list,
        of which each of ``processes`` draws its own share.

        Raises LasegError, with the numbers, when they don't fit together.
        """
        val_num = self.val_num
        if val_num is None:
            spare = n_cases // 10 if self.max_samples is None else n_cases - self.max_samples
            val_num = max(0, min(4, spare))
        max_samples = n_cases - val_num if self.max_samples is None else self.max_samples
        labelnum = max(1, max_samples // 5) if self.labelnum is None else self.labelnum
        if not 0 < max_samples <= n_cases or val_num < 0:
            raise LasegError(f"{list_path} names {n_cases} cases: --max_samples {max_samples} must be 1 to that")
        if max_samples + val_num > n_cases:
            raise LasegError(f"{list_path} names {n_cases} cases, too few for --max_samples {max_samples} and "
                             f"--val_num {val_num}: try --max_samples {n_cases - val_num}, or --val_num 0")
        each = f"a batch on each of {processes} processes" if processes > 1 else "a batch"
        if labelnum > max_samples or max_samples - labelnum < self.unlabeled_bs * processes:
            raise LasegError(f"--labelnum {labelnum} of --max_samples {max_samples} leaves fewer unlabelled cases than "
                             f"the {self.unlabeled_bs} of {each}: lower --labelnum, or use --model supervised")
        if labelnum < self.labelled_in_batch * processes:
            raise LasegError(f"--labelnum {labelnum} is fewer than the {self.labelled_in_batch} labelled volumes of "
                             f"{each}: raise --labelnum, or lower --batch_size and --labeled_bs")
        return replace(self, labelnum=labelnum, max_samples=max_samples, val_num=val_num)

    def to_dict(self):
        """Plain values only, fit for JSON and for a checkpoint."""
        return {name: list(value) if isinstance(value, tuple) else value for name, value in asdict(self).items()}

    @classmethod
    def from_dict(cls, values):
        """The config that ``to_dict`` wrote; unknown names raise LasegError."""
        if not isinstance(values, dict):
            raise LasegError(f"the settings must be a dictionary, not {type(values).__name__}")
        unknown = sorted(map(str, set(values) - {field.name for field in fields(cls)}))
        if unknown:
            raise LasegError(f"unknown settings {', '.join(unknown)}: written by another version of LASeg?")
        return cls(**values)


def plain(field, value):
    """``value`` as the plain int, float, bool, str or tuple that ``field`` of TrainConfig holds, or LasegError."""
    kinds = get_args(field.type) or (field.type,)
    try:
        if value is None and type(None) in kinds:
            return None
        if field.name == "patch_size":
            width, height, depth = (int(side) for side in value if int(side) == side)
            return width, height, depth
        kind = kinds[0]
        if isinstance(value, str) != (kind is str) and not (kind is str and hasattr(value, "__fspath__")):
            raise TypeError
        converted = kind(value)
        if kind is not str and converted != value:  # 2.5 is no int, and NaN is nothing
            raise ValueError
        return converted
    except (TypeError, ValueError, OverflowError) as error:
        want = "three whole numbers" if field.name == "patch_size" else f"of type {kinds[0].__name__}"
        got = " ".join(repr(value).split())[:60]  # a tensor has many lines
        raise LasegError(f"--{field.name} must be {want}; got {got}") from error
