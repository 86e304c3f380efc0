"""Scans as hospitals and other tools store them: NIfTI, NRRD, MetaImage and DICOM series, read by SimpleITK.

A scan is more than its numbers: its header says how large a voxel is, where the first one lies, and which way each
axis runs in the patient.  What trains and predicts here is *straight*: x runs from the patient's right to the left, y
from front to back, z from feet to head, in voxels of one size, as the public volumes are.  ``straighten`` brings a
scan there, ``back_to`` brings what was found there into the scan's own geometry again.

Arrays are W x H x D, so the first index is x; SimpleITK's own arrays run the other way.
"""

import contextlib
import glob
import gzip
import locale
import math
import os
import re
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from ..errors import LasegError
from ..runtime.machine import refuse_bomb, require_memory, require_room_for
from .atomic import replacing
from .volumes import MOST_PACKED, SPACING_MM

SCAN, LABEL = "lgemri.nrrd", "laendo.nrrd"  # the challenge's names
FORMATS = {".nii": "NIfTI", ".nii.gz": "NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage",
           ".mhd": "MetaImage", ".dcm": "DICOM"}
READERS = {"NIfTI": "NiftiImageIO", "NRRD": "NrrdImageIO", "MetaImage": "MetaImageIO", "DICOM": "GDCMImageIO"}
VOXEL_MM = (0.02, 50.0)  # what a voxel's side can be; a header beyond that is wrong
STRAIGHT = np.eye(3)
MOST_HEADER = 2**20  # bytes of a text header; the longest that tools write, of diffusion scans, have a twentieth
NO_SIZE = "its header doesn't say how large a voxel is along"


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
            require_whole(path, int(header["offset"]) + header["bytes"])  # SimpleITK fills up what is cut off
        image = sitk.ReadImage(files if len(files) > 1 else files[0], imageIO=READERS[kind])
    except RuntimeError as error:
        raise LasegError(in_words(path, kind, str(error), header)) from error
    if "complex" in kind_of_voxel:
        raise LasegError(f"{path}: holds complex numbers, and a scan's voxels are real; export its magnitude")
    if image.GetDimension() == 4 and image.GetSize()[3] == 1:
        image = image[:, :, :, 0]
    if image.GetDimension() != 3 or image.GetNumberOfComponentsPerPixel() != 1 or min(image.GetSize()) < 2:
        more = " (one slice of a series? give the folder)" if kind == "DICOM" else ""
        raise LasegError(f"{path}: holds {' x '.join(map(str, image.GetSize()))} voxels with "
                         f"{image.GetNumberOfComponentsPerPixel()} numbers each; a scan must be W x H x D{more}")
    if kind == "DICOM":
        said, oriented = dicom_geometry(path, files, reader), True
    else:
        said, oriented = header["said"], header["oriented"]
    return complete(Scan(image, said, oriented, path), spacing)


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


def is_dicom(path):
    with open(path, "rb") as file:
        return file.read(132)[128:] == b"DICM"


def dicom_files(folder):
    """The files of the one DICOM series in ``folder``, in the order of their slices."""
    import SimpleITK as sitk

    series = sitk.ImageSeriesReader.GetGDCMSeriesIDs(str(folder))
    if not series:
        raise LasegError(f"{folder}: no DICOM series in this folder; {what_is_in(folder)}")
    if len(series) > 1:
        raise LasegError(f"{folder}: holds {len(series)} DICOM series; give each a folder of its own")
    return list(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(folder), series[0]))


def dicom_geometry(path, files, reader):
    """Which sides of a voxel the series says; LasegError where slices are missing between the others."""
    def tag(name):
        return np.array(reader.GetMetaData(name).split("\\"), float) if reader.HasMetaDataKey(name) else None

    places = []
    for file in files:
        reader.SetFileName(file)
        reader.LoadPrivateTagsOff()
        reader.ReadImageInformation()
        places.append(tag("0020|0032"))
    plane = tag("0028|0030") is not None or len(files) == 1
    if len(files) == 1 or any(place is None or place.size != 3 for place in places):
        return plane, plane, len(files) == 1
    steps = np.linalg.norm(np.diff(places, axis=0), axis=1)
    if steps.min() <= 0 or steps.max() > 1.05 * steps.min() + 0.01:
        raise LasegError(f"{path}: its slices lie {steps.min():.2f} to {steps.max():.2f} mm apart; some are missing, "
                         "or there are two series in one: export it again")
    return plane, plane, True


def read_header(path, kind):
    """What SimpleITK doesn't pass on: which sides of a voxel a file says (it fills in 1), whether its orientation, and
    where its data are, if not in it.

    Raises LasegError for a detached data file that doesn't lie beside its header.
    """
    if kind == "NIfTI":
        try:
            with unpacked(path) as file:
                return nifti_header(file.read(540))
        except (OSError, EOFError, zlib.error, struct.error):
            return {"said": (False,) * 3, "oriented": False}  # reading it says what is wrong
    fields, rest = text_header(path, kind)
    detached = fields.get("elementdatafile") or fields.get("data file") or fields.get("datafile") or ""
    if detached.lower() == "local":
        detached = ""
    found = {"oriented": False, "detached": detached, "files": []}
    if detached:
        names = data_files(path, detached, rest)
        require_beside(path, names)
        found["files"] = [path.parent / name for name in names]
    if kind == "MetaImage":
        sides = numbers(fields.get("elementspacing") or fields.get("elementsize"))
        return found | {"said": said(sides),
                        "oriented": bool({"transformmatrix", "rotation", "orientation"} & set(fields))}
    if "space directions" in fields:
        vectors = re.findall(r"\(([^)]*)\)|(none)", fields["space directions"].lower())
        return found | {"said": said([np.linalg.norm(numbers(vector)) for vector, none in vectors if vector or none]),
                        "oriented": bool({"space", "space dimension"} & set(fields))}
    return found | {"said": said(numbers(fields.get("spacings")))}


def text_header(path, kind):
    """({field in lower case: value} of a NRRD's or MetaImage's header, the lines after it), as their readers take it.

    LasegError for one that goes on for a megabyte: what it would say after that nobody has looked at.
    """
    with open(path, "rb") as file:
        lines = iter(file.read(MOST_HEADER).decode("latin-1").split("\n"))
    fields = {}
    for line in lines:
        if kind == "NRRD" and not line.strip():
            break
        name, value = [*re.split(":" if kind == "NRRD" else "[=:]", line, maxsplit=1), ""][:2]
        name, value = name.strip().lower(), value.strip()
        fields.setdefault(name, value)
        if name == "elementdatafile" or (name in ("data file", "datafile") and value.startswith("LIST")):
            break
    else:
        if os.path.getsize(path) > MOST_HEADER:
            raise LasegError(f"{path}: its header doesn't end within {MOST_HEADER} bytes; export it again")
    return fields, list(lines)


def data_files(path, detached, rest):
    """The files that a header names as its data, each relative to it: one, those of a list, or of a pattern."""
    if detached.startswith("LIST"):
        return [line.strip() for line in rest if line.strip()]
    if "%" not in detached:
        return [detached]
    pattern = detached.split()[0]  # "slice%03d.raw 1 88 1"
    if not re.fullmatch(r"[^%]*%0?\d?d[^%]*", pattern):  # a reader would print with it, into too little memory
        raise LasegError(f"{path}: its data are in {detached[:100]}, which is no pattern of a number; name the files")
    folder, pattern = os.path.split(pattern)
    found = sorted((path.parent / folder).glob(re.sub(r"%\d*d", "*", glob.escape(pattern)))) if folder_is_ours(
        folder) else []
    return [os.path.join(folder, file.name) for file in found] or [os.path.join(folder, pattern)]


def folder_is_ours(name):
    """Whether a path, as a header names it, stays in the header's folder."""
    return not (re.match(r"[/\\~]|[A-Za-z]:", name) or ".." in re.split(r"[/\\]", name))


def require_beside(path, names):
    """LasegError unless a header's data files lie beside it, or below, and are files: a pipe would wait for ever."""
    home = path.parent.resolve()
    for name in names:
        if "\0" in name:
            raise LasegError(f"{path}: its data are in {name[:100]!r}, which can't name a file; export it again")
        file = path.parent / name
        if not folder_is_ours(name) or not Path(os.path.realpath(file)).is_relative_to(home):
            raise LasegError(f"{path}: its data are in {name[:100]}, outside its folder; "
                             "put that file beside the header, and name it there")
        if os.path.lexists(file) and not file.is_file():
            raise LasegError(f"{path}: its data are in {name[:100]}, which is no file; put the data there")


def nifti_header(head):
    order = "<" if head[:4] in (struct.pack("<i", 348), struct.pack("<i", 540)) else ">"
    if struct.unpack(order + "i", head[:4])[0] == 540:  # NIfTI-2
        sides, codes = struct.unpack(order + "3d", head[112:136]), struct.unpack(order + "2i", head[344:352])
        dims, bits = struct.unpack(order + "8q", head[16:80]), struct.unpack(order + "h", head[14:16])[0]
        offset = struct.unpack(order + "q", head[168:176])[0]
    else:
        sides, codes = struct.unpack(order + "3f", head[80:92]), struct.unpack(order + "2h", head[252:256])
        dims, bits = struct.unpack(order + "8h", head[40:56]), struct.unpack(order + "h", head[72:74])[0]
        offset = struct.unpack(order + "f", head[108:112])[0]
    found = {"said": said(np.abs(sides)), "oriented": any(code > 0 for code in codes), "offset": offset}
    if 1 <= dims[0] <= 7 and min(dims[1:dims[0] + 1]) > 0 and bits > 0:
        found["bytes"] = math.prod(dims[1:dims[0] + 1]) * bits // 8
    return found


def unpacked(path):
    """A NIfTI file open for reading, gzipped (whatever it is called) or not."""
    with open(path, "rb") as file:
        packed = file.read(2) == b"\x1f\x8b"
    return (gzip.open if packed else open)(path, "rb")


def require_whole(path, size):
    """LasegError where a NIfTI file, once unpacked, is shorter than its header says."""
    try:
        with unpacked(path) as file:
            file.seek(size - 1)
            whole = file.read(1)
    except (OSError, EOFError, zlib.error):
        whole = b""
    if not whole:
        raise LasegError(f"{path}: its header tells of {size} bytes, and not as many are there: it was cut off; "
                         "copy it again")


def numbers(text):
    return [float(n) if re.fullmatch(r"[-+.\de]+", n) else np.nan for n in re.split(r"[\s,]+", (text or "").strip())
            if n]


def said(sides):
    """Which of x, y and z are positive numbers."""
    sides = [*sides, np.nan, np.nan, np.nan][:3]
    return tuple(bool(np.isfinite(side) and side > 0) for side in sides)


def in_words(path, kind, text, header):
    """SimpleITK's error as one sentence with its true cause."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    cause = re.sub(r"^(\[nrrd\] )?\w*: |.*ERROR:? ", "", lines[-1])[:300]
    if "encod" in cause.lower() and ("not available" in cause or "parse" in cause):
        return f"{path}: its data are compressed in a way that isn't read here ({cause}); write it again with gzip"
    if header.get("detached") and ("datafile" in text or "data file" in text):
        return (f"{path}: the data files that its header names are not there, or not as many as it says ({cause}); "
                "put them beside the header")
    if header.get("said") and not all(header["said"]) and re.search("[sS]pac", text):
        unknown = ", ".join(axis for axis, known in zip("xyz", header["said"]) if not known)
        return f"{path}: {NO_SIZE} {unknown} ({cause}); correct the header"
    if "orthonormal" in text:
        return f"{path}: its axes are not at right angles; resample it to a plain grid first"
    return f"{path}: not a whole {kind} file ({cause}); copy it again"


def what_is_in(folder):
    """What scans a folder holds, for an error message: 'found 12 of .nii.gz, such as a.nii.gz'."""
    found = {}
    for file in scan_files(folder):
        found.setdefault(suffix_of(file), []).append(file)
    if not found:
        return "found no NIfTI, NRRD, MetaImage or DICOM (.dcm) file in it"
    return "found " + "; ".join(f"{len(files)} of {suffix}, such as {files[0].relative_to(folder)}"
                                for suffix, files in sorted(found.items(), key=lambda item: -len(item[1])))


def scan_files(folder):
    """Every file below ``folder`` whose name is one of a format that is read here; hidden ones aside."""
    return [Path(where, name) for where, folders, names in sorted(os.walk(folder)) for name in sorted(names)
            if suffix_of(name) and not name.startswith(".")]


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

def atrium_of(values, path, value=None):
    """The label's voxels that are atrium, bool: those of ``value``, or of the only value beside 0 (1 or 255)."""
    there = np.unique(values).tolist()
    if value is not None:
        if value not in there:
            raise LasegError(f"{path}: no voxel has --label-value {value}, it holds {there[:8]}; "
                             "give the atrium's value, or leave this case out")
        return values == value
    if there == [0]:
        raise LasegError(f"{path}: the label is empty, no voxel is left atrium; leave this case out")
    if there not in ([0, 255], [0, 1]):
        raise LasegError(f"{path}: holds {there[:6]}, expected 0 and 255 (or 0 and 1); give --label-value, or export "
                         "the left atrium's cavity alone")
    return values > 0


def read_label(path, scan, value=None):
    """The label of ``scan`` as SimpleITK's image of 0 and 1 (uint8), in the geometry that its own header gives.

    A label whose header says nothing has its scan's, if it has as many voxels.
    Raises LasegError where scan and label contradict each other.
    """
    label = read_scan(path)
    image = image_of(np.uint8(atrium_of(array_of(label.image), path, value)), label.image)
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
    """The label (0 and 1) on the grid of the straightened scan, uint8 W x H x D: voxels of which at least half is
    atrium.  LasegError when a part of the atrium lies outside the scan."""
    import SimpleITK as sitk

    turned = sitk.DICOMOrient(label, "LPS")
    if same_grid(turned, straight):
        return array_of(turned)
    share = sitk.Resample(sitk.Cast(turned, sitk.sitkFloat32), straight, sitk.Transform(), sitk.sitkLinear, 0.0)
    found = np.uint8(array_of(share) >= 0.5)
    before, after = (float(a.sum()) * np.prod(image.GetSpacing()) for a, image in
                     ((array_of(label), label), (found, straight)))
    if after < 0.9 * before:
        raise LasegError(f"{path}: by the headers {100 * (1 - after / before):.0f} % of the atrium lies outside its "
                         "scan; is the label of another case, or one of the headers wrong?")
    return found


def read_case(scan, label=None, *, voxel_mm=SPACING_MM, spacing=None, label_value=None, label_as_scan=False):
    """(straight scan as SimpleITK's float32 image, normalised over the whole scan; label uint8 W x H x D on the same
    grid, or None) of one case.

    ``scan``, ``label``: their files.  ``spacing``: a voxel's sides in mm where the scan's header doesn't say it.
    ``label_as_scan``: the label's voxels are the scan's, whatever its header says.
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
    mask = image_of(np.uint8(atrium_of(values, label, label_value)), found.image)
    return straight, label_on(straight, mask, label)


def read_pair(folder):
    """(scan float32, normalised; label uint8 0/1; a voxel's sides in mm) of a folder with the challenge's two files,
    straight, in voxels as wide as they are."""
    image, label = read_case(Path(folder) / SCAN, Path(folder) / LABEL, voxel_mm=None)
    return array_of(image), label, np.array(image.GetSpacing())
