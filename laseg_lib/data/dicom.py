"""A DICOM series as one image: pydicom reads the tags, dcm2niix converts the voxels to NIfTI.

dcm2niix handles slopes that differ between slices, frames in any order, and compressed voxels.  It accepts a slanted
stack, or a missing slice, silently.  So the positions of the slices are checked first.
"""

import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from ..errors import LasegError, require_no_text
from ..runtime.machine import notify
from .files import require_text, suffix_of, what_is_in
from .headers import EXPORT_AS_LABEL_MAP, read_nifti, require_space

SEGMENTATIONS = ("Segmentation Storage", "Surface Segmentation Storage", "RT Structure Set Storage")
GROUPS = {"ImagePositionPatient": "PlanePositionSequence", "ImageOrientationPatient": "PlaneOrientationSequence",
          "PixelSpacing": "PixelMeasuresSequence", "SpacingBetweenSlices": "PixelMeasuresSequence",
          "SliceThickness": "PixelMeasuresSequence", "RescaleSlope": "PixelValueTransformationSequence",
          "RescaleIntercept": "PixelValueTransformationSequence"}  # where an enhanced file has the values of its frames


def read_dicom(path):
    """(SimpleITK's float32 image; for x, y, z whether the side is known; whether directions are known) of a
    folder's series or a file.  The z side and directions need a position and an orientation of each slice."""
    import SimpleITK as sitk

    files = [path] if path.is_file() else sorted(file for file in path.iterdir() if file.is_file()
                                                 and not file.name.startswith("."))
    for file in files:
        require_text(file)
    series = only_series(path, files)
    heads = list(series.values())
    name = series_name(heads[0])
    places, lies = (np.array([value or [np.nan] * count for value in slice_values(heads, tag)], float)
                    for tag, count in (("ImagePositionPatient", 3), ("ImageOrientationPatient", 6)))
    require_space(path, (heads[0].Rows, heads[0].Columns, len(places)))
    if len(places) < 2:
        raise LasegError(f"{path}: holds one slice of {name}, and a scan must be W x H x D; give the folder of the "
                         "whole series")
    require_alike(path, name, heads)
    located = bool(np.isfinite(places).all() and np.isfinite(lies).all())
    if not located and len(heads) > 1 and len({head.get("InstanceNumber") for head in heads} - {None}) < len(heads):
        raise LasegError(f"{path}: the slices of {name} have neither positions nor numbers of their own, so their "
                         "order isn't known; export the series again")
    step = slice_distance(path, name, places, lies) if located else 1
    image = convert_series(path, name, series)
    # dcm2niix reverses the rows, as usual in NIfTI; here the axes have DICOM's directions.
    reversed_axes = np.array([False, True, False])
    if located:
        warn_of_gaps(path, name, heads, step)
        wanted = np.stack([lies[0, :3], lies[0, 3:], np.cross(lies[0, :3], lies[0, 3:])])
        reversed_axes = (wanted * np.reshape(image.GetDirection(), (3, 3)).T).sum(1) < 0
    image = sitk.Flip(image, reversed_axes.tolist())
    if located:
        image.SetSpacing((*image.GetSpacing()[:2], step))
    else:
        image.SetDirection(np.eye(3).ravel().tolist())
        image.SetOrigin((0, 0, 0))
    plane = all(slice_values(heads, "PixelSpacing"))
    return image, (plane, plane, located), located


def series_name(head):
    return f"series {head.get('SeriesNumber') or '?'} {head.get('SeriesDescription', '')}".strip()


def tags_of(file):
    """The tags of a DICOM file as pydicom's Dataset, without voxels; None for any other file."""
    import pydicom

    try:
        head = pydicom.dcmread(file, stop_before_pixels=True, force=True)
        return head if head.get("SOPClassUID") else None
    except Exception:  # for other files pydicom raises many types of error
        return None


def only_series(path, files):
    """{file: its tags} of the one DICOM series among ``files``, each slice once.  LasegError if there is none, more
    than one, a segmentation, or a file that looks like a slice but can't be read."""
    tags = {file: tags_of(file) for file in files}
    classes = {file: head.SOPClassUID.name for file, head in tags.items() if head}
    if objects := [name for name in classes.values() if name in SEGMENTATIONS]:
        raise LasegError(f"{path}: holds a DICOM segmentation (SEG or RTSTRUCT: {objects[0]}), which LASeg doesn't "
                         f"read; {EXPORT_AS_LABEL_MAP}")
    images = {file: head for file, head in tags.items() if head and "Rows" in head and "SeriesInstanceUID" in head}
    for file in () if images else files:
        if path.is_file() or suffix_of(file) == ".dcm":
            require_no_text(file, "DICOM")
    if not images and path.is_file():
        raise LasegError(f"{path}: not a complete DICOM file ({next(iter(classes.values()), 'no tags')}, no image); "
                         "copy or export the series again")
    if not images:
        raise LasegError(f"{path}: no DICOM series in this folder; {what_is_in(path)}; give the folder that "
                         "holds the files of one series")
    series = {head.SeriesInstanceUID: series_name(head) for head in images.values()}
    if len(series) == len(images) > 1:
        raise LasegError(f"{path}: each of its {len(images)} files is a DICOM series of its own; if they are slices of "
                         "one scan, export them again with one SeriesInstanceUID; if not, put each into its own folder")
    if len(series) > 1:
        raise LasegError(f"{path}: holds {len(series)} DICOM series ({', '.join(series.values())}); put each into its "
                         "own folder")

    def shape(file):
        return re.sub(r"\d+", "#", file.name.lower())

    shapes, kinds = {shape(file) for file in images}, {classes[file] for file in images}
    if lost := [file for file in files if (is_cut_off(file, images[file]) if file in images else
                                           classes[file] in kinds if file in classes else shape(file) in shapes)]:
        what = "looks like a slice of the series beside it, but can't be read" if files[1:] else "was cut off"
        raise LasegError(f"{lost[0]}: {what}"
                         + (f" (nor can {len(lost) - 1} more)" if lost[1:] else "") + "; copy it again, or remove it")
    once = {}
    for file, head in images.items():  # some tools give all slices one UID, so the UID alone is not enough
        place = head.get("ImagePositionPatient"), head.get("InstanceNumber"), head.get("NumberOfFrames")
        once.setdefault((head.get("SOPInstanceUID", file), str(place)), file)
    return {file: images[file] for file in once.values()}


def is_cut_off(file, head):
    """Whether an uncompressed DICOM file is smaller than its voxels."""
    syntax = head.file_meta.get("TransferSyntaxUID") if hasattr(head, "file_meta") else None
    voxels = head.Rows * head.Columns * int(head.get("NumberOfFrames") or 1)
    packed = syntax and (syntax.is_compressed or syntax.is_deflated)
    return not packed and file.stat().st_size < voxels * head.get("BitsAllocated", 8) // 8


def slice_values(heads, tag):
    """The value of a tag for each slice: of a file, or of a frame of an enhanced file; None without it."""
    values = []
    for head in heads:
        shared = (head.get("SharedFunctionalGroupsSequence") or [{}])[0]
        for frame in head.get("PerFrameFunctionalGroupsSequence") or [{}] * int(head.get("NumberOfFrames") or 1):
            said = [part[GROUPS[tag]][0].get(tag) for part in (frame, shared) if part.get(GROUPS[tag])]
            values.append(next((value for value in [*said, head.get(tag)] if value not in (None, "")), None))
    return values


def require_alike(path, name, heads):
    """LasegError for slices that differ, or are stored, in a way that dcm2niix would silently read wrongly."""
    for kinds in ({f"{head.Columns} x {head.Rows} pixels" for head in heads},
                  {f"pixels of {float(mm[1]):.4g} x {float(mm[0]):.4g} mm"
                   for mm in slice_values(heads, "PixelSpacing") if mm}):
        if len(kinds) > 1:
            raise LasegError(f"{path}: the slices of {name} differ: {' and '.join(sorted(kinds)[:2])}; export one "
                             "stack alone")
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
    slopes = set(zip(slice_values(heads, "RescaleSlope"), slice_values(heads, "RescaleIntercept")))
    if len(slopes) > 1 and any(int(head.get("NumberOfFrames") or 1) > 1 for head in heads):
        raise LasegError(f"{path}: the frames of {name} have {len(slopes)} different slopes or intercepts, and only "
                         "one a file can be read; export each slice as a file of its own")


def warn_of_gaps(path, name, heads, step):
    """Warn if the header speaks of more slices: every second slice alone is a stack without a gap."""
    said = [float(mm) for tag in ("SpacingBetweenSlices", "SliceThickness") for mm in slice_values(heads, tag) if mm]
    if step > 1.5 * max(said, default=step):
        notify(f"WARNING: {path}: the slices of {name} lie {step:.2f} mm apart, but by its header {max(said):.2f} mm; "
               "are some missing?")
    count = sum(int(head.get("NumberOfFrames") or 1) for head in heads)
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


def sort_frames(whole):
    """Put the frames of an enhanced file, pydicom's Dataset, into the order of their positions.

    dcm2niix takes their order from FrameContentSequence, where they may be numbered by package or by time, and leaves
    compressed frames as they are.
    """
    from pydicom.encaps import encapsulate, generate_frames

    places, lies = (slice_values([whole], tag) for tag in ("ImagePositionPatient", "ImageOrientationPatient"))
    frames = whole.PerFrameFunctionalGroupsSequence
    if len(frames) != whole.get("NumberOfFrames") or not all(places) or not all(lies) or "PixelData" not in whole:
        return
    lie = np.array(lies[0], float)
    order = np.argsort(np.array(places, float) @ np.cross(lie[:3], lie[3:])).tolist()
    syntax = getattr(whole.file_meta, "TransferSyntaxUID", None)
    if syntax and syntax.is_encapsulated:
        packed = list(generate_frames(whole.PixelData, number_of_frames=len(frames)))
        whole.PixelData = encapsulate([packed[k] for k in order])
    else:
        size = whole.Rows * whole.Columns * whole.get("SamplesPerPixel", 1) * whole.BitsAllocated // 8
        whole.PixelData = b"".join(whole.PixelData[k * size:(k + 1) * size] for k in order)
    whole.PerFrameFunctionalGroupsSequence = [frames[k] for k in order]
    for frame in frames:
        if "FrameContentSequence" in frame:
            del frame.FrameContentSequence


def convert_series(path, name, series):
    """The image that dcm2niix makes of a series, from a folder with only its slices.

    dcm2niix separates slices with different study times (some tools write each file's own time there), and reads an
    empty slope as 0.  Then the copies have no study time, and no empty slope.
    """
    import dcm2niix
    import pydicom

    with tempfile.TemporaryDirectory(prefix="laseg-") as place:
        (Path(place) / "in").mkdir()
        names = {str(Path(place, "in", f"{k:05d}.dcm")): file for k, file in enumerate(series)}
        times = {(head.get("StudyDate"), head.get("StudyTime")) for head in series.values()}
        for copy, file in names.items():
            shutil.copyfile(file, copy)
            enhanced = "PerFrameFunctionalGroupsSequence" in series[file]
            empty = [tag for tag in ("RescaleSlope", "RescaleIntercept") if series[file].get(tag, 1) in (None, "")]
            if len(times) > 1 or enhanced or empty:
                whole = pydicom.dcmread(file, force=True)
                whole.StudyDate = whole.StudyTime = ""
                for tag in empty:
                    del whole[tag]
                if enhanced:
                    sort_frames(whole)
                whole.save_as(copy)
        # No JSON, no gzip, no cropping, no rotation, and always one image: the stack has been checked.
        options = ["-b", "n", "-z", "n", "-g", "i", "-x", "i", "-m", "y", "-f", "scan", "-o", place]
        done = subprocess.run([dcm2niix.bin, *options, str(Path(place, "in"))], capture_output=True, text=True,
                              errors="replace", check=False)
        said = (done.stdout + done.stderr).partition("\n")[2]  # the first line is its version
        made = [file for file in Path(place).glob("*.nii") if "_ROI" not in file.name]  # without overlays
        if len(made) == 1 and done.returncode == 0:
            try:
                return read_nifti(made[0])[0]
            except LasegError as error:
                raise LasegError(str(error).replace(str(made[0]), str(path))) from error
    for copy, file in names.items():
        said = said.replace(copy, str(file))
    lines = [line.strip() for line in said.splitlines() if re.search("Error|Unable|varies|not stacked", line)
             and "manufacturer" not in line]
    if cut := re.search(r"not large enough.*?: (.*)", said):
        raise LasegError(f"{cut[1]}: is a slice of {name} that was cut off; copy it again")
    if re.search(r"transfer syntax|decod|JPEG|JP2|compress", said):
        raise LasegError(f"{path}: the compression of {name} isn't supported; export it without compression (dcmdjpeg "
                         "and gdcmconv --raw do that)")
    raise LasegError(f"{path}: dcm2niix can't make one image of {name} (it makes {len(made)}; "
                     f"{(lines or [f'status {done.returncode}'])[-1]}); export one of them alone (one echo, phase or "
                     "time point), or the series again")
