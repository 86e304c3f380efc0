"""Boxes change places between labelled and unlabelled volumes: bidirectional copy-paste (BCP).

    x_in = x_u (1 - M) + x_l M,  x_out = x_l (1 - M) + x_u M,  M: 1 inside a box of 2/3 of each side
    L = L_seg on the voxels of x_l, with the label  +  alpha L_seg on those of x_u, with the teacher's answer

Source: Bai et al. 2023, "Bidirectional copy-paste" (arXiv:2305.00673).
Taken otherwise: alpha (0.5 in the paper) is ``consistency`` and ramps up, in place of a first training on labelled
volumes alone; both halves of a pair are one labelled and one unlabelled volume, where the paper draws four; Dice sums
over all pieces of the labelled and of the unlabelled volumes, not over each mixed volume's; intensities are varied
after the pasting, as on all of our base.  As in the paper the teacher's answer is its most probable class, of which the
largest component is kept, of each class.
"""

import numpy as np
import torch

from ..errors import LasegError
from ..inference import largest_component
from ..mean_teacher import consistency_weight, student_view, teacher_answer, weighted_sum
from ..runtime.sync_norm import segmentation_loss_for

SHARE = 2 / 3  # of each side of the patch: a box's side


def copy_paste_loss(student, teacher, image, label, config, iteration, generator=None):
    """A method (see ``laseg_lib.methods``).  With weight 0 nothing is pasted: the loss is that of labels only.

    Raises LasegError for a batch that has not as many unlabelled volumes as labelled ones.
    """
    n, weight, loss = config.labelled_in_batch, consistency_weight(config, iteration), segmentation_loss_for(config)
    if len(image) != 2 * n:
        raise LasegError(f"copy_paste pairs labelled and unlabelled volumes, and a batch has {n} and {len(image) - n}: "
                         "set --batch_size to twice --labeled_bs")
    pseudo = pseudo_labels(teacher_answer(teacher, image[n:], config, generator))
    boxes = random_boxes(n, image.shape[2:], generator, image.device) * (weight > 0)
    logits = student(student_view(swap(image, boxes), n, config, generator)).float()
    logits = swap(logits, boxes)  # each voxel's back to the volume that it comes from
    return weighted_sum(*loss(logits[:n], label[:n]), weight, loss(logits[n:], pseudo)[0])


def pseudo_labels(logits):
    """The most probable class of ``logits`` (B, C, ...), of which each volume keeps its largest component: int64."""
    kept = np.stack([largest_component(one) for one in logits.argmax(1).cpu().numpy()])
    return torch.from_numpy(kept).long().to(logits.device)


def random_boxes(n, size, generator, device):
    """``n`` masks (n, 1, *size), bool: True in a box of ``SHARE`` of each side, anywhere in the volume."""
    boxes = torch.ones((n, 1, *size), dtype=torch.bool, device=device)
    for axis, side in enumerate(size):
        length = int(side * SHARE)
        first = torch.randint(side - length + 1, (n, 1), generator=generator, device=device)
        place = torch.arange(side, device=device)
        inside = (place >= first) & (place < first + length)
        boxes &= inside.view(n, 1, *(side if a == axis else 1 for a in range(len(size))))
    return boxes


def swap(volumes, boxes):
    """``volumes`` (2n, C, ...), the i-th and the (n+i)-th with their boxes exchanged.  Twice, it changes nothing."""
    one, other = volumes.chunk(2)
    return torch.cat([torch.where(boxes, other, one), torch.where(boxes, one, other)])


METHOD = copy_paste_loss
