"""The metrics of a segmentation: Dice, Jaccard, HD95 and ASD by medpy's definitions, as in the published tables."""

import numpy as np

COLUMNS = ["dice", "jaccard", "hd95", "asd", "hd95_mm", "asd_mm", "empty"]


def masks_of(one, two):
    """Two masks as bool arrays.  ValueError if shapes differ, if one holds probabilities, several labels or
    NaN, or if their values differ (1 and 2 are different classes; 1 and 255 are allowed)."""
    masks, values = [], set()
    for mask in map(np.asarray, (one, two)):
        most = mask.max() if mask.size else 0
        if mask.dtype != bool and (most % 1 or not ((mask == 0) | (mask == most)).all()):
            raise ValueError(f"a mask holds 0 and one other value, this one {np.unique(mask)[:4].tolist()} and so "
                             "on: compare it with a threshold, or with the label's value, first")
        values |= {int(most)} if mask.dtype != bool and most else set()
        masks.append(mask.astype(bool))
    if len(values) > 1 and values != {1, 255}:
        raise ValueError(f"one mask holds 0 and {min(values)}, the other 0 and {max(values)}, so they show different "
                         "classes: compare each label with the value of one class first")
    if masks[0].shape != masks[1].shape:
        raise ValueError(f"{masks[0].shape} and {masks[1].shape} differ in shape")
    return masks


def dice_of(one, two):
    """2 |A and B| / (|A| + |B|) of two masks, from 0 (no overlap) to 1; two empty masks agree."""
    one, two = masks_of(one, two)
    both = int(one.sum()) + int(two.sum())
    return 2 * int((one & two).sum()) / both if both else 1.0


def mean_dice_of(one, two):
    """The mean of ``dice_of`` over the classes 1 and above that occur in either of two labels; 1 if none occurs."""
    values = np.union1d(one, two)
    if (values % 1 != 0).any() or values.max() > 100:
        raise ValueError("a label holds others than the whole numbers 0 to 100: give the class of each voxel, not "
                         "probabilities, nor 255 for 1")
    return float(np.mean([dice_of(one == k, two == k) for k in values if k] or [1.0]))


def jaccard_of(one, two):
    """|A and B| / |A or B| of two masks, from 0 to 1; two empty masks agree."""
    one, two = masks_of(one, two)
    either = int((one | two).sum())
    return int((one & two).sum()) / either if either else 1.0


def crop_to_both(prediction, label):
    """Both masks cut to their common bounding box plus one voxel.  No distance changes, and the box is far smaller."""
    from scipy.ndimage import find_objects

    box = find_objects((prediction | label).astype(np.uint8))[0]
    window = tuple(slice(max(side.start - 1, 0), side.stop + 1) for side in box)
    return prediction[window], label[window]


def surface_distances(prediction, label, spacing=1.0):
    """The distance of each surface voxel of ``prediction`` to ``label``'s surface, and the reverse.

    Two float64 arrays, from two bool masks that aren't empty.  ``spacing``: a voxel's side, or all
    its sides; distances have its unit, voxels by default.  medpy computes a distance transform of
    the whole volume.  A search tree over the few surface voxels gives the same distances, and is
    far faster.
    """
    from scipy.ndimage import binary_erosion
    from scipy.spatial import cKDTree

    a, b = (np.argwhere(mask & ~binary_erosion(mask)) * spacing for mask in (prediction, label))
    return cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]


def sides_of(mask, spacing):
    """A voxel's sides, one for each axis of ``mask``.  ValueError for a mask that isn't W x H x D or W x H, a wrong
    number of sides, or a side that isn't above 0."""
    if mask.ndim not in (2, 3) or mask.ndim == 3 and 1 in mask.shape[::2]:
        raise ValueError(f"masks must be W x H x D or W x H, not {mask.shape}: in one slice, or with a batch axis, "
                         "every voxel would count as surface")
    sides = np.asarray(spacing, float)
    if sides.size > 1 and sides.shape != (mask.ndim,):
        raise ValueError(f"masks with {mask.ndim} axes need a spacing with {mask.ndim} sides, not {sides}")
    if (sides <= 0).any():
        raise ValueError(f"a voxel's sides must be above 0 mm, not {sides}")
    return np.broadcast_to(sides, mask.ndim)


def nsd_of(one, two, tolerance, spacing):
    """Normalised surface distance: the share of both surfaces' voxels that lie within ``tolerance`` (mm) of the other
    surface, from 0 to 1; two empty masks agree.

    ``spacing``: a voxel's side in mm, or all its sides; NaN gives NaN.  A shift of one voxel halves the Dice of a wall
    of two voxels, but not this metric.
    Source: Nikolov et al. 2018 (arXiv:1809.04430) with weights by area; here weights are equal, as in MONAI.
    Raises ValueError for other shapes, for no masks, for a side of 0 or less, and for a tolerance below 0.

    >>> wall, moved = np.zeros((8, 8), bool), np.zeros((8, 8), bool)
    >>> wall[2:4], moved[3:5] = True, True
    >>> dice_of(wall, moved), nsd_of(wall, moved, tolerance=0.5, spacing=0.5)
    (0.5, 1.0)
    """
    one, two = masks_of(one, two)
    sides = sides_of(one, spacing)
    if not tolerance >= 0:
        raise ValueError(f"the tolerance must be 0 mm or more, not {tolerance}")
    if np.isnan(sides).any():
        return float("nan")
    if not one.any() or not two.any():
        return float(one.any() == two.any())
    distances = np.hstack(surface_distances(*crop_to_both(one, two), sides))
    return float((distances <= tolerance * (1 + 1e-9)).mean())  # 2 voxels of 0.7 mm may be rounded to more than 1.4


def case_metrics(prediction, label, spacing=float("nan"), *, tolerance=None):
    """A dict of COLUMNS for one case; with a ``tolerance`` in mm also ``nsd`` (see ``nsd_of``).

    ``prediction`` and ``label``: W x H x D masks, or W x H.  ``spacing``: a voxel's side in mm, or all its sides; NaN
    gives NaN in mm.

    ``dice`` and ``jaccard`` are from 0 to 1.  ``hd95`` is the 95th percentile of the surface distances of both
    directions pooled.  ``asd`` is the mean distance from the prediction's surface to the label's, in one direction.
    Both are in voxels, and again in mm.

    An empty prediction is a failure, not a perfect score: ``empty`` is True, Dice and Jaccard are 0, and both
    distances are the volume's diagonal, the largest possible.
    Raises ValueError if the shapes differ, the label is empty, one of the two is no mask, or a side isn't above 0.
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
        if len(set(sides)) > 1:  # the nearest surface voxel in mm can be another one than in voxels
            hd95_mm, asd_mm = (np.nan, np.nan) if np.isnan(sides).any() else _distances(prediction, label, sides)
    values = (dice, jaccard, hd95, asd, hd95_mm, asd_mm)
    return {**dict(zip(COLUMNS, map(float, values))), "empty": empty, **more}


def _distances(prediction, label, spacing=1.0):
    """(HD95, ASD)"""
    there, back = surface_distances(prediction, label, spacing)
    return np.percentile(np.hstack((there, back)), 95), there.mean()


def average(rows):
    """The mean of each column over ``rows`` (at least one, of ``case_metrics``), and ``empty`` as the number of empty
    predictions."""
    names = COLUMNS[:-1] + ["nsd"] * ("nsd" in rows[0])
    mean = {name: float(np.mean([row[name] for row in rows])) for name in names}
    return {**mean, "empty": int(sum(row["empty"] for row in rows))}
