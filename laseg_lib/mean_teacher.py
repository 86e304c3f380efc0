"""The loss of the method: what one batch costs.

    supervised loss of the labelled volumes  +  lambda(t) x how far student and teacher are apart on the unlabelled ones
                                                             (or on all: ``consistency_on``)

Source: Tarvainen & Valpola 2017, "Mean teachers are better role models" (arXiv:1703.01780), section 2; for atria, Yu
et al. 2019 (UA-MT, arXiv:1907.07034).
"""

import torch

from . import ramps
from .losses import pseudo_label_loss, segmentation_loss, softmax_kl_loss, softmax_mse_loss
from .perturbations import move_unlabelled, predict_view, teacher_noise, vary_intensity


def mean_teacher_loss(student, teacher, image, label, config, iteration, generator=None,
                      segmentation=segmentation_loss):
    """The loss of one batch, and its parts for the log.

    ``image``: (B, 1, W, H, D), labelled volumes first; ``label``: (B, W, H, D), of which only the
    labelled ones are looked at.  ``generator``: of every random draw of this batch.  ``segmentation``: the supervised
    loss (several processes may want it over all of their batches).
    Returns (scalar to differentiate, dict of scalars).
    """
    n = config.labelled_in_batch
    # The first of the volumes on which the two must agree.
    first = 0 if config.consistency_on == "all" and image.shape[0] > n else n
    seen = student_view(image, first, config, generator)
    if image.shape[0] > n:
        noise = teacher_noise(image[first:], generator) if config.noise_on != "none" else 0
        with torch.no_grad():  # before the student: later its memory would come on top of what the gradient needs
            targets = predict_view(teacher, image[first:] + noise, config.teacher_view, generator).float()
            if config.student_affine:
                seen, moved = move_unlabelled(seen, targets[n - first:], n, config.student_affine, generator)
                targets = torch.cat([targets[:n - first], moved])
    logits = student(seen).float()
    supervised, cross_entropy, dice = segmentation(logits[:n], label[:n])
    weight, distance = consistency_weight(config, iteration), torch.zeros_like(supervised)
    if image.shape[0] > n:
        distance = consistency_loss(logits[first:], targets, config)
    loss = supervised + weight * distance
    return loss, {"loss": loss, "loss_seg": cross_entropy, "loss_seg_dice": dice,
                  "consistency_weight": weight, "consistency_dist": distance}


def consistency_weight(config, iteration):
    """lambda at this iteration: it climbs every ``ramp_every`` iterations; 0 where unlabelled volumes don't count."""
    if config.model != "MT":
        return 0.0
    return config.consistency * ramps.sigmoid_rampup(iteration // config.ramp_every, config.consistency_rampup)


def consistency_loss(logits, targets, config):
    """How far the student's ``logits`` are from the teacher's ``targets`` (both (B, 2, W, H, D)), a scalar."""
    if config.consistency_type == "pseudo":
        return pseudo_label_loss(logits, targets, confidence=config.confidence)
    return {"mse": softmax_mse_loss, "kl": softmax_kl_loss}[config.consistency_type](logits, targets)


def student_view(image, first, config, generator=None):
    """``image`` (B, 1, W, H, D) as the student looks at it: noise on the volumes of the consistency, from the
    ``first``-th on, and other intensities on all."""
    if config.noise_on == "both" and image.shape[0] > first:
        image = torch.cat([image[:first], image[first:] + teacher_noise(image[first:], generator)])
    return vary_intensity(image, config.intensity, generator)
