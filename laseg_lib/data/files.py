"""Finds the scans in a folder by their names.  Links are followed; hidden files are left out."""

import contextlib
import glob
import os
import re
import unicodedata
from pathlib import Path

from ..errors import LasegError
from ..runtime.checkpoints import has_checkpoints
from .volumes import FILE

FORMATS = {".nii": "NIfTI", ".nii.gz": "NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage",
           ".mhd": "MetaImage", ".dcm": "DICOM"}
DERIVED = re.compile(r"[_-](la|laendo|label|mask|seg|segmentation|gt|probability)$")  # "LA" may be the long axis
SCAN_ENDS = ("", "_0000", "_mri", "_lge", "_lgemri", "_scan", "_image", "_img")


def suffix_of(path):
    """'.nii.gz' and the like, in lower case; '' for an unknown format."""
    name = os.path.basename(path).lower()  # Path(path).name takes longer, and a folder may hold thousands
    return next((suffix for suffix in FORMATS if name.endswith(suffix)), "")


def stem_of(path):
    """The name without '.nii.gz' and the like."""
    name = os.path.basename(path)
    return name[:len(name) - len(suffix_of(name))]


def comparable_name(name):
    """A name or pattern in the form for comparison: Unicode's composed form (NFC), the suffix in lower case."""
    name = unicodedata.normalize("NFC", name)
    suffix = suffix_of(name)
    return name[:len(name) - len(suffix)] + suffix


def leads_back(folder):
    """Whether ``folder`` is a link to a folder above it."""
    way = Path(os.path.abspath(folder)).parents  # not the given path's parents: those of '../scans' are '..' and '.'
    return os.path.realpath(folder) in map(os.path.realpath, way)


def files_below(folder):
    """Every file and folder below ``folder``, sorted, without hidden ones.  Links are followed, but not back into a
    folder above.  LasegError for a folder that can't be read: its cases would be missing silently."""
    def refuse(error):
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise LasegError(f"{error.filename}: can't be read ({error.strerror}); make this folder readable, or give "
                             "a folder without it")

    found = []
    for where, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = [name for name in sorted(folders) if not name.startswith(".")
                      and not leads_back(os.path.join(where, name))]
        found += [Path(where, name) for name in [*folders, *names] if not name.startswith(".")]
    return sorted(found)


def scan_files(folder):
    """Every file below ``folder`` with the suffix of a known format, without hidden ones."""
    return [path for path in files_below(folder) if suffix_of(path) and not path.is_dir()]


def network_and_scans(files):
    """(the network's file or None, the scans) among the arguments of ``laseg predict``: the first is a network, unless
    it is a scan, a folder or a pattern.  A training's folder counts as a network, whose file is missing.  LasegError if
    there is no scan."""
    first = Path(files[0])
    pattern = not first.exists() and set("*?[") & set(str(first))
    if suffix_of(first) or first.suffix.lower() == ".h5" or pattern or first.is_dir() and not has_checkpoints(first):
        return None, files
    if all(Path(file).suffix == first.suffix != "" for file in files[1:]):  # scans of an unknown format, or no scan
        raise LasegError(f"{first}: the first file is the network, unless it is NIfTI, NRRD, MetaImage, DICOM or "
                         "mri_norm2.h5; give a scan after the network; if this is a scan, convert it to NIfTI "
                         "(.nii.gz)")
    return first, files[1:]


def require_text(path):
    """LasegError for a path that isn't valid UTF-8: SimpleITK would end the whole program."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        try:
            os.fsencode(path).decode()
        except UnicodeDecodeError:
            raise LasegError(f"{path}: its name is not valid UTF-8; rename it") from error
        raise LasegError(f"{path}: this shell's language setting has not all letters of the name; set "
                         "LC_ALL=C.UTF-8 (or PYTHONUTF8=1), and start again") from error


def require_target(path):
    """LasegError for a link to a missing file: otherwise a case, or its label, would be missing silently."""
    if path.is_symlink() and not path.exists():
        raise LasegError(f"{path}: is a link to a missing file; restore the file, or remove the link")


def first_channel(path):
    """nnU-Net's name of the case: CASE for the file CASE_0000.nii.gz; None if the files beside it, without masks, have
    other names."""
    path = Path(path)
    case = re.fullmatch(r"(.+)_0000", stem_of(path))
    beside = path.absolute().parent
    if not case or not beside.is_dir():
        return None
    files = [file for file in beside.iterdir() if suffix_of(file) and not file.name.startswith(".")]
    others = [file for file in files if not re.search(r"_\d{4}$", stem_of(file))]
    return None if others and not set(others) <= set(masks_among(files)) else case[1]


def masks_among(files):
    """Those of ``files`` that are masks, or probabilities, of others by their names: X_la beside X, X_mri and the like,
    laendo beside lgemri, and, as nnU-Net names them, X beside X_0000."""
    stems = {(file.parent, stem_of(file)) for file in files}

    def has_scan(file):
        stem, base = stem_of(file), DERIVED.sub("", stem_of(file))
        scans = [f"{stem}_0000", *(["lgemri"] if stem == "laendo" else []),
                 *(f"{base}{end}" for end in SCAN_ENDS if base != stem)]
        return any((file.parent, scan) in stems for scan in scans)

    return [file for file in files if has_scan(file)]


def is_dicom(file):
    """Whether a file has DICOM's suffix, or none that is known and begins as DICOM; not for a disc's index."""
    if suffix_of(file) or file.name.upper() == "DICOMDIR" or not file.is_file():
        return suffix_of(file) == ".dcm" and file.is_file()
    with contextlib.suppress(OSError), open(file, "rb") as opened:
        return opened.read(132)[128:] == b"DICM"
    return False


def scans_of(path, masks=False):
    """The scans of a path: a file; the files that match a pattern; the files in a folder (only the first channel of
    nnU-Net's), or in its subfolders.  A folder with DICOM files, or without any scan, is a DICOM series, one scan.

    Masks beside their scans (see ``masks_among``) are left out; with ``masks``, the scans are.
    """
    path = Path(path)
    if not path.exists() and re.search(r"[*?\[]", str(path)):  # Windows' shells don't expand patterns
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        if not found:
            raise LasegError(f"{path}: no file matches this pattern; name files, or the folder around them")
        without = masks_among(found)
        return [file for file in found if file not in without]
    if not path.is_dir():
        return [path]
    inside = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    for file in inside:
        if not file.suffix:  # it may be a link to a folder
            require_target(file)
    files = [file for file in inside if (suffix_of(file) not in ("", ".dcm") or file.name == FILE)
             and not file.is_dir()]
    derived = [file for file in masks_among(inside) if file in files]
    if masks and (kept := [file for file in derived if not stem_of(file).endswith("_probability")]):
        return kept
    files = [file for file in files if file not in derived]
    dicom = next(filter(is_dicom, inside), None)
    if files and dicom:
        raise LasegError(f"{path}: holds DICOM files ({dicom.name}) and other scans ({files[0].name}); move one kind "
                         "into a folder of its own, or name the scan itself")
    if files:
        channels = [file for file in files if stem_of(file).endswith("_0000")]
        return channels if channels and first_channel(channels[0]) else files
    folders = [folder for folder in inside if folder.is_dir() and not leads_back(folder)]
    if dicom or not folders:
        return [path]
    return [scan for folder in folders for scan in scans_of(folder, masks)]


def data_files(path):
    """The files beside a header (.nhdr, .mhd) that hold its voxels: those that it names, or, if it has a pattern, those
    with the pattern's suffix."""
    if suffix_of(path) not in (".nhdr", ".mhd"):
        return []
    with open(path, "rb") as file:
        text = file.read(2**20).decode("utf-8", "surrogateescape")
    others = sorted(file for file in path.parent.iterdir() if file.is_file() and file != path and file.suffix)
    return [file for file in others if file.name in text] or [file for file in others if file.suffix in text]


def what_is_in(folder):
    """The scans in a folder, for an error message: 'found 12 of .nii.gz, such as a.nii.gz'."""
    found = {}
    for file in scan_files(folder):
        found.setdefault(suffix_of(file), []).append(file)
    if not found:
        return "found no NIfTI, NRRD, MetaImage or DICOM (.dcm) file in it"
    return "found " + "; ".join(f"{len(files)} of {suffix}, such as {files[0].relative_to(folder)}"
                                for suffix, files in sorted(found.items(), key=lambda item: -len(item[1])))
