"""Finds the scans in a folder by their names.  Links are followed; hidden files are left out."""

import glob
import os
import re
import unicodedata
from pathlib import Path

from ..errors import LasegError

FORMATS = {".nii": "NIfTI", ".nii.gz": "NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage",
           ".mhd": "MetaImage", ".dcm": "DICOM"}


def suffix_of(path):
    """'.nii.gz' and the like, in lower case; '' for an unknown format."""
    name = Path(path).name.lower()
    return next((s for s in sorted(FORMATS, key=len, reverse=True) if name.endswith(s)), "")


def stem_of(path):
    """The name without '.nii.gz' and the like."""
    name = Path(path).name
    return name[:len(name) - len(suffix_of(path))]


def comparable_name(name):
    """A name or pattern in the form for comparison: Unicode's composed form (NFC), the suffix in lower case."""
    name = unicodedata.normalize("NFC", name)
    suffix = suffix_of(name)
    return name[:len(name) - len(suffix)] + suffix


def files_below(folder):
    """Every file and folder below ``folder``, sorted, without hidden ones.  Links are followed, but not back into a
    folder above."""
    found = []
    for where, folders, names in os.walk(folder, followlinks=True):
        way = {os.path.realpath(place) for place in [where, *Path(where).parents]}
        folders[:] = [name for name in sorted(folders) if not name.startswith(".")
                      and os.path.realpath(os.path.join(where, name)) not in way]
        found += [Path(where, name) for name in [*folders, *names] if not name.startswith(".")]
    return sorted(found)


def scan_files(folder):
    """Every file below ``folder`` with the suffix of a known format, without hidden ones."""
    return [path for path in files_below(folder) if suffix_of(path) and not path.is_dir()]


def network_and_scans(files):
    """(the network's file or None, the scans) among the arguments of ``laseg predict``: the first is a network, unless
    it is a scan, a folder or a pattern.  LasegError if there is no scan."""
    first = Path(files[0])
    if suffix_of(first) or first.suffix.lower() == ".h5" or first.is_dir() or set("*?[") & set(str(first)):
        return None, files
    if not files[1:]:
        raise LasegError(f"{first}: give a scan after the network; if this is a scan, convert it to NIfTI (.nii.gz)")
    return first, files[1:]


def require_text(path):
    """LasegError for a path that isn't valid UTF-8: SimpleITK would end the whole program."""
    try:
        str(path).encode()
    except UnicodeEncodeError as error:
        raise LasegError(f"{path}: its name is not valid UTF-8; rename it") from error


def first_channel(path):
    """nnU-Net's name of the case: CASE for the file CASE_0000.nii.gz; None if the files beside it have other names."""
    path = Path(path)
    case = re.fullmatch(r"(.+)_0000", stem_of(path))
    beside = path.absolute().parent
    if not case or not beside.is_dir() or not all(re.search(r"_\d{4}$", stem_of(file)) for file in beside.iterdir()
                                                  if suffix_of(file) and not file.name.startswith(".")):
        return None
    return case[1]


def scans_of(path):
    """The scans of a path: a file; the files that match a pattern; the files in a folder (only the first channel of
    nnU-Net's), or in its subfolders.  A folder with other files is a DICOM series, one scan.

    Masks beside their scans, with the names that ``laseg predict`` gives them, are left out.
    """
    path = Path(path)
    if not path.exists() and re.search(r"[*?\[]", str(path)):  # Windows' shells don't expand patterns
        if found := sorted(Path(name) for name in glob.glob(str(path), recursive=True)):
            return found
        raise LasegError(f"{path}: no file matches this pattern; name files, or the folder around them")
    if not path.is_dir():
        return [path]
    inside = sorted(file for file in path.iterdir() if not file.name.startswith("."))
    files = [file for file in inside if suffix_of(file) not in ("", ".dcm") and not file.is_dir()]
    stems = {stem_of(file) for file in files}
    files = [file for file in files if re.sub("_(la|probability)$", "", stem_of(file)) not in stems - {stem_of(file)}
             and not (stem_of(file) == "laendo" and "lgemri" in stems)]
    if files:
        return [file for file in files if first_channel(file)] or files
    folders = [folder for folder in inside if folder.is_dir()]
    if not folders or any(file.is_file() for file in inside):
        return [path]
    return [scan for folder in folders for scan in scans_of(folder)]


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
