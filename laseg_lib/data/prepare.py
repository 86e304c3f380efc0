"""Makes training files from scans: NIfTI, NRRD, MetaImage or DICOM in, ``mri_norm2.h5`` and two lists out.

    raw/<anything>/<CASE>/lgemri.nrrd    the challenge's names: the scan, and beside it
    raw/<anything>/<CASE>/laendo.nrrd    its label, 255 (or 1) in the left atrium's cavity, if there is one

Other names are given as patterns (``Patterns``).  A scan without a label is an unlabelled training case.

Each scan is normalised as a whole.  ``grid.straighten`` resamples it to voxels of 0.625 mm and straight axes:
x from right to left, y from front to back, z from feet to head.  It is cropped in x and y around the label,
as in UA-MT's la_heart_processing.py (Yu et al., MICCAI 2019).  UA-MT widens a side to 112 voxels, and draws
margins of 10 to 19 voxels.  Here the numbers are 70 mm and, from a seed, 6.25 to 12.5 mm.  A scan without a
label is cropped around the atrium that a network finds.  Without a network it is cropped to the place of the
labelled atria, relative to the middle of their scans.

**The crop uses the label, for test cases too.**  In a hospital nobody knows where the atrium is before it is segmented.
The crop removes most of the chest, where a network could find false atria, and puts the atrium into the middle.  So
Dice, and HD95 even more, are better than on whole scans.  All published tables on this data share this.  They can be
compared with each other, but not with a method that starts from a whole scan, as ``laseg predict`` does.
"""

import hashlib
import os
import re
import zlib
from collections import namedtuple
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from ..classes import ATRIUM, as_text
from ..errors import LasegError
from ..runtime.program import NO_SPACE
from .atomic import require_same_settings, write_list, write_whole
from .files import (
    comparable_name,
    data_files,
    files_below,
    is_dicom,
    require_target,
    scan_files,
    suffix_of,
    what_is_in,
)
from .grid import array_of
from .scans import LABEL, SCAN, read_case
from .volumes import (
    FILE,
    SPACING_MM,
    check_volume,
    fingerprint,
    is_sound,
    keep_apart,
    keep_or_write_list,
    name_problem,
    read_geometry,
    read_list,
    read_patients,
    read_sources,
    read_volume,
    write_volume,
)

FOLDER = "volumes"
MARGIN_MM = (6.25, 12.5)  # 10 to 20 voxels of 0.625 mm; UA-MT draws 10 to 19
LEAST_MM = 70.0  # UA-MT's 112 voxels, so that a patch fits

Case = namedtuple("Case", "scan label")  # paths; label is None without an outline
Split = namedtuple("Split", "labelled unlabelled test left_out")  # names


# --- which files ----------------------------------------------------------------------------------

class Patterns:
    """Which files are scans, and which label belongs to which.

    ``scan`` and ``label`` are file patterns like '*_mri.nii.gz' and '*_la.nii.gz', or 'imagesTr/*_0000.nii.gz' and
    'labelsTr/*.nii.gz', in the given folder or any folder below it.  The text in place of the stars names the case; its
    label is the file with the same text.  Without a star, a case has its folder's name.  A pattern may also match
    folders that hold a DICOM series.  One that begins with './' fits in the given folder itself only.  Names are
    compared after ``comparable_name``.
    """

    def __init__(self, scan=SCAN, label=LABEL):
        given = [comparable_name(pattern.replace("\\", "/")) for pattern in (scan, label)]
        # '**/' at the beginning says nothing more: a pattern fits in any folder
        scan, label = bare = [re.sub(r"^(\./|\*\*/)+", "", pattern) for pattern in given]
        self.scan, self.label, self.given = scan, label, given[0]
        if scan.count("*") != label.count("*"):
            raise LasegError(f"--scan '{scan}' and --label '{label}': both need the same number of stars, which stand "
                             "for the name of the case")
        if scan == label:
            raise LasegError(f"--scan and --label '{scan}': both name the same files; name the scans with --scan, and "
                             "their labels with --label")
        self.expression, self.label_expression = (
            self._expression(pattern, here=one.startswith("./")) for pattern, one in zip(bare, given))
        # '*_la.nii.gz' is more specific than '*.nii.gz': a file that it matches is no scan.
        self.excluded = self.label_expression if len(label) > len(scan) else None

    @staticmethod
    def _expression(pattern, here):
        parts = "([^/]*)".join(re.escape(part).replace(r"\?", "[^/]") for part in pattern.split("*"))
        return re.compile(("()" if here else "(.*/)?") + parts)

    def name(self, path):
        """The name of the case whose scan is at the relative ``path``; None if the file is no scan."""
        found = self.expression.fullmatch(path)
        if not found or (self.excluded and self.excluded.fullmatch(path)):
            return None
        stars = found.groups()[1:]
        return "_".join(star.replace("/", "_") for star in stars) if stars else Path(path).parent.name

    def label_of(self, path):
        """The relative path of the label that belongs to the scan at the relative ``path``."""
        before, *stars = self.expression.fullmatch(path).groups()
        label = self.label
        for star in stars:
            label = label.replace("*", star, 1)
        return (before or "") + label


def patterns_for(raw_dir, scan=None, label=None):
    """The given ``Patterns``; without any, nnU-Net's if there is a folder imagesTr, otherwise the challenge's."""
    if scan or label:
        return Patterns(scan or SCAN, label or LABEL)
    images = [path for path in scan_files(raw_dir / "imagesTr") if path.parent == raw_dir / "imagesTr"]
    if images:
        suffix = suffix_of(images[0])
        channel = "_0000" if any(path.name.endswith(f"_0000{suffix}") for path in images) else ""
        return Patterns(f"imagesTr/*{channel}{suffix}", f"labelsTr/*{suffix}")
    return Patterns()


def find_cases(raw_dir, patterns):
    """{name: Case} of every scan below ``raw_dir``.  LasegError if there is none, or two with one name."""
    cases, found, spelt = {}, {}, {}
    for path in files_below(raw_dir):
        found.setdefault(comparable_name(path.relative_to(raw_dir).as_posix()), []).append(path)
    for relative, path in [(relative, path) for relative, paths in found.items() for path in paths]:
        # a case whose files lie in raw_dir itself has that folder's name
        name = patterns.name(relative)
        if name == "" and "*" not in patterns.scan:
            name = comparable_name(raw_dir.resolve().name)
        if name is not None or not suffix_of(path):  # without a suffix it may be a link to a folder of cases
            require_target(path)
        if name is None or not holds_files(path):
            continue
        if problem := name_problem(name):
            raise LasegError(f"{path}: its case would be called {name[:60]!r}, which can't be a folder's name "
                             f"({problem}); rename it")
        first = spelt.setdefault(name.casefold(), name)  # on many disks P1 and p1 are one folder
        if first in cases and not path.samefile(cases[first].scan):
            raise LasegError(f"{path}: a second case with the name {first}, the first is {cases[first].scan}; rename "
                             "one, or begin the patterns with './' if only files in the given folder itself count")
        labels = found.get(comparable_name(patterns.label_of(relative)), [])
        for label in labels:
            require_target(label)
        if len({os.path.realpath(label) for label in labels}) > 1:
            raise LasegError(f"{labels[0]}: the case {name} has a second label, {labels[1]}; rename one")
        cases.setdefault(name, Case(path, next(filter(holds_files, labels), None)))
    if not cases:
        raise LasegError(f"{raw_dir}: no file in it or below it matches {patterns.given}; {what_is_in(raw_dir)}. Give "
                         "the folder around the scans, and patterns such as --scan '*_mri.nii.gz' "
                         "--label '*_la.nii.gz'")
    if not any(case.label for case in cases.values()):
        relative = next(iter(cases.values())).scan.relative_to(raw_dir).as_posix()
        raise LasegError(f"{raw_dir}: none of the {len(cases)} scans has a label, and a few are needed. For {relative} "
                         f"{patterns.label_of(comparable_name(relative))} was looked for, with the same capitals; say "
                         "with --label where the labels are, beginning in the same folder as the pattern of --scan")
    return cases


def holds_files(path):
    """Whether a path is a file, or a folder with files in it, such as those of a DICOM series; of DICOM files only, if
    the folder has the name of a file (an archive's s.nii/s.nii)."""
    return path.is_file() or path.is_dir() and any(
        child.is_file() and (is_dicom(child) or not suffix_of(path)) for child in path.iterdir())


# --- which cases ----------------------------------------------------------------------------------

# The patient's part of a name: BIDS's sub-01, patient001; and at its end one scan of that patient: _ses-2, _frame12.
PATIENT = re.compile(r"(?:^|[/_])(sub-[a-z0-9]+|(?:patient|subject|subj|pat)[-_]?\d+)(?=[/_.-]|$)", re.IGNORECASE)
VISIT = re.compile(r"[-_](?:ses(?:sion)?|visit|time(?:point)?|tp?|v|scan|frame|fu|followup|pre|post|baseline)[-_]?\d*$",
                   re.IGNORECASE)


def patients_of(raw_dir, cases, pattern=None):
    """({name: patient}, the names that don't tell it): by ``pattern``, whose first star stands for the patient, or by
    the conventions of BIDS and nnU-Net.  Any other case counts as a patient of its own."""
    if pattern:
        known = re.escape(comparable_name(pattern))
        fits = re.compile(known.replace(r"\*", "(.+?)", 1).replace(r"\*", ".*").replace(r"\?", "."))
        matches = {name: fits.fullmatch(name) for name in cases}
        if other := [name for name in cases if not matches[name] or not fits.groups]:
            raise LasegError(f"--patient '{pattern}' doesn't fit the case {other[0]} (and {len(other) - 1} more); its "
                             "star must stand for the patient's part of each name")
        return {name: match[1] for name, match in matches.items()}, []
    said = {name: PATIENT.search(case.scan.relative_to(raw_dir).as_posix()) for name, case in cases.items()}
    patients = {name: match[1].lower() if match else VISIT.sub("", name) or name for name, match in said.items()}
    return patients, [name for name, match in said.items() if not match and not VISIT.search(name)]


def split(raw_dir, cases, test_share, seed, labelled_list=None, test_list=None, patients=None):
    """The ``Split`` of the names in ``cases``.

    The two given lists decide, or train.list and test.list in ``raw_dir`` if it has both.  Otherwise ``test_share`` of
    the labelled patients are for testing, drawn by ``seed``.  All unlabelled cases are for training.  No patient is on
    both sides: other scans of a test patient are left out, and lists that share a patient are refused.
    """
    patients = patients or {name: name for name in cases}
    raw_lists = [raw_dir / "train.list", raw_dir / "test.list"]
    outlined = sorted(name for name, case in cases.items() if case.label)

    def of_others(names, others):
        taken = {patients[name] for name in others}
        return [name for name in names if patients[name] not in taken]

    if all(path.is_file() for path in raw_lists) and not (labelled_list or test_list):
        train, test = (listed(path, cases) for path in raw_lists)
        keep_apart(*raw_lists[:1], train, raw_lists[1], test)
        labelled = [name for name in train if cases[name].label]
        unlabelled = [name for name in train if not cases[name].label]
        chosen, test_source = train, raw_lists[1]
    else:
        test = listed(test_list, cases) if test_list else None
        labelled = listed(labelled_list, cases) if labelled_list else None
        if test is None:
            test = drawn(of_others(outlined, labelled or ()), test_share, seed, not labelled, raw_dir, patients)
        if labelled_list:
            keep_apart(labelled_list, labelled, test_list or "the test cases", test)
        chosen, test_source = labelled or [], test_list
        labelled = of_others(outlined, test) if labelled is None else labelled
        unlabelled = [name for name in of_others(sorted(cases), test) if name not in labelled]
    if shared := sorted(set(chosen) - set(of_others(chosen, test))):
        raise LasegError(f"{test_source}: a scan of the patient {patients[shared[0]]} is for testing, and {shared[0]} "
                         "of the same patient for training; take one off its list, or give --patient '*' if these are "
                         "different patients")
    for source, names in ((labelled_list, labelled), (test_source, test)):
        if lacking := [name for name in names if not cases[name].label]:
            raise LasegError(f"{source}: {lacking[0]} has no label, but it needs one; remove it from the list")
    if not labelled:
        raise LasegError(f"{raw_dir}: no labelled case is left for training; name fewer test cases")
    return Split(labelled, unlabelled, test, sorted(set(cases) - {*labelled, *unlabelled, *test}))


def listed(path, cases):
    """The names of a list; LasegError for a name that is no case."""
    if not Path(path).is_file():
        raise LasegError(f"{path}: no such list; it must have one case in each line, with these names: "
                         f"{first_few(sorted(cases))}")
    names = read_list(path, known=cases)
    if missing := [name for name in names if name not in cases]:
        raise LasegError(f"{path}: the list names {missing[0]}, but no scan with that name was found, only "
                         f"{first_few(sorted(cases))}; add that case, or remove it from the list")
    return names


def drawn(names, share, seed, keep, raw_dir, patients):
    """The ``names`` of a random ``share`` of their patients, at least one; none if ``share`` is 0.  ``keep``: at least
    one patient must be left."""
    if share == 0:
        return []
    order = sorted({patients[name] for name in names})
    if len(order) < 1 + keep:
        raise LasegError(f"{raw_dir}: the labelled cases of {len(order)} patient{'s' * (len(order) != 1)} can't be "
                         "split into training and test; add another, give --test-share 0, or give --patient '*' if "
                         "each case is a patient of its own")
    order = np.random.default_rng(seed).permutation(order).tolist()
    tested = order[:min(max(round(share * len(order)), 1), len(order) - keep)]
    return sorted(name for name in names if patients[name] in tested)


def check_list(path, names):
    """LasegError if ``path`` is a list of other cases: it decides whose labels count, so it is never overwritten."""
    if path.is_file() and read_list(path) != names:
        raise LasegError(f"{path}: exists already, with other cases or in another order; a list is never "
                         "overwritten: move it away, or prepare into another folder")


# --- the crop -------------------------------------------------------------------------------------

def crop_box(label, voxel, rng=None, margin_mm=MARGIN_MM, least_mm=LEAST_MM):
    """The slices that cut x and y around ``label`` (W x H x D), and keep all of z.

    The margin of each side is drawn from ``rng``; without one it is the mean margin.
    ``voxel``: a voxel's sides in mm.
    """
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
    """((x low, x high), (y low, y high)): the common bounding box of the prepared volumes' labels, in mm from the
    middle of their scans."""
    ends = []
    for path in paths:
        label, geometry = read_volume(path)[1], read_geometry(path)
        where = np.argwhere(label)[:, :2]
        corner = (geometry["origin"] - geometry["spacing"] / 2 - geometry["centre"])[:2]
        ends.append([corner + end * geometry["spacing"][:2] for end in (where.min(0), where.max(0) + 1)])
    ends = np.array(ends)
    return tuple(zip(ends[:, 0].min(0), ends[:, 1].max(0)))


def box_of_place(place, size, voxel, margin_mm=MARGIN_MM, least_mm=LEAST_MM):
    """The slices of a scan of ``size`` voxels for a ``usual_place`` with the largest margin; all of z."""
    box = []
    for (low, high), n, mm in zip(place, size, voxel):
        widen = max(least_mm - (high - low), 0) / 2 + max(margin_mm)
        start, stop = (n / 2 + (end + side) / mm for end, side in ((low, -widen), (high, widen)))
        start, stop = max(int(np.floor(start)), 0), min(int(np.ceil(stop)), n)
        box.append(slice(start, stop) if stop - start > least_mm / mm / 2 else slice(0, n))  # a scan of another region
    return (*box, slice(None))


# --- the work -------------------------------------------------------------------------------------

def prepare(raw_dir, dest, *, scan=None, label=None, label_value=None, classes=None, label_as_scan=False,
            orientation=None, labelled_list=None, test_list=None, voxel_mm=SPACING_MM, spacing=None, find=None,
            found_by=None, margin_mm=MARGIN_MM, least_mm=LEAST_MM, test_share=0.2, patient=None, skip_bad=False,
            seed=1337, progress=True, say=lambda line: None):
    """Prepare every case under ``raw_dir``; returns ``dest/volumes``, the folder that holds them.

    ``scan``, ``label``: file patterns, see ``Patterns``; by default the challenge's names, or nnU-Net's.
    ``label_value``: the atrium's value, or values, if a label holds others too.  ``classes``: {name: value} of several
    classes, which become 1 to K in this order.  ``label_as_scan``: ignore the labels' headers.  ``orientation``:
    'qform' or 'sform', which of a NIfTI file's two matrices counts.
    ``labelled_list``, ``test_list``: files that fix the split; also ``raw_dir/train.list`` and ``test.list``,
    if both exist.  Otherwise ``test_share`` of the labelled patients, drawn with ``seed``, are for testing.
    train.list names the labelled cases first, then the unlabelled ones.
    ``voxel_mm``: the prepared voxels' side; None keeps each scan's own.  ``spacing``: the raw voxels' three sides in
    mm, for headers without them.  ``find``: a function of a straight, normalised, unlabelled scan (float32 W x H x D)
    and its voxel's sides in mm; it returns a mask of the atrium to crop around, or None.  ``found_by`` names it in
    ``dest``'s settings (the SHA-256 of its checkpoint).
    Each crop margin is drawn from ``margin_mm`` by seed and case name, so it doesn't depend on the other cases.
    ``patient``: see ``patients_of``.  ``skip_bad``: cases that can't be prepared are left out, and
    ``dest/left_out.txt`` lists them with the reason; otherwise all problems are reported together.
    If the patients are known, ``dest/patients.list`` holds each case's, for the validation of a training.
    ``say``: called with each line of the plan before the work begins.
    Finished cases are kept, so an interrupted run can be continued.  Cases whose scan or label has changed are
    prepared again.  The lists are written last; an existing one is never overwritten.
    Raises LasegError, with the file and a remedy, for what can't be prepared.
    """
    raw_dir, dest = Path(raw_dir), Path(dest)
    if not raw_dir.is_dir():
        raise LasegError(f"{raw_dir}: {'is a file' if raw_dir.exists() else 'no such folder'}; give the folder that "
                         "holds the scans")
    if dest.exists() and not dest.is_dir():
        raise LasegError(f"{dest}: is a file; name a folder for the prepared volumes")
    root, patterns = dest / FOLDER, patterns_for(raw_dir, scan, label)
    cases = find_cases(raw_dir, patterns)
    patients, unknown = patients_of(raw_dir, cases, patient)
    kept = {} if patient else read_patients(root)  # somebody may have corrected it
    corrected = {name: who for name, who in kept.items() if patients.get(name, who) != who}
    patients, unknown = patients | corrected, [name for name in unknown if name not in corrected]
    parts = split(raw_dir, cases, test_share, seed, labelled_list, test_list, patients)
    lists = {dest / "train.list": parts.labelled + parts.unlabelled, dest / "test.list": parts.test}
    if not skip_bad:
        for path, names in lists.items():
            check_list(path, names)
    for line in describe_plan(raw_dir, patterns, cases, parts, patients):
        say(line)
    if corrected:
        say(f"  {dest / 'patients.list'} names other patients than the names of {len(corrected)} cases "
            f"({first_few(list(corrected))}); the list counts. Delete it if it is wrong")
    tested = {patients[name] for name in parts.test}
    if others := [name for name in parts.left_out if patients[name] in tested]:
        say(f"  of these, other scans of test patients: {len(others)} ({first_few(others)})")
    if parts.test and unknown:
        say(f"  the names don't tell the patients of {len(unknown)} scans ({first_few(unknown)}), so each of these "
            "counts as a patient of its own; give --patient PATTERN if a patient has several scans")
    if dest.resolve() != raw_dir.resolve() and not (labelled_list or test_list):
        lone = [f"{name}.list" for name in ("train", "test") if (raw_dir / f"{name}.list").is_file()]
        if len(lone) == 1:
            say(f"  {lone[0]} is not used, because train.list and test.list are used only together; "
                "give it as --test-list, or, if each of its cases has a label, as --labelled-list")
    require_same_settings(root, {
        "raw": str(raw_dir.resolve()), "scan": patterns.scan, "label": patterns.label, "label_value": label_value,
        "voxel_mm": voxel_mm, "spacing": spacing, "margin_mm": margin_mm, "least_mm": least_mm, "seed": seed,
        "label_as_scan": label_as_scan or None, "found_by": found_by, "orientation": orientation,
        **({"classes": as_text(classes)} if classes else {})})
    options = {"voxel_mm": voxel_mm, "spacing": spacing, "label_value": classes or label_value,
               "label_as_scan": label_as_scan, "orientation": orientation}
    place, bad, first = None, {}, {}
    for name in tqdm([*parts.labelled, *parts.test, *parts.unlabelled], desc="prepare", unit="case",
                     disable=not progress):
        path, case = root / name / FILE, cases[name]
        try:
            sources = {kind: content_digest(file) for kind, file in case._asdict().items() if file}
            twin = first.setdefault(sources["scan"], name)
            if (twin in parts.test) != (name in parts.test):
                say(f"  WARNING: {twin} and {name} are copies of one scan, and one of them is for testing, the other "
                    "for training; remove one")
            if is_sound(path, with_label=case.label is not None):
                if read_sources(path) in ({}, sources):  # files of older versions don't have them
                    continue
                say(f"  {name}: its scan or its label has changed since it was prepared; it is prepared again")
            image, mask = read_case(case.scan, case.label, **options)
            if bad and not skip_bad and mask is None:  # its crop would depend on the bad cases
                continue
            values, sides = array_of(image), np.array(image.GetSpacing())
            around = mask
            if mask is None and find:
                around = find(values, sides)
            if around is not None and around.any():
                rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
                box = crop_box(around, sides, rng, margin_mm, least_mm)
            else:
                place = place or usual_place(root / known / FILE for known in parts.labelled + parts.test
                                             if known not in bad)
                box = box_of_place(place, values.shape, sides, margin_mm, least_mm)
            corner = [part.start or 0 for part in box]
            geometry = {"spacing": sides, "origin": image.TransformIndexToPhysicalPoint(corner),
                        "centre": image.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in values.shape])}
            values, mask = check_volume(values[box], mask if mask is None else mask[box], case.scan,
                                        len(classes or ATRIUM))
            write_volume(path, values, mask, sources, classes or ATRIUM, **geometry)
        except LasegError as error:
            if getattr(error.__cause__, "errno", None) in NO_SPACE:  # it is no fault of the case
                raise
            bad[name] = str(error)
            if skip_bad and not set(parts.labelled) - set(bad):
                break
    if bad:
        report_bad_cases(bad, dest, skip_bad, say)
    else:
        (dest / "left_out.txt").unlink(missing_ok=True)  # of an earlier run
    if not set(parts.labelled) - set(bad):
        raise LasegError(f"{raw_dir}: no labelled case is left for training; correct one of those left out")
    for path, names in lists.items():
        if kept_names := [name for name in names if name not in bad]:
            check_list(path, kept_names)
            keep_or_write_list(path, kept_names)
        elif names:
            say(f"  WARNING: {path.name} is not written, because each of its {len(names)} cases is left out")
    if len(unknown) < len(cases) or kept:
        rows = {**kept, **{name: patients[name] for name in sorted(cases)}}
        write_list(dest / "patients.list", [f"{name}\t{who}" for name, who in rows.items()])
    return root


def content_digest(path):
    """SHA-256, as text, of a scan's or label's files, to see whether they have changed: the file and the data
    files that its header names, or a folder's files except hidden ones and those of a file manager."""
    path = Path(path)
    files = [path, *data_files(path)] if not path.is_dir() else sorted(
        file for file in path.iterdir()
        if file.is_file() and not re.match(r"\.|(thumbs\.db|desktop\.ini)$", file.name, re.IGNORECASE))
    return hashlib.sha256("".join(map(fingerprint, files)).encode()).hexdigest()


def report_bad_cases(bad, dest, skip_bad, say):
    """Report the cases that can't be prepared, {name: reason}; LasegError unless they may be left out."""
    if not skip_bad and len(bad) == 1:
        raise LasegError(next(iter(bad.values())))
    for name, why in bad.items():
        say(f"  {name}: {why}")
    if not skip_bad:
        raise LasegError(f"{len(bad)} cases can't be prepared: {', '.join(bad)}. {next(iter(bad.values()))}. Correct "
                         "these cases, or give --skip-bad to leave them out")
    write_whole(dest / "left_out.txt", "".join(f"{name}: {why}\n" for name, why in bad.items()))
    say(f"  left out, because they can't be prepared: {len(bad)} ({first_few(list(bad))}); "
        f"{dest / 'left_out.txt'} has the reasons")


def first_few(names):
    return ", ".join(names[:3]) + (", ..." if names[3:] else "")


def describe_plan(raw_dir, patterns, cases, parts, patients):
    """The scans, labels, patients and split that were found: lines to read before the work begins."""
    outlined = [name for name, case in cases.items() if case.label]
    yield f"{raw_dir}: {len(cases)} scans ({patterns.scan}), {len(outlined)} with a label ({patterns.label})"
    example = next(cases[name] for name in parts.labelled)
    yield f"  for example {example.scan.relative_to(raw_dir)} with {example.label.relative_to(raw_dir)}"
    used = {os.path.realpath(path) for case in cases.values() for path in case if path}
    rest = [path for path in scan_files(raw_dir) if not used & set(map(os.path.realpath, [path, *path.parents]))]
    alone = [str(path.relative_to(raw_dir)) for path in rest
             if patterns.label_expression.fullmatch(comparable_name(path.relative_to(raw_dir).as_posix()))]
    others = [name for name in (str(path.relative_to(raw_dir)) for path in rest) if name not in alone]
    for what, names in (("patients", sorted(set(patients.values()))), ("training, labelled", parts.labelled),
                        ("training, unlabelled", parts.unlabelled),
                        ("test", parts.test), ("left out, on neither list", parts.left_out),
                        ("labels without a scan, not used", alone),
                        ("files that no pattern fits, not used", others)):
        if names:
            yield f"  {what}: {len(names)} ({first_few(names)})"
