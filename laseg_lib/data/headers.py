"""Readers for NIfTI (by nibabel), NRRD (by pynrrd) and MetaImage (by SimpleITK).

Each returns SimpleITK's float32 image, which sides of a voxel are known, and whether the axes' directions are known.
For a file that is damaged, of another kind or wrongly exported it raises a LasegError that says what to do.
"""

import errno
import re
import zlib

import numpy as np
import torch

from ..errors import LasegError, require_no_text
from ..runtime.machine import require_memory
from .files import data_files
from .volumes import in_mm

FROM_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])  # NIfTI's x and y point right and forward; DICOM's left and backward
FROM_SPACE = {"lps": np.eye(4), "ras": FROM_RAS, "las": np.diag([1.0, -1.0, 1.0, 1.0])}  # NRRD's spaces of a patient
NIFTI_STARTS = [size.to_bytes(4, order) for size in (348, 540) for order in ("little", "big")]  # of its two versions
BAD_POSITION = "its header has a position or an axis that is not finite; correct it"
EXPORT_AS_LABEL_MAP = "export it as one label map, such as NIfTI (3D Slicer: Segmentations, Export to files)"


def require_content(path, kind):
    """LasegError if a file is empty, text instead of a ``kind``, or if its compression doesn't fit its name."""
    with open(path, "rb") as file:
        head = file.read(400)
    packed = head[:2] == b"\x1f\x8b"
    if not head.startswith(b"NRRD") and not (kind == "MetaImage" and re.match(rb"(\xef\xbb\xbf)?\s*\w+\s*[=:]", head)):
        require_no_text(path, kind)
    if kind == "NIfTI" and not packed and head[:4] not in NIFTI_STARTS:
        raise LasegError(f"{path}: is not a NIfTI file, whatever its name says; download or export it again")
    if kind == "NIfTI" and packed != path.name.lower().endswith(".gz"):
        raise LasegError(f"{path}: is {'' if packed else 'not '}compressed with gzip, contrary to its name; rename "
                         f"it to {path.name + '.gz' if packed else path.name[:-3]}")


def require_space(path, sizes):
    """LasegError if a scan of this size doesn't fit into memory: as stored, as float64, and straight."""
    require_memory(24 * np.prod(np.array(sizes, float)), torch.device("cpu"), path, "crop this scan")


def known_sides(sides):
    """For x, y and z: whether the side is a positive number."""
    return tuple(bool(np.isfinite(side) and side > 0) for side in [*sides, *[np.nan] * 3][:3])


def placed_image(path, array, affine, or_else=""):
    """An array W x H x D as SimpleITK's image; ``affine`` is the 4 x 4 matrix from voxels to mm (x to the left, y to
    the back).  ``or_else``: another remedy for slanted axes.

    LasegError unless it has one real number for each voxel, and axes at right angles.
    """
    import SimpleITK as sitk

    shape = " x ".join(map(str, array.shape))
    if array.dtype.fields or array.dtype.kind not in "fiub":
        what, remedy = ("complex numbers", "export their magnitude") if array.dtype.kind == "c" else (
            "several numbers for each voxel, such as colours", "export it as a grey image")
        raise LasegError(f"{path}: holds {what}, but a scan has one real number for each voxel; {remedy}")
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim > 3:
        raise LasegError(f"{path}: holds {shape} voxels, several images (time points or channels) in one file, but a "
                         "scan must be W x H x D; export one of them alone")
    if array.ndim < 3 or min(array.shape) < 2:
        raise LasegError(f"{path}: holds one slice ({shape} voxels), but a scan must be W x H x D; give the whole scan")
    if not np.isfinite(affine).all():
        raise LasegError(f"{path}: {BAD_POSITION}")
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    direction = affine[:3, :3] / np.where(sides > 0, sides, 1)
    if np.abs(direction.T @ direction - np.eye(3)).max() > 5e-3:
        raise LasegError(f"{path}: its axes are not at right angles; resample it to a rectangular grid first{or_else}")
    array = array.astype(np.float32)
    if not np.isfinite(array).all():
        raise LasegError(f"{path}: some of its voxels are not finite numbers, or too large; replace these, such as "
                         "NaN by 0, and save it again")
    image = sitk.GetImageFromArray(np.ascontiguousarray(array.T))
    image.SetSpacing(sides.tolist())
    image.SetOrigin(affine[:3, 3].tolist())
    image.SetDirection(direction.ravel().tolist())
    return image


def read_nifti(path, orientation=None):
    import nibabel

    nibabel.Nifti1Header.quaternion_threshold = 1e-6  # six digits of text can make a quaternion longer than 1
    with nibabel.imageglobals.LoggingOutputSuppressor():
        image = nibabel.load(path, mmap=False)
        require_space(path, image.shape)
        with image.file_map["image"].get_prepare_fileobj("rb") as file:
            stored = type(image.header).from_fileobj(file, check=False)  # nibabel's check turns a side of 0 into 1
            while file.read(2**24):  # to the end of a .nii.gz, where its checksum is
                pass
    if stored["vox_offset"] == 0:  # nibabel itself refuses any other offset inside the header
        raise LasegError(f"{path}: its header says that the voxels begin inside the header (vox_offset 0); correct it, "
                         "or export it again")
    header, said = image.header, known_sides(np.abs(stored["pixdim"][1:4]))
    header["pixdim"][1:4] = sides = np.where(said, np.abs(stored["pixdim"][1:4].astype(float)), 1)
    found = {"qform": header.get_qform(coded=True)[0], "sform": header.get_sform(coded=True)[0]}
    found = {name: affine for name, affine in found.items() if affine is not None and orientation != "neither"}
    if not all(np.isfinite(affine).all() for affine in found.values()):
        raise LasegError(f"{path}: {BAD_POSITION}")
    affine = found.get(orientation, found.get("sform", found.get("qform")))
    oriented = affine is not None
    affine = FROM_RAS @ affine if oriented else np.diag([*sides, 1])
    lengths = np.linalg.norm(affine[:3, :3], axis=0)
    chosen = orientation == "sform" and lengths.all()
    if all(said) and not chosen and not np.allclose(lengths, sides, rtol=0.01, atol=1e-4):
        usable = " or ".join(name for name, matrix in found.items() if np.linalg.det(matrix))
        raise LasegError(f"{path}: its header gives a voxel's sides twice, as {in_mm(sides)} (pixdim) and as "
                         f"{in_mm(lengths)} (sform); find out which is right, and correct the other"
                         f"{usable and ', or give --orientation '}{usable}")
    if len(found) == 2 and all(said) and orientation is None:
        require_same_position(path, found["qform"], found["sform"], image.shape)
    if orientation != "qform" and "sform" in found:  # it gives the sides that pixdim lacks
        said = known_sides(lengths)
    affine[:3] *= {"meter": 1000.0, "micron": 0.001}.get(header.get_xyzt_units()[0], 1)
    return placed_image(path, np.asanyarray(image.dataobj), affine, ", or give --orientation qform" * (
        "qform" in found and orientation is None)), said, oriented


def require_same_position(path, qform, sform, shape):
    """LasegError if a NIfTI file's two matrices place a corner of the scan more than a voxel apart."""
    corners = np.c_[np.array(list(np.ndindex(2, 2, 2))) * (np.array([*shape, 1, 1])[:3] - 1), np.ones(8)].T
    apart = np.abs(np.linalg.solve(sform, qform @ corners) - corners).max(0)
    if apart.max() > 1:
        corner = corners[:, apart.argmax()]
        by_q, by_s = (", ".join(f"{mm:.4g}" for mm in (matrix @ corner)[:3]) for matrix in (qform, sform))
        raise LasegError(f"{path}: its header has two positions, up to {apart.max():.3g} voxels apart: voxel "
                         f"{tuple(corner[:3].astype(int).tolist())} lies at ({by_q}) mm by the qform and at ({by_s}) "
                         "mm by the sform; find out which is right, and give --orientation qform or sform")


def read_nrrd(path):
    import nrrd
    import SimpleITK as sitk

    with open(path, "rb") as file:
        header = nrrd.read_header(lines_of_header(file))
        require_space(path, header["sizes"])
        if other := [unit for unit in header.get("space units", []) if unit.strip('" ').lower().removesuffix("s")
                     not in ("mm", "millimeter", "millimetre", "???", "none", "")]:
            raise LasegError(f"{path}: its header gives lengths in {other[0]}, but mm are needed; export it in mm")
        if header["dimension"] > 3 and header["sizes"][0] > 1 and any(name.startswith("Segment0_") for name in header):
            raise LasegError(f"{path}: is a segmentation in {header['sizes'][0]} layers, because segments overlap; "
                             f"{EXPORT_AS_LABEL_MAP}")
        # pynrrd doesn't read voxels in several files, nor in one whose name isn't ASCII.
        several = re.match("LIST|.*(%|[^ -~])", header.get("data file", header.get("datafile", "")))
        array = sitk.GetArrayFromImage(sitk.ReadImage(str(path), imageIO="NrrdImageIO")).T if several else (
            nrrd.read_data(header, file, str(path)))
    vectors = np.array(header.get("space directions", np.empty((0, 3))), float)[:, :3]  # of 4 axes they have 4 numbers
    if array.ndim > 3:  # an axis that isn't spatial comes before the spatial ones, or after them
        array, vectors = array.squeeze(), vectors[np.isfinite(vectors).all(1) & vectors.any(1)]
    sides = np.linalg.norm(vectors, axis=1) if len(vectors) else np.ravel(header.get("spacings", []))
    said, turned, affine = known_sides(sides), len(vectors) > 0, np.eye(4)
    for axis in range(3):
        if said[axis]:
            affine[:3, axis] = vectors[axis] if turned else sides[axis] * np.eye(3)[axis]
        elif turned:
            affine[:3, axis] = np.cross(*(vectors[k] / sides[k] for k in ((axis + 1) % 3, (axis + 2) % 3)))
    affine[:3, 3] = header.get("space origin", np.zeros(3))[:3]
    space = header.get("space", "").lower().removesuffix("-time")
    space = "".join(word[0] for word in space.split("-")) if re.fullmatch(r"(\w+-){2}\w+", space) else space
    return placed_image(path, array, FROM_SPACE.get(space, np.eye(4)) @ affine), said, turned and space in FROM_SPACE


def lines_of_header(file):
    """The lines of an open NRRD file's header, without the list of files at its end and without other tools' keys
    (key:=value), which may be there twice or have the name of a field."""
    for line in file:
        if b":=" not in line or line.startswith(b"Segment0_"):
            yield line.decode("latin-1")
        if not line.strip() or re.match(rb"data ?file:\s*LIST", line):
            return


def read_meta(path):
    import SimpleITK as sitk

    with open(path, "rb") as file:  # SimpleITK silently adds what the header doesn't have
        head = file.read(2**16)
    fields = {name.strip().lower(): value.strip() for name, value in re.findall(
        r"^([\w ]+?)\s*[=:]([^\n]*)$", head.decode("utf-8", "surrogateescape"), re.MULTILINE)}
    data = fields.get("elementdatafile", "")
    packed = path if data.upper() == "LOCAL" else path.parent / data
    if "%" in data and (packed.is_file() or not re.match(r"[^%]*%[\d.]*[di][^%]*$", data)):  # SimpleITK would crash
        raise LasegError(f"{path}: the name of its data file, {data}, has a '%', which stands for the numbers of "
                         "several files; rename the data file, and write its new name into the header")
    reader = sitk.ImageFileReader()
    reader.SetImageIO("MetaImageIO")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    require_space(path, reader.GetSize())
    if (unit := fields.get("distanceunits", "mm").lower()) not in ("mm", "?"):
        raise LasegError(f"{path}: its header gives lengths in {unit}, but mm are needed; export it in mm")
    if not packed.is_file() and not re.search("LIST|%", data):
        raise FileNotFoundError(errno.ENOENT, "", str(packed))
    if fields.get("compresseddata", "").lower() == "true" and packed.is_file():
        with open(packed, "rb") as file:  # SimpleITK doesn't notice damage
            file.seek(re.search(rb"ElementDataFile[^\n]*\n", head).end() if packed == path else 0)
            held = file.read()
        length = int(fields.get("compresseddatasize") or 0)
        if packed == path and length < 1:  # then SimpleITK returns what happens to lie in memory
            raise LasegError(f"{path}: its header doesn't say how long its compressed voxels are; add the line "
                             f"'CompressedDataSize = {len(held)}' above ElementDataFile, or export it again")
        zlib.decompress(held[:length] if length > 0 else held, wbits=47)
    if re.match("LIST(?!.*3)", data) and (count := len(data_files(path))) < reader.GetSize()[-1]:
        raise LasegError(f"{path}: its header has {reader.GetSize()[-1]} slices, but {count} of its files exist; copy "
                         "them again")
    image = reader.Execute()
    dims, space, affine = image.GetDimension(), slice(0, min(image.GetDimension(), 3)), np.eye(4)
    direction = np.reshape(image.GetDirection(), (dims, dims))[space, space]
    if np.abs(np.linalg.norm(direction, axis=0) - 1).max() > 5e-3:
        raise LasegError(f"{path}: the directions of its axes don't have length 1: a voxel's size belongs in the "
                         "spacing; correct the header")
    affine[space, space], affine[space, 3] = direction * image.GetSpacing()[space], image.GetOrigin()[space]
    said = known_sides(np.fromstring(fields.get("elementspacing") or fields.get("elementsize") or "", sep=" "))
    oriented = bool({"transformmatrix", "rotation", "orientation"} & set(fields))
    return placed_image(path, sitk.GetArrayFromImage(image).T, affine), said, oriented
