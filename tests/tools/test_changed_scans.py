"""What tools/changed_scans.py compares with the label is the same heart in the same place."""

import numpy as np
import pytest
from changed_scans import CHANGES, scan_of
from scipy import ndimage

from laseg_lib.data.grid import array_of, back_to


@pytest.mark.parametrize("change", CHANGES)
def test_a_changed_scan_lies_where_its_label_is(change):
    """Of a bright ball: its changed scan on the label's grid is brightest (or darkest) where the label is."""
    x, y, z = np.indices((66, 58, 42)) - np.array([30, 25, 22]).reshape(3, 1, 1, 1)
    label = np.uint8(x**2 + y**2 + 1.5 * z**2 < 12**2)
    image = ndimage.gaussian_filter(np.float32(label), 2) * 4 - 1
    scan, gold = CHANGES[change](image, label)
    values = array_of(back_to(scan, scan if scan.GetSize() == gold.shape else scan_of(gold)))
    sign = -1 if change == "dark and bright exchanged" else 1
    assert sign * (values[gold > 0].mean() - values[gold == 0].mean()) > 0.3 * np.ptp(values)
    inner = (slice(8, -8),) * 3  # resampling gives 0 beyond the last thick slice
    middle = ndimage.center_of_mass((sign * values)[inner] > np.percentile((sign * values)[inner], 93))
    np.testing.assert_allclose(middle, ndimage.center_of_mass(gold[inner]), atol=1)
