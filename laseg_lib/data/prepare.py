"""Scans as they come to training files: NIfTI, NRRD, MetaImage or DICOM in, ``mri_norm2.h5`` and the two lists out.

    raw/<anything>/<CASE>/lgemri.nrrd    the challenge's names: the scan, and beside it
    raw/<anything>/<CASE>/laendo.nrrd    its label, 255 (or 1) in the left atrium's cavity, where somebody outlined it

Other names are given as patterns (``Patterns``).  A scan without a label is an unlabelled training case.

Each scan is normalised over the whole of it, made straight (``scans.straighten``: x from right to left, y from front
to back, z from feet to head) with voxels of 0.625 mm, and cropped as UA-MT's la_heart_processing.py does (Yu et al.,
MICCAI 2019): x and y around the label, z kept whole.  UA-MT draws each margin from 10 to 19 voxels of 0.625 mm and
widens the crop to its patch of 112 voxels; here the same in mm, from a seed.  A scan without a label is cropped around
what a network finds in it, or, without a network, where the labelled atria lie, seen from the middle of their scans.

**The crop looks at the label, for test cases too.** In a hospital nobody knows where the atrium is before
it is segmented. What it flatters: most of the chest, where a network could find false atria, is cut away,
and the atrium is always in the middle; so Dice, and HD95 even more, come out better than on whole scans. All
the tables of this field share this, so they compare with each other, but not with a method that starts
from a whole scan (``laseg predict`` does).
"""

import re
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..classes import ATRIUM, as_text
from ..errors import LasegError
from .atomic import claim
from .scans import LABEL, SCAN, array_of, below, content_of, read_case, scan_files, suffix_of, what_is_in
from .volumes import (
    FILE,
    SPACING_MM,
    check_volume,
    keep_apart,
    keep_or_write_list,
    name_problem,
    read_geometry,
    read_list,
    read_sources,
    read_volume,
    write_volume,
)

FOLDER = "volumes"
MARGIN_MM = (6.25, 12.5)  # UA-MT's 10 to 20 voxels
LEAST_MM = 70.0  # UA-MT's 112 voxels, so that a patch fits

Case = namedtuple("Case", "scan label")  # paths; label is None where nobody outlined it
Split = namedtuple("Split", "labelled unlabelled test left_out")  # names


# --- which files ----------------------------------------------------------------------------------

class Patterns:
    """Which files are scans, and which label belongs to which.

    ``scan`` and ``label`` are file patterns like '*_mri.nii.gz' and '*_la.nii.gz', or 'imagesTr/*_0000.nii.gz' and
    'labelsTr/*.nii.gz', to be found in the given folder or any below it.  A case has the name that stands for the
    stars; the label is the file whose stars stand for the same.  Without a star, a case has its folder's name.
    A pattern may also match folders: those that hold a DICOM series.
    """

    def __init__(self, scan=SCAN, label=LABEL):
        self.scan, self.label = scan, label
        if scan.count("*") != label.count("*"):
            raise LasegError(f"--scan '{scan}' and --label '{label}': both need as many stars, which stand for the "
                             "name of the case")
        self.expression = self._expression(scan)
        # Of '*.nii.gz' and '*_la.nii.gz' the second says more: what it matches is no scan.
        self.label_expression = self._expression(label)
        self.excluded = self.label_expression if len(label) > len(scan) else None

    @staticmethod
    def _expression(pattern):
        parts = "([^/]*)".join(re.escape(part).replace(r"\?", "[^/]") for part in pattern.split("*"))
        return re.compile(rf"(.*/)?{parts}")

    def name(self, path):
        """The case that the relative ``path`` is a scan of; None if it is none."""
        found = self.expression.fullmatch(path)
        if not found or (self.excluded and self.excluded.fullmatch(path)):
            return None
        stars = found.groups()[1:]
        return "_".join(star.replace("/", "_") for star in stars) if stars else Path(path).parent.name

    def label_of(self, path):
        """Where the label of the scan at the relative ``path`` would lie."""
        before, *stars = self.expression.fullmatch(path).groups()
        label = self.label
        for star in stars:
            label = label.replace("*", star, 1)
        return (before or "") + label


def patterns_for(raw_dir, scan=None, label=None):
    """The ``Patterns`` that were asked for; otherwise nnU-Net's where there is an imagesTr, or the challenge's."""
    if scan or label:
        return Patterns(scan or SCAN, label or LABEL)
    images = [path for path in scan_files(raw_dir / "imagesTr") if path.parent == raw_dir / "imagesTr"]
    if images:
        suffix = suffix_of(images[0])
        channel = "_0000" if any(path.name.endswith(f"_0000{suffix}") for path in images) else ""
        return Patterns(f"imagesTr/*{channel}{suffix}", f"labelsTr/*{suffix}")
    return Patterns()


def find_cases(raw_dir, patterns):
    """{name: Case} of every scan below ``raw_dir``, by name.  LasegError where there is none, or two of one name."""
    cases = {}
    for path in below(raw_dir):
        relative = path.relative_to(raw_dir).as_posix()
        # a case whose files lie in raw_dir itself has that folder's name
        name = patterns.name(relative) if "/" in relative or "*" in patterns.scan else patterns.name(
            f"{raw_dir.resolve().name}/{relative}")
        if name is not None:
            require_target(path)
        if name is None or not holds_files(path):
            continue
        if problem := name_problem(name):
            raise LasegError(f"{path}: its case would be called {name[:60]!r}, which can't name a folder here "
                             f"({problem}); rename it")
        if name in cases:
            raise LasegError(f"{path}: a second case of the name {name}, the first is {cases[name].scan}; rename one")
        label = raw_dir / patterns.label_of(relative)
        require_target(label)
        cases[name] = Case(path, label if holds_files(label) else None)
    if not cases:
        raise LasegError(f"{raw_dir}: no folder here holds a {patterns.scan}; {what_is_in(raw_dir)}. Give the folder "
                         "around the scans, and patterns such as --scan '*_mri.nii.gz' --label '*_la.nii.gz'")
    return cases


def holds_files(path):
    """Whether a path is a file, or a folder with files in it, such as those of a DICOM series."""
    return path.is_file() or path.is_dir() and any(child.is_file() for child in path.iterdir())


def require_target(path):
    """LasegError for a link to nothing: without it a case would be missing, or without its label, and no word said."""
    if path.is_symlink() and not path.exists():
        raise LasegError(f"{path}: is a link to something that isn't there; mend it, or remove it")


# --- which cases ----------------------------------------------------------------------------------

def split(raw_dir, cases, test_share, seed, labelled_list=None, test_list=None):
    """The ``Split`` of the names in ``cases``.

    The two lists given, or train.list and test.list in ``raw_dir`` if it has both, decide.  Otherwise ``test_share`` of
    the labelled cases are for testing, drawn by ``seed``.  Unlabelled ones all are for training.
    """
    raw_lists = [raw_dir / "train.list", raw_dir / "test.list"]
    outlined = sorted(name for name, case in cases.items() if case.label)
    if not outlined:
        raise LasegError(f"{raw_dir}: none of the {len(cases)} scans has a label; a few must be outlined. "
                         "Labels lie beside their scans, or --label says where")
    if all(path.is_file() for path in raw_lists) and not (labelled_list or test_list):
        train, test = (listed(path, cases) for path in raw_lists)
        keep_apart(*raw_lists[:1], train, raw_lists[1], test)
        labelled = [name for name in train if cases[name].label]
        unlabelled = [name for name in train if not cases[name].label]
        test_source = raw_lists[1]
    else:
        test = listed(test_list, cases) if test_list else None
        labelled = listed(labelled_list, cases, outlined) if labelled_list else None
        if test is None:
            test = drawn([name for name in outlined if name not in (labelled or ())], test_share, seed,
                         keep=not labelled, raw_dir=raw_dir)
        if labelled is None:
            labelled = [name for name in outlined if name not in test]
        if labelled_list:
            keep_apart(labelled_list, labelled, test_list or "the test cases", test)
        unlabelled = [name for name in sorted(cases) if name not in labelled and name not in test]
        test_source = test_list
    if lacking := [name for name in test if not cases[name].label]:
        raise LasegError(f"{test_source}: {lacking[0]} has no label, and a test case needs one; take it off the list")
    if not labelled:
        raise LasegError(f"{raw_dir}: no labelled case is left for training; name fewer test cases")
    return Split(labelled, unlabelled, test, sorted(set(cases) - {*labelled, *unlabelled, *test}))


def listed(path, cases, outlined=None):
    """The names of a list; LasegError for one that is no case, or, if ``outlined`` is given, has no label."""
    if not Path(path).is_file():
        raise LasegError(f"{path}: no such list; it must name one case a line, as the cases are called here: "
                         f"{some(sorted(cases))}")
    names = read_list(path)
    if missing := [name for name in names if name not in cases]:
        raise LasegError(f"{path}: the list names {missing[0]}, but no scan of that name was found, only "
                         f"{some(sorted(cases))}; add that case, or take it off the list")
    if outlined is not None and (lacking := [name for name in names if name not in outlined]):
        raise LasegError(f"{path}: names {lacking[0]}, which has no label; take it off the list")
    return names


def drawn(names, share, seed, keep, raw_dir):
    """About ``share`` of ``names``, at least one (none where ``share`` is 0); ``keep``: one must be left."""
    if share == 0:
        return []
    if len(names) < 1 + keep:
        raise LasegError(f"{raw_dir}: {len(names)} labelled case{'s' * (len(names) != 1)} can't be split into training "
                         "and test; add another, or give --test-share 0")
    order = np.random.default_rng(seed).permutation(sorted(names)).tolist()
    return sorted(order[:min(max(round(share * len(order)), 1), len(order) - keep)])


def check_list(path, names):
    """LasegError when ``path`` is a list that names other cases: somebody wrote it, and it decides whose labels count.
    """
    if path.is_file() and read_list(path) != names:
        raise LasegError(f"{path}: is there already and names other cases, or in another order; a list is never "
                         "overwritten: move it away, or prepare into another folder")


# --- the crop -------------------------------------------------------------------------------------

def crop_box(label, voxel, rng=None, margin_mm=MARGIN_MM, least_mm=LEAST_MM):
    """The slices that cut x and y around ``label`` (W x H x D) with a margin drawn for each side (the middle one where
    ``rng`` is None), and keep all of z.  ``voxel``: its sides in mm."""
    box = []
    for axis, mm in zip((0, 1), voxel):
        where = np.flatnonzero(label.any(axis=tuple({0, 1, 2} - {axis})))
        low, high = int(where[0]), int(where[-1]) + 1
        widen = max(least_mm / mm - (high - low), 0) / 2
        margins = rng.uniform(*margin_mm, 2) if rng else np.full(2, np.mean(margin_mm))
        before, after = np.round(widen + margins / mm).astype(int).tolist()
        box.append(slice(max(low - before, 0), min(high + after, label.shape[axis])))
    return (*box, slice(None))


def usual_place(paths):
    """((x low, x high), (y low, y high)): where the labels of prepared volumes lie, in mm from the middle of their
    scans, all of them together."""
    ends = []
    for path in paths:
        label, geometry = read_volume(path)[1], read_geometry(path)
        where = np.argwhere(label)[:, :2]
        corner = (geometry["origin"] - geometry["spacing"] / 2 - geometry["centre"])[:2]
        ends.append([corner + end * geometry["spacing"][:2] for end in (where.min(0), where.max(0) + 1)])
    ends = np.array(ends)
    return tuple(zip(ends[:, 0].min(0), ends[:, 1].max(0)))


def box_of_place(place, size, voxel, margin_mm=MARGIN_MM, least_mm=LEAST_MM):
    """The slices of a scan of ``size`` voxels for a ``usual_place``, with the largest margin; all of z."""
    box = []
    for (low, high), n, mm in zip(place, size, voxel):
        widen = max(least_mm - (high - low), 0) / 2 + max(margin_mm)
        start, stop = (n / 2 + (end + side) / mm for end, side in ((low, -widen), (high, widen)))
        start, stop = max(int(np.floor(start)), 0), min(int(np.ceil(stop)), n)
        box.append(slice(start, stop) if stop - start > least_mm / mm / 2 else slice(0, n))  # a scan of another place
    return (*box, slice(None))


# --- the work -------------------------------------------------------------------------------------

def prepare(raw_dir, dest, *, scan=None, label=None, label_value=None, classes=None, label_as_scan=False,
            labelled_list=None, test_list=None, voxel_mm=SPACING_MM, spacing=None, find=None, found_by=None,
            margin_mm=MARGIN_MM, least_mm=LEAST_MM, test_share=0.2, seed=1337, progress=True, say=lambda line: None):
    """Prepare every case under ``raw_dir``; returns ``dest/volumes``, the folder that holds them.

    ``scan``, ``label``: file patterns, see ``Patterns``; by default the challenge's names, or nnU-Net's.
    ``label_value``: the atrium's value, or values, where a label holds several.  ``classes``: {name: value} of several
    classes, which become 1 to K in this order.  ``label_as_scan``: ignore the labels' headers.
    ``labelled_list``, ``test_list``: files that fix the split; also ``raw_dir/train.list`` and ``test.list`` where both
    are there.  Otherwise ``test_share`` of the labelled cases, drawn with ``seed``, are for testing.  train.list names
    labelled cases first, then the unlabelled ones.
    ``voxel_mm``: the prepared voxels' side; None keeps each scan's own.  ``spacing``: the raw voxels' three sides in mm
    where headers don't say them.  ``find``: called with a straight, normalised, unlabelled scan (float32 W x H x D) and
    its voxel's sides in mm; gives a mask of the atrium to crop around, or None where it finds nothing;
    ``found_by`` names it for ``dest``'s settings (the SHA-256 of its checkpoint).
    Each crop margin is drawn from ``margin_mm`` by seed and case name, so it doesn't depend on which other cases there
    are.  ``say``: called with what was found, a line at a time, before the work begins.
    Finished cases are kept, so an interrupted run goes on where it was, and those whose scan or label is not what it
    was are made anew; the lists are written last, and one that is there is never overwritten.
    Raises LasegError, with the file and a remedy, for what can't be prepared.
    """
    raw_dir, dest = Path(raw_dir), Path(dest)
    if not raw_dir.is_dir():
        raise LasegError(f"{raw_dir}: {'is a file' if raw_dir.exists() else 'no such folder'}; give the folder that "
                         "holds the scans")
    if dest.exists() and not dest.is_dir():
        raise LasegError(f"{dest}: is a file; name a folder, where the prepared volumes are to lie")
    root, patterns = dest / FOLDER, patterns_for(raw_dir, scan, label)
    cases = find_cases(raw_dir, patterns)
    parts = split(raw_dir, cases, test_share, seed, labelled_list, test_list)
    lists = {dest / "train.list": parts.labelled + parts.unlabelled, dest / "test.list": parts.test}
    for path, names in lists.items():
        check_list(path, names)
    for line in told_plan(raw_dir, patterns, cases, parts):
        say(line)
    if dest.resolve() != raw_dir.resolve() and not (labelled_list or test_list):
        lone = [f"{name}.list" for name in ("train", "test") if (raw_dir / f"{name}.list").is_file()]
        if len(lone) == 1:
            say(f"  {lone[0]} is not used: train.list and test.list decide together; or give it as --labelled-list or "
                "--test-list")
    claim(root, {"raw": str(raw_dir.resolve()), "scan": patterns.scan, "label": patterns.label,
                 "label_value": label_value, "voxel_mm": voxel_mm, "spacing": spacing, "margin_mm": margin_mm,
                 "least_mm": least_mm, "seed": seed, "label_as_scan": label_as_scan or None, "found_by": found_by,
                 **({"classes": as_text(classes)} if classes else {})})
    place = None
    for name in tqdm([*parts.labelled, *parts.test, *parts.unlabelled], desc="prepare", unit="case",
                     disable=not progress):
        path, case = root / name / FILE, cases[name]
        sources = {kind: content_of(file) for kind, file in case._asdict().items() if file}
        if _finished(path, case.label is not None):
            if read_sources(path) in ({}, sources):  # an older version didn't note them
                continue
            say(f"  {name}: its scan or its label has changed since it was prepared; it is made anew")
        image, mask = read_case(case.scan, case.label, voxel_mm=voxel_mm, spacing=spacing,
                                label_value=classes or label_value, label_as_scan=label_as_scan)
        values, sides = array_of(image), np.array(image.GetSpacing())
        around = mask
        if mask is None and find:
            around = find(values, sides)
        if around is not None and around.any():
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            box = crop_box(around, sides, rng, margin_mm, least_mm)
        else:
            place = place or usual_place(root / known / FILE for known in parts.labelled + parts.test)
            box = box_of_place(place, values.shape, sides, margin_mm, least_mm)
        corner = [part.start or 0 for part in box]
        geometry = {"spacing": sides, "origin": image.TransformIndexToPhysicalPoint(corner),
                    "centre": image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in values.shape])}
        values, mask = check_volume(values[box], mask if mask is None else mask[box], case.scan,
                                    len(classes or ATRIUM))
        write_volume(path, values, mask, sources, classes or ATRIUM, **geometry)
    for path, names in lists.items():
        if names:
            keep_or_write_list(path, names)
    return root


def some(names):
    return ", ".join(names[:3]) + (", ..." if names[3:] else "")


def told_plan(raw_dir, patterns, cases, parts):
    """What was found, in lines to read before the work begins."""
    outlined = [name for name, case in cases.items() if case.label]
    yield f"{raw_dir}: {len(cases)} scans ({patterns.scan}), {len(outlined)} with a label ({patterns.label})"
    example = next(cases[name] for name in parts.labelled)
    yield f"  for example {example.scan.relative_to(raw_dir)} with {example.label.relative_to(raw_dir)}"
    used = {case.label for case in cases.values()} | {case.scan for case in cases.values()}
    rest = [path for path in scan_files(raw_dir) if not used & {path, *path.parents}]
    alone = [str(path.relative_to(raw_dir)) for path in rest
             if patterns.label_expression.fullmatch(path.relative_to(raw_dir).as_posix())]
    others = [name for name in (str(path.relative_to(raw_dir)) for path in rest) if name not in alone]
    for what, names in (("training, labelled", parts.labelled), ("training, unlabelled", parts.unlabelled),
                        ("test", parts.test), ("left out, on neither list", parts.left_out),
                        ("labels without a scan, not used", alone),
                        ("files that no pattern fits, not used", others)):
        if names:
            yield f"  {what}: {len(names)} ({some(names)})"


def _finished(path, labelled):
    try:
        return bool(read_volume(path, with_label=labelled))
    except LasegError:
        return False
