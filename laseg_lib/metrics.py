"""How good a segmentation is: Dice, Jaccard, HD95 and ASD, by medpy's definitions, as the tables have them."""

import numpy as np

COLUMNS = ["dice", "jaccard", "hd95", "asd", "hd95_mm", "asd_mm", "empty"]


def dice_of(one, two):
    """2 |A and B| / (|A| + |B|) of two masks, from 0 (no overlap) to 1; two empty masks agree."""
    one, two = np.asarray(one, bool), np.asarray(two, bool)
    both = int(one.sum()) + int(two.sum())
    return 2 * int((one & two).sum()) / both if both else 1.0


def jaccard_of(one, two):
    """|A and B| / |A or B| of two masks, from 0 to 1; two empty masks agree."""
    one, two = np.asarray(one, bool), np.asarray(two, bool)
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


def surface_distances(prediction, label):
    """(from each surface voxel of the prediction to the label's surface, and the other way), in voxels.

    What medpy finds with a distance transform of the whole volume; the surfaces are few voxels, and a tree finds the
    nearest among them far sooner.
    """
    from scipy.ndimage import binary_erosion
    from scipy.spatial import cKDTree

    a, b = (np.argwhere(mask & ~binary_erosion(mask)) for mask in (prediction, label))
    return cKDTree(b).query(a)[0], cKDTree(a).query(b)[0]


def case_metrics(prediction, label, spacing=float("nan")):
    """A dict of COLUMNS for one case.

    ``prediction`` and ``label``: W x H x D masks; ``spacing``: a voxel's side in mm (NaN where
    that is not one number: then the two distances in mm are NaN).

    ``dice`` and ``jaccard`` are shares of 1.  ``hd95`` is the 95th percentile of the surface distances of both
    directions pooled; ``asd`` the mean distance from the prediction's surface to the label's (one way), in voxels,
    and again in mm.

    An empty prediction is a failure, not a perfect score: ``empty`` is True, Dice and Jaccard are 0,
    and both distances are the volume's diagonal, the worst there is.
    Raises ValueError when the shapes differ or the label is empty.
    """
    prediction, label = np.asarray(prediction, bool), np.asarray(label, bool)
    if prediction.shape != label.shape:
        raise ValueError(f"prediction {prediction.shape} and label {label.shape} differ in shape")
    if not label.any():
        raise ValueError("the label is empty: no metric means anything")
    empty = not prediction.any()
    if empty:
        dice, jaccard, hd95 = 0.0, 0.0, float(np.linalg.norm(label.shape))
        asd = hd95
    else:
        prediction, label = crop_to_both(prediction, label)
        dice, jaccard = dice_of(prediction, label), jaccard_of(prediction, label)
        there, back = surface_distances(prediction, label)
        hd95, asd = np.percentile(np.hstack((there, back)), 95), there.mean()
    values = (dice, jaccard, hd95, asd, hd95 * spacing, asd * spacing)
    return {**dict(zip(COLUMNS, map(float, values))), "empty": empty}


def average(rows):
    """The mean of each column over the cases, and ``empty`` as the number of empty predictions."""
    mean = {name: float(np.mean([row[name] for row in rows])) for name in COLUMNS[:-1]}
    return {**mean, "empty": int(sum(row["empty"] for row in rows))}
