"""Mask files: predicting and writing those of many scans, and measuring any tool's masks against labels."""

import os
import re
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..classes import ATRIUM, as_text
from ..errors import LasegError
from ..metrics import average, case_metrics
from ..runtime.machine import notify
from .files import SCAN_ENDS, comparable_name, first_channel, scans_of, stem_of, what_is_in
from .grid import array_of, image_of, on_grid, same_grid
from .scans import LABEL, SCAN, class_numbers, read_scan, write_image
from .volumes import FILE, LAHeart, has_label, read_classes, read_geometry, read_volume

ENDS = re.compile(r"(_0000|\.seg|[_-](la|laendo|label|mask|seg|segmentation|gt|pred|prediction))$", re.IGNORECASE)
SCAN_END = re.compile(f"({'|'.join(filter(None, SCAN_ENDS))})$", re.IGNORECASE)


def by_case(paths):
    """{case: path} of masks or labels.  A case is the file's name without its suffix and a word such as _la.
    For the challenge's files, and if all files have one name, a case is the folder's name.  LasegError for
    two files of one case."""
    found, alike = {}, len(paths) > 1 and len({path.name for path in paths}) == 1
    for path in paths:
        own = path.name.lower() in (SCAN, LABEL, FILE) or alike
        case = comparable_name(path.parent.name) if own else ENDS.sub("", stem_of(comparable_name(path.name)))
        if case in found:
            raise LasegError(f"{path}: a second file for the case {case}, the first is {found[case]}; move one away")
        found[case] = path
    return found


def metric_rows(case, prediction, label, classes, sides):
    """The rows of metrics of one case, ``case`` first: one row; with several ``classes`` a row for each and their mean.

    A class that isn't in the label is left out, with a message.  ``sides``: a voxel's sides in mm.
    """
    if len(classes) == 1:
        return [{"case": case, **case_metrics(prediction, label, sides)}]
    rows = []
    for k, name in enumerate(classes, 1):
        if (label == k).any():
            rows.append({"case": case, "class": name, **case_metrics(prediction == k, label == k, sides)})
        else:
            notify(f"WARNING: {case}: its label holds no {name}, so {name} is left out of its mean")
    return [*rows, {"case": case, "class": "mean", **average(rows)}]


def masks_in(folder):
    """The files of masks in ``folder``; LasegError if it isn't one, or has none."""
    if not os.path.isdir(folder):
        raise LasegError(f"{folder}: no such folder; give the folder that holds the files")
    files = scans_of(folder, masks=True)
    if files == [Path(folder)]:  # it has no scans, and no subfolders
        raise LasegError(f"{folder}: no masks in this folder; {what_is_in(folder)}; give the folder of the masks")
    return files


def evaluate_masks(masks, labels=None, root_path=None, *, split="test", label_value=None, classes=None, spacing=None,
                   orientation=None):
    """The rows of ``metric_rows`` for the masks in a folder, matched with labels by their names.

    ``labels``: the folder of the labels, on the masks' grids.  ``root_path``, ``split``: prepared volumes instead of
    labels; the masks are resampled to their grids.  ``label_value``, ``classes``: as for ``laseg prepare``, for masks
    and labels; prepared volumes know the values of their classes, and ``classes`` gives the masks' if they are others.
    ``orientation``: see ``read_scan``.
    Raises LasegError if no name matches, or a mask has another geometry than its label; it names all such cases.
    """
    found, known = (by_case(masks_in(folder)) if folder else None for folder in (masks, labels))
    if not labels:
        dataset = LAHeart(root_path, split)
        known = {name: dataset.path(name) for name in dataset.image_list if has_label(dataset.path(name))}
        if len(dataset.classes) > 1 and not classes:
            notify(f"the masks' values are read as {' '.join(as_text(dataset.classes))}; if they are others, give "
                   "--classes")
    if not set(found) & set(known):  # our own mask of p1_mri is p1_mri_la, and its label may be p1_la
        shorter = {SCAN_END.sub("", case): path for case, path in found.items()}
        found = shorter if len(shorter) == len(found) else found
    both = sorted(set(found) & set(known))
    if not both:
        raise LasegError(f"{masks}: no mask has the name of a label: {', '.join(sorted(found)[:3])} here, "
                         f"{', '.join(sorted(known)[:3])} in {labels or root_path}; rename them")
    for there, others, what in ((known, found, "label has no mask"), (found, known, "mask has no label")):
        if lone := sorted(set(there) - set(others)):
            notify(f"WARNING: {len(lone)} times a {what}, such as {there[lone[0]]}: these are left out")
    measure, rows, bad = measured_on_label if labels else measured_on_volume, [], {}
    for name in both:
        try:
            pair = measure(found[name], known[name], classes or label_value, spacing, orientation)
            rows += metric_rows(name, *pair)
        except LasegError as error:
            bad[name] = error
    if len(bad) == 1:
        raise next(iter(bad.values()))
    if bad:
        for error in bad.values():
            notify(error)
        raise LasegError(f"{len(bad)} of {len(both)} cases can't be measured: {', '.join(bad)}. "
                         f"{next(iter(bad.values()))}")
    return rows


def read_mask(path, value, orientation):
    """The ``Scan`` of a mask, its image 0 and 1 to K; an empty mask is allowed."""
    scan = read_scan(path, orientation=orientation)
    values = array_of(scan.image)
    numbers = class_numbers(values, path, value, all_there=False) if values.any() else np.uint8(values)
    if values.any() and not numbers.any():
        notify(f"WARNING: {path}: holds {np.unique(values)[:6].tolist()}, and no value of --label-value or --classes: "
               "it counts as empty")
    scan.image = image_of(numbers, scan.image)
    return scan


def measured_on_label(mask, label, value, spacing, orientation):
    """(prediction, label, classes, sides of a voxel) of a mask and a label on one grid."""
    import SimpleITK as sitk

    one, two = (read_mask(path, value, orientation) for path in (mask, label))
    if not array_of(two.image).any():
        raise LasegError(f"{label}: no voxel is left atrium; leave this case out, or correct --label-value or "
                         "--classes")
    known = all(one.said) and all(two.said) and one.oriented == two.oriented
    prediction, gold = (sitk.DICOMOrient(scan.image, "LPS") if known else scan.image for scan in (one, two))
    if not (same_grid(prediction, gold, 0.1) if known else prediction.GetSize() == gold.GetSize()):
        grids = [f"{image.GetSize()} voxels of {np.round(image.GetSpacing(), 3).tolist()} mm from "
                 f"{np.round(image.GetOrigin(), 2).tolist()}" for image in (prediction, gold)]
        raise LasegError(f"{mask}: has another grid than its label {label} ({grids[0]}, and {grids[1]}); export the "
                         "mask in the geometry of the scan")
    sides = np.array(gold.GetSpacing()) if known else np.where(  # turned, the axes have another order than in the file
        np.isfinite(two.spacing) | (spacing is None), two.spacing, spacing or np.nan)
    return array_of(prediction), array_of(gold), value if isinstance(value, dict) else ATRIUM, sides


def measured_on_volume(mask, volume, value, spacing, orientation):
    """The same for a mask and a prepared volume's label, on the volume's grid."""
    import SimpleITK as sitk

    label, geometry, classes = read_volume(volume)[1], read_geometry(volume, spacing), read_classes(volume)
    if isinstance(value, dict) and set(value) != set(classes):
        raise LasegError(f"--classes {', '.join(value)}: the classes of {volume} are {', '.join(classes)}; give each "
                         "of these the value that it has in the masks")
    if isinstance(value, dict) or len(classes) > 1:
        given = value if isinstance(value, dict) else classes
        value = {name: given[name] for name in classes}
    found = read_mask(mask, value, orientation)
    sides = geometry["spacing"]
    alike = found.image.GetSize() == label.shape
    if np.isnan([*sides, *geometry["origin"]]).any():  # as for the public volumes: voxel by voxel
        if not alike:
            raise LasegError(f"{mask}: has {found.image.GetSize()} voxels, {volume} has {label.shape} and no position; "
                             "give --labels, the folder with the labels of the scans")
        return array_of(found.image), label, classes, sides
    image = sitk.DICOMOrient(found.image, "LPS")
    grid = image_of(label, spacing=sides, origin=geometry["origin"])
    prediction = on_grid(image, grid)
    if alike and not same_grid(image, grid, 0.1) or array_of(image).any() and not prediction.any():
        raise LasegError(f"{mask}: by the headers it lies elsewhere than {volume}; give the mask of this "
                         "case, or correct the wrong header")
    whole, inside = ((array_of(one) > 0).sum() * np.prod(one.GetSpacing())
                     for one in (image, image_of(prediction, grid)))
    if inside < 0.95 * whole:
        notify(f"WARNING: {mask}: {100 * (1 - inside / whole):.0f} % of it lies outside {volume}, which is cropped "
               "around its label, and doesn't count; --labels measures the whole mask")
    return prediction, label, classes, sides


# --- written --------------------------------------------------------------------------------------

def mask_names(scans):
    """The names of the masks of ``scans``: the file's name (in nnU-Net's folders without its channel), or the folder's
    name for 'lgemri.nrrd' and 'mri_norm2.h5'.  Equal names get those of the folders above; LasegError if two still are.
    """
    scans = [Path(os.path.abspath(scan)) for scan in scans]  # resolve() fails for a loop of links
    plain = [path.parent.name if path.name in (SCAN, FILE) else path.name if path.is_dir() else
             first_channel(path) or stem_of(path) for path in scans]
    names, above = plain, [path.parent.parent if path.name in (SCAN, FILE) else path.parent for path in scans]
    while any(folder.name for folder in above) and len(set(names)) < len(names):
        names = [name if names.count(name) == 1 else f"{folder.name}_{name}" for name, folder in zip(names, above)]
        above = [folder.parent for folder in above]
    for i, name in enumerate(names):
        if name in names[:i]:
            raise LasegError(f"{scans[i]}: its mask would have the name of that of {scans[names.index(name)]}; "
                             "give them one at a time, each with its own --out folder")
    return names


def predict_files(predictor, scans, out, *, suffix=".nii.gz", keep_probability=False, force=False, say=print,
                  complain=notify, progress=True):
    """Predict every scan and write ``out/NAME_la`` + ``suffix``, or, for scans in nnU-Net's names, ``out/NAME`` +
    ``suffix``; returns the number of failed scans.

    ``say`` is called with a line for each mask, ``complain`` with a line for each failed scan; the others are still
    done.  ``keep_probability`` also writes ``NAME_probability``.  An existing file is only replaced with ``force``.
    """
    failed, out = 0, Path(out)
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LasegError(f"--out {out}: can't be made ({error.strerror}); name a folder that you may write to"
                         ) from error
    kinds = ["la", "probability"] if keep_probability else ["la"]
    named = [{kind: out / f"{name}{'' if kind == 'la' and first_channel(scan) else f'_{kind}'}{suffix}"
              for kind in kinds} for scan, name in zip(scans, mask_names(scans))]
    for scan, paths in tqdm(list(zip(scans, named)), desc="predict", unit="scan", disable=not progress):
        try:
            if there := [path for path in paths.values() if path.exists() and not force]:
                raise LasegError(f"{there[0]}: exists already; give --force to replace it, or another --out")
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
        # SimpleITK and torch raise these for unusual scans; the other scans are still done.
        except (RuntimeError, MemoryError, TypeError, ValueError, ArithmeticError) as error:
            failed += 1
            cause = [type(error).__name__, *str(error).strip().splitlines()][-1]
            complain(f"{scan}: can't be segmented ({cause})")
        else:
            ml, values = f"{found.volume_ml:.1f} ml", array_of(found.mask)
            if len(classes := getattr(predictor, "classes", ATRIUM)) > 1:
                ml += "".join(f", {name} {found.volume_ml * (values == value).sum() / max((values > 0).sum(), 1):.1f}"
                              for name, value in classes.items())
            if not values.any():
                ml = "EMPTY, no atrium was found"
            elif found.volume_ml != found.volume_ml:
                ml = "volume unknown (give --spacing)"
            say(f"{paths['la']}: {ml}")
    return failed
