"""What one batch costs: the supervised loss of its labelled volumes, and how far student and teacher are apart on the
unlabelled ones."""

import numpy as np
import torch

from . import ramps
from .intensity import vary_intensity
from .losses import pseudo_label_loss, segmentation_loss, softmax_kl_loss, softmax_mse_loss
from .mixing import random_box, swap_box
from .transforms import RandomAffine, resample, teacher_noise
from .views import predict_view

CONSISTENCY = {"mse": softmax_mse_loss, "kl": softmax_kl_loss, "pseudo": pseudo_label_loss}


def consistency_loss(config, logits, targets):
    """How far the student's ``logits`` are from the teacher's ``targets``, by the kind of consistency that is set."""
    sure = {"confidence": config.confidence} if config.consistency_type == "pseudo" else {}
    return CONSISTENCY[config.consistency_type](logits, targets, **sure)


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
            if config.student_affine:
                seen, targets = move_unlabelled(seen, targets, n, config.student_affine, generator)
    logits = student(seen).float()
    if box is not None:
        logits = swap_box(logits, box)  # back into their own volumes, so that labels and targets fit
    supervised, cross_entropy, dice = segmentation_loss(logits[:n], label[:n], total=total)
    weight, distance = consistency_weight(config, iteration), torch.zeros_like(supervised)
    if image.shape[0] > n:
        distance = consistency_loss(config, logits[n:], targets)
    loss = supervised + weight * distance
    return loss, {"loss": loss, "loss_seg": cross_entropy, "loss_seg_dice": dice,
                  "consistency_weight": weight, "consistency_dist": distance}


def move_unlabelled(seen, targets, n, degrees, generator=None):
    """(``seen`` with its unlabelled volumes, from the n-th on, rotated and scaled, ``targets`` moved along): what the
    teacher found, the student must find from another side.
    """
    change = RandomAffine(degrees, 1.2 ** (degrees / 15), probability=1.0, rng=numpy_generator(generator))
    matrices = np.stack([change.draw() for _ in range(len(targets))])
    return torch.cat([seen[:n], resample(seen[n:], matrices)]), resample(targets, matrices)


def numpy_generator(generator):
    """A NumPy generator seeded by one draw of ``generator`` (torch's; None: the global one)."""
    device = generator.device if generator is not None else "cpu"
    return np.random.default_rng(int(torch.randint(2**62, (), generator=generator, device=device)))


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
