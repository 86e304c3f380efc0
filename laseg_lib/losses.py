"""Segmentation and consistency losses.

Logits are (B, C, W, H, D) float tensors; every loss is the mean over everything, a scalar.
"""

import torch
import torch.nn.functional as F


def dice_loss(score, target):
    """1 - Dice with squared denominators (V-Net, Milletari et al. 2016, eq. 3).

    ``score``: probabilities of one class, any shape.  ``target``: 0/1 or bool, same shape.
    The sums run over the whole batch, so that a patch without atrium is no special case.
    Raises ValueError when the shapes differ.
    """
    _same_shape(score, target, "score", "target")
    target = target.float()
    smooth = 1e-5
    intersect = torch.sum(score * target)
    denominator = torch.sum(score * score) + torch.sum(target * target)
    return 1 - (2 * intersect + smooth) / (denominator + smooth)


def segmentation_loss(logits, label, *, where=None):
    """(cross-entropy + Dice of class 1) / 2, the supervised loss of the walkthrough.

    ``logits``: (B, 2, W, H, D); ``label``: (B, W, H, D) int64.  ``where``: bool, of ``label``'s shape: the voxels
    that count (both losses are 0 where none does); None: all.
    Returns (loss, cross_entropy, dice), three scalars.  Raises ValueError for a label of another shape or type.
    """
    if label.is_floating_point() or label.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(f"logits are {tuple(logits.shape)}, so the label must be "
                         f"{tuple(logits.shape[:1] + logits.shape[2:])} whole numbers, the class of each voxel; it is "
                         f"{tuple(label.shape)} {label.dtype}")
    score, atrium = F.softmax(logits, dim=1)[:, 1], label == 1
    if where is None:
        cross_entropy = F.cross_entropy(logits, label)
    else:
        each = F.cross_entropy(logits, label, reduction="none")
        cross_entropy = (each * where).sum() / where.sum().clamp_min(1)
        score, atrium = score * where, atrium & where
    dice = dice_loss(score, atrium)
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


def pseudo_label_loss(input_logits, target_logits, *, confidence=0.8):
    """The walkthrough's supervised loss, with the teacher's answer as the label wherever the teacher is sure of it.

    A voxel counts when the teacher gives one class at least ``confidence``.  Unlike the MSE, whose gradient fades
    where the student is confident, sure or wrong, this one pulls as hard as a label does.
    Gradients flow into ``input_logits`` (the student) only.
    Source: FixMatch (Sohn et al. 2020, eq. 4); for atria, AD-MT (Zhao et al. 2024), which takes 0.8 as well.
    """
    _same_shape(input_logits, target_logits)
    probability, label = F.softmax(target_logits.detach(), dim=1).max(dim=1)
    return segmentation_loss(input_logits, label, where=probability >= confidence)[0]


def _same_shape(one, other, *names):
    if one.shape != other.shape:
        first, second = names or ("student", "teacher")
        raise ValueError(f"{first} {tuple(one.shape)} and {second} {tuple(other.shape)} differ in shape")
