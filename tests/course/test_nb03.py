"""What notebook 03 draws, and the two answers that its pictures stand for."""

import numpy as np
from matplotlib.figure import Figure

from laseg_lib.course import nb03_vnet as nb03

ROWS = [(f"block_{name}", (4 * 2**level, 64 >> level, 48 >> level, 32 >> level), 100 * 8**level)
        for name, level in zip("one two three four five six seven eight nine".split(), (0, 1, 2, 3, 4, 3, 2, 1, 0))]


def test_the_v_and_the_shares_are_drawn():
    ways = [(f"block_{name}_{way}", (8, 4, 4, 4), 10) for name, way in (("one", "dw"), ("eight", "up"))]
    assert all(isinstance(draw(ROWS + ways), Figure) for draw in (nb03.draw_v, nb03.draw_shares))


def test_a_picture_of_what_is_seen_says_how_large_it_is():
    gradient = np.zeros((20, 20, 12))
    gradient[5:17, 4:16, 0:12] = 1e-9
    figure = nb03.draw_seen(np.random.default_rng(0).normal(size=gradient.shape), {"x2": gradient})
    assert figure.axes[0].get_title() == "x2: 12 × 12 × 12"


def test_parameters_and_receptive_field_are_those_of_the_page():
    assert nb03.kernel_side(448, 1, 16, 3) == 3
    assert nb03.receptive_field([(3, 1), (2, 2), (3, 1), (3, 1)]) == 12
