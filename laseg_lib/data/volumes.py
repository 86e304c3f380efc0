"""The volumes on disk: reading, checking, splits, and ``LAHeart``, the dataset.

    <root>/train.list   <root>/test.list   <root>/<folder>/<CASE>/mri_norm2.h5

Each HDF5 file holds ``image`` (float32, W x H x D, zero mean and unit variance over the scan)
and ``label`` (uint8, W x H x D, 1 = left atrium).
"""

import hashlib
import os
from pathlib import Path

import h5py
import numpy as np
import torch
import torch.nn.functional as F
from torch.utils.data import Dataset

from ..errors import LasegError
from ..runtime.machine import require_memory

SPACING_MM = 0.625  # each side of a voxel of the public volumes; the files don't say so
FILE = "mri_norm2.h5"


def read_volume(path):
    """(image float32, label uint8), both W x H x D, from one ``mri_norm2.h5``, checked.

    Raises LasegError, with the file and a remedy, for a file that is missing, truncated or not HDF5,
    lacks ``image`` or ``label``, holds shapes that differ, voxels that are not finite, labels
    other than 0 and 1, or no atrium at all.
    """
    remedy = "fetch, prepare or copy this case again"
    if not Path(path).is_file():
        raise LasegError(f"{path}: no such file; {remedy}")
    try:
        with h5py.File(path, "r") as file:
            missing = [name for name in ("image", "label") if name not in file]
            if missing:
                raise LasegError(f"{path}: holds no {' and no '.join(missing)}; {remedy}")
            image, label = file["image"], file["label"]
            if image.dtype.kind not in "fiub" or label.dtype.kind not in "fiub":  # HDF5 can hold anything
                raise LasegError(f"{path}: image ({image.dtype}) and label ({label.dtype}) must be numbers; {remedy}")
            require_memory(image.size * image.dtype.itemsize + label.size * label.dtype.itemsize, torch.device("cpu"),
                           path, "crop this volume, or take it off the list")
            image, label = image[()], label[()]
    except (OSError, RuntimeError, TypeError, ValueError, KeyError, AttributeError, MemoryError) as error:
        raise LasegError(f"{path}: can't be read, it is truncated or not HDF5 ({error}); {remedy}") from error
    return check_volume(image, label, path)


def check_volume(image, label, path):
    """``image`` as float32 and ``label`` as uint8 if they are sound, otherwise LasegError (see above)."""
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
    if not ((label == 0) | (label == 1)).all():
        raise LasegError(f"{path}: the label must hold 0 and 1 only, it holds {np.unique(label)[:5]}; "
                         "`laseg prepare` turns the challenge's 255 into 1")
    if not label.any():
        raise LasegError(f"{path}: the label is empty, no voxel is left atrium; leave this case out of the list")
    return image, label.astype(np.uint8, copy=False)


def write_volume(path, image, label):
    """Write one ``mri_norm2.h5``, whole or not at all; makes its folder."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with h5py.File(partial, "w") as file:
            file.create_dataset("image", data=np.asarray(image, np.float32), compression="gzip", compression_opts=4)
            file.create_dataset("label", data=np.asarray(label, np.uint8), compression="gzip", compression_opts=4)
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def read_list(path):
    """The case names in a ``.list`` file, in its order, checked.

    Raises LasegError for a file that is missing, not text or empty, a name twice, or a name that
    would lead out of the data folder.
    """
    path = Path(path)
    if not path.is_file():
        raise LasegError(f"{path}: no such list; --root_path is the folder that holds the cases, "
                         "and train.list and test.list lie beside that folder")
    try:
        names = [line.strip() for line in path.read_text(encoding="utf-8-sig").splitlines() if line.strip()]
    except UnicodeDecodeError as error:
        raise LasegError(f"{path}: not a text file; it must name one case a line") from error
    if not names:
        raise LasegError(f"{path}: names no case; it must name one case a line")
    for name in names:
        if name in (".", "..") or not name.isprintable() or any(c in name for c in "/\\:") or len(name) > 200:
            raise LasegError(f"{path}: {name[:40]!r} is no case name; each line is the name of one folder")
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise LasegError(f"{path}: names {', '.join(twice[:3])} more than once; remove the repeats")
    return names


def case_names(root_path, split="train"):
    """The names in ``<split>.list`` beside ``root_path``."""
    return read_list(Path(root_path).resolve().parent / f"{split}.list")


def training_names(config):
    """The training cases of a config: ``train_list``'s, or those of the list beside ``root_path``."""
    return read_list(config.train_list) if config.train_list else case_names(config.root_path, "train")


def find_root(path):
    """The folder that holds the cases, from that folder or from the one around it.

    Raises LasegError when neither has a ``train.list`` in the right place.
    """
    path = Path(path)
    if (path.resolve().parent / "train.list").is_file():
        return path
    folders = [p for p in sorted(path.iterdir()) if next(p.glob(f"*/{FILE}"), None)] if path.is_dir() else []
    if (path / "train.list").is_file() and len(folders) == 1:
        return folders[0]
    raise LasegError(f"{path}: no volumes here; expected train.list, test.list and one folder of cases "
                     f"with {FILE} each (`laseg phantom DEST` or `laseg fetch DEST` makes that)")


def spacing_mm(root_path):
    """A voxel's side in mm: 0.625 for the public volumes, NaN for phantoms, whose voxels aren't cubes.

    Phantoms are told by the ``settings.json`` that is written beside them.
    """
    return float("nan") if (Path(root_path) / "settings.json").exists() else SPACING_MM


def downsample(image, label, factor):
    """``image`` average-pooled and ``label`` by majority (ties count as atrium), ``factor`` voxels to one.

    Whole blocks only: up to factor - 1 voxels at the far end of an axis are cut off.
    """
    if factor == 1:
        return image, label
    if factor < 1 or min(image.shape) < factor:
        raise LasegError(f"a volume of {image.shape} can't be made {factor} times smaller; give --downsample 1 or 2")
    image = F.avg_pool3d(torch.from_numpy(np.ascontiguousarray(image))[None], factor)[0]
    share = F.avg_pool3d(torch.from_numpy(np.ascontiguousarray(label)).float()[None], factor)[0]
    return image.numpy(), (share >= 0.5).to(torch.uint8).numpy()


def fingerprint(path):
    """SHA-256 of a file, as text: whether a case is still the one that it was."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


class LAHeart(Dataset):
    """Left-atrium volumes by the lists of the public data.

    ``base_dir``: the folder that holds the cases; ``<split>.list`` lies beside it.
    ``split``: 'train' or 'test'.  ``num``: only the first ``num`` cases.  ``transform``: called with each sample.
    A sample is ``{'image': float32 (W, H, D), 'label': uint8 (W, H, D)}``.

    ``cache``: None reads the file each time, 'memory' keeps what was read, 'cpu' or 'cuda' keeps it
    as tensors on that device (5 bytes a voxel each).  ``downsample``: see the function.
    ``names``: these cases instead of the list's.
    Raises LasegError when the list or a named case is missing (at once) or a file is unsound (when read).
    """

    def __init__(self, base_dir, split="train", num=None, transform=None, *, cache=None, downsample=1, names=None):
        self.base_dir, self.split, self.transform = Path(base_dir), split, transform
        self.cache, self.downsample = cache, downsample
        self.image_list = list(names if names is not None else case_names(base_dir, split))[:num]
        self._kept = {}
        missing = [name for name in self.image_list if not self.path(name).is_file()]
        if missing:
            raise LasegError(f"{split}.list names {len(missing)} cases that are not there, the first is "
                             f"{self.path(missing[0])}; fetch them, or take them off the list")

    def path(self, name):
        return self.base_dir / name / FILE

    def __len__(self):
        return len(self.image_list)

    def __getitem__(self, index):
        name = self.image_list[index]
        if name not in self._kept:
            sample = self._read(name)
            if self.cache is not None:
                self._kept[name] = sample
        else:
            sample = self._kept[name]
        sample = dict(sample)
        return self.transform(sample) if self.transform else sample

    def _read(self, name):
        image, label = downsample(*read_volume(self.path(name)), self.downsample)
        if not label.any():
            raise LasegError(f"{self.path(name)}: its label is too small, nothing is left of it at --downsample "
                             f"{self.downsample}; use a smaller factor, or leave this case out of the list")
        if self.cache in (None, "memory"):
            return {"image": image, "label": label}
        return {"image": torch.from_numpy(image).to(self.cache), "label": torch.from_numpy(label).to(self.cache)}

    def cache_bytes(self):
        """What a full cache takes: 5 bytes a voxel (float32 image, uint8 label), from the files' headers."""
        total = 0
        for name in self.image_list:
            try:
                with h5py.File(self.path(name), "r") as file:
                    total += 5 * int(np.prod([side // self.downsample for side in file["image"].shape]))
            except (OSError, KeyError, AttributeError):
                read_volume(self.path(name))  # which says what is wrong with it
                raise
        return total
