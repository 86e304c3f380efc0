"""Schedules against their formulas."""

import math

import numpy as np
import pytest

from laseg_lib import ramps


@pytest.mark.parametrize("t, want", [(0, math.exp(-5)), (10, math.exp(-5 * 0.75 ** 2)), (20, math.exp(-1.25)),
                                     (40, 1.0),
                                     (41, 1.0), (-3, math.exp(-5))])
def test_sigmoid_by_formula(t, want):
    assert ramps.sigmoid_rampup(t, 40.0) == pytest.approx(want, rel=1e-12)


def test_linear_and_cosine_by_formula():
    assert [ramps.linear_rampup(t, 8) for t in (-1, 0, 2, 8, 9)] == [0, 0, 0.25, 1, 1]
    assert [ramps.cosine_rampdown(t, 8) for t in (0, 4, 8)] == pytest.approx([1, 0.5, 0])
    assert ramps.cosine_rampdown(2, 8) == pytest.approx((1 + math.sqrt(0.5)) / 2)


def test_poly():
    assert [ramps.poly_rampdown(t, 8) for t in (0, 8, 9)] == [1, 0, 0]
    assert ramps.poly_rampdown(4, 8) == pytest.approx(0.5**0.9) and ramps.poly_rampdown(6, 8, power=2) == 0.0625


def test_length_zero_is_no_ramp():
    assert ramps.sigmoid_rampup(3, 0) == ramps.linear_rampup(3, 0) == ramps.cosine_rampdown(0, 0) == 1.0


@pytest.mark.parametrize("ramp, sign", [(ramps.sigmoid_rampup, 1), (ramps.linear_rampup, 1),
                                        (ramps.cosine_rampdown, -1), (ramps.poly_rampdown, -1)])
def test_they_only_go_one_way_and_give_plain_floats(ramp, sign):
    values = [ramp(t, 50) for t in range(51)]
    assert all(type(value) is float for value in values)
    assert (sign * np.diff(values) > 0).all() and 0 <= min(values) and max(values) <= 1


@pytest.mark.parametrize("t", [-1, 9])
def test_cosine_outside_its_range_is_refused(t):
    with pytest.raises(ValueError, match=f"8, got {t}"):
        ramps.cosine_rampdown(t, 8)
