"""What tools/own_scans.py compares is the same scan, on one grid."""

import numpy as np
import own_scans
import SimpleITK as sitk
from scan_files import blob_scan

from laseg_lib.data.grid import array_of


def test_each_way_is_the_same_scan_stored_otherwise():
    scan, _ = blob_scan(np.eye(3), (1.0, 1.1, 0.9), (62, 56, 68))
    for way, image in own_scans.ways(scan).items():
        back = array_of(sitk.Resample(sitk.Cast(image, sitk.sitkFloat64), scan, sitk.Transform(), sitk.sitkLinear))
        apart = np.abs(back - array_of(scan))[2:-2, 2:-2, 2:-2]
        assert apart.max() < 1e-6 if way in ("flipped", "sagittal") else apart.mean() < 10, way  # of 600 to 1,100
        assert image.GetSize() != scan.GetSize() or way == "flipped"
