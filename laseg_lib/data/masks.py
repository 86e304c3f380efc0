"""Masks as files: those of many scans, written one by one, and those that any tool wrote, measured against labels."""

import os
import re
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..errors import LasegError
from ..metrics import case_metrics
from ..runtime.machine import tell
from .files import first_channel, plain, scans_of, stem_of
from .scans import LABEL, SCAN, array_of, atrium_of, image_of, read_scan, same_grid, write_image
from .volumes import FILE, LAHeart, read_geometry, read_volume

ENDS = re.compile(r"(_0000|[_-](la|laendo|label|mask|seg|segmentation|gt|pred|prediction))$", re.IGNORECASE)


def by_case(paths):
    """{case: path} of masks or labels: what a file is called without its ending and a word such as _la, or its folder
    where that is the case's name.  LasegError where two are of one case."""
    found = {}
    for path in paths:
        own = path.name.lower() in (SCAN, LABEL, FILE)
        case = path.parent.name if own else ENDS.sub("", stem_of(plain(path.name)))
        if case in found:
            raise LasegError(f"{path}: a second file of the case {case}, the first is {found[case]}; move one away")
        found[case] = path
    return found


def evaluate_masks(masks, labels=None, root_path=None, *, split="test", label_value=None, spacing=None):
    """Rows of ``case`` and its metrics, for the masks in a folder, matched with labels by their names.

    ``labels``: the folder of the labels, which lie on the masks' own grids.  ``root_path``, ``split``: prepared volumes
    in place of it, onto whose grids the masks are brought.  ``label_value``: as for ``laseg prepare``, of both.
    Raises LasegError where no name fits, or a mask isn't where its label is.
    """
    for folder in (masks, *([labels] if labels else [])):
        if not os.path.isdir(folder):
            raise LasegError(f"{folder}: no such folder; give the one that holds the files")
    found = by_case(scans_of(masks))
    if labels:
        known = by_case(scans_of(labels))
    else:
        dataset = LAHeart(root_path, split)
        known = {name: dataset.path(name) for name in dataset.image_list}
    both = sorted(set(found) & set(known))
    if not both:
        raise LasegError(f"{masks}: no mask is called as a label is: {', '.join(sorted(found)[:3])} here, "
                         f"{', '.join(sorted(known)[:3])} in {labels or root_path}; rename them")
    for there, others, what in ((known, found, "label has no mask"), (found, known, "mask has no label")):
        if lone := sorted(set(there) - set(others)):
            tell(f"WARNING: {len(lone)} times a {what}, such as {there[lone[0]]}: these don't count")
    measure = measured_on_label if labels else measured_on_volume
    return [{"case": name, **measure(found[name], known[name], label_value, spacing)} for name in both]


def mask_in(path, value):
    """The ``Scan`` of a mask, its image 0 and 1; an empty one is a mask too."""
    scan = read_scan(path)
    values = array_of(scan.image)
    scan.image = image_of(np.uint8(atrium_of(values, path, value) if values.any() else values), scan.image)
    return scan


def measured_on_label(mask, label, value, spacing):
    import SimpleITK as sitk

    one, two = mask_in(mask, value), mask_in(label, value)
    if not array_of(two.image).any():
        raise LasegError(f"{label}: the label is empty, no voxel is left atrium; leave this case out")
    known = all(one.said) and all(two.said) and one.oriented == two.oriented
    prediction, gold = (sitk.DICOMOrient(scan.image, "LPS") if known else scan.image for scan in (one, two))
    if not (same_grid(prediction, gold, 0.1) if known else prediction.GetSize() == gold.GetSize()):
        told = [f"{image.GetSize()} voxels of {np.round(image.GetSpacing(), 3).tolist()} mm from "
                f"{np.round(image.GetOrigin(), 2).tolist()}" for image in (prediction, gold)]
        raise LasegError(f"{mask}: not on the grid of its label {label} ({told[0]}, and {told[1]}); export the mask in "
                         "the geometry of the scan")
    sides = np.where(np.isfinite(two.spacing) | (spacing is None), two.spacing, spacing or np.nan)
    return case_metrics(array_of(prediction), array_of(gold), sides)


def measured_on_volume(mask, volume, value, spacing):
    import SimpleITK as sitk

    label, geometry, found = read_volume(volume)[1], read_geometry(volume), mask_in(mask, value)
    sides = np.where(np.isfinite(geometry["spacing"]) | (spacing is None), geometry["spacing"], spacing or np.nan)
    alike = found.image.GetSize() == label.shape
    if np.isnan([*sides, *geometry["origin"]]).any():  # as for the public volumes: voxel by voxel
        if not alike:
            raise LasegError(f"{mask}: has {found.image.GetSize()} voxels, {volume} {label.shape}, and that doesn't "
                             "say where it lies; give --labels, the folder with the labels of the scans")
        return case_metrics(array_of(found.image), label, sides)
    image = sitk.DICOMOrient(found.image, "LPS")
    grid = image_of(label, spacing=sides, origin=geometry["origin"])
    share = array_of(sitk.Resample(sitk.Cast(image, sitk.sitkFloat32), grid, sitk.Transform(), sitk.sitkLinear, 0.0))
    if alike and not same_grid(image, grid, 0.1) or array_of(image).any() and not share.any():
        raise LasegError(f"{mask}: by the headers it doesn't lie where {volume} does; is it of another case, or one of "
                         "the headers wrong?")
    return case_metrics(share >= 0.5, label, sides)


# --- written --------------------------------------------------------------------------------------

def names_of(scans):
    """What the masks of ``scans`` are called: the file's name (in a folder of nnU-Net's without its channel), or its
    folder's where that says more (the challenge's 'lgemri.nrrd', 'mri_norm2.h5', and wherever two would be called
    alike).  LasegError if two still are."""
    def full(path):
        return Path(os.path.abspath(path))  # a loop of links has no end to resolve

    def folder(path):
        return full(path).parent.name

    plain = [folder(p) if p.name in (SCAN, FILE) else full(p).name if p.is_dir() else first_channel(p) or stem_of(p)
             for p in map(Path, scans)]
    names = [name if plain.count(name) == 1 else f"{folder(Path(scan))}_{name}" for name, scan in zip(plain, scans)]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise LasegError(f"{scans[i]}: its mask would be called as that of {scans[names.index(name)]}; "
                             "give them one at a time, with an --out folder each")
    return names


def predict_files(predictor, scans, out, *, suffix=".nii.gz", keep_probability=False, force=False, say=print,
                  complain=tell, progress=True):
    """Predict every scan and write ``out/NAME_la`` + ``suffix``, where the scans follow nnU-Net ``out/NAME`` +
    ``suffix``; returns how many could not be done.

    ``say`` is called with a line for each mask, ``complain`` with one for each scan that can't be done; the others go
    on.  ``keep_probability`` also writes ``NAME_probability``.  A file that is there is only replaced with ``force``.
    """
    failed, out = 0, Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LasegError(f"--out {out}: can't be made ({error.strerror}); name a folder of yours") from error
    for scan, name in tqdm(list(zip(scans, names_of(scans))), desc="predict", unit="scan", disable=not progress):
        kinds = ["la", "probability"] if keep_probability else ["la"]
        paths = {kind: out / f"{name}_{kind}{suffix}" for kind in kinds}
        if first_channel(scan):
            paths["la"] = out / f"{name}{suffix}"
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
        # SimpleITK's and torch's, which take what they can't use for another type: this scan's fault, no other's.
        except (RuntimeError, MemoryError, TypeError, ValueError, ArithmeticError) as error:
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
