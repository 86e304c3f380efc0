"""The experiments and drawings of notebooks 02 to 04: what they say is what the library does."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from matplotlib.figure import Figure

from laseg_lib import VNet, losses
from laseg_lib.course import nb02_two_stream_sampler as nb02
from laseg_lib.course import nb03_vnet as nb03
from laseg_lib.course import nb04_losses as nb04
from laseg_lib.course.nb03_vnet import conv_parameters, receptive_field
from laseg_lib.data.phantom import make_phantom


def test_trace_finds_every_parameter_and_the_bottoms_shape():
    network = VNet(1, 2, 4, "batchnorm")
    rows = nb03.trace(network, torch.zeros(1, 1, 64, 48, 32))
    assert sum(row[2] for row in rows) == sum(p.numel() for p in network.parameters())
    assert ("block_five", (64, 4, 3, 4), 3 * (conv_parameters(64, 64, (3, 3, 3)) + 128)) in rows
    assert all(isinstance(draw(rows), Figure) for draw in (nb03.draw_v, nb03.draw_shares))


def test_the_encoder_sees_what_the_formula_says():
    torch.manual_seed(0)
    image, _ = make_phantom(0, size=(64, 64, 48))
    found = nb03.seen_by(VNet(1, 2, 4, "batchnorm"), image)
    layers = [(3, 1)]
    assert nb03.extent(found["x1"]) == (receptive_field(layers),) * 3 == (3, 3, 3)
    for level, stages in (("x2", 2), ("x3", 3)):
        layers += [(2, 2)] + [(3, 1)] * stages
        assert nb03.extent(found[level]) == (receptive_field(layers),) * 3
    assert isinstance(nb03.draw_seen(image, found), Figure)


def test_without_skips_only_the_bottom_counts():
    torch.manual_seed(0)
    network = nb03.NoSkips(1, 2, 4).eval()
    *skips, bottom = network.encoder(torch.randn(1, 1, 32, 32, 16))
    assert torch.equal(network.decoder([*skips, bottom]), network.decoder([skip + 1 for skip in skips] + [bottom]))


def test_slopes_are_those_of_the_closed_forms():
    p, ones = np.array([0.01, 0.3, 0.99]), torch.ones(3, dtype=torch.long)
    assert np.allclose(nb04.slope(lambda z: F.cross_entropy(z, ones), p), p - 1)
    target = torch.log(torch.tensor([[0.2, 0.8]], dtype=torch.float64)).expand(3, 2)
    assert np.allclose(nb04.slope(lambda z: losses.softmax_mse_loss(z, target), p), 2 * (p - 0.8) * p * (1 - p))
    assert np.allclose(nb04.slope(lambda z: losses.softmax_kl_loss(z, target), p), (p - 0.8) / 2)
    assert isinstance(nb04.draw_consistency(0.8), Figure)


@pytest.mark.parametrize("init, same", [(nb02.seed_numpy, True), (nb02.seed_numpy_by_torch, False)])
def test_a_constant_seed_in_the_workers_repeats_every_epoch(init, same):
    loader = torch.utils.data.DataLoader(nb02.RandomNumbers(), num_workers=1, worker_init_fn=init)
    one, two = ([int(item) for item in loader] for epoch in (1, 2))
    assert (one == two) == same


def test_draw_visits_says_how_many_were_never_seen():
    figure = nb02.draw_visits({1: 2, 2: 0}, {1: 1, 2: 1}, ("left", "right"))
    texts = [text.get_text() for ax in figure.axes for text in ax.texts]
    assert texts == ["never seen: 1", "never seen: 0"]
