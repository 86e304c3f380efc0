"""The uncertainty mask of UA-MT: consistency only where the teacher is sure.

    u = - sum_c p_c ln p_c,  p = the mean of T answers of the teacher, each to the volume with different noise
    L = sum over voxels of [u < H(t)] (student - teacher)^2 / sum over voxels of [u < H(t)]
    H(t) = (3/4 + 1/4 ramp(t)) ln C,  C classes

Source: Yu et al. 2019, "Uncertainty-aware self-ensembling model" (arXiv:1907.07034).
Different from the paper: T is 4, not 8.  The answers differ by noise alone.  The paper's teacher has dropout too.  The
first answer is also the target.  The paper takes one more.  The threshold's ramp is lambda's.  The paper's ends with
the training.  The student's intensities vary, and ``student_affine`` moves its volumes, target and uncertainty.  In the
paper it sees the volumes as they are.  Squares are averaged over classes, and only unlabelled volumes count, as in the
public code.
"""

import math

import torch
import torch.nn.functional as F

from .. import ramps
from ..mean_teacher import consistency_weight, logits_of, student_view, teacher_answer, weighted_sum
from ..perturbations import move_unlabelled
from ..runtime.sync_norm import segmentation_loss_for

ANSWERS = 4


def uncertainty_loss(student, teacher, image, label, config, iteration, generator=None):
    """A method (see ``laseg_lib.methods``): mean teacher with squared differences, only where the teacher is sure."""
    n = config.labelled_in_batch
    seen = student_view(image, n, config, generator)
    answers = [F.softmax(teacher_answer(teacher, image[n:], config, generator), dim=1) for _ in range(ANSWERS)]
    found = torch.cat([answers[0], entropy(torch.stack(answers).mean(0))], dim=1)
    if config.student_affine:
        seen, found = move_unlabelled(seen, found, n, config.student_affine, generator)
    target, uncertainty = found[:, :-1], found[:, -1]
    logits = logits_of(student, seen)
    sure = uncertainty < threshold(config, iteration, logits.shape[1])
    distance = masked_mse(F.softmax(logits[n:], dim=1), target, sure)
    return weighted_sum(*segmentation_loss_for(config)(logits[:n], label[:n]), consistency_weight(config, iteration),
                        distance)


def entropy(p):
    """The entropy of probabilities (B, C, ...) in nats: (B, 1, ...)."""
    return -(p * torch.log(p + 1e-6)).sum(dim=1, keepdim=True)


def threshold(config, iteration, classes=2):
    """H(t) in nats: below this entropy the teacher is sure.  It rises from 3/4 of the maximum to the maximum."""
    ramp = ramps.sigmoid_rampup(iteration // config.ramp_every, config.consistency_rampup)
    return (0.75 + 0.25 * ramp) * math.log(classes)


def masked_mse(p, target, mask):
    """Mean squared difference of ``p`` and ``target`` (B, C, ...) in the voxels of ``mask`` (B, ...); 0 without any."""
    return (((p - target) ** 2).mean(1) * mask).sum() / mask.bool().sum().clamp_min(1)


METHOD = uncertainty_loss
