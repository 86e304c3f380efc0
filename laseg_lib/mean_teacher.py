"""The mean teacher's loss of one batch.

    loss = segmentation loss of the labelled volumes + lambda(t) x distance of the two networks on the unlabelled ones

Source: Tarvainen & Valpola 2017, "Mean teachers are better role models" (arXiv:1703.01780), section 2; for atria, Yu
et al. 2019 (UA-MT, arXiv:1907.07034).
"""

from functools import partial

import torch

from . import ramps
from .losses import pseudo_label_loss, softmax_kl_loss, softmax_mse_loss
from .perturbations import move_unlabelled, predict_view, teacher_noise, vary_intensity
from .runtime.compat import first_output
from .runtime.sync_norm import segmentation_loss_for, sum_over_batch


def mean_teacher_loss(student, teacher, image, label, config, iteration, generator=None):
    """The loss of one batch, a scalar to differentiate, and its parts for the log, a dict.

    ``image``: (B, 1, W, H, D) float32, labelled volumes first.
    ``label``: (B, W, H, D) int64, of which only the labelled volumes' part is used.
    ``iteration``: counted from 0.
    ``generator``: of all random draws, on ``image``'s device.
    LasegError for a network whose output has another size; see ``first_output``.
    This is one *method*; ``laseg_lib.methods`` says what another one must be.
    """
    n = config.labelled_in_batch
    seen = student_view(image, n, config, generator)
    if len(image) > n:  # the teacher first: its memory is free again for the student's gradient
        targets = teacher_answer(teacher, image[n:], config, generator)
        if config.student_affine:
            seen, targets = move_unlabelled(seen, targets, n, config.student_affine, generator)
    logits = logits_of(student, seen)
    supervised, cross_entropy, dice = segmentation_loss_for(config)(logits[:n], label[:n])
    distance = torch.zeros_like(supervised)
    if len(image) > n:
        distance = consistency_loss(logits[n:], targets, config)
    weight = consistency_weight(config, iteration)
    return weighted_sum(supervised, cross_entropy, dice, weight, distance)


def weighted_sum(supervised, cross_entropy, dice, weight, distance):
    """(``supervised`` + ``weight`` x ``distance``, a dict of its parts under the names of the log)."""
    loss = supervised + weight * distance
    return loss, {"loss": loss, "loss_seg": cross_entropy, "loss_seg_dice": dice,
                  "consistency_weight": weight, "consistency_dist": distance}


def consistency_weight(config, iteration):
    """lambda, a float, at ``iteration`` (from 0); it changes every ``ramp_every`` iterations.

    0 for every arm but ``MT``.  The arm ``lambda0`` has unlabelled volumes, but no consistency.
    """
    if config.model != "MT":
        return 0.0
    climbs = iteration // config.ramp_every
    return config.consistency * ramps.sigmoid_rampup(climbs, config.consistency_rampup)


def consistency_loss(logits, targets, config):
    """How far the student's ``logits`` are from the teacher's ``targets`` (both (B, C, W, H, D)), a scalar."""
    if config.consistency_type == "pseudo":
        return pseudo_label_loss(logits, targets, confidence=config.confidence, total=sum_over_batch(config))
    return {"mse": softmax_mse_loss, "kl": softmax_kl_loss}[config.consistency_type](logits, targets)


def student_view(image, n, config, generator=None):
    """The student's view of ``image`` (B, 1, W, H, D): noise on the unlabelled volumes (index n and later) if
    ``noise_on`` is 'both', and varied intensities on all volumes."""
    if config.noise_on == "both" and len(image) > n:
        image = torch.cat([image[:n], image[n:] + teacher_noise(image[n:], generator)])
    return vary_intensity(image, config.intensity, generator)


@torch.no_grad()
def teacher_answer(teacher, image, config, generator=None):
    """The teacher's logits (B, C, W, H, D) float32 for ``image`` (B, 1, W, H, D), with noise unless ``noise_on`` is
    'none', and in the view that ``teacher_view`` names."""
    noise = teacher_noise(image, generator) if config.noise_on != "none" else 0
    return predict_view(partial(logits_of, teacher), image + noise, config.teacher_view, generator)


def logits_of(network, image):
    """The logits (B, C, W, H, D) float32 of ``network`` for ``image``: of several outputs the first."""
    return first_output(network(image), image).float()
