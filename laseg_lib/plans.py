"""What each record holds: which arms, labels and seeds, on which volumes, with which settings."""

ARMS = ("supervised", "supervised_equal", "lambda0", "MT")
MODELS = {"strong": "MT", "strong_supervised": "supervised_equal"}  # arms that are a model with other settings

HALF = dict(patch_size=(48, 48, 40), downsample=2, n_filters=8, max_samples=76, val_num=4, max_iterations=1500,
            consistency_rampup=10, val_every=250)
FULL = dict(max_samples=76, val_num=4, cache="device", val_every=1000, deterministic=0)

# Chosen on phantom and training seeds of 100 and more, never on those recorded: small volumes, so that two cores
# make 500 iterations in under a minute; patients and scanners that differ much, four labelled, so that there is
# something to gain; no dropout, which costs four filters more than it gives them.
PHANTOMS = dict(train=44, test=20, size=(32, 32, 16), variability=1.5, scanner=1.5)
QUICK = dict(patch_size=(32, 32, 16), n_filters=4, has_dropout=False, max_samples=40, val_num=4, max_iterations=500,
             base_lr=0.02, ema_decay=0.97, consistency=10.0, consistency_rampup=20, ramp_every=10,
             teacher_view="turned", teacher_mode="train", val_every=50, save_every=100, precision="fp32")
VARIANTS = {  # what a variant changes
    "": {},
    "instancenorm": {"normalization": "instancenorm"},  # no way past the loss: lambda = 0 is supervised
    "noise": {"teacher_view": "same"},  # the walkthrough's consistency: noise alone tells the two views apart
    "instancenorm_noise": {"normalization": "instancenorm", "teacher_view": "same"},
}


QUICK_ARMS = [*((arm, 4, "") for arm in ARMS),
              *((arm, 4, "instancenorm") for arm in ("supervised", "supervised_equal", "MT")),
              ("supervised_equal", 40, ""), ("supervised_equal", 40, "instancenorm"),  # all labelled: the ceiling
              ("MT", 4, "noise"), ("MT", 4, "instancenorm_noise")]


# data: where the volumes come from; runs: (arm, labels, seed, settings beside the defaults[, variant]).
RECORDS = {
    "quick": {"data": PHANTOMS, "course": dict(QUICK, labelnum=4),  # seed s has phantoms s
              "runs": [(arm, labels, seed, {**QUICK, **VARIANTS[variant]}, variant)
                       for arm, labels, variant in QUICK_ARMS for seed in range(5)]},
    "half": {"data": "real", "runs": [(arm, labels, seed, HALF) for seed in (1337, 1338, 1339)
                                      for labels, arms in ((8, ARMS), (16, ("supervised", "MT"))) for arm in arms]},
    "full": {"data": "real", "runs": [(arm, labels, seed, FULL) for seed in (1337, 1338, 1339)
                                      for labels in (8, 16) for arm in ("supervised", "MT")]},
}
