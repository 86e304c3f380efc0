"""A trained network and a scan as it comes: the mask in the scan's own geometry, found coarse to fine.

A network learnt from volumes that were cropped around the atrium, and nobody knows yet where it is in this scan.  So it
looks coarse to fine: over the whole scan, where of all that it finds the largest part near the middle says about where
the atrium is; around the middle of that, which says how large it is, again where that is larger than what it saw; and
last in a box like a training case's, with every way in which a network at half resolution can see it.
"""

import os
from collections import namedtuple
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .data.prepare import crop_box
from .data.scans import (
    SCAN,
    array_of,
    back_to,
    image_of,
    normalised,
    read_scan,
    require_spacing,
    stem_of,
    straighten,
    write_image,
)
from .data.volumes import FILE, SPACING_MM, not_normalised, read_geometry, read_volume
from .errors import LasegError
from .evaluate import factor_of, patch_of, require_one_channel
from .inference import largest_component, predict_volume
from .runtime.checkpoints import load_network
from .runtime.machine import pick_device, tell

USUAL_MM = (90.0, 65.0)  # of an atrium, in x and y
MOST_LOOKS, STILL_MM = 5, 2.5  # until the box grows by less than that on each side
SPREAD_MM = 50.0  # how far from the middle of its scan, in x and y, an atrium may well be

# mask (uint8) and probability (float32): SimpleITK's images on the scan's own grid; volume_ml: NaN where a voxel's size
# isn't known.
Found = namedtuple("Found", "mask probability volume_ml")


class Predictor:
    """A checkpoint made ready: ``predictor(scan)`` is what ``predict_scan`` finds with its network and settings.

    Patch, downsampling and voxel size are those of its training unless given; ``options`` go to ``predict_scan``.
    Raises LasegError for a checkpoint that can't predict scans.
    """

    def __init__(self, checkpoint, *, weights="student", patch_size=None, downsample=None, voxel_mm=None, device="auto",
                 **options):
        network, config = load_network(checkpoint, weights)
        require_one_channel(network, checkpoint)
        self.network = network.to(pick_device(device), memory_format=torch.channels_last_3d)
        self.options = {"patch_size": patch_of(network, config, patch_size, checkpoint),
                        "downsample": factor_of(config, downsample),
                        "voxel_mm": voxel_mm or config.get("spacing", SPACING_MM), **options}

    def __call__(self, scan, **options):
        return predict_scan(self.network, scan, **{**self.options, **options})

    def find(self, volume, voxel):
        """A mask of the atrium in a straight, normalised scan (float32 W x H x D) with voxels of ``voxel`` mm, to crop
        around (``prepare`` asks); None if the network finds nothing."""
        scan = image_of(volume, spacing=voxel, origin=(0, 0, 0))
        straight = straighten(scan, self.options["voxel_mm"])
        found = find_atrium(self.network, array_of(straight), straight.GetSpacing(), self.options["patch_size"],
                            self.options["downsample"])
        return None if found is None else array_of(back_to(image_of(np.float32(found), straight), scan)) > 0.5


def predict_scan(network, scan, patch_size, *, downsample=1, voxel_mm=SPACING_MM, spacing=None, window="fast",
                 whole=False, keep_largest=True, precision="fp32", progress=False):
    """``Found`` in ``scan``: a NIfTI, NRRD or MetaImage file, a folder with a DICOM series, or ``mri_norm2.h5``.

    ``patch_size``, ``window``, ``downsample``: see ``predict_volume``.  ``voxel_mm``: a side (or three) of the voxels
    that the network was trained on, before any downsampling.  ``spacing``: a voxel's three sides in mm, for scans that
    don't say them.  ``whole``: the network looks at the whole scan, once (as it does for ``mri_norm2.h5``, which is
    cropped already); otherwise last in a box, as ``predict_all_phases`` does.  ``keep_largest``: only the largest
    connected part of the mask stays.
    A voxel is atrium when its probability, brought back to the scan's grid, exceeds one half.
    """
    scan = Path(scan)
    if scan.name.endswith(".h5"):
        volume, like, known = open_volume(scan, spacing)
        straight, whole = like, True
    else:
        found, known = read_scan(scan, spacing), True
        require_spacing(found)
        like = found.image
        straight = normalised(like, scan, voxel_mm)
        volume = array_of(straight)
    settings = {"downsample": downsample, "window": window, "precision": precision, "progress": progress}
    box, look = (slice(None),) * 3, predict_volume
    if not whole:
        look = predict_all_phases
        around = find_atrium(network, volume, straight.GetSpacing(), patch_size, downsample, precision=precision,
                             progress=progress)
        if around is not None:
            box = crop_box(around, straight.GetSpacing())
    probability = np.zeros(volume.shape, np.float32)
    probability[box] = look(network, volume[box], patch_size, enlarge=True, **settings)[1]
    if keep_largest:
        probability = without_other_parts(probability)
    probability = back_to(image_of(probability, straight), like)
    mask = np.uint8(array_of(probability) > 0.5)
    volume_ml = float(mask.sum() * np.prod(like.GetSpacing()) / 1000) if known else float("nan")
    return Found(image_of(mask, like), probability, volume_ml)


def predict_all_phases(network, volume, patch_size, *, downsample=1, **options):
    """``predict_volume`` at the size of ``volume``, the mean over all ways to lay its blocks.

    A network that sees the means of 2 x 2 x 2 voxels can see a scan in eight ways, by where the first block begins.
    Which one it is, chance decides: one more slice below, and the mask is another one.  So it looks in all of them.
    What lies before the first voxel repeats the border.
    """
    total, ways = np.zeros(volume.shape, np.float32), list(np.ndindex((downsample,) * 3))
    for before in ways:
        padded = np.pad(volume, [(n, 0) for n in before], mode="edge")
        found = predict_volume(network, padded, patch_size, **{**options, "downsample": downsample, "enlarge": True})[1]
        total += found[tuple(slice(n, None) for n in before)]
    probability = total / len(ways)
    return np.uint8(probability > 0.5), probability


def without_other_parts(probability):
    """``probability`` (W x H x D) with 0 in every part above one half but the largest.

    What lies below one half around the largest stays: on another grid a mask's border is interpolated between the two
    sides of it, and beside zeros it would come out half a voxel further in.
    """
    found = probability > 0.5
    return np.where(found & (largest_component(found) == 0), np.float32(0), probability)


def find_atrium(network, volume, voxel, patch_size, downsample=1, *, precision="fp32", progress=False):
    """Where the atrium is in a scan (float32 W x H x D, voxels of ``voxel`` mm): a mask of that shape, one connected
    part of what ``network`` finds; None where it finds nothing.

    Away from the heart the network sees what it was never shown, and what it finds there can be larger than the atrium
    or run together with it.  But whoever scans a heart has it about in the middle.  So nothing counts where the scan
    holds next to no structure; the part is taken that is largest when voxels count less the further out they are; of a
    part wider than a usual atrium what is near its middle stays; and the network looks around that, and around what it
    finds there, until the box grows no more: what was cut off at first may be a part of the atrium.
    """
    weight = near_middle(volume.shape, voxel)

    def look(box):
        found = np.zeros(volume.shape, np.uint8)
        found[box] = predict_volume(network, volume[box], patch_size, window="fast", downsample=downsample,
                                    enlarge=True, precision=precision, progress=progress)[0]
        return found

    coarse = largest_component(look((slice(None),) * 3) * structured(volume, voxel), weight)
    if not coarse.any():
        return None
    for axis, most in enumerate(USUAL_MM):
        along = (coarse * weight).sum(axis=tuple({0, 1, 2} - {axis}))
        middle = np.average(np.arange(len(along)), weights=along)
        keep = np.abs(np.arange(len(along)) - middle) <= most / voxel[axis] / 2
        coarse = coarse * np.expand_dims(keep, tuple({0, 1, 2} - {axis})).astype(np.uint8)
    found, seen = coarse, None
    for _ in range(MOST_LOOKS):
        if not found.any():
            return None
        box = crop_box(found, voxel)
        if seen and all(new.start >= old.start - STILL_MM / mm and new.stop <= old.stop + STILL_MM / mm
                        for new, old, mm in zip(box[:2], seen, voxel)):
            break
        found, seen = largest_component(look(box), weight), box
    return found if found.any() else None


def near_middle(shape, voxel):
    """How much a voxel counts, (W, H, 1): a bell of ``SPREAD_MM`` around the middle of the scan's x and y."""
    x, y = ((np.arange(n) - (n - 1) / 2) * mm for n, mm in zip(shape[:2], voxel))
    return np.exp(-(x[:, None] ** 2 + y**2) / (2 * SPREAD_MM**2))[..., None]


def structured(volume, voxel, smooth_mm=2.0, around_mm=40.0, share=0.5):
    """Where a scan shows more than air and noise, bool W x H x D: once it is smoothed, it varies there by at least a
    ``share`` of what the whole scan does.  (InstanceNorm makes an empty window's noise as strong as a heart.)"""
    from scipy import ndimage

    smooth = ndimage.gaussian_filter(volume, np.divide(smooth_mm, voxel))
    size = [max(round(around_mm / mm), 1) for mm in voxel]
    mean, square = (ndimage.uniform_filter(values, size, mode="nearest") for values in (smooth, smooth**2))
    return square - mean**2 >= (share * smooth.std()) ** 2


def open_volume(path, spacing):
    """(image, the geometry it has as SimpleITK's image, whether its voxels' size is known) of ``mri_norm2.h5``."""
    volume, _ = read_volume(path, with_label=False)
    if problem := not_normalised(volume):
        tell(f"WARNING: {path}: {problem}")
    geometry = read_geometry(path)
    sides = geometry["spacing"] if spacing is None else np.where(np.isnan(geometry["spacing"]), spacing,
                                                                 geometry["spacing"])
    known = not np.isnan(sides).any()
    return volume, image_of(volume, spacing=sides if known else np.ones(3),
                            origin=np.nan_to_num(geometry["origin"])), known


# --- many scans -----------------------------------------------------------------------------------

def names_of(scans):
    """What the masks of ``scans`` are called: the file's name, or its folder's where that says more (the challenge's
    'lgemri.nrrd', 'mri_norm2.h5', and wherever two would be called alike).  LasegError if two still are."""
    def full(path):
        return Path(os.path.abspath(path))  # a loop of links has no end to resolve

    def folder(path):
        return full(path).parent.name

    plain = [folder(p) if p.name in (SCAN, FILE) else full(p).name if p.is_dir() else stem_of(p)
             for p in map(Path, scans)]
    names = [name if plain.count(name) == 1 else f"{folder(Path(scan))}_{name}" for name, scan in zip(plain, scans)]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise LasegError(f"{scans[i]}: its mask would be called as that of {scans[names.index(name)]}; "
                             "give them one at a time, with an --out folder each")
    return names


def predict_files(predictor, scans, out, *, suffix=".nii.gz", keep_probability=False, force=False, say=print,
                  complain=tell, progress=True):
    """Predict every scan and write ``out/NAME_la`` + ``suffix``; returns how many could not be done.

    ``say`` is called with a line for each mask, ``complain`` with one for each scan that can't be done; the others go
    on.  ``keep_probability`` also writes ``NAME_probability``.  A file that is there is only replaced with ``force``.
    """
    failed = 0
    out = Path(out)
    for scan, name in tqdm(list(zip(scans, names_of(scans))), desc="predict", unit="scan", disable=not progress):
        kinds = ["la", "probability"] if keep_probability else ["la"]
        paths = {kind: out / f"{name}_{kind}{suffix}" for kind in kinds}
        try:
            if there := [path for path in paths.values() if path.exists() and not force]:
                raise LasegError(f"{there[0]}: is there already; give --force to replace it, or another --out")
            if any(path.exists() and path.samefile(scan) for path in paths.values()):
                raise LasegError(f"{scan}: the mask would replace the scan itself; give another --out")
            found = predictor(scan, progress=progress)
            write_image(paths["la"], found.mask)
            if keep_probability:
                write_image(paths["probability"], found.probability)
        except LasegError as error:
            failed += 1
            complain(f"{error}")
        except OSError as error:
            failed += 1
            complain(f"{error.filename or scan}: {error.strerror or error}")
        except (RuntimeError, MemoryError) as error:  # SimpleITK's and torch's: this scan's fault, not the next one's
            failed += 1
            complain(f"{scan}: can't be segmented ({str(error).strip().splitlines()[-1:]})")
        else:
            ml = f"{found.volume_ml:.1f} ml"
            if not array_of(found.mask).any():
                ml = "EMPTY, no atrium was found"
            elif found.volume_ml != found.volume_ml:
                ml = "volume unknown (give --spacing)"
            say(f"{paths['la']}: {ml}")
    return failed
