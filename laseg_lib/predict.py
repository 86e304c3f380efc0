"""A mask for a scan in its own geometry, by a trained network.

The network was trained on volumes that were cropped around the atrium, but in a scan the atrium's place is not known.
So the scan is segmented from coarse to fine:

1. in boxes side by side across the middle of the scan, each as large as a training patch (``boxes_across``);
2. in a box around the largest part that was found near the middle, to find its size (``find_atrium``);
3. in a box around that, for the mask.

``data/recorded/predict_steps.json`` (``tools/own_scans.py --steps``) has the Dice without each step.  The
scans are ten whole-chest phantoms, eight real volumes in a border of noise, and eight in a border of mirrored
tissue.  In this order, Dice is lower by

- 0.43, 0.28 and 0.28 if the whole scan is segmented at once;
- 0.27, 0.00 and 0.11 without the weight by distance from the middle (``near_middle``);
- 0.00, 0.00 and 0.01 without the cut (``cut_to_usual_size``), and 0.00, 0.00 and 0.04 without the cut and step 2.

Without step 2 alone Dice is the same there.  Step 2 restores the end of a large atrium that was cut off.
"""

from collections import namedtuple
from itertools import product
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .classes import ATRIUM, with_values
from .data.grid import array_of, back_to, box_with_structure, image_of, normalised_and_straight, straighten
from .data.prepare import MARGIN_MM, crop_box
from .data.scans import read_scan, require_spacing
from .data.volumes import SPACING_MM, in_mm, open_volume, sizes_differ
from .inference import largest_component, most_probable, predict_volume
from .runtime.checkpoints import load_to_predict
from .runtime.machine import notify, pick_device

USUAL_MM = (90.0, 65.0)  # size of an atrium in x and y
SPREAD_MM = 50.0  # how far from the middle of its scan, in x and y, an atrium can be
REACH_MM = 75.0  # how far from the middle the first boxes reach

# mask (uint8) and probability (float32; several classes: one volume for each): SimpleITK's images on the scan's grid.
# volume_ml: of all classes together, NaN if a voxel's size isn't known.
Found = namedtuple("Found", "mask probability volume_ml")


class Predictor:
    """A loaded checkpoint: ``predictor(scan)`` calls ``predict_scan`` with its network and settings.

    Patch, downsampling and voxel size are those of its training unless given.
    Raises LasegError for a checkpoint that can't predict scans.
    """

    def __init__(self, checkpoint, *, weights="student", patch_size=None, downsample=None, voxel_mm=None, device="auto",
                 **options):
        network, config = load_to_predict(checkpoint, weights, patch_size, downsample)
        self.classes = config.get("classes", ATRIUM)
        self.network = network.to(pick_device(device), memory_format=torch.channels_last_3d)
        self.options = {"patch_size": config["patch_size"], "downsample": config["downsample"],
                        "voxel_mm": voxel_mm or config.get("spacing", SPACING_MM), "classes": self.classes, **options}

    def __call__(self, scan, **options):
        return predict_scan(self.network, scan, **{**self.options, **options})

    def find(self, volume, voxel):
        """``find_atrium``, bool W x H x D or None, in a straight, normalised scan (float32 W x H x D) with voxels of
        ``voxel`` mm."""
        scan = image_of(volume, spacing=voxel, origin=(0, 0, 0))
        straight = straighten(scan, self.options["voxel_mm"])
        values, voxel = array_of(straight), straight.GetSpacing()
        inside = box_with_structure(values, voxel)
        found = find_atrium(self.network, values[inside], voxel, self.options["patch_size"], self.options["downsample"])
        if found is None:
            return None
        mask = np.zeros(values.shape, np.float32)
        mask[inside] = found
        return array_of(back_to(image_of(mask, straight), scan)) > 0.5


def predict_scan(network, scan, patch_size, *, downsample=1, voxel_mm=SPACING_MM, spacing=None, orientation=None,
                 window="fast", whole=False, keep_largest=True, precision="fp32", progress=False, classes=ATRIUM):
    """``Found`` in ``scan``: a NIfTI, NRRD or MetaImage file, a folder with a DICOM series, or ``mri_norm2.h5``.

    ``patch_size``, ``window``, ``downsample``: see ``predict_volume``.  ``voxel_mm``: a side (or three) of the voxels
    that the network was trained on, before any downsampling.  ``spacing``: a voxel's three sides in mm, for scans
    without them.  ``orientation``: see ``read_scan``.  ``whole``: the whole scan is segmented at once, not from coarse
    to fine; always so for ``mri_norm2.h5``, which is cropped already.  ``keep_largest``: only the largest connected
    part of each class is kept.  ``classes``: {name: value in the mask} of the network's classes.
    The probabilities are resampled to the scan's grid; there each voxel gets its most probable class.
    LasegError for a scan that can't be read or has no voxel size, and as in ``predict_volume``.
    """
    scan = Path(scan)
    if scan.name.endswith(".h5"):
        volume, geometry, known = open_volume(scan, spacing)
        like = image_of(volume, **geometry)
        if known and sizes_differ(like.GetSpacing(), np.broadcast_to(voxel_mm, 3)):
            notify(f"WARNING: {scan}: its voxels are {in_mm(like.GetSpacing())}, those that the network was trained on "
                   f"{in_mm(np.broadcast_to(voxel_mm, 3))}: prepare it alike")
        straight, whole = like, True
    else:
        found, known = read_scan(scan, spacing, orientation), True
        require_spacing(found)
        like = found.image
        straight = normalised_and_straight(like, scan, voxel_mm)
        volume = array_of(straight)
    settings = {"downsample": downsample, "window": window, "precision": precision}
    if whole:
        probability = predict_volume(network, volume, patch_size, enlarge=True, progress=progress, **settings)[1]
        probability = probability.reshape(len(classes), *volume.shape)
    else:
        probability, voxel = np.zeros((len(classes), *volume.shape), np.float32), straight.GetSpacing()
        inside = box_with_structure(volume, voxel)
        part = volume[inside]
        around = find_atrium(network, part, voxel, patch_size, downsample, precision=precision, progress=progress)
        box = (slice(None),) * 3 if around is None else crop_box(around, voxel)
        probability[(..., *inside)] = look_at(network, part, [box], patch_size, progress=progress, **settings)
    if keep_largest:
        probability = without_other_parts(probability)
    each = np.stack([array_of(back_to(image_of(one, straight), like)) for one in probability])
    label = most_probable(each)
    volume_ml = float((label > 0).sum() * np.prod(like.GetSpacing()) / 1000) if known else float("nan")
    return Found(image_of(with_values(label, classes), like), image_of(each, like), volume_ml)


def boxes_across(shape, voxel, patch_size, downsample=1):
    """The boxes of step 1 in a scan of ``shape``: triples of slices, side by side in x and y, each as large
    as a patch or, if smaller, a usual case.  They reach ``REACH_MM`` and half a case from the middle."""
    sides = []
    for n, usual, mm, patch in zip(shape, USUAL_MM, voxel, patch_size):
        case = usual + 2 * np.mean(MARGIN_MM)
        side = min(round(case / mm), patch * downsample, n)
        steps = int(np.ceil(max(REACH_MM + case / 2 - side * mm / 2, 0) / (side * mm)))
        starts = ((n - side) // 2 + np.arange(-steps, steps + 1) * side).clip(0, n - side)
        sides.append([slice(start, start + side) for start in np.unique(starts).tolist()])
    return [(x, y, slice(None)) for x, y in product(*sides)]


def look_at(network, volume, boxes, patch_size, *, progress=False, **options):
    """The probabilities (float32 K x W x H x D) in ``volume``.  Each of ``boxes`` is segmented by itself.
    Where boxes overlap, the mean is taken.  Other voxels get 0.  ``options``: of ``predict_volume``."""
    total, count = None, np.zeros(volume.shape, np.uint8)
    for box in tqdm(boxes, desc="look", unit="box", leave=False, disable=not progress):
        part = volume[box]
        found = predict_volume(network, part, patch_size, enlarge=True, **options)[1].reshape(-1, *part.shape)
        total = np.zeros((len(found), *volume.shape), np.float32) if total is None else total
        total[(..., *box)] += found
        count[box] += 1
    return total / np.maximum(count, 1)


def without_other_parts(probability):
    """``probability`` (K x W x H x D) with 0 in every part of a class except the largest.

    Probabilities below one half around the largest part are kept.  On another grid the mask's border is interpolated
    between both sides; beside zeros it would move inwards by half a voxel.
    """
    found = most_probable(probability)
    return np.where((found > 0) & (largest_component(found) == 0), np.float32(0), probability)


def find_atrium(network, volume, voxel, patch_size, downsample=1, *, precision="fp32", progress=False):
    """A mask of the atrium in a scan (float32 W x H x D, voxels of ``voxel`` mm), one connected part; None if
    ``network`` finds nothing.

    The network was never trained on tissue away from the heart.  A part that is found there can be larger
    than the atrium, or touch the atrium.  The heart is near the middle of its scan.  So ``near_middle``
    weights the voxels, and the largest part is kept and cut (``cut_to_usual_size``).  Then the network
    segments a box around the rest, which restores an end that was cut off.
    """
    weight = near_middle(volume.shape, voxel)

    def look(boxes):
        found = look_at(network, volume, boxes, patch_size, downsample=downsample, window="fast", precision=precision,
                        progress=progress)
        return largest_component(found.sum(0) > 0.5, weight)

    found = cut_to_usual_size(look(boxes_across(volume.shape, voxel, patch_size, downsample)), weight, voxel)
    if found.any():
        found = look([crop_box(found, voxel)])
    return found if found.any() else None


def cut_to_usual_size(found, weight, voxel):
    """Clear ``found``, a mask, in place beyond half of ``USUAL_MM`` from its weighted middle in x and y; return it."""
    for axis, most in enumerate(USUAL_MM):
        if found.any():
            profile = (found.sum(2) * weight[..., 0]).sum(1 - axis)
            middle = np.average(np.arange(len(profile)), weights=profile)
            planes = np.moveaxis(found, axis, 0)  # a view
            planes[np.abs(np.arange(len(planes)) - middle) > most / voxel[axis] / 2] = 0
    return found


def near_middle(shape, voxel):
    """The weight (0 to 1) of a voxel with sides ``voxel`` in mm, (W, H, 1): a normal curve of ``SPREAD_MM`` around
    the middle of the scan's x and y."""
    x, y = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape[:2], voxel))
    return np.exp(-(x[:, None] ** 2 + y**2) / (2 * SPREAD_MM**2))[..., None]
