"""Segmentation and consistency losses.

Logits are (B, C, W, H, D) float tensors; every loss is the mean over everything, a scalar.
"""

import torch
import torch.nn.functional as F


def dice_loss(score, target, *, total=torch.sum):
    """1 - Dice with squared denominators (V-Net, Milletari et al. 2016, eq. 3).

    ``score``: probabilities of one class, any shape.  ``target``: 0/1 or bool, same shape.
    The sums run over the whole batch, so that a patch without atrium is no special case; ``total`` makes them.
    """
    target = target.float()
    smooth = 1e-5
    intersect = total(score * target)
    denominator = total(score * score) + total(target * target)
    return 1 - (2 * intersect + smooth) / (denominator + smooth)


def segmentation_loss(logits, label, *, total=torch.sum):
    """(cross-entropy + Dice of class 1) / 2, the supervised loss of the walkthrough.

    ``logits``: (B, 2, W, H, D); ``label``: (B, W, H, D) int64.
    Returns (loss, cross_entropy, dice), three scalars.
    """
    cross_entropy = F.cross_entropy(logits, label)
    dice = dice_loss(F.softmax(logits, dim=1)[:, 1], label == 1, total=total)
    return 0.5 * (cross_entropy + dice), cross_entropy, dice


def softmax_mse_loss(input_logits, target_logits):
    """Mean squared difference of the two softmaxes (Tarvainen & Valpola 2017, eq. 1).

    Gradients flow into ``input_logits`` (the student) only.
    Raises ValueError when the shapes differ (broadcasting would hide a mistake).
    """
    _same_shape(input_logits, target_logits)
    target = F.softmax(target_logits.detach(), dim=1)
    return F.mse_loss(F.softmax(input_logits, dim=1), target)


def softmax_kl_loss(input_logits, target_logits):
    """KL(teacher || student) of the two softmaxes, mean over every element.

    Gradients flow into ``input_logits`` (the student) only.
    The mean counts the class axis too: with two classes it is half the KL a voxel.
    """
    _same_shape(input_logits, target_logits)
    target = F.log_softmax(target_logits.detach(), dim=1)
    # Not reduction="mean": torch warns that it will come to mean something else.
    return F.kl_div(F.log_softmax(input_logits, dim=1), target, reduction="none", log_target=True).mean()


def _same_shape(input_logits, target_logits):
    if input_logits.shape != target_logits.shape:
        raise ValueError(f"student {tuple(input_logits.shape)} and teacher {tuple(target_logits.shape)} "
                         "differ in shape")
