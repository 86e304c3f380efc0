"""How good a segmentation is: Dice, Jaccard, HD95 and ASD, by medpy's definitions, as the tables have them."""

import numpy as np

COLUMNS = ["dice", "jaccard", "hd95", "asd", "hd95_mm", "asd_mm", "empty"]


def masks_of(one, two):
    """Two masks as bool arrays; ValueError where one holds more than 0 and one other value (probabilities, several
    labels, NaN), or where their shapes differ."""
    masks = []
    for mask in map(np.asarray, (one, two)):
        if mask.dtype != bool and mask.size:
            most = mask.max()
            if not ((mask == 0) | (mask == most)).all():
                raise ValueError(f"a mask holds 0 and one other value, this one {np.unique(mask)[:4].tolist()} and so "
                                 "on: compare it with a threshold, or with the label's value, first")
        masks.append(mask.astype(bool))
    if masks[0].shape != masks[1].shape:
        raise ValueError(f"{masks[0].shape} and {masks[1].shape} differ in shape")
    return masks


def dice_of(one, two):
    """2 |A and B| / (|A| + |B|) of two masks, from 0 (no overlap) to 1; two empty masks agree."""
    one, two = masks_of(one, two)
    both = int(one.sum()) + int(two.sum())
    return 2 * int((one & two).sum()) / both if both else 1.0


def mean_dice_of(one, two):
    """The mean of ``dice_of`` over the classes from 1 on that either of two labels holds; 1 where both hold none."""
    return float(np.mean([dice_of(one == k, two == k) for k in np.union1d(one, two) if k] or [1.0]))


def jaccard_of(one, two):
    """|A and B| / |A or B| of two masks, from 0 to 1; two empty masks agree."""
    one, two = masks_of(one, two)
    either = int((one | two).sum())
    return int((one & two).sum()) / either if either else 1.0


def crop_to_both(prediction, label):
    """Both masks cut to the box that holds them, plus one voxel: no distance changes, and far fewer are computed."""
    window = []
    both = prediction | label
    for axis in range(both.ndim):
        hit = np.flatnonzero(both.any(tuple(a for a in range(both.ndim) if a != axis)))
        window.append(slice(max(hit[0] - 1, 0), hit[-1] + 2))
    return prediction[tuple(window)], label[tuple(window)]


def surface_distances(prediction, label, spacing=1.0):
    """(from each surface voxel of the prediction to the label's surface, and the other way), in voxels, or in the unit
    of ``spacing``: a voxel's side, or all its sides.

    What medpy finds with a distance transform of the whole volume; the surfaces are few voxels, and a tree finds the
    nearest among them far sooner.
    """
    from scipy.ndimage import binary_erosion
    from scipy.spatial import cKDTree

    a, b = (np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in (prediction, label))
    return cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]


def sides_of(mask, spacing):
    """A voxel's sides, one an axis of ``mask``; ValueError for another number of them, or for one that isn't above 0.
    """
    sides = np.asarray(spacing, float)
    if sides.size > 1 and sides.shape != (mask.ndim,):
        raise ValueError(f"masks of {mask.ndim} axes have voxels of {mask.ndim} sides, not {sides}")
    if (sides <= 0).any():
        raise ValueError(f"a voxel's sides must be above 0 mm, not {sides}")
    return np.broadcast_to(sides, mask.ndim)


def nsd_of(one, two, tolerance, spacing):
    """Normalised surface distance: the share of both surfaces' voxels that lie within ``tolerance`` (mm) of the other
    surface, from 0 to 1; two empty masks agree.

    ``spacing``: a voxel's side in mm, or all its sides; NaN gives NaN.  A wall two voxels thin can't be judged by Dice,
    which a shift of one voxel halves; this says whether it lies where it should.
    Source: Nikolov et al. 2018 (arXiv:1809.04430), who weigh each voxel by its area; here all count alike, as in MONAI.
    Raises ValueError as ``case_metrics`` does.

    >>> wall, moved = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    >>> wall[2:4], moved[3:5] = True, True
    >>> dice_of(wall, moved), nsd_of(wall, moved, tolerance=0.5, spacing=0.5)
    (0.5, 1.0)
    """
    one, two = masks_of(one, two)
    sides = sides_of(one, spacing)
    if tolerance < 0:
        raise ValueError(f"the tolerance must be 0 mm or more, not {tolerance}")
    if np.isnan(sides).any():
        return float("nan")
    if not one.any() or not two.any():
        return float(one.any() == two.any())
    distances = np.hstack(surface_distances(*crop_to_both(one, two), sides))
    return float((distances <= tolerance * (1 + 1e-9)).mean())  # 2 voxels of 0.7 mm may come out above 1.4


def case_metrics(prediction, label, spacing=float("nan"), *, tolerance=None):
    """A dict of COLUMNS for one case; with a ``tolerance`` in mm of ``nsd`` too (see ``nsd_of``).

    ``prediction`` and ``label``: W x H x D masks, or W x H; ``spacing``: a voxel's side in mm, or all its sides (NaN
    where nobody knows: then what is in mm is NaN).

    ``dice`` and ``jaccard`` are shares of 1.  ``hd95`` is the 95th percentile of the surface distances of both
    directions pooled; ``asd`` the mean distance from the prediction's surface to the label's (one way), in voxels,
    and again in mm.

    An empty prediction is a failure, not a perfect score: ``empty`` is True, Dice and Jaccard are 0,
    and both distances are the volume's diagonal, the worst there is.
    Raises ValueError when the shapes differ, the label is empty, one of them is no mask, or a side isn't above 0.
    """
    prediction, label = masks_of(prediction, label)
    if not label.any():
        raise ValueError("the label is empty: no metric means anything")
    sides = sides_of(label, spacing)
    empty = not prediction.any()
    more = {} if tolerance is None else {"nsd": nsd_of(prediction, label, tolerance, sides)}
    if empty:
        dice, jaccard = 0.0, 0.0
        hd95 = asd = float(np.linalg.norm(label.shape))
        hd95_mm = asd_mm = float(np.linalg.norm(label.shape * sides))
    else:
        prediction, label = crop_to_both(prediction, label)
        dice, jaccard = dice_of(prediction, label), jaccard_of(prediction, label)
        hd95, asd = _distances(prediction, label)
        hd95_mm, asd_mm = hd95 * sides[0], asd * sides[0]
        if len(set(sides)) > 1:  # the nearest surface voxel in mm can be another one
            hd95_mm, asd_mm = (np.nan, np.nan) if np.isnan(sides).any() else _distances(prediction, label, sides)
    values = (dice, jaccard, hd95, asd, hd95_mm, asd_mm)
    return {**dict(zip(COLUMNS, map(float, values))), "empty": empty, **more}


def _distances(prediction, label, spacing=1.0):
    """(HD95, ASD)"""
    there, back = surface_distances(prediction, label, spacing)
    return np.percentile(np.hstack((there, back)), 95), there.mean()


def average(rows):
    """The mean of each column over the cases, and ``empty`` as the number of empty predictions."""
    names = COLUMNS[:-1] + ["nsd"] * ("nsd" in rows[0])
    mean = {name: float(np.mean([row[name] for row in rows])) for name in names}
    return {**mean, "empty": int(sum(row["empty"] for row in rows))}
