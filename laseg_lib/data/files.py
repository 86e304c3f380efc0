"""Finds the scans in a folder by their names.  Links are followed; hidden files are left out."""

import contextlib
import glob
import os
import re
import unicodedata
from pathlib import Path

from ..errors import LasegError
from ..runtime.checkpoints import has_checkpoints
from ..runtime.machine import notify
from .volumes import FILE

FORMATS = {".nii": "NIfTI", ".nii.gz": "NIfTI", ".nrrd": "NRRD", ".nhdr": "NRRD", ".mha": "MetaImage",
           ".mhd": "MetaImage", ".dcm": "DICOM"}
# The ends of masks' names.  Lower case only, because "_LA" may mean the long axis.
DERIVED = re.compile(r"(?:^|[_-])(la|laendo|label|mask|seg|segmentation|gt|pred|prediction|probability)$")
# Folders that a file system, a server's disk or its recycle bin makes.
SYSTEM = {"lost+found", "@eadir", "#recycle", "@recycle", "#snapshot", "$recycle.bin", "system volume information",
          "__macosx"}
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


def is_hidden(name):
    """Whether a file or folder with this name is hidden, or of the system (``SYSTEM``)."""
    return name.startswith(".") or name.lower() in SYSTEM


def files_below(folder):
    """Every file and folder below ``folder``, sorted, without hidden ones.  Links are followed, but not back into a
    folder above.  LasegError for a folder that can't be read: its cases would be missing silently."""
    def refuse(error):
        if not isinstance(error, (FileNotFoundError, NotADirectoryError)):
            raise LasegError(f"{error.filename}: can't be read ({error.strerror}); make this folder readable, or give "
                             "a folder without it")

    found = []
    for where, folders, names in os.walk(folder, followlinks=True, onerror=refuse):
        folders[:] = [name for name in sorted(folders) if not is_hidden(name)
                      and not leads_back(os.path.join(where, name))]
        found += [Path(where, name) for name in [*folders, *names] if not is_hidden(name)]
    return sorted(found)


def scan_files(folder):
    """Every file below ``folder`` with the suffix of a known format, without hidden ones."""
    return [path for path in files_below(folder) if suffix_of(path) and not path.is_dir()]


def network_and_scans(files):
    """(the network's file or None, the scans) among the arguments of ``laseg predict``: the first is a network, unless
    it is a scan, a folder or a pattern.  A training's folder before a scan counts as a network, and ``load_checkpoint``
    says which file to give.  LasegError if there is no scan."""
    first = Path(files[0])
    pattern = not first.exists() and set("*?[") & set(str(first))
    folder = first.is_dir() and not (files[1:] and has_checkpoints(first))
    if suffix_of(first) or first.suffix.lower() == ".h5" or pattern or folder:
        return None, files
    if all(Path(file).suffix == first.suffix != "" for file in files[1:]):  # scans of an unknown format, or no scan
        raise LasegError(f"{first}: is taken as the network, and no scan follows; give a scan after it. If it is a "
                         "scan, convert it to NIfTI (.nii.gz)")
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
        raise LasegError(f"{path}: the language setting of this shell can't show every letter of the name; set "
                         "LC_ALL=C.UTF-8 (or PYTHONUTF8=1), and start again") from error


def require_target(path):
    """LasegError for a link to a missing file: otherwise a case, or its label, would be missing silently."""
    if path.is_symlink() and not path.exists():
        raise LasegError(f"{path}: is a link to a missing file; restore the file, or remove the link")


def first_channel(path):
    """nnU-Net's name of the case: CASE for the file CASE_0000.nii.gz.  None if a file beside it that is no
    mask has no such number."""
    path = Path(path)
    case = re.fullmatch(r"(.+)_0000", stem_of(path))
    beside = path.absolute().parent
    if not case or not beside.is_dir():
        return None
    files = [file for file in beside.iterdir() if suffix_of(file) and not file.name.startswith(".")]
    others = [file for file in files if not re.search(r"_\d{4}$", stem_of(file))]
    return None if others and not set(others) <= set(scans_beside(files)) else case[1]


def scans_beside(files):
    """{mask: its scan} of ``files``, by their names.  A mask ends as in ``DERIVED``; the scan has the same
    name with an end of ``SCAN_ENDS``.  Other pairs are laendo and lgemri, and X and X_0000 (nnU-Net)."""
    known, found = {(file.parent, stem_of(comparable_name(file.name))): file for file in files}, {}
    for file in files:
        stem = stem_of(comparable_name(file.name))
        base = DERIVED.sub("", stem)
        names = [f"{stem}_0000", *(["lgemri"] if stem == "laendo" else []),
                 *(f"{base}{end}" if base else end[1:] for end in SCAN_ENDS if base != stem)]
        if name := next((name for name in names if (file.parent, name) in known), None):
            found[file] = known[file.parent, name]
    return found


def is_dicom(file):
    """Whether a file has the suffix .dcm, or has no known suffix and begins as DICOM, with a preamble or
    without.  False for DICOMDIR, a disc's index."""
    if suffix_of(file) or file.name.upper() == "DICOMDIR" or not file.is_file():
        return suffix_of(file) == ".dcm" and file.is_file()
    with contextlib.suppress(OSError), open(file, "rb") as opened:
        head = opened.read(132)
        return head[128:] == b"DICM" or head[:2] in (b"\2\0", b"\x08\0", b"\0\x08")  # the first tag's group, 2 or 8
    return False


def scans_of(path, masks=False):
    """The scans of a path: a file; the files that match a pattern; the files in a folder (only the first channel of
    nnU-Net's), or in its subfolders.  A folder with DICOM files, or without any scan, is a DICOM series, one scan.

    Masks beside their scans (see ``scans_beside``), and nnU-Net's labelsTr beside imagesTr, are left out.
    With ``masks``, the scans beside masks with the names of ``laseg predict`` are left out instead, and probabilities.
    """
    path = Path(path)
    if not path.exists() and re.search(r"[*?\[]", str(path)):  # Windows' shells don't expand patterns
        found = sorted(Path(name) for name in glob.glob(str(path), recursive=True))
        if not found:
            raise LasegError(f"{path}: no file matches this pattern; name files, or the folder around them")
        return found
    if not path.is_dir():
        return [path]
    inside = sorted(file for file in path.iterdir() if not is_hidden(file.name))
    for file in inside:
        if not suffix_of(file):  # it may be a link to a folder
            require_target(file)
    files = [file for file in inside if (suffix_of(file) not in ("", ".dcm") or file.name == FILE)
             and not file.is_dir()]
    scans, dicom = scans_beside(inside), next(filter(is_dicom, inside), None)
    if masks:
        ours = {scan for mask, scan in scans.items() if re.search("_la$|^laendo$", stem_of(mask))
                or stem_of(scan) == f"{stem_of(mask)}_0000"}
        files = [file for file in files if file not in ours and not stem_of(file).endswith("_probability")]
    else:
        files = [file for file in files if file not in scans]
        if files and dicom:
            raise LasegError(f"{path}: holds DICOM files ({dicom.name}) and other scans ({files[0].name}); move one "
                             "kind into a folder of its own, or name the scan itself")
    other, kind = ("images", "labels") if masks else ("labels", "images")  # nnU-Net's folders
    folders = [folder for folder in inside if folder.is_dir() and not leads_back(folder)
               and not (folder.name.startswith(other) and path.joinpath(folder.name.replace(other, kind)).is_dir())]
    if not masks:
        below = list(filter(holds_scans, folders))
        if below and files and all(DERIVED.search(stem_of(file)) for file in files):
            tell_left_out(files)  # labels beside the folders of their series
            files = []
        if below and (files or dicom):
            notify(f"WARNING: {path}: the scans in this folder itself are taken, not those in the folders beside them "
                   f"({', '.join(folder.name for folder in below[:3])}); name these folders too")
        if below:  # other folders hold masks only, such as those of an earlier run
            tell_left_out([file for folder in folders if folder not in below for file in scan_files(folder)])
            folders = [folder for folder in folders if folder in below or not scan_files(folder)]
    if files:
        channels = [file for file in files if stem_of(file).endswith("_0000")]
        return channels if channels and first_channel(channels[0]) else files
    if dicom or not folders:
        return [path]
    return [scan for folder in folders for scan in scans_of(folder, masks)]


def scans_of_all(paths):
    """The scans of several paths (see ``scans_of``), each once.  A shell expands *.nii.gz to masks beside their scans
    too: a message tells that these are left out."""
    scans = list({os.path.abspath(scan): scan for path in paths for scan in scans_of(path)}.values())
    masks = scans_beside([scan for scan in scans if not scan.is_dir()])
    tell_left_out(list(masks))
    return [scan for scan in scans if scan not in masks]


def tell_left_out(files):
    """A message that ``files``, if there are any, count as masks by their names."""
    if files:
        notify(f"left out, because {'it has the name' if len(files) == 1 else 'they have names'} of a mask: "
               f"{files[0]}" + (f" and {len(files) - 1} more" if files[1:] else "") + "; give it alone to segment it")


def holds_scans(folder):
    """Whether files below ``folder`` are scans by their names: of a known format, without the end of a mask's name, or
    DICOM.  True for a folder that can't be read."""
    with contextlib.suppress(LasegError):
        return any(suffix_of(file) and not DERIVED.search(stem_of(file)) or file.name == FILE or is_dicom(file)
                   for file in files_below(folder) if not file.is_dir())
    return True


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
        others = [file.name for file in files_below(folder) if not file.is_dir()]
        return "found no NIfTI, NRRD, MetaImage or DICOM (.dcm) file in it" + (
            f", only {', '.join(others[:3])}{', ...' * (len(others) > 3)}" if others else "")
    return "found " + "; ".join(f"{len(files)} of {suffix}, such as {files[0].relative_to(folder)}"
                                for suffix, files in sorted(found.items(), key=lambda item: -len(item[1])))
