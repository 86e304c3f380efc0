"""Scans of a blob in any geometry, as files of any format, for the tests of reading and predicting."""

import contextlib
import locale

import numpy as np
import SimpleITK as sitk
import torch
from torch import nn

from laseg_lib.data.grid import image_of
from laseg_lib.transforms import rotation

CENTRE, RADII = np.array([12.0, -20.0, 31.0]), np.array([14.0, 9.0, 11.0])  # mm, in the patient
LEVEL = 700


def blob_scan(direction, spacing, size, dtype=np.int16):
    """(scan, label), SimpleITK's: an ellipsoid and, on its left and above, a smaller one, so that no mirror image is
    the same; bright as a ramp in mm.  Drawn by formula on the grid, so every geometry shows the same patient."""
    grid = image_of(np.zeros(size, np.uint8), spacing=spacing, origin=(0, 0, 0))
    grid.SetDirection(np.asarray(direction, float).ravel().tolist())
    middle = grid.TransformContinuousIndexToPhysicalPoint([(n - 1) / 2 for n in size])
    grid.SetOrigin((CENTRE + 2 - middle).tolist())
    index = np.stack(np.meshgrid(*map(np.arange, size), indexing="ij"))
    p = np.tensordot(np.asarray(direction) * spacing, index, 1) + np.reshape(grid.GetOrigin(), (3, 1, 1, 1))

    def depth(centre, radii):  # about mm inside
        q = (p - np.reshape(centre, (3, 1, 1, 1))) / np.reshape(radii, (3, 1, 1, 1))
        return (1 - np.sqrt((q**2).sum(0))) * min(radii)

    inside = np.maximum(depth(CENTRE, RADII), depth(CENTRE + (13, -3, 8), (6, 6, 6)))
    values = LEVEL + 100 * np.clip(inside, -4, 4)
    return image_of(values.astype(dtype), grid), image_of(np.uint8(values > LEVEL), grid)


def random_geometry(seed):
    """(direction, spacing, size): axes in any order and sense, oblique by up to 20 degrees in two of three cases."""
    rng = np.random.default_rng(seed)
    turn = rotation(np.deg2rad(rng.uniform(-20, 20, 3))) if seed % 3 else np.eye(3)
    direction = turn @ (np.eye(3)[rng.permutation(3)] * rng.choice([-1, 1], 3))
    spacing = rng.uniform(0.7, 1.5, 3)
    return direction, spacing, tuple(np.ceil(62 / spacing).astype(int).tolist())


@contextlib.contextmanager
def own_locale():
    """Give the process its locale back: SimpleITK leaves it at "C" when it writes DICOM."""
    before = locale.setlocale(locale.LC_ALL)
    try:
        yield
    finally:
        locale.setlocale(locale.LC_ALL, before)


@own_locale()
def write_dicom(image, folder):
    """A DICOM series, its files named in another order than its slices lie; returns the folder."""
    folder.mkdir(parents=True)
    direction = np.reshape(image.GetDirection(), (3, 3))
    writer = sitk.ImageFileWriter()
    writer.KeepOriginalImageUIDOn()
    for k in range(image.GetSize()[2]):
        one = image[:, :, k]
        place = image.TransformIndexToPhysicalPoint((0, 0, k))
        for tag, value in {
                "0008|0060": "MR", "0020|000d": "1.2.3", "0020|000e": "1.2.3.4", "0008|0018": f"1.2.3.4.{k + 1}",
                "0020|0013": str(k + 1), "0018|0050": str(image.GetSpacing()[2]),
                "0020|0032": "\\".join(f"{mm:.6f}" for mm in place),
                "0020|0037": "\\".join(f"{cosine:.8f}" for cosine in (*direction[:, 0], *direction[:, 1]))}.items():
            one.SetMetaData(tag, value)
        writer.SetFileName(str(folder / f"IM{k * 37 % 101:04d}.dcm"))
        writer.Execute(one)
    return folder


class Bright(nn.Module):
    """A network of one line: atrium is what is brighter than ``level``."""

    divisor = (1, 1, 1)

    def __init__(self, level):
        super().__init__()
        self.level = nn.Parameter(torch.tensor(float(level)))

    def forward(self, x):
        return torch.cat([0 * x, 2 * (x - self.level)], 1)


def bright(image):
    """The network for a scan, whose LEVEL is somewhere else once it is normalised."""
    values = sitk.GetArrayViewFromImage(image).astype(float)
    return Bright((LEVEL - values.mean()) / values.std())
