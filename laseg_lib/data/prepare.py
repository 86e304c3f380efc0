"""Raw scans to training files: NRRD pairs in, ``mri_norm2.h5`` and the two lists out.

    raw/<anything>/<CASE>/lgemri.nrrd    the scan, W x H x D
    raw/<anything>/<CASE>/laendo.nrrd    its label, 255 (or 1) in the left atrium's cavity

This is UA-MT's la_heart_processing.py (Yu et al., MICCAI 2019): intensities are normalised over the whole
scan, then x and y are cropped around the label, z is kept whole. UA-MT draws each margin from 10 to 19 voxels
of 0.625 mm and widens the crop to its patch of 112 voxels; here the same in mm, from a seed.

**The crop looks at the label, for test cases too.** In a hospital nobody knows where the atrium is before
it is segmented. What it flatters: most of the chest, where a network could find false atria, is cut away,
and the atrium is always in the middle; so Dice, and HD95 even more, come out better than on whole scans. All
the tables of this field share this, so they compare with each other, but not with a method that starts
from a whole scan.
"""

import zlib
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..errors import LasegError
from .atomic import claim, write_list
from .scans import SCAN, read_pair
from .volumes import FILE, read_list, read_volume, write_volume

FOLDER = "volumes"
MARGIN_MM = (6.25, 12.5)  # UA-MT's 10 to 20 voxels
LEAST_MM = 70.0  # UA-MT's 112 voxels, so that a patch fits


def crop_box(label, voxel, rng, margin_mm=MARGIN_MM, least_mm=LEAST_MM):
    """The slices that cut x and y around ``label`` with a margin drawn for each side, and keep all of z."""
    box = []
    for axis, mm in zip((0, 1), voxel):
        where = np.flatnonzero(label.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = int(where[0]), int(where[-1]) + 1
        widen = max(least_mm / mm - (high - low), 0) / 2
        before, after = np.round(widen + rng.uniform(*margin_mm, 2) / mm).astype(int).tolist()
        box.append(slice(max(low - before, 0), min(high + after, label.shape[axis])))
    return (*box, slice(None))


def split(raw_dir, names, test_share, seed):
    """(train, test): by the lists in ``raw_dir`` if it has them, otherwise drawn."""
    lists = [raw_dir / "train.list", raw_dir / "test.list"]
    if all(path.is_file() for path in lists):
        train, test = map(read_list, lists)
        if missing := [name for name in train + test if name not in names]:
            raise LasegError(f"{raw_dir}: the lists name {missing[0]}, but no folder {missing[0]} holds {SCAN}; "
                             "add that case, or take it off the list")
        if both := sorted(set(train) & set(test)):
            raise LasegError(f"{raw_dir}: {both[0]} is in train.list and in test.list; take it off one of them")
        return train, test
    if len(names) < 2:
        raise LasegError(f"{raw_dir}: one case can't be split into training and test; add another")
    drawn = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    count = min(max(round(test_share * len(drawn)), 1), len(drawn) - 1)
    return sorted(drawn[count:]), sorted(drawn[:count])


def prepare(raw_dir, dest, *, margin_mm=MARGIN_MM, least_mm=LEAST_MM, test_share=0.2, seed=1337, progress=True):
    """Prepare every case under ``raw_dir``; returns ``dest/volumes``, the folder that holds them.

    ``raw_dir/train.list`` and ``test.list`` decide the split where both are there; otherwise ``test_share``
    of the cases, drawn with ``seed``, are for testing. Each crop margin is drawn from ``margin_mm`` by seed
    and case name, so it doesn't depend on which other cases there are.
    Finished cases are kept, so an interrupted run goes on where it was; the lists are written last.
    Raises LasegError, with the file and a remedy, for what can't be prepared.
    """
    raw_dir, root = Path(raw_dir), Path(dest) / FOLDER
    folders = {}
    for scan in sorted(raw_dir.rglob(SCAN)):
        if scan.parent.name in folders:
            raise LasegError(f"{scan.parent}: a second case of this name, the first is "
                             f"{folders[scan.parent.name]}; rename one")
        folders[scan.parent.name] = scan.parent
    if not folders:
        raise LasegError(f"{raw_dir}: no folder here holds a {SCAN}; give the folder around the raw cases")
    train, test = split(raw_dir, folders, test_share, seed)
    claim(root, {"raw": str(raw_dir.resolve()), "margin_mm": margin_mm, "least_mm": least_mm, "seed": seed})
    for name in tqdm(train + test, desc="prepare", unit="case", disable=not progress):
        if not _finished(root / name / FILE):
            image, label, voxel = read_pair(folders[name])
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            box = crop_box(label, voxel, rng, margin_mm, least_mm)
            write_volume(root / name / FILE, image[box], label[box])
    write_list(Path(dest) / "train.list", train)
    write_list(Path(dest) / "test.list", test)
    return root


def _finished(path):
    try:
        return bool(read_volume(path))
    except LasegError:
        return False
