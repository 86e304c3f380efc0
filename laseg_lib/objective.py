"""What one batch costs: the supervised loss of its labelled volumes, and how far student and teacher are apart on the
unlabelled ones."""

import torch

from . import ramps
from .intensity import vary_intensity
from .losses import pseudo_label_loss, segmentation_loss, softmax_kl_loss, softmax_mse_loss
from .mixing import random_box, swap_box
from .transforms import teacher_noise
from .views import predict_view

CONSISTENCY = {"mse": softmax_mse_loss, "kl": softmax_kl_loss, "pseudo": pseudo_label_loss}


def consistency_weight(config, iteration):
    """lambda at this iteration: it climbs every ``ramp_every`` iterations; 0 where unlabelled volumes don't count."""
    if config.model != "MT":
        return 0.0
    return config.consistency * ramps.sigmoid_rampup(iteration // config.ramp_every, config.consistency_rampup)


def mean_teacher_loss(student, teacher, image, label, config, iteration, generator=None, total=torch.sum):
    """The loss of one batch, and its parts for the log.

    ``image``: (B, 1, W, H, D), labelled volumes first; ``label``: (B, W, H, D), of which only the
    labelled ones are looked at.  ``total``: Dice's sum over the batch.
    Returns (scalar to differentiate, dict of scalars).
    """
    n = config.labelled_in_batch
    seen, box = student_view(image, config, generator)
    if image.shape[0] > n:
        noise = teacher_noise(image[n:], generator) if config.noise_on != "none" else 0
        with torch.no_grad():  # before the student: later its memory would come on top of what the gradient needs
            targets = predict_view(teacher, image[n:] + noise, config.teacher_view, generator).float()
    logits = student(seen).float()
    if box is not None:
        logits = swap_box(logits, box)  # back into their own volumes, so that labels and targets fit
    supervised, cross_entropy, dice = segmentation_loss(logits[:n], label[:n], total=total)
    weight, distance = consistency_weight(config, iteration), torch.zeros_like(supervised)
    if image.shape[0] > n:
        distance = CONSISTENCY[config.consistency_type](logits[n:], targets)
    loss = supervised + weight * distance
    return loss, {"loss": loss, "loss_seg": cross_entropy, "loss_seg_dice": dice,
                  "consistency_weight": weight, "consistency_dist": distance}


def student_view(image, config, generator=None):
    """``image`` (B, 1, W, H, D) as ``config`` has the student look at it, and the box whose contents the first and the
    second half of the batch have exchanged (a tuple of slices), or None: with noise, other intensities, or copy-paste.
    """
    n = config.labelled_in_batch
    if config.noise_on == "both" and image.shape[0] > n:
        image = torch.cat([image[:n], image[n:] + teacher_noise(image[n:], generator)])
    image = vary_intensity(image, config.intensity, generator)
    if not config.copy_paste:
        return image, None
    box = random_box(image.shape[2:], generator)
    return swap_box(image, box), box
