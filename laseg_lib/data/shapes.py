"""Shapes by formula: signed distances, and smooth random fields.

A *signed distance function* gives, for each point, the distance to a shape's surface, negative inside.
``minimum`` of two distances is their union, ``maximum`` what they share, ``-d`` the outside, ``d - 2`` the
shape grown by 2. The formulas are those of Quilez, https://iquilezles.org/articles/distfunctions.

Points ``p`` are one float32 array of shape (3, W, H, D), the x, y and z of each voxel; lengths are in mm.
"""

import numpy as np


def column(v):
    """Three numbers in a shape that broadcasts with ``p``; float32, because float64 would spread from here."""
    return np.reshape(np.float32(v), (3, 1, 1, 1))


def length(q):
    return np.sqrt(np.einsum("i...,i...", q, q))


def ellipsoid(p, centre, radii):
    """Distance to an ellipsoid; a close bound, exact for a sphere."""
    q = (p - column(centre)) / column(radii)
    k = length(q)
    tiny = 1e-6  # at the very centre 0 / 0 becomes the smallest radius
    return (k - 1) * (k + tiny * min(radii)) / (length(q / column(radii)) + tiny)


def tube(p, points, radii):
    """Distance to a bent tube through ``points``, its radius changing evenly between them."""
    points, radii = np.float32(points), np.float32(radii)
    best = np.float32(np.inf)
    for k, axis in enumerate(np.diff(points, axis=0)):
        q = p - column(points[k])
        t = np.clip(np.tensordot(axis, q, 1) / (axis @ axis), 0, 1)  # how far along the axis, 0 to 1
        best = np.minimum(best, length(q - t * column(axis)) - (radii[k] + t * (radii[k + 1] - radii[k])))
    return best


def smooth_union(a, b, fillet):
    """Smooth minimum: the union of two shapes with the crease between them filled (a quadratic spline)."""
    h = np.maximum(fillet - np.abs(a - b), 0) / fillet
    return np.minimum(a, b) - h * h * fillet / 4


def waves(rng, axes, wavelength, n=48):
    """Smooth random field of unit variance on the grid of three 1-D ``axes``: a sum of n products of cosines.

    Given by formula, so it is the same field however fine the grid is.
    """
    f = rng.standard_normal((3, n, 1)) * 2 * np.pi / wavelength
    phase = rng.uniform(0, 2 * np.pi, (3, n, 1))
    x, y, z = (np.cos(f[i] * axes[i] + phase[i]).astype(np.float32) for i in range(3))
    flat = (x[:, :, None] * y[:, None, :]).reshape(n, -1).T @ z
    return np.sqrt(8 / n, dtype=np.float32) * flat.reshape([len(a) for a in axes])
