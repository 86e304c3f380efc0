"""A scan's grid: normalising, straightening, and resampling back.

Arrays are W x H x D, so the first index is x; SimpleITK's own arrays run the other way.
"""

import numpy as np
import torch
import torch.nn.functional as F

from ..errors import LasegError
from ..runtime.machine import notify, require_memory
from ..transforms import each_class, of_greatest_share
from .volumes import SPACING_MM

STRAIGHT = np.eye(3)


def array_of(image):
    """SimpleITK's image as an array W x H x D."""
    import SimpleITK as sitk

    return sitk.GetArrayFromImage(image).T


def image_of(array, like=None, *, spacing=None, origin=None):
    """An array W x H x D as SimpleITK's image.  It has the geometry of the image ``like``, or straight axes,
    a voxel's ``spacing`` and the first voxel's ``origin``, both in mm.  An array K x W x H x D becomes an
    image of four axes, or of three if K = 1."""
    import SimpleITK as sitk

    if np.ndim(array) == 4:
        images = [image_of(one, like, spacing=spacing, origin=origin) for one in array]
        return sitk.JoinSeries(images) if len(images) > 1 else images[0]
    image = sitk.GetImageFromArray(np.ascontiguousarray(np.asarray(array).T))
    if like is not None:
        image.CopyInformation(like)
    else:
        image.SetSpacing(np.asarray(spacing, float).tolist())
        image.SetOrigin(np.asarray(origin, float).tolist())
    return image


def normalise(array, path, measured=None):
    """``array`` as float32 with zero mean and unit variance over the scan, or over its voxels ``measured`` (bool);
    LasegError if its voxels are all equal or not finite."""
    values = np.asarray(array, np.float64)
    counted = values if measured is None else values[measured]
    with np.errstate(all="ignore"):
        result = np.float32((values - counted.mean()) / counted.std())
    if not np.isfinite(result).all() or not result.any():
        raise LasegError(f"{path}: voxels are not finite, all equal, or far too large; export the scan again")
    some = result[::3, ::3, ::3]
    low, high = np.percentile(some, (1, 99))
    if high - low < 0.1:  # such as the value of missing data
        notify(f"WARNING: {path}: a few voxels are so much larger or smaller than all others (from {values.min():.3g} "
               f"to {values.max():.3g}) that the others look the same; replace these few, and do not trust its mask")
    elif len(np.unique(some)) < 5:
        notify(f"WARNING: {path}: holds only a few different values, like a mask; is it a scan? Do not trust its mask")
    return result


def corner_distance(one, two):
    """The greatest distance in mm between the positions of the same corner voxel in two images of one size."""
    corners = (np.array(list(np.ndindex(2, 2, 2))) * np.subtract(one.GetSize(), 1)).tolist()
    return max(np.linalg.norm(np.subtract(*(image.TransformIndexToPhysicalPoint(corner) for image in (one, two))))
               for corner in corners)


def same_grid(one, two, share=0.01):
    """Whether two images have the same size, and the same positions of their voxels to a ``share`` of a voxel."""
    return one.GetSize() == two.GetSize() and corner_distance(one, two) <= share * min(one.GetSpacing())


def has_straight_axes(image):
    """Whether the axes are parallel to the patient's, in any order, to a thousandth."""
    direction = np.abs(np.reshape(image.GetDirection(), (3, 3)))
    return np.abs(direction - np.round(direction)).max() < 1e-3


def wedges_in(image):
    """The voxels of an oblique scan that no scanner measured, bool W x H x D; None if there are none.

    A tool that resampled the scan to an oblique grid filled the outside, which has the form of wedges, with one value.
    At least half of the corners and a hundredth of the voxels have this value, and the wedges touch the
    border.  The voxels next to a wedge count as wedge, because they may be mixtures.  In a straight scan
    there are no wedges: air can have one value, but air was measured.
    """
    from scipy import ndimage

    if has_straight_axes(image):
        return None
    values = array_of(image)
    corners, counts = np.unique(values[::values.shape[0] - 1, ::values.shape[1] - 1, ::values.shape[2] - 1],
                                return_counts=True)
    same = values == corners[counts.argmax()]
    if counts.max() < 4 or same.mean() < 0.01 or same.all():
        return None
    parts, _ = ndimage.label(np.pad(same, 1, constant_values=True))  # everything connected to the border is one part
    return ndimage.binary_dilation((parts == parts[0, 0, 0])[1:-1, 1:-1, 1:-1])


def box_with_structure(volume, voxel, smooth_mm=2.0, around_mm=10.0, share=0.15):
    """The box (slices; all of z) of a scan without the air and noise around it.  Inside, the smoothed scan varies
    within ``around_mm`` by at least a ``share`` of the whole scan's standard deviation.

    A network has never seen a border of noise.  InstanceNorm makes it as strong as a heart, and the mask beside it
    suffers.  Blocks of voxels of up to an eighth of ``around_mm`` are averaged first, because fewer voxels are faster.
    """
    from scipy import ndimage

    blocks = [min(max(int(around_mm / 8 / mm + 1e-3), 1), side) for mm, side in zip(voxel, volume.shape)]
    whole, voxel = volume.shape, np.multiply(voxel, blocks)
    volume = F.avg_pool3d(torch.from_numpy(np.ascontiguousarray(volume))[None], blocks, ceil_mode=True)[0].numpy()
    smooth = ndimage.gaussian_filter(volume, np.divide(smooth_mm, voxel))
    size = [max(round(around_mm / mm), 1) for mm in voxel]
    mean, square = (ndimage.uniform_filter(values, size, mode="nearest") for values in (smooth, smooth**2))
    varies = square - mean**2 >= (share * smooth.std()) ** 2
    # The found region reaches half of ``around_mm`` beyond the body's edge; the minimum filter takes that back.
    found = ndimage.find_objects(np.int32(ndimage.minimum_filter(varies, size, mode="nearest")))
    if not found:
        return (slice(None),) * 3
    return (*(slice(part.start * n, min(part.stop * n, side)) for part, n, side in zip(found[0][:2], blocks, whole)),
            slice(None))


def normalised_and_straight(image, path, voxel_mm=SPACING_MM):
    """A scan as SimpleITK's image, straight and normalised over all measured voxels, float32; see ``straighten``.

    A scan with wedges is cut to the box of its measured voxels.  In this box a wedge's voxels repeat the
    nearest measured voxel.  If the measured voxels fill less than 0.8 of the box, the supposed wedges are air
    around a body (an ellipse fills 0.785).  Air was measured, so the scan is not cut.
    """
    import SimpleITK as sitk
    from scipy import ndimage

    values, wedges = array_of(image), wedges_in(image)
    if wedges is not None and not wedges.all():
        require_memory(20 * values.size, torch.device("cpu"), path, "crop this scan")
        measured = image_of(np.float32(~wedges), image)
        there = np.int32(array_of(sitk.Resample(measured, straighten(measured, voxel_mm))) > 0.5)
        box, = ndimage.find_objects(there) or [None]
        if box and there[box].mean() > 0.8:
            values = normalise(values, path, ~wedges)
            nearest = ndimage.distance_transform_edt(wedges, image.GetSpacing(), return_distances=False,
                                                     return_indices=True)
            return straighten(image_of(values[tuple(nearest)], image), voxel_mm)[box]
    return straighten(image_of(normalise(values, path), image), voxel_mm)


def straighten(image, voxel_mm=SPACING_MM):
    """``image`` with straight axes and voxels of ``voxel_mm`` (a number or three; None: the scan's own sides).

    Axes are swapped and reversed without changing a value.  Only an oblique scan, or one with other voxels, is
    interpolated, by cubic B-splines: linear interpolation would blur it, unlike the scans of the training.  Outside the
    scan its border is repeated, as in ``RandomAffine``: the network has seen that in training, but never a black wedge.
    """
    import SimpleITK as sitk

    image = sitk.DICOMOrient(image, "LPS")
    voxel = np.array(image.GetSpacing()) if voxel_mm is None else np.broadcast_to(np.asarray(voxel_mm, float), 3)
    if has_straight_axes(image) and np.allclose(image.GetSpacing(), voxel, rtol=1e-3, atol=0):
        return image
    size = np.array(image.GetSize())
    corners = [image.TransformContinuousIndexToPhysicalPoint((bits * size - 0.5).tolist())
               for bits in np.array(list(np.ndindex(2, 2, 2)))]
    low, high = np.min(corners, 0), np.max(corners, 0)
    sides = np.maximum(np.ceil((high - low) / voxel - 1e-3), 1)
    require_memory(12 * np.prod(sides) + 16 * np.prod(size), torch.device("cpu"),
                   f"a scan of {sides.astype(int)} voxels, once straight,",
                   "crop it, or use larger voxels")
    resample = sitk.ResampleImageFilter()
    resample.SetSize(sides.astype(int).tolist())
    resample.SetOutputSpacing(voxel.tolist())
    resample.SetOutputOrigin((low + voxel / 2).tolist())
    resample.SetOutputDirection(STRAIGHT.ravel().tolist())
    resample.SetInterpolator(sitk.sitkBSpline)
    resample.SetUseNearestNeighborExtrapolator(True)
    resample.SetOutputPixelType(sitk.sitkFloat32)
    return resample.Execute(image)


def back_to(image, like):
    """A result on a straight grid (float, 0 outside) resampled to the grid of the scan ``like``, trilinear."""
    import SimpleITK as sitk

    return sitk.Resample(image, like, sitk.Transform(), sitk.sitkLinear, 0.0, sitk.sitkFloat32)


def on_grid(label, grid):
    """A label (SimpleITK's image of 0 and 1 to K) resampled to another ``grid``, uint8 W x H x D: each class is
    interpolated, and a voxel gets the class with the greatest share."""
    import SimpleITK as sitk

    each = [sitk.Resample(image_of(np.float32(mask), label), grid, sitk.Transform(), sitk.sitkLinear, 0.0)
            for mask in each_class(torch.from_numpy(array_of(label)))]
    return np.uint8(of_greatest_share(torch.stack([torch.from_numpy(array_of(share)) for share in each])))
