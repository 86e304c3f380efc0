"""Scans as hospitals and other tools store them: NIfTI, NRRD, MetaImage and DICOM series.

A scan is more than its numbers: its header gives the size of a voxel, the position of the first one, and the direction
of each axis in the patient.  Training and prediction use *straight* volumes, as the public ones are: x runs from the
patient's right to the left, y from front to back, z from feet to head, in voxels of one size.  ``straighten`` makes a
scan straight; ``back_to`` resamples a result to the scan's own geometry.
"""

import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..errors import LasegError
from ..runtime.machine import notify
from .atomic import replacing
from .dicom import read_dicom
from .files import FORMATS, is_dicom, require_text, suffix_of
from .grid import array_of, corner_distance, image_of, normalised_and_straight, on_grid, same_grid
from .headers import read_meta, read_nifti, read_nrrd, require_content
from .volumes import SPACING_MM, in_mm, sizes_differ

SCAN, LABEL = "lgemri.nrrd", "laendo.nrrd"  # the challenge's names
VOXEL_MM = (0.02, 50.0)  # possible sides of a voxel; a header outside is wrong
FIELD_MM = (50.0, 1000.0)  # possible lengths of the longest side of a scan of a person's atrium


@dataclass
class Scan:
    """``image``: SimpleITK's, with three dimensions and one number for each voxel.  ``said``: for x, y and z, whether a
    voxel's side is known.  ``oriented``: whether the header gives the axes' directions; if not, they count as straight.
    ``path``: its file."""

    image: object
    said: tuple
    oriented: bool
    path: Path

    @property
    def spacing(self):
        """The sides of a voxel in mm, float64 (3,), NaN if not known."""
        return np.where(self.said, self.image.GetSpacing(), np.nan)

    @property
    def direction(self):
        """3 x 3: column k is the direction of axis k in the patient's x, y, z."""
        return np.reshape(self.image.GetDirection(), (3, 3))


# --- reading --------------------------------------------------------------------------------------

def read_scan(path, spacing=None, orientation=None):
    """The ``Scan`` in a NIfTI, NRRD or MetaImage file, or in a folder (or one file) of a DICOM series.

    ``spacing``: a voxel's three sides in mm, for sides that are not in the header.
    ``orientation``: 'qform' or 'sform', which of a NIfTI file's two matrices counts, or 'neither'; otherwise both must
    agree.
    Raises LasegError, with the file and the cause, if it can't be read or isn't a volume with one number a voxel.
    """
    path = Path(path)
    require_text(path)
    if not path.is_dir() and not path.is_file():
        raise LasegError(f"{path}: no such file")
    kind = "DICOM" if path.is_dir() or is_dicom(path) else FORMATS.get(suffix_of(path))
    if not kind:
        raise LasegError(f"{path}: an unknown format; give NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), "
                         "MetaImage (.mha, .mhd) or a folder with a DICOM series")
    try:
        if kind != "DICOM":
            require_content(path, kind)
        with np.errstate(all="ignore"):
            image, said, oriented = (read_nifti(path, orientation) if kind == "NIfTI" else
                                     {"NRRD": read_nrrd, "MetaImage": read_meta, "DICOM": read_dicom}[kind](path))
    except (LasegError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise LasegError(f"{path}: the data file that its header names is missing ({error.filename}); put it beside "
                         "the header, and write its name there without a folder") from error
    except Exception as error:  # the libraries raise many types of error for damaged files
        cause = re.sub(r"^.*ERROR:? ", "", [type(error).__name__, *str(error).strip().split("\n")][-1])[:200]
        if re.search("(?<!nrrd)[Ee]ncoding", cause):
            raise LasegError(f"{path}: its compression isn't supported ({cause}); write it again with gzip") from error
        raise LasegError(f"{path}: can't be read as {kind}, because it was cut off or damaged, or its header is wrong "
                         f"({cause}); copy it again, or export it again") from error
    return fill_in_spacing(Scan(image, said, oriented, path), spacing)


def fill_in_spacing(scan, spacing):
    """``scan`` with the sides that are not in its header from ``spacing``, and a message if the header's are others;
    LasegError for an impossible side."""
    sides = scan.spacing
    if spacing is not None:
        if sizes_differ(sides, spacing):
            notify(f"WARNING: {scan.path}: --spacing is not used for the sides that its header gives: {in_mm(sides)}; "
                   "if the header is wrong, correct it")
        sides = np.where(np.isnan(sides), np.asarray(spacing, float), sides)
    if wrong := [side for side in sides if not (np.isnan(side) or VOXEL_MM[0] <= side <= VOXEL_MM[1])]:
        raise LasegError(f"{scan.path}: a voxel's side of {wrong[0]:.3g} mm is impossible (0.02 to 50 mm is possible); "
                         "correct the header, or the given --spacing")
    scan.image.SetSpacing(np.where(np.isnan(sides), 1, sides).tolist())
    scan.said = tuple((~np.isnan(sides)).tolist())
    return scan


def require_spacing(scan):
    """LasegError if a voxel's side is not known; a message if the axes' directions are not, or if the scan is too small
    or too large for an atrium."""
    if not all(scan.said):
        lacking = ", ".join(axis for axis, said in zip("xyz", scan.said) if not said)
        raise LasegError(f"{scan.path}: its header doesn't give a voxel's size along {lacking}; give --spacing X Y Z "
                         "in mm")
    if not scan.oriented:
        notify(f"WARNING: {scan.path}: its header doesn't say how its axes lie in the patient; they count as x from "
               "right to left, y from front to back, z from feet to head. If that is wrong, no mask can be trusted")
    field = scan.spacing * scan.image.GetSize()
    if not FIELD_MM[0] <= field.max() <= FIELD_MM[1]:
        notify(f"WARNING: {scan.path}: shows {' x '.join(f'{side:.0f}' for side in field)} mm, and a person's atrium "
               f"{'does not fit into that' if field.max() < FIELD_MM[0] else 'is small in that'}; is the header in cm? "
               "Do not trust its mask")


# --- files ----------------------------------------------------------------------------------------

def write_image(path, image):
    """Write SimpleITK's image to ``path`` (NIfTI, NRRD or MetaImage by its suffix), compressed, completely or not at
    all."""
    import SimpleITK as sitk

    require_text(path)
    if not np.isfinite(written := array_of(image)).all():
        raise LasegError(f"{path}: is not written, because the image has voxels that are NaN or infinite")
    with replacing(path) as partial:
        named = partial.with_name(partial.name + suffix_of(path))  # the name tells SimpleITK the format
        try:
            sitk.WriteImage(image, str(named), useCompression=True)
            # On a full disk SimpleITK may write a part of the file and report no error.
            if not np.array_equal(written, array_of(sitk.ReadImage(str(named)))):
                raise LasegError("only a part of it was written")
            os.replace(named, partial)
        except (RuntimeError, LasegError) as error:
            cause = str(error).replace(str(named), "it").splitlines()[-1]
            raise LasegError(f"{path}: can't be written ({cause}); "
                             "free some space, or choose another folder") from error
        finally:
            named.unlink(missing_ok=True)


# --- scan and label -------------------------------------------------------------------------------

def whole_numbers(values, path):
    """A label's ``values`` as whole numbers, without rounding errors (1.0000002).  LasegError for other
    values: in an interpolated label only a part of a class's voxels has the class's value."""
    rounded = np.rint(values)
    apart = np.abs(values - rounded) >= 0.05  # a header's slope may be rounded too: 0.988 for 1 of 6 classes
    if apart.any() and len(there := np.unique(values)) == 2 and there[0] == 0 and there[1] > 1:  # a slope made it
        return (values > 0) * np.rint(there[1])
    if apart.any():
        held = ", ".join(f"{value:.4g}" for value in np.unique(values[apart])[:3])
        raise LasegError(f"{path}: holds {held}, no whole numbers, like a label that was interpolated, or "
                         "probabilities; export it with nearest-neighbour interpolation, or set a threshold")
    return rounded


def class_numbers(values, path, value=None, *, all_there=True):
    """The class of each voxel of a label, uint8.  A ``value`` {class: its value} gives 1 to K in its order.
    One number or several give 1 in voxels with them.  None gives 1 for the label's only value beside 0, 1 or
    255.  With ``all_there`` every class, or one of the atrium's values, must occur."""
    values = whole_numbers(values, path)
    there = np.unique(values).astype(int).tolist()
    if isinstance(value, dict):
        if missing := [name for name, one in value.items() if all_there and one not in there]:
            raise LasegError(f"{path}: no voxel has {value[missing[0]]}, the value of {missing[0]} in --classes; it "
                             f"holds {there[:8]}; correct --classes, or leave this case out")
        return sum(np.uint8(number) * (values == one) for number, one in enumerate(value.values(), 1))
    if value is None:
        if there == [0]:
            raise LasegError(f"{path}: the label is empty, no voxel is left atrium; leave this case out")
        if there not in ([0, 255], [0, 1]):
            raise LasegError(f"{path}: holds {there[:6]}, expected 0 and 255 (or 0 and 1); give --label-value with the "
                             "atrium's value or values, or export the left atrium's cavity alone")
        return np.uint8(values > 0)
    wanted = np.atleast_1d(value).tolist()
    if 0 in wanted:
        raise LasegError("--label-value 0 is the background; give the atrium's value")
    if all_there and not set(wanted) & set(there):
        raise LasegError(f"{path}: no voxel has --label-value {' '.join(map(str, wanted))}; it holds {there[:8]}; "
                         "give the atrium's value, or leave this case out")
    return np.uint8(np.isin(values, wanted))


def read_label(path, scan, value=None, orientation=None, as_scan=False):
    """The label of ``scan`` as SimpleITK's image of 0 and 1 to K (uint8), in the geometry of its own header.

    A label without a geometry in its header gets that of its scan, if both have the same size.
    Raises LasegError if scan and label contradict each other.
    """
    import SimpleITK as sitk

    label = read_scan(path, orientation="neither" if as_scan else orientation)
    image = image_of(class_numbers(array_of(label.image), path, value), label.image)
    if as_scan or not (all(label.said) and label.oriented >= scan.oriented):
        if label.image.GetSize() != scan.image.GetSize():
            raise LasegError(f"{path}: the scan is {scan.image.GetSize()} and the label is {label.image.GetSize()}, "
                             f"and {'--label-as-scan is set' if as_scan else 'its header has no position'}; "
                             "then both must be the same W x H x D; give the label of this case")
        known = ~np.isnan(label.spacing)
        if not as_scan and not np.allclose(label.spacing[known], scan.spacing[known], rtol=0.01):
            raise LasegError(f"{path}: its voxels are {label.spacing} mm, the scan's {scan.spacing}; "
                             "correct one of the headers")
        if scan.oriented and not as_scan and label.path.is_dir():
            notify(f"WARNING: {path}: its slices have no positions; the first of them is laid where the scan's slice "
                   "with the lowest position is. Look at a prepared case: it may be upside down")
        image.CopyInformation(scan.image)
        return image
    ours, theirs = (sitk.DICOMOrient(one, "LPS") for one in (image, scan.image))
    if ours.GetSize() != theirs.GetSize() and sorted(ours.GetSize()) == sorted(theirs.GetSize()):
        raise LasegError(f"{path}: has the size of its scan with swapped axes ({ours.GetSize()}, and the scan "
                         f"{theirs.GetSize()}); was its array transposed? Write it again with the scan's axes")
    if ours.GetSize() == theirs.GetSize() and not same_grid(ours, theirs, 0.5):
        raise LasegError(f"{path}: has the size of its scan, but by the headers it lies up to "
                         f"{corner_distance(ours, theirs):.1f} mm away from it (its voxels are "
                         f"{in_mm(ours.GetSpacing())}, the scan's {in_mm(theirs.GetSpacing())}); one of the headers is "
                         "wrong: correct it, or use --label-as-scan if the voxels match one by one")
    return image


def label_on(straight, label, path):
    """The label (0 and 1 to K) on the grid of the straightened scan, uint8 W x H x D; see ``on_grid``.  LasegError if
    a part of the atrium lies outside the scan."""
    import SimpleITK as sitk

    turned = sitk.DICOMOrient(label, "LPS")
    if same_grid(turned, straight):
        return array_of(turned)
    found = on_grid(turned, straight)
    before, after = (float((a > 0).sum()) * np.prod(image.GetSpacing()) for a, image in
                     ((array_of(label), label), (found, straight)))
    if after < 0.9 * before:
        raise LasegError(f"{path}: by the headers {100 * (1 - after / before):.0f} % of the atrium lies outside its "
                         "scan; give the label of this case, or correct the wrong header")
    return found


def read_case(scan, label=None, *, voxel_mm=SPACING_MM, spacing=None, label_value=None, label_as_scan=False,
              orientation=None):
    """(straight scan as SimpleITK's float32 image, normalised over the whole scan; label uint8 W x H x D on the same
    grid, or None) of one case.

    ``scan``, ``label``: their files.  ``spacing``: a voxel's sides in mm, for a scan without them in its header.
    ``label_value``: the atrium's value, or several, or {class: value}.  ``label_as_scan``: the label's header is
    ignored, and its voxels lie where the scan's do.  ``orientation``: see ``read_scan``.
    Raises LasegError, with the file and a remedy, for files that can't be right.
    """
    found = read_scan(scan, spacing, orientation)
    require_spacing(found)
    straight = normalised_and_straight(found.image, scan, voxel_mm)
    if label is None:
        return straight, None
    mask = label_on(straight, read_label(label, found, label_value, orientation, label_as_scan), label)
    if (mask > 0).mean() > 0.5:
        notify(f"WARNING: {label}: {100 * (mask > 0).mean():.0f} % of the scan is atrium by this label; are its values "
               "reversed?")
    return straight, mask


def read_pair(folder):
    """(scan float32, normalised; label uint8 0/1; a voxel's sides in mm) of a folder with the challenge's two files,
    straight, with the scan's own voxel size."""
    image, label = read_case(Path(folder) / SCAN, Path(folder) / LABEL, voxel_mm=None)
    return array_of(image), label, np.array(image.GetSpacing())
