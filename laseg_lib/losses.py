"""Segmentation and consistency losses.

Logits are (B, C, W, H, D) float tensors, or (B, C, W, H).  A loss is a scalar of the whole batch, unless
``reduction`` is 'none'.  float16 and bfloat16 are computed in float32, because sums exceed 65504, float16's
largest number.  Gradients have the logits' dtype.  TypeError for other types, ValueError for empty ones.
"""

from functools import partial
from types import SimpleNamespace

import torch
import torch.nn.functional as F

from .runtime.compat import batch_loss


def dice_loss(score, target, *, total=torch.sum):
    """1 - Dice with squared denominators (V-Net, Milletari et al. 2016, section 3).

    ``score``: float, probabilities of one class, any shape.  ``target``: 0/1 or bool, same shape.
    The sums run over the whole batch, so that a patch without atrium is no special case.
    ``total``: the function that sums a tensor; with several processes it sums over all of them.
    Raises ValueError when the shapes differ, or for values below 0 or above 1.

    >>> score, target = torch.tensor([1.0, 0.5, 0.0]), torch.tensor([1, 1, 0])
    >>> dice_loss(score, target)  # 1 - 2 * 1.5 / (1.25 + 2)
    tensor(0.0769)
    """
    _same_shape(score, target, "score", "target")
    for name, values in (("score", score), ("target", target)):
        found = None if values.dtype == torch.bool else _ends(values)
        if found and (found[0] < -1e-3 or found[1] > 1.001):
            raise ValueError(f"the {name} holds values from {found[0]:g} to {found[1]:g}, "
                             "and must hold 0 to 1: "
                             + ("give a softmax's probabilities, not logits" if name == "score" else
                                "give the mask of one class, such as label == 1"))
    return _dice(score, target, total)


def _dice(score, target, total):
    score, target, smooth = _wide(score), target.float(), 1e-5
    intersect = total(score * target)
    denominator = total(score * score) + total(target * target)
    return 1 - (2 * intersect + smooth) / (denominator + smooth)


def segmentation_loss(logits, label, *, where=None, total=torch.sum):
    """(cross-entropy + Dice) / 2, the supervised loss of the walkthrough.

    ``logits``: (B, C, W, H, D) float.
    ``label``: (B, W, H, D) of any integer dtype, from 0 (background) to C - 1.
    Dice is the mean over the classes that are not background: with two classes that of class 1.
    ``where``: bool (or 0 and 1), of ``label``'s shape: the voxels that count; None: all.
    The label of other voxels may be anything, such as 255.  If no voxel counts, both losses are 0.
    ``total``: see ``dice_loss``.
    Returns (loss, cross_entropy, dice), three scalars.
    Raises ValueError for a label, or a ``where``, of another shape, dtype or range, and for one
    class.
    Source: UA-MT's code (Yu et al. 2019).

    >>> sure = torch.tensor([[[9.0, -9.0], [-9.0, 9.0]]])  # one case, two classes, two voxels
    >>> segmentation_loss(sure, torch.tensor([[0, 1]]))[2] < 1e-4
    tensor(True)
    >>> segmentation_loss(sure, torch.tensor([[1, 0]]))[2]
    tensor(1.0000)
    """
    _require_tensors(logits, label)
    classes = logits.shape[1]
    if label.is_floating_point() or label.shape != logits.shape[:1] + logits.shape[2:]:
        raise ValueError(f"logits are {tuple(logits.shape)}, so the label must be "
                         f"{tuple(logits.shape[:1] + logits.shape[2:])} whole numbers, "
                         f"the class of each voxel; it is {tuple(label.shape)} {label.dtype}")
    if classes < 2:
        raise ValueError(f"logits are {tuple(logits.shape)}: "
                         "a softmax needs at least two classes, one of them the background")
    label = label.long()
    if where is not None:
        if where.shape != label.shape or (where != where.bool()).any():
            raise ValueError("where must hold True or False (or 1 and 0) in the label's shape "
                             f"{tuple(label.shape)}; it is {tuple(where.shape)} {where.dtype}")
        where = where.bool()
        label = label * where  # a voxel that doesn't count may hold any value, such as 255
    if (found := _ends(label)) and (found[0] < 0 or found[1] >= classes):
        raise ValueError(f"the label holds values from {found[0]} to {found[1]}, "
                         f"and logits of {classes} classes need 0 to {classes - 1}; "
                         "to leave voxels out, pass where=")
    return _segmentation(logits, label, where, total)


def _segmentation(logits, label, where, total):
    logits = _wide(logits)
    score = F.softmax(logits, dim=1)
    if where is None:
        cross_entropy = F.cross_entropy(logits, label)
    else:
        each = F.cross_entropy(logits, label, reduction="none")
        cross_entropy = total(each * where) / total(where).clamp_min(1)
        score, label = score * where[:, None], label * where
    dice = torch.stack([_dice(score[:, k], label == k, total) for k in range(1, logits.shape[1])]).mean()
    return 0.5 * (cross_entropy + dice), cross_entropy, dice


def softmax_mse_loss(input_logits, target_logits, *, reduction="mean"):
    """Mean squared difference of the two softmaxes (Tarvainen & Valpola 2017, eq. 1).

    ``reduction='mean'`` is the walkthrough's: a scalar.  'none' is UA-MT's and SSL4MIS's: one value
    for each voxel and class, of the logits' shape, to be multiplied by a mask.
    ``maps`` holds both losses for scripts that expect maps.
    Multiplying the scalar by a mask raises TypeError, because every voxel would count, whatever the
    mask says.
    Gradients flow into ``input_logits`` (the student) only.
    Raises ValueError when the shapes differ (broadcasting would hide a mistake), for one class, and
    for another ``reduction``.

    >>> even, sure = torch.zeros(1, 2, 1), torch.tensor([[[50.0], [-50.0]]])
    >>> softmax_mse_loss(even, sure).item(), softmax_mse_loss(even, sure, reduction="none").shape
    (0.25, torch.Size([1, 2, 1]))
    """
    _check(input_logits, target_logits, reduction)
    target = F.softmax(_wide(target_logits.detach()), dim=1)
    loss = F.mse_loss(F.softmax(_wide(input_logits), dim=1), target, reduction=reduction)
    return loss if reduction == "none" else batch_loss(loss)


def softmax_kl_loss(input_logits, target_logits, *, reduction="mean"):
    """KL(teacher || student) of the two softmaxes, mean over every element.

    ``reduction`` and errors: as in ``softmax_mse_loss``.
    Gradients flow into ``input_logits`` (the student) only.
    Source: Tarvainen & Valpola's code.
    The mean is over the class axis too: with two classes it is half the KL divergence of a voxel.

    >>> even, sure = torch.zeros(1, 2, 1), torch.tensor([[[50.0], [-50.0]]])
    >>> round(softmax_kl_loss(even, sure).item(), 4)  # log(2) / 2
    0.3466
    """
    _check(input_logits, target_logits, reduction)
    target = F.log_softmax(_wide(target_logits.detach()), dim=1)
    # Not reduction="mean": torch warns that it will come to mean something else.
    student = F.log_softmax(_wide(input_logits), dim=1)
    distance = F.kl_div(student, target, reduction="none", log_target=True)
    return distance if reduction == "none" else batch_loss(distance.mean())


def pseudo_label_loss(input_logits, target_logits, *, confidence=0.8, total=torch.sum):
    """The walkthrough's supervised loss, a scalar, with the teacher's most probable class as label.

    A voxel counts if the teacher's probability of that class is ``confidence`` or more.
    The gradient of the MSE is small where the student is confident, even if the student is wrong.
    The gradient of this loss is that of a label.
    Gradients flow into ``input_logits`` (the student) only.  ``total``: see ``dice_loss``.
    If no voxel counts, the loss is 0.  Raises ValueError as ``softmax_mse_loss`` does, and for a
    ``confidence`` that is not from 0 to 1.
    Source: FixMatch (Sohn et al. 2020, eq. 4); for atria, AD-MT (Zhao et al. 2024), which takes 0.8
    as well.
    """
    _check(input_logits, target_logits)
    if not 0 <= confidence <= 1:
        raise ValueError(f"confidence is {confidence}; give a probability, from 0 to 1")
    probability, label = F.softmax(_wide(target_logits.detach()), dim=1).max(dim=1)
    return _segmentation(input_logits, label, probability >= confidence, total)[0]


# The losses of UA-MT's and SSL4MIS's scripts, which expect a map: `from laseg_lib.losses import maps as losses`.
maps = SimpleNamespace(dice_loss=dice_loss, softmax_mse_loss=partial(softmax_mse_loss, reduction="none"),
                       softmax_kl_loss=partial(softmax_kl_loss, reduction="none"))


def _wide(x):
    """``x`` as float32; a float64 ``x`` stays float64."""
    return x if x.dtype == torch.float64 else x.float()


def _ends(values):
    """(least, greatest) of ``values``; None where there are none."""
    return [end.item() for end in torch.aminmax(values.detach())] if values.numel() else None


def _check(input_logits, target_logits, reduction="mean"):
    _same_shape(input_logits, target_logits)
    if input_logits.shape[1] < 2:
        raise ValueError(f"logits are {tuple(input_logits.shape)}: the softmax of one class is 1 everywhere "
                         "and this loss always 0; give two channels, or compare sigmoids yourself")
    if reduction not in ("mean", "none"):
        raise ValueError(f"reduction must be 'mean' or 'none', not {reduction!r}")


def _require_tensors(*values):
    if wrong := [type(value).__name__ for value in values if not torch.is_tensor(value)]:
        raise TypeError(f"losses take tensors, not {wrong[0]}: of a network with several outputs, give the logits")
    if not all(value.numel() for value in values):
        raise ValueError("the batch is empty: leave its loss out, because the mean of nothing is NaN")


def _same_shape(one, other, *names):
    _require_tensors(one, other)
    if one.shape != other.shape:
        first, second = names or ("student", "teacher")
        raise ValueError(f"{first} {tuple(one.shape)} and {second} {tuple(other.shape)} differ in shape")
