"""The volumes on disk: reading, checking, splits, and ``LAHeart``, the dataset.

    <root>/train.list   <root>/test.list   <root>/<folder>/<CASE>/mri_norm2.h5

Each HDF5 file holds ``image`` (float32, W x H x D, zero mean and unit variance over the scan) and ``label`` (uint8,
W x H x D, 1 = left atrium).  Only the first ``labelnum`` training cases, validation and test cases need a label.
Optional attributes of the file: ``spacing`` (a voxel's three sides in mm), ``origin`` (the position of the first voxel
in the patient, in mm) and ``centre`` (the middle of the whole scan that it was cut from).
A label of several classes holds 0 (background) to K.  The attribute ``classes`` names the classes 1 to K, each with its
value in the original label: "wall=1", "cavity=2".
"""

import codecs
import contextlib
import copy
import functools
import glob
import hashlib
import io
import os
import unicodedata
from collections import Counter
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from ..classes import ATRIUM, as_text, parse_classes
from ..errors import LasegError, require_no_text
from ..runtime.machine import notify, require_memory
from ..transforms import each_class, of_greatest_share
from .atomic import write_list, write_whole

SPACING_MM = 0.625  # each side of a voxel of the public volumes, which is not in their files
FILE = "mri_norm2.h5"
REMEDY = "fetch, prepare or copy this case again"
PUBLIC = Path(__file__).resolve().parent / "public"  # the public volumes' lists and checksums


@contextlib.contextmanager
def opened(path):
    """The open HDF5 file of a volume.  What h5py says of one that is missing or broken becomes a sentence."""
    if not Path(path).is_file():
        raise LasegError(f"{path}: no such file; {REMEDY}")
    try:
        with h5py.File(path, "r") as file:
            yield file
    except (OSError, RuntimeError, TypeError, ValueError, KeyError, AttributeError, MemoryError) as error:
        if "signature not found" in str(error):
            require_no_text(path, "volume (HDF5)")
        raise LasegError(f"{path}: {why_unreadable(error)}") from error


def read_volume(path, *, with_label=True):
    """(image float32, label uint8), both W x H x D, from one ``mri_norm2.h5``, checked.

    ``with_label=False``: the label isn't read, and None is returned in its place.
    Raises LasegError for a file that is missing, truncated, not HDF5, or without ``image`` or ``label``.  It
    also refuses other shapes, voxels that aren't finite, an empty label, and label values beyond the classes.
    """
    names = ["image", "label"] if with_label else ["image"]
    with opened(path) as file:
        for name in names:
            if name not in file:
                other = "; without an outline read it with with_label=False, or LAHeart(labelled=...)"
                raise LasegError(f"{path}: holds no {name}; {REMEDY}" + other * (name == "label"))
        needed = sum(2 * file[name].nbytes + 4 * file[name].size for name in names)  # as it is, and as float32 or uint8
        require_memory(needed, torch.device("cpu"), path, "crop this volume, or remove it from the list")
        image, label = ([file[name][()] for name in names] + [None])[:2]
        classes = len(_classes_of(file, path))
    return check_volume(image, label, path, classes)


def is_sound(path, *, with_label=True):
    """Whether ``read_volume`` can read a file."""
    with contextlib.suppress(LasegError):
        read_volume(path, with_label=with_label)
        return True
    return False


def why_unreadable(error):
    """The meaning of h5py's error, and a remedy: a file can be complete, and still be unreadable here."""
    text = " ".join(str(error).split())
    if "lock file" in text:
        return (f"another program has it open for writing, or its file system has no locks ({text}); close that "
                "program, or set HDF5_USE_FILE_LOCKING=FALSE if nothing writes to it")
    if "filter" in text and ("not registered" in text or "not available" in text or "plugin" in text):
        return (f"its data are compressed by a filter that isn't installed ({text}); install hdf5plugin, or write the "
                "file again with gzip")
    if isinstance(error, PermissionError) or "Permission denied" in text:
        return f"can't be read: permission denied ({text}); ask its owner, or copy it"
    if isinstance(error, MemoryError):
        return "too large for this machine's memory; crop this volume, or remove it from the list"
    return f"can't be read, it is truncated or not HDF5 ({text}); {REMEDY}"


def check_volume(image, label, path, classes=1):
    """``image`` as float32 and ``label`` (or None) as uint8.  ``classes``: their number, without the background.
    LasegError as in ``read_volume``."""
    if label is None:
        return check_volume(image, np.ones(np.shape(image), np.uint8), path)[0], None
    image, label = np.asarray(image), np.asarray(label)
    if image.ndim != 3 or image.shape != label.shape or not image.size:
        raise LasegError(f"{path}: image {image.shape} and label {label.shape} must be the same W x H x D; "
                         "prepare this case again")
    if image.dtype.kind not in "fiu" or label.dtype.kind not in "fiub":
        raise LasegError(f"{path}: image ({image.dtype}) and label ({label.dtype}) must be numbers; "
                         "prepare this case again")
    with np.errstate(over="ignore"):  # float64 beyond float32's range becomes infinite, and is caught as such
        image = image.astype(np.float32, copy=False)
    if not np.isfinite(image).all():
        raise LasegError(f"{path}: the image has voxels that are NaN or infinite; prepare this case again")
    with np.errstate(invalid="ignore"):  # a value that is no whole number from 0 to 255 changes, which is found below
        whole = label.astype(np.uint8, copy=False)
    if whole.max() > classes or not (whole == label).all():
        raise LasegError(f"{path}: the label must hold 0 and {'1 only' if classes == 1 else f'1 to {classes}'}, it "
                         f"holds {np.unique(label)[:5]}; `laseg prepare` turns the challenge's 255 into 1, and its "
                         "--classes names several classes")
    if not whole.any():
        raise LasegError(f"{path}: the label is empty, no voxel is "
                         f"{'left atrium' if classes == 1 else 'of any class'}; remove this case from the list")
    return image, whole


def write_volume(path, image, label=None, sources=None, classes=ATRIUM, **geometry):
    """Write one ``mri_norm2.h5``, completely or not at all; makes its folder.

    ``geometry``: the attributes ``spacing``, ``origin``, ``centre``, three numbers each.  ``sources``: the SHA-256 of
    the ``scan`` and ``label`` that it is made from.  ``classes``: {name: value in the original label} of the label's
    values 1 to K.
    """
    whole = io.BytesIO()  # in memory first: on a full disk HDF5 can crash
    packed = {"compression": "gzip", "compression_opts": 4, "fletcher32": True}  # with a checksum of the data
    with h5py.File(whole, "w") as file:
        file.create_dataset("image", data=np.asarray(image, np.float32), **packed)
        if label is not None:
            file.create_dataset("label", data=np.asarray(label, np.uint8), **packed)
        for name, value in geometry.items():
            file.attrs[name] = np.broadcast_to(np.asarray(value, np.float64), 3)
        for kind, digest in (sources or {}).items():
            file.attrs[f"{kind}_sha256"] = digest
        if classes != ATRIUM:
            file.attrs["classes"] = as_text(classes)
    write_whole(path, whole.getbuffer())


def read_sources(path):
    """{'scan', 'label': SHA-256 of the file that a volume was made from}, of those that its file has."""
    with opened(path) as file:
        return {kind: file.attrs[f"{kind}_sha256"] for kind in ("scan", "label") if f"{kind}_sha256" in file.attrs}


def read_geometry(path, spacing=None):
    """{'spacing', 'origin', 'centre': three numbers in mm}, NaN if the file hasn't got them.

    The public volumes' files don't give a spacing; their cases are known by name.  ``spacing``: a voxel's sides for
    other files without them.  LasegError for an impossible spacing.
    """
    path = Path(path)
    with opened(path) as file:
        found = {name: file.attrs.get(name, np.nan) for name in ("spacing", "origin", "centre")}
    try:
        found = {name: np.broadcast_to(np.asarray(mm, float), 3).copy() for name, mm in found.items()}
    except (TypeError, ValueError) as error:
        raise LasegError(f"{path}: its attributes must be three numbers in mm ({error}); {REMEDY}") from error
    if not ((found["spacing"] > 0) & (found["spacing"] < np.inf) | np.isnan(found["spacing"])).all():
        raise LasegError(f"{path}: its attribute spacing is {found['spacing']}; a voxel's sides must be more than 0 mm")
    if np.isnan(found["spacing"]).all() and path.parent.name in public_cases():
        found["spacing"] = np.full(3, SPACING_MM)
    if spacing is not None:
        found["spacing"] = np.where(np.isnan(found["spacing"]), spacing, found["spacing"])
    return found


def read_classes(path):
    """{name: value in the original label} of a volume's classes 1 to K; ``ATRIUM`` if the file hasn't got them."""
    with opened(path) as file:
        return _classes_of(file, path)


def _classes_of(file, path):
    if "classes" not in file.attrs:
        return ATRIUM
    texts = np.atleast_1d(file.attrs["classes"]).tolist()  # MATLAB, for example, writes bytes
    return parse_classes([text.decode("utf-8", "replace") if isinstance(text, bytes) else text for text in texts], path)


@functools.cache
def public_cases():
    """The names of the 100 public volumes."""
    return frozenset(name for split in ("train", "test") for name in read_list(PUBLIC / f"{split}.list"))


def has_label(path):
    """Whether a volume's file holds a label.  True for a file that can't be opened: reading it reports the problem."""
    try:
        with h5py.File(path, "r") as file:
            return "label" in file
    except (OSError, RuntimeError):
        return True


def name_problem(name):
    """Why ``name`` can't be a case's name, which is a folder's name on any system; '' if it can."""
    if name != name.strip():
        return "it begins or ends with a space"
    if not name or name in (".", "..") or any(c in name for c in '/\\:'):
        return "a case is one folder, without / \\ or : in its name"
    if not name.isprintable():
        return "it holds invisible characters"
    return "it is too long" if len(name.encode("utf-8", "replace")) > 200 else ""


def lines_of(path, known=None):
    """The lines of the list at ``path``, without blank ones.  It is in UTF-8, in UTF-16 with a byte order
    mark (PowerShell), or in a Windows code page in which every line names a case.  A case is one of
    ``known``, or, without these, lies beside the list.  LasegError for any other encoding."""
    content, beside = Path(path).read_bytes(), Path(path).parent

    def decoded(encoding):
        with contextlib.suppress(UnicodeDecodeError):
            text = content.decode(encoding)
            return None if "\0" in text else [line.strip() for line in text.splitlines() if line.strip()]

    def names_case(line):
        if known is None:
            return any(beside.glob(f"*/{glob.escape(line)}/{FILE}"))
        return unicodedata.normalize("NFC", line) in known

    marked = content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE))
    if (lines := decoded("utf-16" if marked else "utf-8-sig")) is not None:
        return lines
    for page in () if marked else ("cp1252", "cp1250", "cp1251", "gb18030", "cp932"):
        lines = decoded(page)  # many pages can decode it, so only the names prove which one it is
        if lines and all(map(names_case, lines)):
            return lines
    raise LasegError(f"{path}: isn't text in UTF-8, nor in a Windows code page in which every line names a case"
                     f"{' beside it' * (known is None)}; a list has one case in each line: save it as UTF-8")


def file_of(root, name):
    """The file of a case.  Its folder's name may be in Unicode's composed form, or decomposed, as on a Mac."""
    spelt = [Path(root) / unicodedata.normalize(form, name) / FILE for form in ("NFC", "NFD")]
    return next((path for path in spelt if path.exists()), Path(root) / name / FILE)


def read_list(path, known=None):
    """The case names in a ``.list`` file, in its order, in Unicode's composed form (NFC).  ``known``: see ``lines_of``.

    Raises LasegError for a file that is missing, not text or empty, and for a repeated or impossible name.
    """
    path = Path(path)
    if not path.is_file():
        raise LasegError(f"{path}: no such list; --root_path is the folder that holds the cases, "
                         "and train.list and test.list lie beside that folder")
    names = [unicodedata.normalize("NFC", line) for line in lines_of(path, known)]
    if not names:
        raise LasegError(f"{path}: names no case; it must have one case in each line")
    for name in names:
        if problem := name_problem(name):
            raise LasegError(f"{path}: {name[:40]!r} can't be a case's name ({problem}); each line names one folder")
    if twice := [name for name, times in Counter(names).items() if times > 1]:
        raise LasegError(f"{path}: names {', '.join(twice[:3])} more than once; remove the repeats")
    return names


def may_write_list(path, names):
    """Whether ``names`` may be written to the list ``path``: none is there, or the same.

    False for one that somebody changed; LasegError for one that lists other cases than ``names``.
    """
    if not Path(path).exists():
        return True
    found, known = read_list(path), set(names)
    if strangers := [name for name in found if name not in known]:
        raise LasegError(f"{path}: lists other cases ({strangers[0][:40]!r}), of another data set; "
                         "choose another folder, or move this list away")
    return found == list(names)


def keep_or_write_list(path, names):
    """Write a list.  One that somebody changed stays, and a message says so; see ``may_write_list``."""
    if not may_write_list(path, names):
        notify(f"{path}: was changed by somebody and is kept as it is; delete it to have it written anew")
    elif not Path(path).exists():
        write_list(path, names)


def list_path(root_path, split):
    """Where ``<split>.list`` of a data folder is: beside it; where ``root_path`` is a link, beside the link first."""
    folders = Path(os.path.abspath(root_path)), Path(os.path.realpath(root_path))  # no resolve(): a loop has no end
    beside = [folder.parent / f"{split}.list" for folder in folders]
    return next((path for path in beside if path.is_file()), beside[0])


def case_names(root_path, split="train"):
    """The names in ``<split>.list`` beside ``root_path``."""
    return read_list(list_path(root_path, split))


def in_mm(sides):
    """A voxel's sides as text: '2 x 2.5 x 3 mm'."""
    return " x ".join(f"{side:.3g}" for side in sides) + " mm"


def sizes_differ(one, other, share=0.05):
    """Whether two voxels' sides in mm differ by more than a ``share``; False if one of them isn't known."""
    return bool((np.abs(np.subtract(one, other)) > share * np.asarray(other, float)).any())


def training_names(config):
    """The training cases of a config: ``train_list``'s, or those of the list beside ``root_path``.

    LasegError if one of them is a test case too, by the test.list beside ``train_list``, or else beside ``root_path``.
    """
    if config.train_list and not Path(config.train_list).is_file():
        raise LasegError(f"--train_list {config.train_list}: no such list; it must have one case in each line")
    train = Path(config.train_list) if config.train_list else list_path(config.root_path, "train")
    names, beside = read_list(train), train.with_name("test.list")
    test = beside if beside.is_file() else list_path(config.root_path, "test")
    if test.is_file():
        keep_apart(train, names, test, read_list(test), config.root_path)
    return names


def keep_apart(one, names, other, others, root_path=None):
    """LasegError if two lists share a case, or a patient of the patients.list of ``root_path``: a training case can't
    be a test case."""
    tested, patients = set(others), read_patients(root_path) if root_path else {}
    seen = {patients[name]: name for name in others if name in patients}
    if shared := [name for name in names if name not in tested and patients.get(name) in seen]:
        who = patients[shared[0]]
        raise LasegError(f"{one}: {shared[0]} is a scan of the patient {who}, as is {seen[who]} in {Path(other).name}"
                         + (f" (and {len(shared) - 1} more cases share a patient)" if shared[1:] else "")
                         + "; a patient is for training or for testing: remove one of them from its list, or correct "
                         "patients.list")
    if both := [name for name in names if name in tested]:
        raise LasegError(f"{one}: {both[0]} is in {Path(other).name} too"
                         + (f", and so are {len(both) - 1} more" if both[1:] else "")
                         + "; a case is for training or for testing: remove it from one of the lists")


def split_of(config, names, processes=1):
    """``config`` with a complete split of the training cases ``names``.

    If some cases have no label, ``labelnum`` counts the labelled cases at the beginning, and those at the end
    are for validation, unless the config gives numbers.  ``val_num`` is chosen near its default, so that no
    patient of ``patients.list`` is in both training and validation.  LasegError if the config's own
    ``val_num`` puts a patient into both.
    """
    first = last = len(names)
    if config.labelnum is None or config.val_num is None:
        labelled = [has_label(file_of(config.root_path, name)) for name in names]
        if not all(labelled):
            first, last = labelled.index(False), labelled[::-1].index(False)

    def decided(config):
        return with_split(config, len(names), processes=processes, labelled=first, labelled_at_end=last)

    split = decided(config)
    patients = read_patients(config.root_path) if split.val_num else {}
    if not patients:
        return split

    def on_both_sides(val_num):
        end = len(names) - val_num
        trained, validate = names[:config.max_samples or end], names[end:]
        return {patients.get(name, name) for name in trained} & {patients.get(name, name) for name in validate}

    usual, spare = split.val_num, len(names) - (config.max_samples or 0)
    numbers = [*range(usual, 0, -1), *range(usual + 1, min(len(names) // 10, last, spare) + 1)]
    fits = next((val_num for val_num in numbers if not on_both_sides(val_num)), 0)
    if fits != usual and config.val_num is not None:
        raise LasegError(f"{list_path(config.root_path, 'patients')}: with --val_num {usual} the patient "
                         f"{min(on_both_sides(usual))} is trained on and validated on; use --val_num {fits}")
    return split if fits == usual else decided(replace(config, val_num=fits))


def read_patients(root_path):
    """{case: its patient} by ``patients.list`` beside ``root_path``; {} without such a list."""
    path = list_path(root_path, "patients")
    rows = [line.split("\t") for line in lines_of(path)] if path.is_file() else []
    if wrong := [row for row in rows if len(row) != 2]:
        raise LasegError(f"{path}: {wrong[0][0][:40]!r} is no row of it; each is a case, a tab and its patient. "
                         "Correct it, or delete this list and prepare again")
    return {unicodedata.normalize("NFC", case.strip()): patient.strip() for case, patient in rows}


def with_split(config, n_cases, *, processes=1, labelled=np.inf, labelled_at_end=np.inf):
    """``config`` with labelnum, max_samples and val_num set for a list of ``n_cases`` names, of which each of
    ``processes`` draws its own share.

    ``labelled``, ``labelled_at_end``: how many of the first and of the last names have a label, if not all.
    Raises LasegError, with the numbers, if they don't fit together.
    """
    labelnum, max_samples, val_num = config.labelnum, config.max_samples, config.val_num
    if val_num is None:
        spare = n_cases // 10 if max_samples is None else n_cases - max_samples
        val_num = max(0, min(4, spare, labelled_at_end))
    if val_num < 0 or max_samples is None and val_num >= n_cases:
        raise LasegError(f"train.list names {n_cases} cases: --val_num {val_num} must be 0 or more, and leave some for "
                         "training")
    if max_samples is None:
        max_samples = n_cases - val_num
    if labelnum is None:
        labelnum = max(1, max_samples // 5) if labelled >= max_samples else labelled
    if max_samples < 1 or max_samples + val_num > n_cases:
        raise LasegError(f"train.list names {n_cases} cases: --max_samples {max_samples} must be at least 1, and "
                         f"together with --val_num {val_num} at most {n_cases}: give two numbers whose sum "
                         f"is {n_cases} or less")
    each = f"a batch on each of {processes} processes" if processes > 1 else "a batch"
    if labelnum > max_samples:
        raise LasegError(f"--labelnum {labelnum} of --max_samples {max_samples} is too many: lower it")
    if max_samples - labelnum < config.unlabeled_bs * processes:
        raise LasegError(f"--labelnum {labelnum} of --max_samples {max_samples} leaves fewer unlabelled cases than "
                         f"the {config.unlabeled_bs} of {each}: lower --labelnum, or use --model supervised")
    if labelnum < config.labelled_in_batch * processes:
        raise LasegError(f"--labelnum {labelnum} is fewer than the {config.labelled_in_batch} labelled volumes of "
                         f"{each}: raise --labelnum, or lower --batch_size and --labeled_bs")
    return replace(config, labelnum=labelnum, max_samples=max_samples, val_num=val_num)


def find_root(path):
    """The folder that holds the cases; ``path`` is that folder or the one around it.  LasegError if it is neither."""
    path = Path(path)
    if list_path(path, "train").is_file():
        return path
    folders = [p for p in sorted(path.iterdir()) if next(p.glob(f"*/{FILE}"), None)] if path.is_dir() else []
    if (path / "train.list").is_file() and len(folders) == 1:
        return folders[0]
    raise LasegError(f"{path}: no volumes here; expected train.list, test.list and one folder of cases "
                     f"with {FILE} each (`laseg phantom DEST` or `laseg fetch DEST` makes them)")


def downsample(image, label, factor):
    """``factor`` voxels to one along each axis: ``image`` averaged, ``label`` by ``of_greatest_share``.  Up to
    factor - 1 voxels at the end of an axis, which fill no block, are cut off.  Returns float32 and uint8; LasegError
    for a factor below 1 or above the shortest side."""
    if factor == 1:
        return image, label
    if factor < 1 or min(image.shape) < factor:
        raise LasegError(f"a volume of {image.shape} can't be made {factor} times smaller; give --downsample 1 or 2")
    image = F.avg_pool3d(torch.from_numpy(np.ascontiguousarray(image))[None], factor)[0]
    each = torch.stack(each_class(torch.from_numpy(np.ascontiguousarray(label)))).float()
    return image.numpy(), of_greatest_share(F.avg_pool3d(each, factor)).to(torch.uint8).numpy()


def fingerprint(path):
    """SHA-256 of a file, as text, to see whether a case has changed."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def not_normalised(image):
    """A message if intensities haven't been brought to zero mean and unit variance; '' if they have.

    A crop around the heart is brighter than its scan, so its own mean can be up to about 2.
    """
    mean, std = float(image.mean()), float(image.std())
    if abs(mean) <= 10 and 0.05 <= std <= 20:
        return ""
    return (f"intensities have mean {mean:.4g} and standard deviation {std:.4g}, not about 0 and 1: were they "
            "normalised? The consistency's noise of 0.1 means nothing then; `laseg prepare` normalises")


def open_volume(path, spacing):
    """(image, {'spacing', 'origin'} in mm, whether its voxels' size is known; otherwise 1) of a ``mri_norm2.h5``."""
    volume, _ = read_volume(path, with_label=False)
    if problem := not_normalised(volume):
        notify(f"WARNING: {path}: {problem}")
    geometry = read_geometry(path, spacing)
    known = not np.isnan(geometry["spacing"]).any()
    sides = geometry["spacing"] if known else np.ones(3)
    return volume, {"spacing": sides, "origin": np.nan_to_num(geometry["origin"])}, known


class LAHeart(Dataset):
    """Left-atrium volumes by the lists of the public data.

    ``base_dir``: the folder that holds the cases; ``<split>.list`` lies beside it.
    ``split``: 'train' or 'test'.  ``num``: only the first ``num`` cases.  ``transform``: called with each sample.
    A sample is ``{'image': float32 (W, H, D), 'label': uint8 (W, H, D)}``; ``classes`` names the label's values.

    ``cache``: None reads the file each time, 'memory' keeps the volumes, 'cpu' or 'cuda' keeps them as tensors on that
    device (5 bytes a voxel).  ``downsample``: see the function.  ``names``: these cases instead of the list's.
    ``labelled``: only so many of the first cases are read with their label; all others get a label of zeros.
    Raises LasegError at once if the list or a named case is missing, for a ``num`` below 0 and for an unknown
    ``cache``; and, when a volume is read, if its file is damaged or nothing is left of its label after
    ``downsample``.
    """

    def __init__(self, base_dir, split="train", num=None, transform=None, *, cache=None, downsample=1, names=None,
                 labelled=None):
        try:
            torch.device("cpu" if cache in (None, "memory") else cache)
        except (RuntimeError, TypeError) as error:
            raise LasegError(f"cache={cache!r}: give None, 'memory', or a device such as 'cpu'") from error
        if num is not None and num < 0:
            raise LasegError(f"num={num}: give 0 or more, or None for all")
        self.base_dir, self.split, self.transform = Path(base_dir), split, transform
        self.cache, self.downsample, self.labelled, self._warned = cache, downsample, labelled, False
        names = [names] if isinstance(names, str) else names
        self.image_list = list(names if names is not None else case_names(base_dir, split))[:num]
        self._kept = {}
        missing = [name for name in self.image_list if not self.path(name).is_file()]
        if missing:
            raise LasegError(f"{split}.list names {len(missing)} cases that don't exist, the first is "
                             f"{self.path(missing[0])}; fetch them, or remove them from the list")

    def path(self, name):
        return file_of(self.base_dir, name)

    def __len__(self):
        return len(self.image_list)

    def __getitem__(self, index):
        name = self.image_list[index]
        sample = self._kept.get(name) or self._read(name, self.labelled is None or index % len(self) < self.labelled)
        if self.cache is not None:
            self._kept[name] = sample
            sample = copy.deepcopy(sample)  # a transform that works in place must not change the cached volume
        return self.transform(sample) if self.transform else sample

    def _read(self, name, labelled=True):
        image, label = read_volume(self.path(name), with_label=labelled)
        image, label = downsample(image, label if labelled else np.zeros(image.shape, np.uint8), self.downsample)
        if labelled and not label.any():
            raise LasegError(f"{self.path(name)}: its label is too small, nothing is left of it at --downsample "
                             f"{self.downsample}; use a smaller factor, or remove this case from the list")
        if not self._warned and (problem := not_normalised(image)):
            self._warned = True  # once for each dataset: its volumes are usually alike
            notify(f"WARNING: {self.path(name)}: {problem}")
        if self.cache in (None, "memory"):
            return {"image": image, "label": label}
        return {"image": torch.from_numpy(image).to(self.cache), "label": torch.from_numpy(label).to(self.cache)}

    @functools.cached_property
    def classes(self):
        """``read_classes`` of the cases whose labels count.  LasegError if two of them have different classes."""
        found = {name: read_classes(self.path(name)) for name in self.image_list[:self.labelled]}
        first = next(iter(found.values()), ATRIUM)
        if other := [name for name, classes in found.items() if list(classes) != list(first)]:
            raise LasegError(f"{self.path(other[0])}: its classes are {', '.join(found[other[0]])}, those of "
                             f"{self.path(next(iter(found)))} {', '.join(first)}; prepare the cases alike")
        return first

    def fingerprints(self):
        """{case: SHA-256 of its file}"""
        return {name: fingerprint(self.path(name)) for name in self.image_list}

    def spacing(self, name, spacing=None):
        """The three sides in mm of a sample's voxels; NaN if they aren't known.  ``spacing``: see ``read_geometry``."""
        return read_geometry(self.path(name), spacing)["spacing"] * self.downsample

    def usual_spacing(self, warn):
        """The commonest sides in mm of the cases' stored voxels; None if none is known.  If the cases differ, ``warn``
        gets a message."""
        sides = {name: read_geometry(self.path(name))["spacing"] for name in self.image_list}
        known = {name: mm.tolist() for name, mm in sides.items() if not np.isnan(mm).any()}
        if not known:
            return None
        rounded = Counter(tuple(np.round(mm, 3)) for mm in known.values()).most_common(1)[0][0]
        usual = next(mm for mm in known.values() if tuple(np.round(mm, 3)) == rounded)
        if other := [name for name, mm in known.items() if sizes_differ(mm, usual)]:
            warn(f"WARNING: {self.path(other[0])}: its voxels are {in_mm(known[other[0]])}, those of most cases "
                 f"{in_mm(usual)}" + (f"; {len(other) - 1} more cases differ" if other[1:] else "")
                 + "; the network can't see a voxel's size: prepare all cases with one voxel size")
        return usual

    def require_labels(self):
        """LasegError if a case that needs a label has none."""
        missing = [name for name in self.image_list[:self.labelled] if not has_label(self.path(name))]
        if missing:
            raise LasegError(f"{self.path(missing[0])}: holds no label ({len(missing)} in all). The first "
                             f"--labelnum and the last --val_num cases of {self.split}.list, and test cases, "
                             "need one. Outline them, or change the list or these numbers")

    def require_classes(self, classes):
        """LasegError if labelled cases have other classes than ``classes``."""
        if self.image_list[:self.labelled] and list(self.classes) != list(classes):
            raise LasegError(f"{self.path(self.image_list[0])}: its classes are {', '.join(self.classes)}, but "
                             f"{', '.join(classes)} are needed; prepare all cases with the same classes")

    def require_sound(self):
        """Read every case once: LasegError for the first damaged one."""
        for index in range(len(self)):
            self[index]

    def cache_bytes(self):
        """The bytes of a full cache: 5 for each voxel (float32 image, uint8 label), from the files' headers."""
        total = 0
        for name in self.image_list:
            with opened(self.path(name)) as file:
                if "image" not in file:
                    raise LasegError(f"{self.path(name)}: holds no image; {REMEDY}")
                total += 5 * int(np.prod([side // self.downsample for side in file["image"].shape]))
        return total
