"""Augmentation: random changes of a volume and its label.

Each transform takes and returns a sample ``{'image': (W, H, D), 'label': (W, H, D)}``, or with two images (W, H): NumPy
arrays, or tensors on any device.  A crop is a view of its volume.  Crops, turns and mirrors move any other map of the
image's shape, too.

The dtypes stay, except in ``ToTensor``.  Raises ValueError for a sample without a label, and if image and label differ
in shape or have channels.

``rng``: a ``numpy.random.Generator``; None draws from NumPy's global state; TypeError for anything else.
"""

from itertools import combinations

import numpy as np
import torch
import torch.nn.functional as F

from .runtime.randomness import checked, integer, uniform

MOST_CLASSES = 100  # each class takes memory and time


def _each(sample, function):
    """``sample`` with ``function`` applied to image, label and any other map of their shape."""
    return {**sample, **{name: function(sample[name]) for name in _maps(sample)}}


def _maps(sample):
    """The names of the arrays that have the image's shape.  Errors: as in ``_require_alike``, and ValueError for an
    array with channels, which would stay as it is."""
    _require_alike(sample)
    shape, held = tuple(sample["image"].shape), {name: tuple(getattr(a, "shape", ())) for name, a in sample.items()}
    if several := [name for name, found in held.items() if shape in (found[1:], found[:-1])]:
        raise ValueError(f"{several[0]} {held[several[0]]} has channels; transform each of them as a map of its own")
    return [name for name, found in held.items() if found == shape]


def _require_alike(sample):
    """ValueError if image and label differ in shape, as after ``ToTensor``, or have a channel axis (it would
    be turned).  ValueError for a label of floats that are not whole, because they would be rounded down."""
    image, label = sample["image"], sample.get("label")
    if label is None:
        raise ValueError("the sample has no label; give an unlabelled volume a label of zeros, as LAHeart does")
    if tuple(image.shape) != tuple(label.shape) or len(image.shape) > 3:
        raise ValueError(f"image {tuple(image.shape)} and label {tuple(label.shape)} differ in shape or have channels; "
                         "transform them before ToTensor, and each channel alone")
    if (label.dtype.kind == "f" if isinstance(label, np.ndarray) else label.is_floating_point()) and (
            label % 1 != 0).any():
        raise ValueError("the label holds others than whole numbers: give the class of each voxel, not probabilities")


class RandomRotFlip:
    """Turn by k x 90 degrees in the W-H plane, then mirror along W or H with ``flip_probability``.  An odd k swaps the
    sides W and H.

    The walkthrough always mirrors (``flip_probability=1``): of the square's 8 symmetries only the
    4 mirror images occur, and never the heart as it is.  With 0.5 all 8 are equally likely.

    >>> turn = RandomRotFlip(rng=np.random.default_rng(0))
    >>> turn({"image": np.array([[1, 2], [3, 4]]), "label": np.array([[0, 0], [0, 1]])})["image"].tolist()
    [[1, 3], [2, 4]]
    """

    def __init__(self, *, flip_probability=0.5, rng=None):
        self.flip_probability, self.rng = flip_probability, checked(rng)

    def __call__(self, sample):
        k, axis = integer(self.rng, 0, 4), integer(self.rng, 0, 2)
        flip = self.flip_probability >= 1 or uniform(self.rng) < self.flip_probability

        def turn(volume):
            numpy = isinstance(volume, np.ndarray)
            volume = np.rot90(volume, k) if numpy else torch.rot90(volume, k)
            if flip:
                volume = np.flip(volume, axis) if numpy else torch.flip(volume, (axis,))
            return np.ascontiguousarray(volume) if numpy else volume  # torch.from_numpy refuses negative strides

        return _each(sample, turn)


def rotation(angles):
    """The 3 x 3 rotation matrix (float64) of three ``angles`` (radians) about the first, second and third axis, in
    that order; for one angle the 2 x 2 matrix."""
    dims = 2 if len(angles) == 1 else 3
    matrix = np.eye(dims)
    for (i, j), angle in zip(reversed(list(combinations(range(dims), 2))), angles, strict=True):
        turn = np.eye(dims)
        turn[[i, j], [i, j]], turn[i, j], turn[j, i] = np.cos(angle), -np.sin(angle), np.sin(angle)
        matrix = matrix @ turn
    return matrix


def resample(volumes, matrices):
    """``volumes`` (B, C, W, H, D) float, transformed: output(p) = input(matrix p), p in voxels from the middle.
    Interpolation is trilinear; the border is repeated.  ``matrices``: (B, 3, 3); for images (B, 2, 2)."""
    # torch's positions run from -1 to 1 along each side, last axis first; the matrix is for positions in voxels.
    sides = np.array(volumes.shape[:1:-1], float)
    flipped = np.asarray(matrices)[:, ::-1, ::-1] * sides / sides[:, None]
    theta = np.concatenate([flipped, np.zeros((*flipped.shape[:2], 1))], 2)
    theta = torch.as_tensor(theta, dtype=volumes.dtype, device=volumes.device)
    grid = F.affine_grid(theta, (len(volumes), 1, *volumes.shape[2:]), align_corners=False)
    return F.grid_sample(volumes, grid, mode="bilinear", padding_mode="border", align_corners=False)


class RandomAffine:
    """Rotate by up to ``degrees`` about each axis and scale all sides by one factor from 1/``scale`` to ``scale``
    (log-uniform), with ``probability``: patients differ a little in position and size.

    The image is resampled trilinearly.  Each class of the label is resampled in the same way, and a voxel gets the
    class with the greatest share.  Outside the volume its border is repeated.  Use it before ``ToTensor``.
    Raises ValueError for a label below 0 or above ``MOST_CLASSES``, and for another map of the image's shape.
    """

    def __init__(self, degrees=15.0, scale=1.2, *, probability=0.5, rng=None):
        self.degrees, self.scale, self.probability, self.rng = degrees, scale, probability, checked(rng)

    def draw(self, dims=3):
        """A random matrix; with probability 1 - ``probability`` it is the identity."""
        if uniform(self.rng) >= self.probability:
            return np.eye(dims)
        angles = [np.deg2rad(self.degrees) * (2 * uniform(self.rng) - 1)
                  for _ in range(3 if dims == 3 else 1)]
        return rotation(angles) * self.scale ** (2 * uniform(self.rng) - 1)

    def __call__(self, sample):
        if other := set(_maps(sample)) - {"image", "label"}:
            raise ValueError(f"the sample holds {min(other)} beside image and label: RandomAffine can't know how to "
                             "interpolate it; leave it out, or make it from the transformed label")
        matrix = self.draw(sample["image"].ndim)
        if (matrix == np.eye(len(matrix))).all():
            return sample
        image, label = _copy(sample["image"], "float32"), _copy(sample["label"], "int64")
        both = torch.stack([image, *(share.float() for share in each_class(label))])[None]
        image, *shares = resample(both, matrix[None])[0]
        label = of_greatest_share(torch.stack(shares))
        return {**sample, "image": _like(image, sample["image"]), "label": _like(label, sample["label"])}


def each_class(label):
    """A bool mask for each class 1 to K in ``label``, a tensor of whole numbers; K is the largest that occurs.
    ValueError for a value below 0 or above ``MOST_CLASSES``, such as the challenge's 255."""
    least, most = int(label.min()), int(label.max())
    if least < 0 or most > MOST_CLASSES:
        raise ValueError(f"the label holds values from {least} to {most}: give the classes as 0, 1, 2 and so on, at "
                         f"most {MOST_CLASSES}")
    return [label == k for k in range(1, max(most, 1) + 1)]


def of_greatest_share(shares):
    """The label (int64) with the greatest share in each voxel.  ``shares`` (K, ...): of the classes 1 to K; the rest is
    background's, which loses every tie."""
    most, k = shares.max(0)
    return torch.where(most >= 1 - shares.sum(0), k + 1, 0)


def pad_to(volume, size):
    """``volume`` with zeros added equally at both ends of each axis, so that no side is shorter than in ``size``."""
    missing = [max(want - have, 0) for want, have in zip(size, volume.shape)]
    if not any(missing):
        return volume
    widths = [(m // 2, m - m // 2) for m in missing]
    if isinstance(volume, np.ndarray):
        return np.pad(volume, widths)
    return F.pad(volume, [n for pair in reversed(widths) for n in pair])


class _Crop:
    def __init__(self, output_size):
        output_size = np.asarray(output_size).tolist()  # NumPy's numbers and arrays become plain ones
        self.output_size = output_size if isinstance(output_size, int) else tuple(output_size)
        if not isinstance(output_size, int) and len(self.output_size) not in (2, 3):
            raise ValueError("output_size must be three sides W, H, D (for an image two), or one number for all; not "
                             f"{self.output_size}")
        if np.min(self.output_size) < 1:
            raise ValueError(f"output_size is {self.output_size}; each side must be 1 voxel or more")

    def __call__(self, sample):
        shape = tuple(sample["image"].shape)
        size = (self.output_size,) * len(shape) if isinstance(self.output_size, int) else self.output_size
        if len(size) != len(shape):
            raise ValueError(f"output_size {size} has {len(size)} sides, the volume {shape} has {len(shape)}")
        corner = [self.offset(max(have - want, 0)) for have, want in zip(shape, size)]
        window = tuple(slice(c, c + side) for c, side in zip(corner, size))
        return _each(sample, lambda volume: pad_to(volume, size)[window])


class CenterCrop(_Crop):
    """The central patch, ``output_size`` (W, H, D) voxels; smaller volumes are padded with zeros.  ValueError for a
    side below 1, and for another number of sides than the volume has.

    >>> CenterCrop(2)({"image": np.arange(4), "label": np.zeros(4)})["image"]
    array([1, 2])
    """

    def offset(self, room):
        return round(room / 2)  # an odd room is rounded as in the walkthrough


class RandomCrop(_Crop):
    """A random patch, ``output_size`` (W, H, D) voxels; smaller volumes are padded with zeros.  Errors: as
    ``CenterCrop``.

    ``walkthrough_offsets=True`` draws from [0, room) as the walkthrough does, and never gives the last offset.

    >>> RandomCrop((8, 8, 4))({"image": np.zeros((9, 7, 6)), "label": np.zeros((9, 7, 6))})["image"].shape
    (8, 8, 4)
    """

    def __init__(self, output_size, *, walkthrough_offsets=False, rng=None):
        super().__init__(output_size)
        self.walkthrough_offsets, self.rng = walkthrough_offsets, checked(rng)

    def offset(self, room):
        return integer(self.rng, 0, max(room, 1) if self.walkthrough_offsets else room + 1)


class ToTensor:
    """Copies: ``image`` to float32 (1, W, H, D), ``label`` to int64 (W, H, D), contiguous, on the same device."""

    def __call__(self, sample):
        _require_alike(sample)
        image, label = _copy(sample["image"], "float32"), _copy(sample["label"], "int64")
        return {**sample, "image": image[None], "label": label}


def _copy(volume, dtype):
    if isinstance(volume, np.ndarray):  # turned, cropped and converted in one pass
        return torch.from_numpy(np.array(volume, dtype, order="C"))
    return volume.to(getattr(torch, dtype), memory_format=torch.contiguous_format, copy=True)


def _like(volume, given):
    """The tensor ``volume`` as an array, or as a tensor, of the dtype of ``given``."""
    numpy = isinstance(given, np.ndarray)
    if not (given.dtype.kind == "f" if numpy else given.is_floating_point()):
        volume = volume.round()
    return volume.numpy().astype(given.dtype, copy=False) if numpy else volume.to(given.dtype)


class Compose:
    """Applies one transform after another.  torchvision's ``Compose`` can be used in its place."""

    def __init__(self, transforms):
        self.transforms = transforms

    def __call__(self, sample):
        for transform in self.transforms:
            sample = transform(sample)
        return sample
