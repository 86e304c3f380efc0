"""Synthetic left atria: what the public scans show, made from formulas, so nothing has to be downloaded.

Every organ is a signed distance in mm (``shapes.py``).  ``d <= 0`` is the label.  ``maximum(a, 3 - b)`` keeps
the organ ``a`` 3 mm away from ``b``.  ``0 < d < 2`` is a wall 2 mm thick.  The organs are painted one over
the other.  Shading and noise follow.

Axes are those of the public files: x grows towards the patient's left (right in the picture), y towards the spine
(down in the picture), z towards the head.  The origin is the middle of the volume.  A phantom of any ``size`` covers
the field of view of a real scan, so more voxels show more detail of the same patient, whom ``seed`` alone decides.
"""

from pathlib import Path

import numpy as np
import torch
from scipy import ndimage
from tqdm.auto import tqdm

from ..classes import ATRIUM
from ..errors import LasegError
from ..runtime.machine import require_memory
from .atomic import require_same_settings
from .grid import image_of
from .scans import write_image
from .shapes import column, ellipsoid, smooth_union, tube, waves
from .volumes import FILE, is_sound, keep_or_write_list, may_write_list, write_volume

FOLDER = "phantoms"
FORMULA = 1  # raise it when the same seed no longer gives the same phantom
DEFAULTS = {"variability": 1.0, "contrast": 1.0, "noise": 1.0, "scanner": 1.0}
FIELD_MM = (118.75, 87.5, 55.0)  # 190 x 140 x 88 voxels of 0.625 mm: a public volume of middling size
CLASSES = {"cavity": 1, "wall": 2}  # of a phantom with two
WALL_MM = 2.5  # two of a scanner's voxels of 1.25 mm; no neighbour comes nearer to the cavity
CHEST = (3, 2.75, 1)  # a raw scan shows the whole chest: so many fields of view in x, y, z


# --- the patient ----------------------------------------------------------------------------------

class Patient:
    """Everything random about one person; ``variability`` scales how far they are from the average."""

    def __init__(self, seed, variability=1.0):
        self.rng, self.variability = np.random.default_rng(seed), variability

    def about(self, mean, spread):
        """float32 values around ``mean``, at most two spreads away."""
        steps = self.rng.standard_normal(np.shape(mean)).clip(-2, 2)
        return np.float32(mean + self.variability * spread * steps)


def left_atrium(p, patient):
    """Distances to the cavity as annotators draw it, and to the one whose veins run on into the lungs."""
    about = patient.about
    size, shift = about(0.98, 0.045), about(np.zeros(3), 2.5)
    p = (p - column(shift)) / size
    body = smooth_union(ellipsoid(p, about((-8, 1, -1), 1.5), about((18, 13, 15), 1.5)),
                        ellipsoid(p, about((14, -4, -4), 1.5), about((17, 15, 16), 1.5)), 12)
    veins = {  # from inside the body to where annotators stop, then on into the lung
        "right superior": [(-10, 1, 2), (-30, -6, 12), (-44, -12, 16), (-70, -24, 24)],
        "right inferior": [(-10, 3, -1), (-30, 11, 1), (-42, 16, 2), (-70, 27, -6)],
        "left superior": [(12, 1, 2), (26, 7, 15), (32, 13, 22), (54, 24, 36)],
        "left inferior": [(12, 1, 0), (29, 14, 3), (36, 27, 4), (54, 46, -2)],
    }
    absent = patient.rng.choice(["", *veins], p=[0.8, 0.02, 0.08, 0.02, 0.08])
    label, full = body, body
    for name, points in veins.items():
        points = about(points, np.array([[0], [1.5], [2.5], [5]]))
        radii = about(1, 0.12) * np.float32([8, 6, 5.5, 4])
        if name != absent:
            label = smooth_union(label, tube(p, points[:3], radii), 6)
            full = smooth_union(full, tube(p, points, radii), 6)
    hook = about([(18, -4, 2), (33, -12, 8), (42, -13, 14), (42, -3, 19)], np.array([[0], [2], [3], [4]]))
    appendage = tube(p, hook, about(1, 0.15) * np.float32([7, 7, 5.5, 3.5]))
    return smooth_union(label, appendage, 4) * size, smooth_union(full, appendage, 4) * size


def neighbours(p, patient):
    """{name: signed distance} of the organs around the left atrium, which are mistaken for it."""
    moved = iter(patient.about(np.zeros((6, 3)), 2.5))  # each organ sits a little elsewhere

    def pipe(points, radii):
        return tube(p, points + next(moved), patient.about(1, 0.08) * np.float32(radii))

    def ball(centre, radii):
        return ellipsoid(p, centre + next(moved), patient.about(1, 0.08) * np.float32(radii))

    return {
        "right atrium": smooth_union(ball((-33, -20, -8), (20, 17, 24)),
                                     tube(p, [(-32, -4, -45), (-32, -14, -16), (-32, -16, 0), (-30, -19, 45)],
                                          [11, 12, 10, 8]), 8),  # with both caval veins
        "right ventricle": ball((2, -46, -24), (32, 16, 26)),
        "left ventricle": ball((50, -20, -27), (30, 18, 19)),
        "ascending aorta": pipe([(8, -27, -6), (-4, -32, 12), (-8, -30, 45)], [13, 14, 13]),
        "pulmonary artery": pipe([(20, -42, -2), (20, -34, 14), (20, -16, 30), (-10, -12, 28), (-60, -8, 22)],
                                 [12, 12, 12, 9.5, 6]),
        "descending aorta": pipe([(12, 29, -45), (9, 29, 0), (13, 28, 45)], [11, 11, 11.5]),
    }


# --- the scan -------------------------------------------------------------------------------------

def scan(seed, size, field, variability, contrast, noise, scanner, classes=1):
    """(grey values uint8, label uint8) of ``field`` mm in ``size`` voxels."""
    patient, grey = Patient(seed, variability), Patient([seed, 1], scanner)
    voxel = np.divide(field, size)
    axes = [np.float32((np.arange(n) + 0.5 - n / 2) * mm) for n, mm in zip(size, voxel, strict=True)]
    p = np.stack(np.meshgrid(*axes, indexing="ij"))
    # Bend and turn space instead of the organs: all of it becomes irregular, and what was connected stays so.
    p += np.float32(1.2 * variability) * np.stack([waves(patient.rng, axes, 45) for _ in range(3)])
    cos, sin = (f(np.deg2rad(patient.about(0, 4))) for f in (np.cos, np.sin))
    p = np.stack([cos * p[0] - sin * p[1], sin * p[0] + cos * p[1], p[2]])
    label, atrium = left_atrium(p, patient)
    others = neighbours(p, patient)

    blood = float(np.exp(grey.about(-0.08, 0.35)))  # how much contrast agent is left in it when scanned
    soft, lung, muscle, wall, bright = 0.40, 0.06, 0.50, 0.38, 1.15
    edge = float(max(*voxel, 1.5))  # mm; a voxel on a surface is a mixture of both sides
    texture, fine = waves(grey.rng, axes, 22), waves(grey.rng, axes, 9, 64)
    vessels = np.clip(1.3 * waves(grey.rng, axes, 16) - 1.8, 0, 0.8)
    image = np.full(size, 0.02, np.float32)  # air

    def paint(distance, value, soften=edge):
        cover = np.clip(0.5 - distance / soften, 0, 1)
        image[...] += cover * (value - image)

    paint(ellipsoid(p, (-20, 5, 0), (165, 112, 1e4)), 0.8 + 0.1 * fine)  # chest wall, outside the usual field
    paint(ellipsoid(p, (-20, 0, 0), (135, 84, 1e4)), lung + 0.04 * texture.clip(0) + vessels)
    heart = np.minimum.reduce([atrium, *others.values()])
    around = smooth_union(heart - 4, tube(p, [(-2, 8, -60), (-2, 8, 60)], [22, 22]), 12)
    paint(around, soft + 0.15 * texture + 0.1 * fine, 3)  # fat, muscle, gullet
    paint(tube(p, [(-13, 48, -60), (-13, 48, 60)], [18, 18]), 0.7)  # spine: rim, then marrow and discs
    paint(tube(p, [(-13, 48, -60), (-13, 48, 60)], [15, 15]), 0.2 + 0.1 * np.cos(axes[2] / 4.5) + 0.05 * texture)
    paint(ellipsoid(p, grey.about((-72, -15, -46), 4), (50, 60, 42)), 1.1)  # liver
    paint(others["left ventricle"] - 9, muscle)
    paint(others["right ventricle"] - 3, muscle)
    for name, distance in others.items():
        distance = np.maximum(distance, 2.5 - atrium)  # the septum: no neighbour touches the atrium's cavity
        if "aorta" in name:
            paint(distance - 1.5, bright * blood)  # its wall lights up
        paint(distance, grey.about(1, 0.04) * blood)
    paint(atrium - 2, wall)
    scar = np.clip(1.5 * waves(grey.rng, axes, 28) - 1, 0, 1)
    paint(np.abs(atrium - 1.2) - 1, wall + scar * (1.3 - wall))
    paint(atrium, blood)
    image = blood + contrast * (image - blood)
    image = image * (1 + 0.05 * fine) * np.exp(grey.about(0.09, 0.03) * waves(grey.rng, axes, 160))

    level = noise * 0.09 * np.exp(grey.about(0, 0.35))
    rng = np.random.default_rng([seed, 2])
    hiss = rng.standard_normal((2, *size), dtype=np.float32)
    if min(voxel) < 1.2:  # scanners resolve about 1.25 mm: in finer voxels noise is correlated
        hiss = np.stack([ndimage.gaussian_filter(h, 0.6 / voxel) for h in hiss])
        hiss /= hiss.std()
    image = np.hypot(image + level * hiss[0], level * hiss[1])  # Rician: the length of a noisy vector
    found = largest_piece(label <= 0).astype(np.uint8)
    if classes == 2:  # where a vein runs on into the lung there is blood, and no wall
        found[largest_piece(label <= WALL_MM) & (label > 0) & (atrium > 0)] = 2
    return np.clip(image * 100, 0, 255).astype(np.uint8), found


def largest_piece(mask):
    """``mask`` without its smaller pieces: a thin appendage can fall apart in coarse voxels."""
    parts, count = ndimage.label(mask)
    return parts == np.bincount(parts.ravel())[1:].argmax() + 1 if count > 1 else mask


def make_phantom(seed, size=(64, 48, 32), *, variability=1.0, contrast=1.0, noise=1.0, scanner=1.0, classes=1):
    """One patient: (image float32 W x H x D of zero mean and unit variance, label uint8 W x H x D).

    ``seed``: an integer of 0 or more.  ``size``: voxels; each is FIELD_MM / size mm wide.
    ``variability``: how much anatomy differs between patients; 0: all have the average anatomy.
    ``contrast``: how far everything else is from the brightness of the atrium's blood; 0 hides the atrium.
    ``noise``: in units of a usual scan's.  ``scanner``: how much brightness, shading and noise differ between patients.
    ``classes``: 1, the atrium's cavity; 2: its wall too, ``WALL_MM`` thick, as class 2.  The wall's outer border can
    hardly be seen, as in real scans.
    """
    image, label = scan(seed, size, FIELD_MM, variability, contrast, noise, scanner, classes)
    image = image.astype(np.float32)
    return (image - image.mean()) / image.std(), label


# --- the files ------------------------------------------------------------------------------------

def write_phantoms(dest, train=40, test=10, size=(64, 48, 32), seed=0, raw=False, progress=True, classes=1, **options):
    """Write ``train`` + ``test`` phantoms as the public data lie on disk; returns the folder of the cases.

    ``dest/train.list``, ``dest/test.list``, ``dest/phantoms/PHANTOM_0000/mri_norm2.h5``, ...
    Case k is ``make_phantom(10_000 * seed + k, size, **options)``.  Sound files are kept, so an interrupted run goes
    on where it was; the lists are written last.
    ``raw``: instead scans of the whole chest, for ``laseg prepare``: ``lgemri.nrrd`` and ``laendo.nrrd`` (both uint8,
    255 = left atrium; of two classes 1 and 2).  Their voxels are as wide as ``size`` gives.
    ``progress``: a bar, or a function that takes the names and gives them one by one, such as ``tqdm``.
    ``classes``, ``options``: the keyword arguments of ``make_phantom``.
    Raises LasegError for numbers that can't work, and when ``dest`` holds phantoms made with other settings.
    """
    size = tuple(int(n) for n in size)
    if len(size) != 3 or min(size) < 8 or max(size) > 10_000:
        raise LasegError(f"a phantom of {' x '.join(str(min(n, 10**9)) for n in size)} voxels: give three sizes of 8 "
                         "to 10000, such as 64 48 32")
    require_memory(120 * np.prod(size, dtype=float) * (np.prod(CHEST) if raw else 1), torch.device("cpu"),
                   f"a phantom of {' x '.join(map(str, size))} voxels", "give a smaller --size")
    if min(train, test) < 1 or train + test > 10_000 or seed < 0:
        raise LasegError(f"{train} training and {test} test phantoms with seed {seed}: "
                         "give at least one of each, at most 10000 together, and a seed of 0 or more")
    if classes not in (1, 2):
        raise LasegError(f"phantoms of {classes} classes: give 1, the cavity, or 2, cavity and wall")
    if unknown := set(options) - set(DEFAULTS):
        raise TypeError(f"phantoms have no {', '.join(sorted(unknown))}; they have {', '.join(DEFAULTS)}")
    root, options = Path(dest) / FOLDER, {**DEFAULTS, **options, **({"classes": 2} if classes == 2 else {})}
    require_same_settings(root, {"formula": FORMULA, "train": train, "test": test, "size": size, "seed": seed,
                                 "raw": raw, **options})
    names = [f"PHANTOM_{k:04d}" for k in range(train + test)]
    lists = {Path(dest) / "train.list": names[:train], Path(dest) / "test.list": names[train:]}
    for path, listed in lists.items():  # another data set's lists are found before anything is made
        may_write_list(path, listed)
    quiet = not progress or len(names) < 12
    watched = progress(names) if callable(progress) else tqdm(names, desc="phantoms", unit="case", disable=quiet)
    for k, name in enumerate(watched):
        if raw:
            _write_raw(root / name, 10_000 * seed + k, size, options)
        elif not is_sound(root / name / FILE):
            write_volume(root / name / FILE, *make_phantom(10_000 * seed + k, size, **options),
                         classes=CLASSES if classes == 2 else ATRIUM, spacing=np.divide(FIELD_MM, size))
    for path, listed in lists.items():
        keep_or_write_list(path, listed)
    return root


def _write_raw(folder, seed, size, options):
    if (folder / "laendo.nrrd").exists():  # written last
        return
    voxel = np.divide(FIELD_MM, size)
    chest = tuple(int(n) for n in np.multiply(size, CHEST))
    image, label = scan(seed, chest, voxel * chest, **options)
    label = label if options.get("classes") == 2 else 255 * label
    for name, data in {"lgemri.nrrd": image, "laendo.nrrd": label}.items():
        write_image(folder / name, image_of(data, spacing=voxel, origin=(0, 0, 0)))
