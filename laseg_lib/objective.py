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
    logits = predict_student(student, image, config, generator)
    supervised, cross_entropy, dice = segmentation_loss(logits[:n], label[:n], total=total)
    weight, distance = consistency_weight(config, iteration), torch.zeros_like(supervised)
    if image.shape[0] > n:
        noise = teacher_noise(image[n:], generator) if config.noise_on != "none" else 0
        with torch.no_grad():
            targets = predict_view(teacher, image[n:] + noise, config.teacher_view, generator).float()
        distance = CONSISTENCY[config.consistency_type](logits[n:], targets)
    loss = supervised + weight * distance
    return loss, {"loss": loss, "loss_seg": cross_entropy, "loss_seg_dice": dice,
                  "consistency_weight": weight, "consistency_dist": distance}


def predict_student(student, image, config, generator=None):
    """The student's logits (B, 2, W, H, D) for ``image`` (B, 1, W, H, D), as ``config`` has it look at the batch:
    with noise, with other intensities, or with boxes swapped between the first and the second half of the batch.
    Swapped boxes are back in their own volumes in what is returned, so that labels and targets fit.
    """
    n = config.labelled_in_batch
    if config.noise_on == "both" and image.shape[0] > n:
        image = torch.cat([image[:n], image[n:] + teacher_noise(image[n:], generator)])
    image = vary_intensity(image, config.intensity, generator)
    if not config.copy_paste:
        return student(image).float()
    box = random_box(image.shape[2:], generator)
    return swap_box(student(swap_box(image, box)).float(), box)
