"""Scans as scanners and challenges store them: an NRRD pair in, arrays and a voxel's size out.  (A DICOM would be read
here.)"""


import numpy as np

from ..errors import LasegError
from .volumes import SPACING_MM

SCAN, LABEL = "lgemri.nrrd", "laendo.nrrd"


def read_nrrd(path):
    """(array, header) of an NRRD file; LasegError if it is none, or cut off."""
    import nrrd

    try:
        return nrrd.read(str(path))
    except Exception as error:  # a damaged file makes the parser raise nearly anything
        raise LasegError(f"{path}: not a whole NRRD file ({error}); copy it again") from error


def voxel_mm(header):
    """The three sides of a voxel in mm; SPACING_MM where the header doesn't say."""
    if "space directions" in header:
        sides = np.linalg.norm(np.asarray(header["space directions"], float), axis=-1)
    else:
        sides = np.asarray(header.get("spacings", ()), float)
    return sides if sides.shape == (3,) and (sides > 0).all() else np.full(3, SPACING_MM)


def read_pair(folder):
    """(scan float32, normalised; label uint8 0/1; voxel sides in mm) of one raw case, checked."""
    scan, header = read_nrrd(folder / SCAN)
    if not (folder / LABEL).is_file():
        raise LasegError(f"{folder / LABEL}: no such file; each {SCAN} needs its label beside it, "
                         "or move this case out of the folder")
    label, _ = read_nrrd(folder / LABEL)
    if scan.ndim != 3 or scan.shape != label.shape:
        raise LasegError(f"{folder}: {SCAN} is {scan.shape} and {LABEL} is {label.shape}; "
                         "both must be the same W x H x D: is the label of another case?")
    values = np.unique(label).tolist()
    if len(values) == 1 and values[0] == 0:
        raise LasegError(f"{folder / LABEL}: the label is empty, no voxel is left atrium; leave this case out")
    if values not in ([0, 255], [0, 1]):
        raise LasegError(f"{folder / LABEL}: holds {values[:6]}, expected 0 and 255 (or 0 and 1); "
                         "export the left atrium's cavity alone")
    scan = scan.astype(np.float64)
    if not np.isfinite(scan).all() or scan.std() == 0:
        raise LasegError(f"{folder / SCAN}: voxels are not finite, or all the same; export the scan again")
    return np.float32((scan - scan.mean()) / scan.std()), np.uint8(label > 0), voxel_mm(header)
