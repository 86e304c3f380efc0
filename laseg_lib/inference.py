"""The segmentation of a whole volume by a trained network: the sliding window."""

from itertools import product

import numpy as np
import torch
import torch.nn.functional as F
from tqdm.auto import tqdm

from .errors import LasegError
from .metrics import mean_dice_of
from .runtime.compat import first_output
from .runtime.machine import autocast, explain_memory

WALKTHROUGH_STRIDE = (18, 18, 4)  # of the walkthrough's window, in voxels
WINDOWS = ("walkthrough", "fast", "whole")


def predict_volume(model, image, patch_size, *, window="walkthrough", precision="fp32", batch_size=4, downsample=1,
                   enlarge=False, progress=False):
    """(label uint8, probability of atrium float32), both W x H x D, for one normalised ``image`` of that shape, an
    array or a tensor.  With more than two classes the probabilities are K x W x H x D, for the classes 1 to K.
    ``patch_size``: the sides of a window in voxels, W x H x D or one number for all three.

    ``downsample``: blocks of so many voxels a side are averaged first, as in the network's training.  Both results then
    have the smaller size.  With ``enlarge`` the probabilities are interpolated to the size of ``image`` (trilinear, the
    border repeated), and the label is made from them.

    ``window='walkthrough'`` (or 'seed'): windows of ``patch_size`` at stride 18, 18, 4 for a 112 x 112 x 80 patch, in
    proportion for others.  Softmax is averaged where windows overlap.  A smaller volume is padded with zeros.
    ``'fast'``: the same with windows that overlap by half of each side: a few in place of dozens.
    ``'whole'``: the whole volume at once, padded to a size that can be halved; V-Net is fully convolutional.  A network
    that was trained on small patches does badly there (notebook 08).

    A voxel's label is its most probable class; with two classes, atrium if its probability exceeds one half.
    Call ``model.eval()`` first: the mode is not changed.  ``model`` may be any network from (B, 1, W, H, D) to logits
    (B, C, W, H, D); see ``first_output``.  ``progress``: a bar over the windows.
    ValueError for another ``window``, and for an image or a patch without three sides.  LasegError for NaN, for an
    output of another size, and if the memory is too small.
    """
    window = "walkthrough" if window == "seed" else window
    if window not in WINDOWS:
        raise ValueError(f"window must be one of {', '.join(WINDOWS)}; not {window!r}")
    first = next(model.parameters(), torch.empty(0))  # a network can be without parameters
    device, dtype = first.device, first.dtype
    image = image if torch.is_tensor(image) else torch.from_numpy(np.array(image, np.float32, order="C"))
    patch_size = (patch_size,) * 3 if np.ndim(patch_size) == 0 else patch_size
    if image.ndim != 3 or len(patch_size) != 3:
        raise ValueError(f"image must be W x H x D and patch_size three sides; they are {tuple(image.shape)} and "
                         f"{tuple(patch_size)}")
    volume = image.to(device, torch.float32)[None, None]
    size = volume.shape[2:]
    if downsample > 1:
        volume = F.avg_pool3d(volume, downsample)

    bar = tqdm(desc="look", unit="window", leave=False, disable=not progress)

    def probability(x):
        x = x.to(dtype, memory_format=torch.channels_last_3d)
        logits = first_output(model(x), x).float()
        bar.update(len(x))
        return F.softmax(logits, dim=1)[:, 1:]

    if window == "whole":  # one window; the border is repeated: a step to zero would look like the edge of an organ
        # V-Net knows its divisor, inside DataParallel too; other networks are assumed to halve at most five times.
        divisor = getattr(getattr(model, "module", model), "divisor", (32, 32, 32))
        patch_size = [-(-side // d) * d for side, d in zip(volume.shape[2:], divisor)]
        stride, padding = patch_size, "replicate"
    else:
        padding, stride = "constant", [max(side // 2, 1) for side in patch_size]
        if window == "walkthrough":
            stride = walkthrough_stride(patch_size)
    # Not inference_mode: a network may keep a tensor, and training can't use one that was made there.
    with torch.no_grad(), autocast(device, precision), explain_memory(), bar:
        score = sliding_window(volume, patch_size, stride, probability, batch_size, padding)
    if enlarge and downsample > 1:
        score = enlarged(score.float(), size, downsample)
    score = score[0].float().cpu().numpy()
    if np.isnan(score).any():  # NaN is not above one half: it would look like a volume without an atrium
        raise LasegError("the network's output is NaN: the volume's voxels are NaN or too large, or its weights are; "
                         "prepare this volume again, or use an earlier checkpoint")
    return most_probable(score), score[0] if len(score) == 1 else score


def sliding_window(volume, patch_size, stride, probability, batch_size=4, padding="constant"):
    """The mean of ``probability`` over windows of ``patch_size`` that go over ``volume`` in steps of ``stride``.

    ``volume``: a float32 tensor (1, C, W, H, D).  ``probability``: a function of ``batch_size`` windows
    (B, C, w, h, d) that returns (B, K, w, h, d).  The last window of an axis ends where the volume ends.  A side that
    is shorter than the window is padded on both sides: with zeros, or by another mode of ``torch.nn.functional.pad``.
    Returns (1, K, W, H, D) float32; equal to MONAI's ``sliding_window_inference``, bit for bit.  ValueError for more
    than one volume.
    """
    def box(corner, sides):
        return (..., *(slice(start, start + side) for start, side in zip(corner, sides)))

    if len(volume) != 1:
        raise ValueError(f"volume is {tuple(volume.shape)}; give one volume, (1, C, W, H, D)")
    size = volume.shape[2:]
    missing = [max(patch - side, 0) for side, patch in zip(size, patch_size)]
    volume = F.pad(volume, [n for lack in reversed(missing) for n in (lack // 2, lack - lack // 2)], padding)
    starts = [[*range(0, side - patch, step), side - patch]
              for side, patch, step in zip(volume.shape[2:], patch_size, stride)]
    windows = [box(corner, patch_size) for corner in product(*starts)]
    total, count = None, torch.zeros_like(volume[:, :1], dtype=torch.float32)
    for first in range(0, len(windows), batch_size):
        some = windows[first:first + batch_size]
        found = probability(torch.cat([volume[window] for window in some])).float()
        total = count.new_zeros(1, found.shape[1], *volume.shape[2:]) if total is None else total
        for window, one in zip(some, found):
            total[window] += one
            count[window] += 1
    return (total / count)[box([lack // 2 for lack in missing], size)]


def most_probable(score):
    """The label (uint8) of the most probable class.  ``score`` (K, ...): probabilities of the classes 1 to K; the rest
    to 1 is the background's."""
    if len(score) == 1:  # the same, without copies of a large volume
        return (score[0] > 1 - score[0]).astype(np.uint8)
    return np.concatenate([1 - score.sum(0, keepdims=True), score]).argmax(0).astype(np.uint8)


def enlarged(volume, size, factor):
    """``volume`` (B, C, w, h, d), whose voxels are means of ``factor`` a side, at full ``size`` again: trilinear.

    At the end of a side that ``factor`` does not divide, the border is repeated.
    """
    whole = F.interpolate(volume, scale_factor=factor, mode="trilinear", align_corners=False)
    pads = [n for full, side in reversed(list(zip(size, whole.shape[2:]))) for n in (0, full - side)]
    return F.pad(whole, pads, mode="replicate")


def walkthrough_stride(patch_size):
    """18, 18, 4 for the 112 x 112 x 80 patch, in the same proportion for other patches; at least 1."""
    return tuple(max(1, round(size * stride / full))
                 for size, stride, full in zip(patch_size, WALKTHROUGH_STRIDE, (112, 112, 80)))


def mean_dice(model, dataset, patch_size, *, window="fast", precision="fp32"):
    """Mean Dice (0 to 1) of ``model`` over the volumes and classes of ``dataset``, to follow a training.  For
    one network the fast window, the default, gave 0.02 less than the tables' (data/recorded/README.md)."""
    scores = []
    for i in range(len(dataset)):
        sample = dataset[i]
        prediction, _ = predict_volume(model, sample["image"], patch_size, window=window, precision=precision)
        scores.append(mean_dice_of(prediction, torch.as_tensor(sample["label"]).cpu().numpy()))
    return float(np.mean(scores))


def largest_component(mask, weight=None):
    """The largest connected part of ``mask`` (W, H, D) or (W, H), uint8.  Voxels that share a corner are connected.
    An empty mask stays empty.  In a label of several classes the largest part of each class is kept.  Returns a copy.
    ValueError for a batch, and for values that are not whole numbers from 0 to 255.

    ``weight``: the weight of each voxel, an array that broadcasts to the mask; by default all are equal.

    >>> largest_component(np.array([[1, 1, 0, 1], [0, 0, 0, 0], [2, 0, 2, 2]]))
    array([[1, 1, 0, 0],
           [0, 0, 0, 0],
           [0, 0, 2, 2]], dtype=uint8)
    """
    from scipy import ndimage

    mask = np.asarray(mask)
    if mask.ndim > 3:
        raise ValueError(f"the mask is {mask.shape}: give one case, W x H x D; in a batch, cases would be connected")
    found = mask.astype(np.uint8)
    if (found != mask).any():
        raise ValueError(f"a mask holds whole numbers from 0 to 255, this one {np.unique(mask)[:4].tolist()} and so "
                         "on: compare it with a threshold first")
    # An atrium is a small part of its scan, so all but its box is left alone.
    inside, box = found, ()
    for axis in range(found.ndim):
        places = np.flatnonzero(inside.any(axis=tuple({*range(found.ndim)} - {axis})))
        if not len(places):
            return found
        box += (slice(places[0], places[-1] + 1),)
        inside = found[box]
    each = None if weight is None else np.broadcast_to(weight, mask.shape)[box].ravel()
    for value in np.flatnonzero(np.bincount(inside.ravel())[1:]) + 1:
        parts, count = ndimage.label(inside == value, np.ones((3,) * mask.ndim))
        if count > 1:
            inside[(parts > 0) & (parts != 1 + np.argmax(np.bincount(parts.ravel(), each)[1:]))] = 0
    return found
