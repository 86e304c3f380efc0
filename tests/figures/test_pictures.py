"""What is stored of a picture: small, and with greys enough for a scan."""

import io

import numpy as np
from PIL import Image

from laseg_lib.figures.pictures import GREYS, to_png


def stored(picture):
    return np.asarray(Image.open(io.BytesIO(to_png(picture, small=True))).convert("RGB")).astype(int)


def test_a_scan_keeps_at_least_two_hundred_greys_beside_its_outlines():
    scan = np.repeat(np.tile(np.arange(256, dtype=np.uint8), (64, 1))[..., None], 3, 2).copy()
    scan[10:13], scan[30:33] = (230, 159, 0), (0, 158, 115)
    found = stored(scan)
    assert GREYS >= 200 and len(np.unique(found[0, :, 0])) >= 200
    assert np.abs(found - scan).max() <= 3


def test_a_picture_all_in_colour_keeps_its_colours():
    wide = np.linspace(0, 255, 128).astype(np.uint8)
    red, blue = np.tile(wide, (64, 1)), np.tile(wide[::-1], (64, 1))
    picture = np.stack([red, np.full_like(red, 90), blue], 2)
    found = stored(picture)
    assert len(np.unique(found.reshape(-1, 3), axis=0)) > 100 and np.abs(found - picture).max() <= 8


def test_a_grey_picture_without_any_colour_is_stored_too():
    assert np.abs(stored(np.full((8, 8, 3), 77, np.uint8)) - 77).max() <= 1
