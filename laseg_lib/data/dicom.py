"""A DICOM series as one image: pydicom reads the tags and uncompressed voxels, dcm2niix decompresses the others.

What tags mean differs between vendors, and dcm2niix reads some of them otherwise than pydicom: those of a thumbnail or
of a maker's own sequence, counts of slices, empty or padded numbers.  So it gets copies with a slice's compressed
voxels and no other tag.  Positions, sizes, signs and slopes are applied here, and the stack is checked first.
"""

import errno
import io
import os
import re
import subprocess
import tempfile
import warnings
from pathlib import Path

import numpy as np

from ..errors import LasegError, require_no_text
from ..runtime.machine import notify
from .files import require_text, suffix_of, what_is_in
from .headers import EXPORT_AS_LABEL_MAP, placed_image, require_space

SEGMENTATIONS = ("Segmentation Storage", "Surface Segmentation Storage", "RT Structure Set Storage")
GROUPS = {"ImagePositionPatient": "PlanePositionSequence", "ImageOrientationPatient": "PlaneOrientationSequence",
          "PixelSpacing": "PixelMeasuresSequence", "SpacingBetweenSlices": "PixelMeasuresSequence",
          "SliceThickness": "PixelMeasuresSequence", "RescaleSlope": "PixelValueTransformationSequence",
          "RescaleIntercept": "PixelValueTransformationSequence"}  # where an enhanced file has the values of its frames


def read_dicom(path):
    """(SimpleITK's float32 image; for x, y, z whether the side is known; whether directions are known) of a
    folder's series or a file.  The z side and directions need a position and an orientation of each slice."""
    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file()
                                                 and not file.name.startswith("."))
    for file in files:
        require_text(file)
    series = only_series(path, files)
    heads = list(series.values())
    name = series_name(heads[0])
    places, lies, plane = (slice_values(heads, tag, count) for tag, count in (
        ("ImagePositionPatient", 3), ("ImageOrientationPatient", 6), ("PixelSpacing", 2)))
    lies = (lies.reshape(-1, 2, 3) / np.linalg.norm(lies.reshape(-1, 2, 3), axis=2, keepdims=True)).reshape(-1, 6)
    require_space(path, (heads[0].Rows, heads[0].Columns, len(places)))
    if len(places) < 2:
        raise LasegError(f"{path}: holds one slice of {name}, and a scan must be W x H x D; give the folder of the "
                         "whole series")
    require_alike(path, name, heads)
    numbers = [head.get("InstanceNumber") for head in heads for _ in range(frames_of(head))]
    located, affine = bool(np.isfinite(places).all() and np.isfinite(lies).all()), np.eye(4)
    if not located and len(heads) > 1 and len(set(numbers) - {None}) < len(heads):
        raise LasegError(f"{path}: the slices of {name} have neither positions nor numbers of their own, so their "
                         "order isn't known; export the series again")
    if located:
        step = slice_distance(path, name, places, lies)
        warn_of_gaps(path, name, heads, step)
        affine[:3, :3] = np.stack([lies[0, :3], lies[0, 3:], step * np.cross(lies[0, :3], lies[0, 3:])], 1)
        order = np.argsort(places @ affine[:3, 2])
        affine[:3, 3] = places[order[0]]
    else:
        order = np.argsort(np.array(numbers, float), kind="stable")
    known = bool((plane > 0).all())
    if known:
        affine[:3, :2] *= plane[0, ::-1]  # DICOM gives the distance of rows first
    slopes, offsets = (slice_values(heads, tag, 1)[:, 0] for tag in ("RescaleSlope", "RescaleIntercept"))
    values = decoded_voxels(path, name, series) * np.where(np.nan_to_num(slopes), slopes, 1) + np.nan_to_num(offsets)
    return placed_image(path, values[..., order], affine), (known, known, located), located


def series_name(head):
    return f"series {head.get('SeriesNumber') or '?'} {head.get('SeriesDescription', '')}".strip()


def tags_of(file):
    """The tags of a DICOM file as pydicom's Dataset, without voxels; None for any other file."""
    import pydicom

    try:
        head = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        return head if head.get("SOPClassUID") or "Rows" in head and "BitsAllocated" in head else None
    except Exception:  # for other files pydicom raises many types of error
        return None


def only_series(path, files):
    """{file: its tags} of the one DICOM series among ``files``, each slice once.  LasegError if there is none, more
    than one, a segmentation, or a file that looks like a slice but can't be read."""
    tags = {file: tags_of(file) for file in files}
    classes = {file: getattr(head.get("SOPClassUID"), "name", "") for file, head in tags.items() if head}
    if objects := [name for name in classes.values() if name in SEGMENTATIONS]:
        raise LasegError(f"{path}: holds a DICOM segmentation (SEG or RTSTRUCT: {objects[0]}), which LASeg doesn't "
                         f"read; {EXPORT_AS_LABEL_MAP}")
    images = {file: head for file, head in tags.items() if head and "Rows" in head}
    for file in () if images else files:
        if path.is_file() or suffix_of(file) == ".dcm":
            require_no_text(file, "DICOM")
    if not images and path.is_file():
        raise LasegError(f"{path}: not a complete DICOM file ({next(iter(classes.values()), 'no tags')}, no image); "
                         "copy or export the series again")
    if not images:
        raise LasegError(f"{path}: no DICOM series in this folder; {what_is_in(path)}; give the folder that "
                         "holds the files of one series")
    series = {head.get("SeriesInstanceUID"): series_name(head) for head in images.values()}
    if len(series) == len(images) > 1:
        raise LasegError(f"{path}: each of its {len(images)} files is a DICOM series of its own; if they are slices of "
                         "one scan, export them again with one SeriesInstanceUID; if not, put each into its own folder")
    if len(series) > 1:
        raise LasegError(f"{path}: holds {len(series)} DICOM series ({', '.join(series.values())}); put each into its "
                         "own folder")

    def shape(file):
        return re.sub(r"\d+", "#", file.name.lower())

    shapes, kinds = {shape(file) for file in images}, {classes[file] for file in images}
    if lost := [file for file in files if file not in images and (
            classes[file] in kinds if file in classes else shape(file) in shapes)]:
        raise LasegError(f"{lost[0]}: looks like a slice of the series beside it, but can't be read"
                         + (f" (nor can {len(lost) - 1} more)" if lost[1:] else "") + "; copy it again, or remove it")
    once = {}
    for file, head in images.items():  # some tools give all slices one UID, so the UID alone is not enough
        place = head.get("ImagePositionPatient"), head.get("InstanceNumber"), head.get("NumberOfFrames")
        once.setdefault((head.get("SOPInstanceUID", file), str(place)), file)
    return {file: images[file] for file in once.values()}


def frames_of(head):
    """The number of slices in a file."""
    return len(head.get("PerFrameFunctionalGroupsSequence") or ()) or int(head.get("NumberOfFrames") or 1)


def slice_values(heads, tag, count):
    """The ``count`` numbers of a tag for each slice (a file, or a frame of an enhanced one): float64, a row a slice,
    NaN without the tag.  One number in place of two counts for both."""
    rows = []
    for head in heads:
        shared = (head.get("SharedFunctionalGroupsSequence") or [{}])[0]
        for frame in head.get("PerFrameFunctionalGroupsSequence") or [{}] * frames_of(head):
            said = [part[GROUPS[tag]][0].get(tag) for part in (frame, shared) if part.get(GROUPS[tag])]
            value = next((value for value in [*said, head.get(tag)] if value not in (None, "")), np.nan)
            row = np.array(value.split("\\") if isinstance(value, str) else np.atleast_1d(value), float)
            rows.append(np.resize(row, count) if len(row) == count or len(row) == 1 and count == 2 else
                        np.full(count, np.nan))
    return np.array(rows)


def require_alike(path, name, heads):
    """LasegError for slices that differ from each other, and for forms of storage that LASeg would read wrongly."""
    for kinds in ({f"{head.Columns} x {head.Rows} pixels" for head in heads},
                  {f"pixels of {mm[1]:.4g} x {mm[0]:.4g} mm" for mm in slice_values(heads, "PixelSpacing", 2)
                   if mm[0] > 0}):
        if len(kinds) > 1:
            raise LasegError(f"{path}: the slices of {name} differ: {' and '.join(sorted(kinds)[:2])}; export one "
                             "stack alone")
    if other := [head for head in heads if int(head.get("NumberOfFrames") or frames_of(head)) != frames_of(head)]:
        raise LasegError(f"{path}: {name} has {other[0].NumberOfFrames} frames, and the positions of "
                         f"{frames_of(other[0])}; export it again")
    if any(head.get("PhotometricInterpretation") == "MONOCHROME1" for head in heads):
        raise LasegError(f"{path}: {name} shows its smallest values white (MONOCHROME1), so blood would look dark; "
                         "export it as MONOCHROME2")
    if any("MOSAIC" in (head.get("ImageType") or ()) for head in heads):
        raise LasegError(f"{path}: {name} has all slices of a volume in one picture (a Siemens mosaic), which LASeg "
                         "doesn't read; export one file for each slice")
    if any(head.get("PhotometricInterpretation") == "PALETTE COLOR" or head.get("ModalityLUTSequence")
           for head in heads):
        raise LasegError(f"{path}: {name} stores its values by a table (a palette or a Modality LUT), which LASeg "
                         "doesn't read; export it as plain MONOCHROME2")
    if shifted := [head for head in heads if head.get("BitsStored") and head.get("HighBit") is not None
                   and head.HighBit + 1 != head.BitsStored]:
        raise LasegError(f"{path}: the pixels of {name} are shifted (HighBit {shifted[0].HighBit}, BitsStored "
                         f"{shifted[0].BitsStored}), which LASeg doesn't read; export it again")
    if any((head.get("SamplesPerPixel") or 1) > 1 for head in heads):
        raise LasegError(f"{path}: {name} holds several numbers for each voxel, such as colours, but a scan has one; "
                         "export it as a grey image")


def warn_of_gaps(path, name, heads, step):
    """Warn if the header speaks of more slices: every second slice alone is a stack without a gap."""
    said = np.nan_to_num([slice_values(heads, tag, 1) for tag in ("SpacingBetweenSlices", "SliceThickness")]).max()
    if step > 1.5 * (said or step):
        notify(f"WARNING: {path}: the slices of {name} lie {step:.2f} mm apart, but by its header {said:.2f} mm; "
               "are some missing?")
    count = sum(map(frames_of, heads))
    if int(heads[0].get("ImagesInAcquisition") or 0) > count:
        notify(f"WARNING: {path}: holds {count} slices of {name}, but by its header there are "
               f"{heads[0].ImagesInAcquisition}; are some missing?")


def slice_distance(path, name, places, lies):
    """The distance of a series' slices in mm; LasegError unless they make one regular stack."""
    normal = np.cross(lies[0, :3], lies[0, 3:])
    places = places[np.argsort(places @ normal)]
    steps = np.diff(places @ normal)
    whole, apart = steps[steps > 0.01], np.linalg.norm(np.diff(places, axis=0), axis=1)
    way = places[-1] - places[0]
    aslant = np.linalg.norm(way - (way @ normal) * normal)
    problem = ""
    if np.abs(lies - lies[0]).max() > 0.01:
        problem = "have different directions, as in a localizer; export one stack alone"
    elif len(whole) < len(steps):
        problem = (f"are {len(places)} at {len(whole) + 1} positions: time points, echoes or copies; export one image "
                   "of each position")
    elif apart.max() > 1.05 * apart.min() + 0.01:
        problem = (f"lie {apart.min():.2f} to {apart.max():.2f} mm apart; some are missing, or there are two series in "
                   "one: export it again")
    elif aslant > 0.01 * np.linalg.norm(way):
        problem = (f"are a slanted stack, as with a tilted gantry ({aslant:.1f} mm from first to last), so its axes "
                   "are not at right angles; resample it to a rectangular grid first")
    if problem:
        raise LasegError(f"{path}: the slices of {name} {problem}")
    return steps.mean()


def with_defaults(file):
    """A DICOM file as pydicom's Dataset with its voxels.  Tags of their form that are missing get their usual values.
    LasegError if the voxels are missing, or stored in a form of their maker's own."""
    import pydicom

    whole = pydicom.dcmread(file, force=True)
    implicit, little = whole.original_encoding
    plain = (pydicom.uid.ImplicitVRLittleEndian if implicit else pydicom.uid.ExplicitVRLittleEndian if little else
             pydicom.uid.ExplicitVRBigEndian)
    whole.file_meta = getattr(whole, "file_meta", None) or pydicom.dataset.FileMetaDataset()
    syntax = whole.file_meta.TransferSyntaxUID = whole.file_meta.get("TransferSyntaxUID") or plain
    if syntax.is_private or not syntax.is_transfer_syntax:
        raise LasegError(f"{file}: is stored in a form of its maker's own ({syntax}); export it again as plain DICOM")
    kind = next((kind for kind in ("PixelData", "FloatPixelData", "DoubleFloatPixelData") if kind in whole), None)
    if not kind or whole[kind].is_undefined_length != syntax.is_encapsulated:
        raise LasegError(f"{file}: its voxels are missing or have no end mark, as when it was cut off; copy it again, "
                         "or export it again")
    needed = whole.Rows * whole.Columns * frames_of(whole) * whole.BitsAllocated // 8
    if not syntax.is_encapsulated and len(whole[kind].value or b"") < needed:
        raise LasegError(f"{file}: was cut off; copy it again")
    whole.SamplesPerPixel, whole.PhotometricInterpretation = 1, "MONOCHROME2"
    whole.NumberOfFrames, whole.BitsStored = frames_of(whole), whole.get("BitsStored") or whole.BitsAllocated
    whole.PixelRepresentation = whole.get("PixelRepresentation") or 0
    return whole


def compressed_slices(file, whole):
    """The slices of a compressed file, each as pydicom's Dataset of its compressed voxels, and no other tag."""
    import pydicom
    from pydicom.encaps import encapsulate, generate_fragments, generate_frames, parse_basic_offsets

    pieces = io.BytesIO(whole.PixelData)
    parse_basic_offsets(pieces)
    frames, count = list(generate_fragments(pieces)), whole.NumberOfFrames
    if count == 1:
        frames = [b"".join(frames)]
    elif len(frames) != count:
        frames = list(generate_frames(whole.PixelData, number_of_frames=count))
    if len(frames) != count:
        raise LasegError(f"{file}: holds {len(frames)} of its {count} slices; copy it again")
    for frame in frames:
        copy = pydicom.Dataset()
        copy.Rows, copy.Columns, copy.BitsAllocated = whole.Rows, whole.Columns, whole.BitsAllocated
        # dcm2niix takes these from the first slice for all; ``as_numbers`` applies each slice's own.
        copy.BitsStored, copy.HighBit, copy.PixelRepresentation = copy.BitsAllocated, copy.BitsAllocated - 1, 0
        copy.SamplesPerPixel, copy.PhotometricInterpretation, copy.Modality = 1, "MONOCHROME2", "MR"
        copy.SOPClassUID, copy.StudyInstanceUID, copy.SeriesInstanceUID = pydicom.uid.MRImageStorage, "1.2", "1.2"
        copy.PixelSpacing, copy.SliceThickness, copy.ImageOrientationPatient = [1, 1], 1, [1, 0, 0, 0, 1, 0]
        copy.file_meta = pydicom.dataset.FileMetaDataset()
        copy.file_meta.TransferSyntaxUID = whole.file_meta.TransferSyntaxUID
        copy.PixelData = encapsulate([frame])
        copy["PixelData"].VR, copy["PixelData"].is_undefined_length = "OB", True
        yield copy


def as_numbers(voxels, whole):
    """The numbers (float64) that a slice's stored ``voxels`` mean by its BitsStored and PixelRepresentation."""
    if voxels.dtype.kind == "f":
        return voxels.astype(float)
    bits = whole.BitsStored
    numbers = voxels.astype(np.int64) & ((1 << bits) - 1)
    return (numbers - ((numbers >> (bits - 1)) << bits) * whole.PixelRepresentation).astype(float)


def decoded_voxels(path, name, series):
    """The voxels of a series without slope and intercept, float64 W x H x D, in the order of its slices."""
    from pydicom.pixels import iter_pixels

    slices, packed = [], {}  # packed: {slice's number: (its file, its compressed voxels)}
    with warnings.catch_warnings(action="ignore"):  # pydicom's, of files that are a little wrong
        for file in series:
            whole = with_defaults(file)
            if whole.file_meta.TransferSyntaxUID.is_encapsulated:
                for copy in compressed_slices(file, whole):
                    packed[len(slices)] = file, copy
                    slices.append((None, whole))
            else:
                slices += [(voxels, whole) for voxels in iter_pixels(whole, raw=True)]
    found = dict(zip(packed, decompressed(path, name, list(packed.values())))) if packed else {}
    return np.stack([as_numbers(found.get(k, voxels), whole).T for k, (voxels, whole) in enumerate(slices)], -1)


def decompressed(path, name, packed):
    """The voxels of compressed slices by dcm2niix, each H x W.  ``packed``: pairs of a file and pydicom's Dataset."""
    import dcm2niix
    import nibabel

    try:
        with tempfile.TemporaryDirectory(prefix="laseg-") as place:
            folder, names = Path(place, "in"), {}
            folder.mkdir()
            for k, (file, copy) in enumerate(packed):
                copy.SOPInstanceUID, copy.InstanceNumber, copy.ImagePositionPatient = f"1.2.{k + 1}", k + 1, [0, 0, k]
                names[str(folder / f"{k:05d}.dcm")] = file
                copy.save_as(folder / f"{k:05d}.dcm", enforce_file_format=True)
            # No JSON, no gzip, no cropping, no rotation, and always one image: the stack has been checked.
            options = ["-b", "n", "-z", "n", "-g", "i", "-x", "i", "-m", "y", "-f", "scan", "-o", place]
            done = subprocess.run([dcm2niix.bin, *options, str(folder)], capture_output=True, text=True,
                                  errors="replace", check=False)
            said = (done.stdout + done.stderr).partition("\n")[2]  # the first line is its version
            if "disk full" in said:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            made = list(Path(place).glob("*.nii"))
            if len(made) == 1 and done.returncode == 0:
                voxels = np.asanyarray(nibabel.load(made[0], mmap=False).dataobj)
                voxels = voxels.reshape(*voxels.shape[:2], -1)[:, ::-1].T  # dcm2niix reverses the rows
                if len(voxels) == len(packed):
                    return voxels.astype(np.int64)
    except OSError as error:
        raise LasegError(f"{path}: its slices can't be decompressed, because the folder for temporary files can't be "
                         f"written ({error.strerror}); free some space there, or set TMPDIR to another folder"
                         ) from error
    for copy, file in names.items():
        said = said.replace(copy, str(file))
    lines = [line.strip() for line in said.splitlines() if re.search("Error|Unable", line)]
    if cut := re.search(r"not large enough.*?: (.*)", said):
        raise LasegError(f"{cut[1]}: is a slice of {name} that was cut off; copy it again")
    if re.search(r"transfer syntax|decod|JPEG|JP2|compress", said):
        raise LasegError(f"{path}: the compression of {name} isn't supported; export it without compression (dcmdjpeg "
                         "and gdcmconv --raw do that)")
    raise LasegError(f"{path}: dcm2niix can't decode {name} ({(lines or [f'status {done.returncode}'])[-1]}); export "
                     "the series again")
