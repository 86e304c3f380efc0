"""The plan of each record: arms, labels, seeds, volumes and settings."""

from pathlib import Path
from typing import NamedTuple

from ..config import STRONG_RECIPE

# The arms' names on a page, in the order in which they are shown.
ARM_NAMES = {
    "supervised": "supervised (batch 2)",
    "supervised_equal": "supervised, equal volumes (batch 4)",
    "lambda0": "no consistency (batch 2+2)",
    "MT": "mean teacher (batch 2+2)",
    "strong": "strong",
    "strong_supervised": "strong, labels only",
    "labels_only": "labels only",
    "company": "unlabelled company, no consistency",
    "self_training": "self-training",
    "mse": "mean teacher, mse",
    "uncertainty": "uncertainty mask",
    "copy_paste": "copy-paste",
    "cross_teaching": "cross teaching",
    "nnunet": "labels only, nnU-Net's augmentation",
}
ARMS = ("supervised", "supervised_equal", "lambda0", "MT")
# Methods beside `strong`, on the same base: the settings that differ.  Weights, thresholds and boxes are the
# papers' (copy-paste: alpha 0.5, a box of 2/3; cross teaching: lambda 1.5; uncertainty: 3/4 to all of ln 2).
# Only lambda = 4 of mse and uncertainty is our own (UA-MT has 0.1).  It was tried once, for mse, with two
# seeds, on held-out training cases.  mse and uncertainty move the student's view, as `strong` does.  The
# second view is the pasted box in copy-paste, and the other network in cross teaching.
METHOD_ARMS = {
    "mse": {"consistency_type": "mse", "consistency": 4.0, "student_affine": 15.0},
    "uncertainty": {"method": "uncertainty", "consistency_type": "mse", "consistency": 4.0, "student_affine": 15.0},
    "copy_paste": {"method": "copy_paste", "consistency": 0.5, "student_affine": 0.0},
    "cross_teaching": {"method": "cross_teaching", "consistency": 1.5, "student_affine": 0.0},
}
MODELS = {"strong": "MT", "strong_supervised": "supervised_equal", "labels_only": "supervised",
          "company": "lambda0", "self_training": "supervised_equal",
          **dict.fromkeys((*METHOD_ARMS, "nnunet"), "MT")}  # arms that are a model with other settings

# The strong recipe of version 1.0, with which the records `half` and `levers` were made.
STRONG_1_0 = {"has_dropout": False, "base_lr": 0.05, "schedule": "poly", "intensity": 1.0, "labeled_bs": 3,
              "consistency_type": "pseudo", "consistency": 0.5}

HALF = dict(patch_size=(48, 48, 40), downsample=2, n_filters=8, max_samples=76, val_num=4, max_iterations=1500,
            consistency_rampup=10, val_every=250)
STRONG_HALF = {**HALF, **STRONG_1_0, "consistency_rampup": 7.5}  # full lambda after 3/4 of the training
FULL = dict(max_samples=76, val_num=4, cache="device", val_every=1000, deterministic=0)  # notebook 07 on a GPU
FULL_80 = {**FULL, "max_samples": 80, "val_num": 0, "val_every": 10**9, "save_every": 1000}
STRONG_FULL = {**FULL_80, **STRONG_RECIPE, "consistency_rampup": 30.0}

# Chosen on phantom and training seeds from 100 on, never on recorded seeds.  The volumes are small, so that two cores
# make 500 iterations in under a minute.  Patients and scanners differ much and four cases are labelled, so that a gain
# is possible.  There is no dropout: with four filters it costs more than it gives.
PHANTOMS = dict(train=44, test=20, size=(32, 32, 16), variability=1.5, scanner=1.5)
QUICK = dict(patch_size=(32, 32, 16), n_filters=4, has_dropout=False, max_samples=40, val_num=4, max_iterations=500,
             base_lr=0.02, ema_decay=0.97, consistency=10.0, consistency_rampup=20, ramp_every=10,
             teacher_view="turned", teacher_mode="train", val_every=50, save_every=100, precision="fp32")
# For notebook 13, which trains a reader's own method three times in two minutes.
SHORT = {**QUICK, "max_iterations": 200, "consistency_rampup": 8, "val_every": 10**9}
VARIANTS = {  # the settings that a variant changes
    "": {},
    "instancenorm": {"normalization": "instancenorm"},  # unlabelled volumes act through the loss alone
    "noise": {"teacher_view": "same"},  # the walkthrough's consistency: the two views differ by noise alone
    "instancenorm_noise": {"normalization": "instancenorm", "teacher_view": "same"},
}

# The strong recipe unchanged on phantoms, with two labels, on volumes as small as above.  The teacher normalises with
# its batch's statistics, as above: in so short a training BatchNorm's averaged statistics give useless targets (tried
# on seeds 100 and 101 only, also with mse and a smaller lambda).
TWO_LABELS = {**QUICK, **STRONG_RECIPE, "teacher_view": "same", "consistency_rampup": 7.5, "ramp_every": 50,
              "val_num": 0, "val_every": 10**9}

LEVERS = {  # parts of the strong recipe, one at a time, not tuned on phantoms
    "pseudo": {"consistency_type": "pseudo", "consistency": STRONG_1_0["consistency"]},
    "intensity": {"intensity": STRONG_1_0["intensity"]},
    "poly": {"schedule": "poly"},
}
ALL_LEVERS = {name: value for lever in LEVERS.values() for name, value in lever.items()}
QUICK_ARMS = [*((arm, 4, "") for arm in ARMS),
              *((arm, 4, "instancenorm") for arm in ("supervised", "supervised_equal", "MT")),
              ("supervised_equal", 40, ""), ("supervised_equal", 40, "instancenorm"),  # all labelled: the ceiling
              ("MT", 4, "noise"), ("MT", 4, "instancenorm_noise")]


# All choices are made here: scored at full size on the last 20 cases of the public train.list, trained on (some of) the
# first 60, which the seed shuffles (seed 100: the list's order).  No test case is used.
TRIAL = dict(patch_size=(48, 48, 40), downsample=2, n_filters=8, max_samples=60, val_num=0, max_iterations=1500,
             has_dropout=False, base_lr=0.05, schedule="poly", intensity=1.0, turns=False, affine=15.0,
             normalization="instancenorm", consistency_type="pseudo", consistency_rampup=7.5, val_every=10**9,
             precision="fp32", cache="device")  # float32 on every machine, as in the first of them
TRIAL_BATCH = {2: dict(labeled_bs=2, batch_size=4, consistency=1.0),
               4: dict(labeled_bs=4, batch_size=8, consistency=0.5)}
LONG = {"max_iterations": 3000, "consistency_rampup": 15.0}  # twice as long, full lambda after 3/4 as before
TRIAL_VARIANTS = {  # the forms of the consistency that were tried beside the one above
    "": {},
    "view": {"student_affine": 15.0},  # the student's unlabelled volumes and their targets are moved once more
    "slow": {"ema_decay": 0.999},
    "all": {"confidence": 0.5},  # every voxel of the teacher's answer counts
    "view_long": {"student_affine": 15.0, **LONG},
    "long": LONG,
    "two": dict(labeled_bs=2, batch_size=4, consistency=1.0),  # four labels in the batch of two
    "turned": {"turns": True, "affine": 0.0},  # the base of version 1.0, with turns and mirrors
    "gentle": {"affine": 7.5},  # half the range of small rotations and scales, and twice
    "wide": {"affine": 30.0},
    "batchnorm": {"normalization": "batchnorm"},
    "view_two": dict(labeled_bs=2, batch_size=4, consistency=1.0, student_affine=15.0),
}

# Shared by the strong recipe's trainings in `labels` and `public`: half resolution, full lambda after 3/4 (in steps of
# 150 iterations, so from 1,200 on).  float32 on every machine, so that runs on different machines differ in their
# hardware alone.  The cache changes no number.
STRONG_SMALL = {**STRONG_RECIPE, **dict(patch_size=(48, 48, 40), downsample=2, n_filters=8, max_samples=80, val_num=0,
                                        max_iterations=1500, consistency_rampup=7.5, val_every=10**9,
                                        precision="fp32", cache="device")}
PUBLIC, PUBLIC_SEEDS = {**STRONG_SMALL, "n_filters": 16}, (1337, 1338, 1339)
LABELS_VARIANTS = {
    "": {},
    "batchnorm": {"normalization": "batchnorm"},
    "long": {"max_iterations": 3000},  # labels only, with as much computing as the strong recipe
}
# Labels only, with nnU-Net's augmentation in place of ours.
NNUNET = {variant: {"method": f"{Path(__file__).with_name('nnunet.py')}:{function}", "intensity": 0.0, "affine": 0.0,
                    "student_affine": 0.0}
          for variant, function in (("", "nnunet_labels_only"), ("unmirrored", "nnunet_unmirrored"))}
# The seed s of a training of `labels` names its fold, s // 3, and its own labelled cases.
FOLDS, SEEDS_A_FOLD = 4, 3
FIRST_SEEDS = tuple(range(0, FOLDS * SEEDS_A_FOLD, SEEDS_A_FOLD))  # one a fold
ALL_SEEDS = tuple(first + k for k in range(SEEDS_A_FOLD) for first in FIRST_SEEDS)
OTHER_SEEDS = ALL_SEEDS[FOLDS:]


class Run(NamedTuple):
    """One training of a record; ``settings`` are those that differ from TrainConfig's defaults."""

    arm: str
    labels: int
    seed: int
    settings: dict
    variant: str = ""

    @property
    def name(self):
        """The name of the run's folder."""
        return "_".join(filter(None, (self.arm, str(self.labels), self.variant, f"seed{self.seed}")))

    @property
    def model(self):
        """The ``model`` setting of its training; a reader's own method is trained as mean teacher is."""
        return MODELS.get(self.arm, self.arm if self.arm in ARMS else "MT")


class Plan(NamedTuple):
    """One record.  ``data``: 'real', or the settings of its phantoms (seed s has phantoms s).  ``cases``: 'public' are
    the public lists; 'held_out' tests the last 20 of ``train.list``; 'folds' tests a quarter of the 80 cases on which
    nothing was chosen and trains on all others.  ``at``: 'full' compares a half-resolution network's predictions with
    the stored labels.  ``ships``: the best checkpoint's teacher is written to this file of ``laseg_lib/weights``,
    and the file is scored; otherwise the last checkpoint's networks are scored."""

    data: str | dict
    runs: list
    cases: str = "public"
    at: str = "same"
    ships: str | None = None


def trial(arm, labels, seed, variant=""):
    """One run of the record `trials`."""
    return Run(arm, labels, seed, {**TRIAL, **TRIAL_BATCH[labels], **TRIAL_VARIANTS[variant]}, variant)


def own_runs(method, labels, seeds):
    """Runs of the reader's own ``method`` (FILE.py:NAME), for pairs with the runs of `labels` and `methods`."""
    settings = {**STRONG_SMALL, "method": method, "student_affine": 0.0}
    return [Run(method.rpartition(":")[2], labels, seed, settings) for seed in seeds]


def labels_runs(labels, arms, seeds, variant=""):
    """Runs of the record `labels`, seed by seed, so that the first of them make pairs already."""
    settings = {**STRONG_SMALL, **LABELS_VARIANTS[variant]}
    return [Run(arm, labels, seed, {**settings, **METHOD_ARMS.get(arm, {})}, variant) for seed in seeds for arm in arms]


RECORDS = {
    "quick": Plan(PHANTOMS, [Run(arm, labels, seed, {**QUICK, **VARIANTS[variant]}, variant)
                             for arm, labels, variant in QUICK_ARMS for seed in range(5)]),
    # The arms that a reader's own method is paired with.  Declared before its first run; nothing was chosen for it.
    "short": Plan(PHANTOMS, [Run(arm, 4, seed, SHORT) for seed in range(5) for arm in ("supervised", "lambda0", "MT")]),
    "half": Plan("real", [
        Run(arm, labels, seed, STRONG_HALF if arm in MODELS else HALF) for seed in (1337, 1338, 1339)
        for labels, arms in ((8, (*ARMS, "strong", "strong_supervised")), (16, ("supervised", "MT", "strong")),
                             (76, ("strong_supervised",)))  # every case labelled that is trained on: the ceiling
        for arm in arms]),
    # The walkthrough's own size: 112 x 112 x 80 voxels of 0.625 mm, 16 filters, 6,000 iterations, the public lists, 8
    # labels.  Declared before its first run; no setting was chosen at this size.
    #   Comparisons      MT − supervised (the walkthrough's two arms) and strong − labels_only (ours), teachers, whole
    #                    predictions; then strong − MT, and strong and labels_only at this size − the same two of
    #                    `public` at half resolution, same seed (1,500 iterations, float32; here bfloat16).
    #   How it is read   There is one training of each arm, so a difference's 95 % t interval is over the 20 test cases
    #                    alone: it holds for these networks.  How far other trainings would lie is not known.
    "full": Plan("real", [Run(arm, 8, 1337, STRONG_FULL if arm in MODELS else FULL_80)
                          for arm in ("supervised", "MT", "labels_only", "strong")]),
    "levers": Plan(PHANTOMS, [
        *(Run("MT", 4, seed, {**QUICK, **lever}, name) for name, lever in LEVERS.items() for seed in range(5)),
        *(Run(arm, 4, seed, {**QUICK, **ALL_LEVERS}) for arm in ("strong", "strong_supervised") for seed in range(5))]),
    "trials": Plan("real", cases="held_out", at="full", runs=[
        *(trial("labels_only", 2, seed) for seed in (100, 101)),
        *(trial(arm, 2, 100, variant) for arm, variant in (("self_training", ""), ("strong", "view"), ("strong", ""))),
        *(trial(arm, 2, 101, variant) for arm, variant in (("self_training", ""), ("strong", "view"), ("strong", ""))),
        trial("labels_only", 4, 100), trial("self_training", 4, 100), trial("strong", 4, 100, "view"),
        trial("strong", 4, 100), trial("strong", 2, 100, "slow"), trial("strong", 2, 100, "all"),
        trial("labels_only", 2, 100, "long"), trial("strong", 2, 100, "view_long"),
        trial("strong", 4, 100, "two"), trial("strong", 4, 100, "view_two"), trial("labels_only", 4, 100, "two"),
        *(trial("labels_only", 2, seed, variant) for variant in ("turned", "batchnorm") for seed in (100, 101)),
        # The range of rotations and scales.  It had been taken from trials that were not recorded.
        *(trial("labels_only", 2, seed, variant) for seed in (100, 101) for variant in ("gentle", "wide"))]),
    # What is an unlabelled volume worth?  Declared before its first run:
    #   THE comparison   strong − labels_only, 4 labels, InstanceNorm, teachers; Dice at full size, whole predictions.
    #   How it is read   the mean over 12 trainings, with a 95 % t interval over trainings (each the mean of its 20
    #                    cases) and one over the 80 cases (each the mean of its 3 trainings).  Above or below zero only
    #                    if both leave out zero; otherwise no clear difference, beside the smallest visible effect.
    # With InstanceNorm a volume is normalised by itself: unlabelled volumes without consistency (lambda = 0) don't
    # change the student's gradient (a test shows it), so `labels_only` is also this control.  With BatchNorm it is an
    # arm of its own (`company`).  All other comparisons are read in the same way and called secondary.
    "labels": Plan("real", cases="folds", at="full", runs=[
        *labels_runs(4, ("labels_only", "strong"), ALL_SEEDS),
        *labels_runs(2, ("labels_only", "strong"), ALL_SEEDS),
        *labels_runs(4, ("self_training",), FIRST_SEEDS), *labels_runs(2, ("self_training",), FIRST_SEEDS),
        *labels_runs(80, ("labels_only",), FIRST_SEEDS), *labels_runs(8, ("labels_only", "strong"), FIRST_SEEDS),
        *labels_runs(16, ("labels_only", "strong"), FIRST_SEEDS),
        *labels_runs(2, ("labels_only", "company", "strong"), FIRST_SEEDS, "batchnorm"),
        *labels_runs(4, ("labels_only", "company", "strong"), FIRST_SEEDS, "batchnorm"),
        *labels_runs(4, ("labels_only",), FIRST_SEEDS, "long"),
        # Added after the runs above were read, and declared before its first run: at 2 labels the gain is 0.038, with
        # all twelve pairs above zero; at 4 labels `long` does as well as `strong`.  Does it at 2?  Secondary.
        *labels_runs(2, ("labels_only",), FIRST_SEEDS, "long"),
        # That row was read: strong − long at 2 labels is +.032 ± .035 over FIRST_SEEDS, not clear.  Its replication,
        # declared before its first run: the same difference over OTHER_SEEDS alone, teachers; read as THE comparison.
        *labels_runs(2, ("labels_only",), OTHER_SEEDS, "long"),
        # Added after all of the above was read, and declared before its first run: does the gain at 2 labels last if
        # both arms train twice as long?  strong − labels only, both `long`, in the pairs of these eight trainings.
        *(run._replace(settings=run.settings | LONG)
          for run in labels_runs(2, ("strong",), ALL_SEEDS[:2 * FOLDS], "long")),
        # Added after all of the above was read, and declared before its first run: is the ceiling that of the data, or
        # of 1,500 iterations?  All 80 labels, labels only, twice as long − 1,500 iterations.  Secondary.
        *labels_runs(80, ("labels_only",), FIRST_SEEDS, "long")]),
    # Which methods are better than labels only, and is any better than the simplest one, self-training?  Declared
    # before its first run.  Folds, labelled cases, base and budget are those of `labels`, whose runs of labels_only,
    # strong and self_training are the other halves of the pairs.
    #   Two families     method − labels_only for strong, mse, uncertainty, copy_paste, cross_teaching, self_training;
    #                    method − self_training for the first five.  Each at 2 labels (the eight trainings of
    #                    ALL_SEEDS[:8]) and at 4 (those of FIRST_SEEDS): four families in all.
    #   How it is read   teachers, Dice at full size, whole predictions; the largest component stands beside it.  The
    #                    mean over trainings with its 95 % t intervals over trainings and over cases, as in `labels`.
    #                    A method's p value is the larger of the two paired t tests'; Holm corrects it in its family.
    #                    Beside each interval: the smallest effect that it could have seen, and the mean by fold.
    #   Not equal        `strong` was chosen among four forms on held-out training cases; lambda of mse was tried once;
    #                    of the others nothing was tried.  The runs of `labels` were mostly made on a GPU, in float32
    #                    like these.
    "methods": Plan("real", cases="folds", at="full", runs=[
        *labels_runs(2, METHOD_ARMS, ALL_SEEDS[:FOLDS]), *labels_runs(4, METHOD_ARMS, FIRST_SEEDS),
        *labels_runs(2, METHOD_ARMS, ALL_SEEDS[FOLDS:2 * FOLDS]),
        *labels_runs(2, ("self_training",), ALL_SEEDS[FOLDS:2 * FOLDS])]),
    # Labels only has our augmentation in `labels`.  Is nnU-Net's a stronger control?  Declared before its first run.
    # Folds, labelled cases, base and budget are those of `labels`, whose runs are the other halves of the pairs.
    #   One family       nnunet − labels_only and strong − nnunet, each at 2 and at 8 labels, the trainings of
    #                    FIRST_SEEDS; read as in `methods`, Holm-corrected.
    #   Secondary        the same four for the variant without mirror images: on this data mirror images cost Dice
    #                    (record `trials`), and nnU-Net has a trainer without them.
    #   Not equal        Our augmentation was chosen on held-out training cases of this data, nnU-Net's on many others.
    "nnunet": Plan("real", cases="folds", at="full", runs=[
        Run("nnunet", labels, seed, {**STRONG_SMALL, **NNUNET[variant]}, variant)
        for variant in NNUNET for labels in (2, 8) for seed in FIRST_SEEDS]),
    # The included network.  76 of the 80 public training cases, all labelled; the other four choose the
    # iteration.  Everything else is the base of `labels`, for 4,000 iterations (there 3,000 gave .012 ± .016 more than
    # 1,500).  Declared before its first run; one seed; scored once on the 20 public test cases, as stored (float16).
    "weights": Plan("real", at="full", ships="atrium.safetensors", runs=[
        Run("labels_only", 76, 1337, STRONG_SMALL | {
            "max_samples": 76, "val_num": 4, "val_every": 500, "max_iterations": 4000, "consistency_rampup": 20.0})]),
    # For comparison with the published tables: the public lists, last checkpoint, 16 filters.
    "public": Plan("real", at="full", runs=[
        *(Run(arm, labels, seed, PUBLIC) for seed in PUBLIC_SEEDS
          for labels, arms in ((8, ("labels_only", "strong")), (4, ("labels_only", "strong")), (80, ("labels_only",)),
                               (16, ("labels_only", "strong")), (2, ("labels_only", "strong")))
          for arm in arms),
        # Both arms twice as long.  Declared after the runs above were read, and before its first run.  Chosen on
        # held-out training cases alone: of all trials at 2 labels, `view_long` is the best.
        *(Run(arm, labels, seed, PUBLIC | LONG, "long") for labels in (8, 4)
          for seed in PUBLIC_SEEDS for arm in ("labels_only", "strong"))]),
    # The question of `labels` on phantoms, where a learner can watch it.  Declared before its first run.
    #   THE comparison   (strong − labels_only with BatchNorm) − (strong − labels_only with InstanceNorm), teachers,
    #                    seed by seed: how much of the gain was a remedy for BatchNorm.
    #   How it is read   the mean over ten seeds with its 95 % t interval; all else is secondary.  If phantoms and real
    #                    atria disagree, `labels` counts.
    "two_labels": Plan(PHANTOMS, [
        *(Run(arm, 2, seed, {**TWO_LABELS, **LABELS_VARIANTS[variant]}, variant) for seed in range(10)
          for arm, variant in (("labels_only", "batchnorm"), ("company", "batchnorm"), ("strong", "batchnorm"),
                               ("labels_only", ""), ("strong", ""))),
        *(Run("labels_only", 40, seed, TWO_LABELS) for seed in range(5))]),  # all labelled: the ceiling
    # Declared before its first run: is the difference of the first five seeds found on five others?
    "replication": Plan(PHANTOMS, [Run(arm, 4, seed, QUICK) for seed in range(5, 10) for arm in ("lambda0", "MT")]),
}
COURSE = dict(QUICK, labelnum=4)  # the notebooks' trainings of a minute, on the first phantoms of `quick`
