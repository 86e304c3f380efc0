"""Scans as hospitals and other tools store them: NIfTI, NRRD, MetaImage and DICOM series, read by SimpleITK.

A scan is more than its numbers: its header says how large a voxel is, where the first one lies, and which way each
axis runs in the patient.  What trains and predicts here is *straight*: x runs from the patient's right to the left, y
from front to back, z from feet to head, in voxels of one size, as the public volumes are.  ``straighten`` brings a
scan there, ``back_to`` brings what was found there into the scan's own geometry again.

Arrays are W x H x D, so the first index is x; SimpleITK's own arrays run the other way.
"""

import contextlib
import hashlib
import locale
import os
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import LasegError
from ..runtime.machine import refuse_bomb, require_memory, require_room_for, tell
from ..transforms import each_class, of_greatest_share
from .atomic import replacing
from .headers import NO_SIZE, in_words, is_packed, read_header, require_whole
from .volumes import MOST_PACKED, SPACING_MM, fingerprint

SCAN, LABEL = "lgemri.nrrd", "laendo.nrrd"  # the challenge's names
FORMATS = {".nii": "NIfTI", ".nii.gz": "NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage",
           ".mhd": "MetaImage", ".dcm": "DICOM"}
READERS = {"NIfTI": "NiftiImageIO", "NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO", "DICOM": "GDCMImageIO"}
VOXEL_MM = (0.02, 50.0)  # what a voxel's side can be; a header beyond that is wrong
STRAIGHT = np.eye(3)
FIELD_MM = (50.0, 1000.0)  # the longest side of a scan that shows a person's atrium


@dataclass
class Scan:
    """``image``: SimpleITK's, three dimensions, one number a voxel.  ``said``: for x, y and z, whether the size of a
    voxel is known.  ``oriented``: whether the header says how the axes lie in the patient (if not, they are taken as
    straight).  ``path``: where it was read."""

    image: object
    said: tuple
    oriented: bool
    path: Path

    @property
    def spacing(self):
        """The sides of a voxel in mm, float64 (3,), NaN where nobody knows."""
        return np.where(self.said, self.image.GetSpacing(), np.nan)

    @property
    def direction(self):
        """3 x 3: column k is the way that axis k runs, in x, y, z of the patient."""
        return np.reshape(self.image.GetDirection(), (3, 3))


# --- reading --------------------------------------------------------------------------------------

def suffix_of(path):
    """'.nii.gz' and the like, in lower case; '' for a format that is not read here."""
    name = Path(path).name.lower()
    return next((s for s in sorted(FORMATS, key=len, reverse=True) if name.endswith(s)), "")


def stem_of(path):
    """The name without '.nii.gz' and the like."""
    name = Path(path).name
    return name[:len(name) - len(suffix_of(path))]


@contextlib.contextmanager
def own_locale():
    """Give the process its locale back: reading DICOM leaves it at "C", where Python takes every text for ASCII."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


@own_locale()
def read_scan(path, spacing=None):
    """The ``Scan`` in a NIfTI, NRRD or MetaImage file, or in a folder (or one file) of a DICOM series.

    ``spacing``: a voxel's three sides in mm, for those that the header doesn't say; what it says wins.
    Raises LasegError, with the file and the true cause, for what can't be read or is no volume of single numbers.
    """
    require_room_for("SimpleITK", 300)
    import SimpleITK as sitk

    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what matters is raised
    path = Path(path)
    require_text(path)
    files = [str(path)]
    if path.is_dir():
        files = dicom_files(path)
        for file in files:
            require_text(file)
    elif not path.is_file():
        raise LasegError(f"{path}: no such file")
    kind = FORMATS.get(suffix_of(path))
    if path.is_dir() or (kind is None and is_dicom(path)):
        kind = "DICOM"
    if kind is None:
        raise LasegError(f"{path}: not a format that is read here; give NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr), "
                         "MetaImage (.mha, .mhd) or a folder with a DICOM series")
    if kind == "NIfTI" and path.name.lower().endswith(".nii") and is_packed(path):
        raise LasegError(f"{path}: is packed with gzip, and its name doesn't say so; rename it to {path.name}.gz")
    header = {} if kind == "DICOM" else read_header(path, kind)
    try:
        reader = sitk.ImageFileReader()
        reader.SetImageIO(READERS[kind])  # what it finds by itself may be a reader whose header nobody looked at
        reader.SetFileName(files[0])
        reader.ReadImageInformation()
        size = np.prod(reader.GetSize(), dtype=float) * len(files)
        require_memory(24 * size, torch.device("cpu"), path, "crop this scan")  # as stored, as float64, and straight
        kind_of_voxel = sitk.GetPixelIDValueAsString(reader.GetPixelIDValue())  # "vector of 8-bit unsigned integer"
        bits = int((re.search(r"(\d+)-bit", kind_of_voxel) or [0, 64])[1])
        packed = sum(os.path.getsize(file) for file in header.get("files") or files if os.path.exists(file))
        refuse_bomb(path, "this scan", packed, size * reader.GetNumberOfComponents() * bits / 8, MOST_PACKED,
                    "export it again")
        if kind == "NIfTI" and not 0 <= header.get("offset", 0) < 2**31:  # SimpleITK would take another one
            raise LasegError(f"{path}: its header says that the voxels begin at byte {header['offset']:.3g}, which "
                             "can't be; export it again")
        if kind == "NIfTI" and "bytes" in header:
            require_whole(path, kind, header, header["bytes"])
        elif kind == "MetaImage":
            require_whole(path, kind, header, int(size / len(files)) * reader.GetNumberOfComponents() * bits // 8)
        image = sitk.ReadImage(files if len(files) > 1 else files[0], imageIO=READERS[kind])
    except RuntimeError as error:
        raise LasegError(in_words(path, kind, str(error), header)) from error
    if "complex" in kind_of_voxel:
        raise LasegError(f"{path}: holds complex numbers, and a scan's voxels are real; export its magnitude")
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() == 3 and image.GetNumberOfComponentsPerPixel() == 1 and kind != "DICOM" and min(
            image.GetSize()) < 2:
        raise LasegError(f"{path}: holds one slice ({' x '.join(map(str, image.GetSize()))} voxels), and a scan has "
                         "many; give the whole of it")
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or min(image.GetSize()) < 2:
        more = " (one slice of a series? give the folder)" if kind == "DICOM" else ""
        raise LasegError(f"{path}: holds {' x '.join(map(str, image.GetSize()))} voxels with "
                         f"{image.GetNumberOfComponentsPerPixel()} numbers each; a scan must be W x H x D{more}")
    require_axes(path, image)
    if kind == "DICOM":
        said, oriented = dicom_geometry(path, files, reader, image), True
    else:
        said, oriented = header["said"], header["oriented"]
    return complete(Scan(image, said, oriented, path), spacing)


def require_axes(path, image):
    """LasegError unless an image lies somewhere, with axes of length 1 at right angles: nothing here, and no viewer,
    can lay a mask over another one."""
    direction = np.reshape(image.GetDirection(), (3, 3))
    if not np.isfinite([*image.GetOrigin(), *direction.ravel()]).all():
        raise LasegError(f"{path}: its header holds numbers that lay the scan nowhere; correct it")
    turned = direction.T @ direction
    if np.abs(np.diag(turned) - 1).max() > 5e-3:
        raise LasegError(f"{path}: the directions of its axes are {told(np.sqrt(np.diag(turned)))} long, which must be "
                         "1: a voxel's size belongs in the spacing; correct the header")
    if np.abs(turned - np.diag(np.diag(turned))).max() > 5e-3:
        raise LasegError(f"{path}: its axes are not at right angles; resample it to a plain grid first")


def require_text(path):
    """LasegError for a name with bytes that are no text: SimpleITK ends the whole program over it."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise LasegError(f"{path}: its name holds bytes that are no text in UTF-8; rename it") from error


def complete(scan, spacing):
    """``scan`` with the sides that its header doesn't say from ``spacing``; LasegError where a side can't be."""
    sides = scan.spacing
    if spacing is not None:
        sides = np.where(np.isnan(sides), np.asarray(spacing, float), sides)
    low, high = VOXEL_MM
    if wrong := [side for side in sides if not (np.isnan(side) or low <= side <= high)]:
        raise LasegError(f"{scan.path}: a voxel {wrong[0]:.3g} mm wide can't be ({low} to {high} mm can); "
                         "correct the header, or the --spacing that was given")
    scan.image.SetSpacing(np.where(np.isnan(sides), 1, sides).tolist())
    scan.said = tuple((~np.isnan(sides)).tolist())
    return scan


def require_spacing(scan):
    """LasegError that asks for what the header doesn't say."""
    if not all(scan.said):
        known = ", ".join(f"{axis} {side:.4g} mm" for axis, side in zip("xyz", scan.spacing) if side == side)
        raise LasegError(f"{scan.path}: {NO_SIZE} {', '.join(a for a, said in zip('xyz', scan.said) if not said)}"
                         + (f" (it says {known})" if known else "") + "; give --spacing X Y Z in mm")
    field = scan.spacing * scan.image.GetSize()
    low, high = FIELD_MM
    if not low <= field.max() <= high:
        tell(f"WARNING: {scan.path}: shows {' x '.join(f'{side:.0f}' for side in field)} mm, and a person's atrium "
             f"{'does not fit into that' if field.max() < low else 'is small in that'}; is the header in cm? "
             "What is found in it means little")


# --- DICOM ----------------------------------------------------------------------------------------

def is_dicom(path):
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def dicom_files(folder):
    """The files of the one DICOM series in ``folder``, in the order of their slices.  LasegError where there is none,
    or more than one, or where a file looks like one of its slices and can't be read as one."""
    import SimpleITK as sitk

    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise LasegError(f"{folder}: no DICOM series in this folder; {what_is_in(folder)}")
    if len(series) > 1:
        raise LasegError(f"{folder}: holds {len(series)} DICOM series; give each a folder of its own")
    files = list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))
    if lost := lost_slices(folder, [Path(file) for file in files]):
        raise LasegError(f"{lost[0]}: looks like a slice of the series beside it and can't be read as one"
                         + (f" (nor can {len(lost) - 1} more)" if lost[1:] else "") + "; copy it again, or remove it")
    return files


def lost_slices(folder, files):
    """What in ``folder`` looks like one of the slices ``files`` and is none: it says that it is an image of their kind,
    or says nothing and is called as they are, with another number.  A slice lost at an end leaves no gap.  (A report
    that was exported beside them says that it is one.)"""
    def shape(path):
        return re.sub(r"\d+", "#", path.name.lower())

    shapes, kinds = {shape(file) for file in files}, {kind_of_dicom(file) for file in files} - {None}
    others = [path for path in sorted(folder.iterdir()) if path.is_file() and path not in files
              and not path.name.startswith(".")]
    said = {path: kind_of_dicom(path) for path in others}
    return [path for path in others if said[path] in kinds or said[path] is None and shape(path) in shapes]


def kind_of_dicom(path):
    """The class that a DICOM file says it is of (MR image, report, ...), as bytes; None for what says none."""
    with open(path, "rb") as file:
        head = file.read(1024)
    found = re.search(rb"\x02\x00\x02\x00UI(..)", head, re.DOTALL) if head[128:132] == b"DICM" else None
    return head[found.end():found.end() + int.from_bytes(found[1], "little")].rstrip(b"\0 ") if found else None


def dicom_geometry(path, files, reader, image):
    """Which sides of a voxel the series says; LasegError where slices are missing between the others, or stacked
    aslant."""
    def tag(name):
        return np.array(reader.GetMetaData(name).split("\\"), float) if reader.HasMetaDataKey(name) else None

    places = []
    for file in files:
        reader.SetFileName(file)
        reader.LoadPrivateTagsOff()
        reader.ReadImageInformation()
        places.append(tag("0020|0032"))
    plane = tag("0028|0030") is not None
    if len(files) == 1:  # slices in one file say their size further in, and SimpleITK takes 1 mm where they don't
        whole = Path(files[0]).read_bytes()
        plane, thick = (any(name in whole for name in names) for names in (
            (b"\x28\x00\x30\x00DS",), (b"\x18\x00\x88\x00DS", b"\x18\x00\x50\x00DS")))
        known = np.not_equal(image.GetSpacing(), 1)
        return bool(plane or known[0]), bool(plane or known[1]), bool(thick or known[2])
    if any(place is None or place.size != 3 for place in places):
        return plane, plane, False
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    if steps.min() <= 0 or steps.max() > 1.05 * steps.min() + 0.01:
        raise LasegError(f"{path}: its slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; some are missing, "
                         "or there are two series in one: export it again")
    lies = tag("0020|0037")
    if lies is not None and lies.size == 6:
        normal, way = np.cross(lies[:3], lies[3:]), places[-1] - places[0]
        aslant = np.linalg.norm(way - (way @ normal) * normal)
        if aslant > 0.01 * np.linalg.norm(way):
            raise LasegError(f"{path}: its slices are stacked aslant, as with a tilted gantry ({aslant:.1f} mm from "
                             "first to last), so its axes are not at right angles; resample it to a plain grid first")
    return plane, plane, True


# --- files ----------------------------------------------------------------------------------------

def what_is_in(folder):
    """What scans a folder holds, for an error message: 'found 12 of .nii.gz, such as a.nii.gz'."""
    found = {}
    for file in scan_files(folder):
        found.setdefault(suffix_of(file), []).append(file)
    if not found:
        return "found no NIfTI, NRRD, MetaImage or DICOM (.dcm) file in it"
    return "found " + "; ".join(f"{len(files)} of {suffix}, such as {files[0].relative_to(folder)}"
                                for suffix, files in sorted(found.items(), key=lambda item: -len(item[1])))


def below(folder):
    """Every file and folder below ``folder``, sorted; hidden ones aside.  Links to elsewhere are followed, each folder
    once; what a link within ``folder`` shows is there already."""
    home, found, seen = os.path.realpath(folder), [], set()
    for where, folders, names in os.walk(folder, followlinks=True):
        real = os.path.realpath(where)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        folders[:] = [name for name in sorted(folders) if not name.startswith(".") and not (
            os.path.islink(os.path.join(where, name))
            and Path(os.path.realpath(os.path.join(where, name))).is_relative_to(home))]
        found += [Path(where, name) for name in [*folders, *names] if not name.startswith(".")]
    return sorted(found)


def scan_files(folder):
    """Every file below ``folder`` whose name is one of a format that is read here; hidden ones aside."""
    return [path for path in below(folder) if suffix_of(path) and not path.is_dir()]


def content_of(path):
    """SHA-256 of all that a scan or label is read from, as text: its file, with the data files that its header names,
    or every file of its folder.  Whether it is still the one that it was."""
    path = Path(path)
    kind = FORMATS.get(suffix_of(path))
    files = sorted(file for file in path.iterdir() if file.is_file()) if path.is_dir() else [
        path, *(read_header(path, kind).get("files", []) if kind in ("NRRD", "MetaImage") else [])]
    return hashlib.sha256("".join(map(fingerprint, files)).encode()).hexdigest()


@own_locale()
def write_image(path, image):
    """Write SimpleITK's image to ``path`` (a name of NIfTI, NRRD or MetaImage), compressed, whole or not at all."""
    import SimpleITK as sitk

    require_text(path)
    with replacing(path) as partial:
        named = partial.with_name(partial.name + suffix_of(path))  # the name tells SimpleITK the format
        try:
            sitk.WriteImage(image, str(named), useCompression=True)
            os.replace(named, partial)
        except RuntimeError as error:
            raise LasegError(f"{path}: can't be written ({str(error).splitlines()[-1]}); "
                             "free some space, or choose another folder") from error
        finally:
            named.unlink(missing_ok=True)


# --- geometry -------------------------------------------------------------------------------------

def array_of(image):
    """SimpleITK's image as an array W x H x D."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(image).T


def image_of(array, like=None, *, spacing=None, origin=None):
    """An array W x H x D as SimpleITK's image: in the geometry of the image ``like``, or straight, with a voxel's
    ``spacing`` and the ``origin`` of the first one, both in mm."""
    require_room_for("SimpleITK", 300)
    import SimpleITK as sitk

    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(array).T))
    if like is not None:
        image.CopyInformation(like)
    else:
        image.SetSpacing(np.asarray(spacing, float).tolist())
        image.SetOrigin(np.asarray(origin, float).tolist())
    return image


def join(images):
    """Images of one grid as one of four axes; a single one as it is."""
    import SimpleITK as sitk

    return sitk.JoinSeries(images) if len(images) > 1 else images[0]


def normalise(array, path, measured=None):
    """``array`` as float32 of zero mean and unit variance over the scan (or over its voxels ``measured``, bool);
    LasegError where that means nothing."""
    values = np.asarray(array, np.float64)
    with np.errstate(over="ignore", invalid="ignore"):
        counted = values if measured is None else values[measured]
        mean, std = counted.mean(), counted.std()
        if not np.isfinite([mean, std]).all() or std == 0:
            raise LasegError(f"{path}: voxels are not finite, all the same, or far too large; export the scan again")
        result = np.float32((values - mean) / std)
    if not np.isfinite(result).all() or not result.any():
        raise LasegError(f"{path}: voxels are not finite, all the same, or far too large; export the scan again")
    return result


def same_grid(one, two, share=0.01):
    """Whether two images have the same size, and their voxels lie at the same places to ``share`` of a voxel."""
    if one.GetSize() != two.GetSize():
        return False
    far = [n - 1 for n in one.GetSize()]
    corners = [[at if bit else 0 for at, bit in zip(far, bits)] for bits in np.ndindex(2, 2, 2)]
    apart = [np.abs(np.subtract(one.TransformIndexToPhysicalPoint(c), two.TransformIndexToPhysicalPoint(c))).max()
             for c in corners]
    return max(apart) <= share * min(one.GetSpacing())


def is_plain(image):
    """Whether the axes run along those of the patient, in whatever order, to a thousandth."""
    direction = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    return np.abs(direction - np.round(direction)).max() < 1e-3


def wedges_in(image):
    """Where an oblique scan may hold wedges that no scanner measured, bool W x H x D; None where it has none.

    Whoever turned a scan onto an oblique grid filled what lay outside with one value.  That is the value of at least
    half of its corners, where it reaches the border and takes more than a hundredth of the scan; a voxel more around
    it may be a blend of both.  A straight scan has no wedges: the air in it may have one value, and belongs to it.
    """
    from scipy import ndimage

    if is_plain(image):
        return None
    values = array_of(image)
    corners, counts = np.unique(values[::values.shape[0] - 1, ::values.shape[1] - 1, ::values.shape[2] - 1],
                                return_counts=True)
    same = values == corners[counts.argmax()]
    if counts.max() < 4 or same.mean() < 0.01 or same.all():
        return None
    parts, _ = ndimage.label(np.pad(same, 1, constant_values=True))  # all that reaches the border is one part
    return ndimage.binary_dilation((parts == parts[0, 0, 0])[1:-1, 1:-1, 1:-1])


def normalised(image, path, voxel_mm=SPACING_MM):
    """A scan as SimpleITK's image, straight and normalised over all that was measured, float32; see ``straighten``.

    Of a scan with wedges only the box that holds all that was measured; what is left of them there repeats the measured
    voxel nearest to it, as what lies outside a scan does.  Wedges leave of a box a box.  Where less than four fifths of
    it would be left, it is a body in air of one value (an ellipse leaves 0.785), and all was measured.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    values, wedges = array_of(image), wedges_in(image)
    if wedges is not None and not wedges.all():
        require_memory(20 * values.size, torch.device("cpu"), path, "crop this scan")
        measured = image_of(np.float32(~wedges), image)
        there = np.int32(array_of(sitk.Resample(measured, straighten(measured, voxel_mm))) > 0.5)
        box, = ndimage.find_objects(there) or [None]
        if box and there[box].mean() > 0.8:
            values = normalise(values, path, ~wedges)
            nearest = ndimage.distance_transform_edt(wedges, image.GetSpacing(), return_distances=False,
                                                     return_indices=True)
            return straighten(image_of(values[tuple(nearest)], image), voxel_mm)[box]
    return straighten(image_of(normalise(values, path), image), voxel_mm)


def straighten(image, voxel_mm=SPACING_MM):
    """``image`` with straight axes and voxels of ``voxel_mm`` (a number or three; None: about as wide as they are).

    Axes are swapped and turned round without touching a value; only what is oblique, or has other voxels, is
    interpolated, by cubic B-splines: linear interpolation would blur it, as no scan is that a network has learnt from.
    What comes in from outside the scan repeats its border, as in ``RandomAffine``: a network has seen that, and never a
    black wedge.
    """
    import SimpleITK as sitk

    image = sitk.DICOMOrient(image, "LPS")
    voxel = np.array(image.GetSpacing()) if voxel_mm is None else np.broadcast_to(np.asarray(voxel_mm, float), 3)
    if is_plain(image) and np.allclose(image.GetSpacing(), voxel, rtol=1e-3, atol=0):
        return image
    size = np.array(image.GetSize())
    corners = [image.TransformContinuousIndexToPhysicalPoint((bits * size - 0.5).tolist())
               for bits in np.array(list(np.ndindex(2, 2, 2)))]
    low, high = np.min(corners, 0), np.max(corners, 0)
    sides = np.maximum(np.ceil((high - low) / voxel - 1e-3), 1)
    require_memory(12 * np.prod(sides) + 16 * np.prod(size), torch.device("cpu"),
                   f"a scan of {sides.astype(int)} voxels, once straight,",
                   "crop it, or use larger voxels")
    resample = sitk.ResampleImageFilter()
    resample.SetSize(sides.astype(int).tolist())
    resample.SetOutputSpacing(voxel.tolist())
    resample.SetOutputOrigin((low + voxel / 2).tolist())
    resample.SetOutputDirection(STRAIGHT.ravel().tolist())
    resample.SetInterpolator(sitk.sitkBSpline)
    resample.SetUseNearestNeighborExtrapolator(True)
    resample.SetOutputPixelType(sitk.sitkFloat32)
    return resample.Execute(image)


def back_to(image, like):
    """What was found on a straight grid (float, 0 outside) on the grid of the scan ``like``, trilinear."""
    import SimpleITK as sitk

    return sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)


# --- scan and label -------------------------------------------------------------------------------

def class_numbers(values, path, value=None):
    """The class of each of the label's voxels, uint8: 1 to K in the order of ``value``, a dictionary {class: its
    value}; or 1 where ``atrium_of`` finds the atrium."""
    if not isinstance(value, dict):
        return np.uint8(atrium_of(values, path, value))
    if missing := [name for name, one in value.items() if not (values == one).any()]:
        raise LasegError(f"{path}: no voxel has {value[missing[0]]}, the value of {missing[0]} by --classes, it holds "
                         f"{np.unique(values).tolist()[:8]}; give the classes' own values, or leave this case out")
    return sum(np.uint8(number) * (values == one) for number, one in enumerate(value.values(), 1))


def atrium_of(values, path, value=None):
    """The label's voxels that are atrium, bool: those of ``value`` (one or several), or of the only value beside 0 (1
    or 255)."""
    there = np.unique(values).tolist()
    wanted = np.atleast_1d(value).tolist() if value is not None else []
    if 0 in wanted:
        raise LasegError("--label-value 0 is what isn't atrium; give the atrium's own value")
    if wanted:
        if not set(wanted) & set(there):
            raise LasegError(f"{path}: no voxel has --label-value {' '.join(map(str, wanted))}, it holds {there[:8]}; "
                             "give the atrium's value, or leave this case out")
        return np.isin(values, wanted)
    if there == [0]:
        raise LasegError(f"{path}: the label is empty, no voxel is left atrium; leave this case out")
    if there not in ([0, 255], [0, 1]):
        raise LasegError(f"{path}: holds {there[:6]}, expected 0 and 255 (or 0 and 1); give --label-value with the "
                         "atrium's value or values, or export the left atrium's cavity alone")
    return values > 0


def read_label(path, scan, value=None):
    """The label of ``scan`` as SimpleITK's image of 0 and 1 to K (uint8), in the geometry that its own header gives.

    A label whose header says nothing has its scan's, if it has as many voxels.
    Raises LasegError where scan and label contradict each other.
    """
    label = read_scan(path)
    image = image_of(class_numbers(array_of(label.image), path, value), label.image)
    sizes = f"the scan is {scan.image.GetSize()} and the label is {label.image.GetSize()}"
    if not (all(label.said) and label.oriented >= scan.oriented):
        if label.image.GetSize() != scan.image.GetSize():
            raise LasegError(f"{path}: {sizes}, and the label's header doesn't say where it lies; without that both "
                             "must be the same W x H x D: is the label of another case?")
        known = ~np.isnan(label.spacing)
        if not np.allclose(label.spacing[known], scan.spacing[known], rtol=0.01):
            raise LasegError(f"{path}: its voxels are {label.spacing} mm, the scan's {scan.spacing}; "
                             "correct one of the headers")
        image.CopyInformation(scan.image)
        return image
    shifted = image_of(np.zeros(image.GetSize(), np.uint8), image)
    shifted.SetOrigin(scan.image.GetOrigin())
    apart = np.subtract(image.GetOrigin(), scan.image.GetOrigin())
    if same_grid(shifted, scan.image) and np.abs(apart).max() > 0.5 * min(image.GetSpacing()):
        raise LasegError(f"{path}: as large as its scan and lying the same way, but by its header "
                         f"{np.linalg.norm(apart):.1f} mm away from it (origins {told(image.GetOrigin())} and "
                         f"{told(scan.image.GetOrigin())}); one of the headers is wrong: correct it, or use "
                         "--label-as-scan if the voxels match one by one")
    return image


def told(point):
    return "(" + ", ".join(f"{mm:.4g}" for mm in point) + ")"


def label_on(straight, label, path):
    """The label (0 and 1 to K) on the grid of the straightened scan, uint8 W x H x D: the class with the greatest share
    of a voxel.  LasegError when a part of the atrium lies outside the scan."""
    import SimpleITK as sitk

    turned = sitk.DICOMOrient(label, "LPS")
    if same_grid(turned, straight):
        return array_of(turned)
    each = [sitk.Resample(image_of(np.float32(mask), turned), straight, sitk.Transform(), sitk.sitkLinear, 0.0)
            for mask in each_class(torch.from_numpy(array_of(turned)))]
    found = np.uint8(of_greatest_share(torch.stack([torch.from_numpy(array_of(share)) for share in each])))
    before, after = (float((a > 0).sum()) * np.prod(image.GetSpacing()) for a, image in
                     ((array_of(label), label), (found, straight)))
    if after < 0.9 * before:
        raise LasegError(f"{path}: by the headers {100 * (1 - after / before):.0f} % of the atrium lies outside its "
                         "scan; is the label of another case, or one of the headers wrong?")
    return found


def read_case(scan, label=None, *, voxel_mm=SPACING_MM, spacing=None, label_value=None, label_as_scan=False):
    """(straight scan as SimpleITK's float32 image, normalised over the whole scan; label uint8 W x H x D on the same
    grid, or None) of one case.

    ``scan``, ``label``: their files.  ``spacing``: a voxel's sides in mm where the scan's header doesn't say it.
    ``label_value``: the atrium's value, or several, or {class: value}.  ``label_as_scan``: the label's voxels are the
    scan's, whatever its header says.
    Raises LasegError, with the file and a remedy, for what can't be right.
    """
    found = read_scan(scan, spacing)
    require_spacing(found)
    straight = normalised(found.image, scan, voxel_mm)
    if label is None:
        return straight, None
    if not label_as_scan:
        return straight, label_on(straight, read_label(label, found, label_value), label)
    values = array_of(read_scan(label).image)
    if values.shape != found.image.GetSize():
        raise LasegError(f"{label}: is {values.shape}, its scan {found.image.GetSize()}; "
                         "with --label-as-scan both must be the same W x H x D")
    mask = image_of(class_numbers(values, label, label_value), found.image)
    return straight, label_on(straight, mask, label)


def read_pair(folder):
    """(scan float32, normalised; label uint8 0/1; a voxel's sides in mm) of a folder with the challenge's two files,
    straight, in voxels as wide as they are."""
    image, label = read_case(Path(folder) / SCAN, Path(folder) / LABEL, voxel_mm=None)
    return array_of(image), label, np.array(image.GetSpacing())
