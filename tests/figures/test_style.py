"""Colours, dashes and markers: told apart by people with a colour blindness, and in grey."""

from itertools import combinations

import numpy as np
import pytest
from PIL.ImageColor import getrgb
from skimage.color import rgb2lab

from laseg_lib.figures.style import LOOKS, looks

# Machado, Oliveira and Fernandes 2009, severity 1, for linear RGB.
SIMULATION = {
    "normal": np.eye(3),
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
}
# Drawn together in the course: label and arms in the slices and scenes, the arms in the curves.
TOGETHER = [("gold", "supervised", "MT"), ("supervised", "supervised_equal", "lambda0", "MT"), ("gold", "MT", "strong")]
SEEN = 10    # CIE Lab distance: about five just-noticeable differences


def seen(colour, kind):
    """CIE Lab of '#rrggbb' as seen with a kind of colour vision; 'grey' keeps its lightness only."""
    light = np.array(getrgb(colour)) / 255
    if kind == "grey":
        return rgb2lab(light) * (1, 0, 0)
    linear = np.where(light <= 0.04045, light / 12.92, ((light + 0.055) / 1.055) ** 2.4)
    linear = np.clip(np.asarray(SIMULATION[kind]) @ linear, 0, 1)
    return rgb2lab(np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055))


def far(one, other, kind):
    return float(np.linalg.norm(seen(LOOKS[one].colour, kind) - seen(LOOKS[other].colour, kind)))


@pytest.mark.parametrize("kind", SIMULATION)
def test_colours_that_stand_together_differ_to_every_kind_of_vision(kind):
    near = {(one, other): far(one, other, kind) for names in TOGETHER for one, other in combinations(names, 2)}
    assert not {pair: distance for pair, distance in near.items() if distance < SEEN}


def test_colours_alike_in_grey_or_to_any_eye_differ_in_dash_and_marker():
    for one, other in combinations(LOOKS, 2):
        if min(far(one, other, kind) for kind in (*SIMULATION, "grey")) < SEEN:
            assert LOOKS[one].dash != LOOKS[other].dash, f"{one} and {other} are drawn alike"
            assert LOOKS[one].marker != LOOKS[other].marker, f"{one} and {other} have the same marker"


def test_the_simulation_makes_red_and_green_alike_and_leaves_grey():
    red, green = seen("#C05000", "deuteranopia"), seen("#707800", "deuteranopia")
    assert np.linalg.norm(seen("#C05000", "normal") - seen("#707800", "normal")) > 3 * np.linalg.norm(red - green)
    assert seen("#808080", "deuteranopia") == pytest.approx(seen("#808080", "normal"), abs=0.5)


def test_strangers_get_colours_of_their_own():
    given = looks(["gold", "MT", "a student", "a teacher"])
    assert len({given[name].colour for name in given}) == 4
    assert given["a student"].label == "a student"
