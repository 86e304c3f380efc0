"""Bidirectional copy-paste (BCP): a labelled and an unlabelled volume exchange a box.

    x_in = x_u (1 - M) + x_l M,  x_out = x_l (1 - M) + x_u M,  M: 1 inside a box of 2/3 of each side
    L = L_seg on the voxels of x_l, with the label  +  alpha L_seg on those of x_u, with the teacher's answer

Source: Bai et al. 2023, "Bidirectional copy-paste" (arXiv:2305.00673).
Different from the paper: Pasting begins with an untrained teacher.  The paper first pastes labelled volumes
into one another.  alpha (paper: 0.5) is ``consistency`` (default 0.1) and ramps up.  A pair is one labelled
and one unlabelled volume, with a box of its own.  The paper's pair has two of each, and its batch one box.
L_seg is a mean over all labelled or all unlabelled voxels.  In the paper box and rest weigh the same.  Dice
is this library's.  The teacher's input has noise.  Intensities vary after the pasting.
"""

import torch

from ..errors import LasegError
from ..inference import largest_component
from ..mean_teacher import consistency_weight, logits_of, student_view, teacher_answer, weighted_sum
from ..runtime.sync_norm import segmentation_loss_for

SHARE = 2 / 3  # of each side of the patch: a box's side


def copy_paste_loss(student, teacher, image, label, config, iteration, generator=None):
    """A method (see ``laseg_lib.methods``).  With weight 0 nothing is pasted, and the loss is that of labels only.
    LasegError if a batch has not equally many labelled and unlabelled volumes."""
    n, weight, loss = config.labelled_in_batch, consistency_weight(config, iteration), segmentation_loss_for(config)
    if len(image) != 2 * n:
        raise LasegError(f"copy_paste pairs labelled and unlabelled volumes, and a batch has {n} and {len(image) - n}: "
                         "set --batch_size to twice --labeled_bs")
    pseudo = pseudo_labels(teacher_answer(teacher, image[n:], config, generator))
    boxes = random_boxes(n, image.shape[2:], generator, image.device) * (weight > 0)
    logits = logits_of(student, student_view(swap(image, boxes), n, config, generator))
    logits = swap(logits, boxes)  # the logits of each voxel return to the volume that the voxel came from
    return weighted_sum(*loss(logits[:n], label[:n]), weight, loss(logits[n:], pseudo)[0])


def pseudo_labels(logits):
    """The most probable class of ``logits`` (B, C, ...), int64; of each its largest component, as in the paper."""
    kept = [torch.from_numpy(largest_component(one)) for one in logits.argmax(1).cpu().numpy()]
    return torch.stack(kept).to(logits.device, torch.long)


def random_boxes(n, size, generator, device):
    """``n`` bool masks (n, 1, *size): True in a box of ``SHARE`` of each side at a random place."""
    boxes = torch.ones((n, 1, *size), dtype=torch.bool, device=device)
    for axis, side in enumerate(size):
        length = int(side * SHARE)
        first = torch.randint(side - length + 1, (n, 1), generator=generator, device=device)
        place = torch.arange(side, device=device) - first
        boxes &= ((place >= 0) & (place < length)).view(n, 1, *(side if a == axis else 1 for a in range(len(size))))
    return boxes


def swap(volumes, boxes):
    """``volumes`` (2n, C, ...) in which volume i and volume n + i exchange box i.  A second call restores them."""
    return torch.where(boxes.repeat(2, *[1] * (boxes.ndim - 1)), volumes.roll(len(boxes), 0), volumes)


METHOD = copy_paste_loss
