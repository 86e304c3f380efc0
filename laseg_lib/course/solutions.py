"""Right answers to those exercises that no other module of the library answers."""

import itertools
import math

import numpy as np
import torch

from ..sampler import iterate_eternally

# --- 02 two_stream_sampler ------------------------------------------------------------------------


def visits(iterations, labelled, unlabelled, batch_size, unlabelled_bs):
    """(epochs begun, times each labelled volume is seen, times each unlabelled one is), the last two on average."""
    labelled_bs = batch_size - unlabelled_bs
    epochs = -(-iterations // (labelled // labelled_bs))
    return epochs, iterations * labelled_bs / labelled, iterations * unlabelled_bs / unlabelled


def endless(indices, n, seed):
    """The first ``n`` of the sampler's unlabelled stream."""
    return list(itertools.islice(iterate_eternally(indices, np.random.default_rng(seed)), n))


def passes(drawn, indices, n, seed):
    """(how many, whether every pass is complete, whether the passes come in different orders)."""
    rows = [[int(i) for i in drawn[k:k + len(indices)]] for k in range(0, n - len(indices) + 1, len(indices))]
    return len(drawn), all(sorted(row) == sorted(indices) for row in rows), len(set(map(tuple, rows))) > 1


# --- 03 vnet --------------------------------------------------------------------------------------


def receptive_field(layers):
    """Voxels, along one axis, that one voxel behind ``layers`` [(kernel, stride), ...] depends on."""
    seen, step = 1, 1  # step: how far apart neighbours are, in voxels of the input
    for kernel, stride in layers:
        seen, step = seen + (kernel - 1) * step, step * stride
    return seen


def conv_parameters(n_in, n_out, kernel):
    """Weights and biases of a 3D convolution; ``kernel``: three sides."""
    return n_out * (n_in * math.prod(kernel) + 1)


def padded_size(size, divisor):
    """The smallest size, side by side, that is no smaller and that the network takes."""
    return tuple(-(-side // d) * d for side, d in zip(size, divisor))


# --- 04 losses ------------------------------------------------------------------------------------


def mse_slope(p, q):
    """d (p - q)^2 / d logit of the student, where p = sigmoid(logit)."""
    return 2 * (p - q) * p * (1 - p)


def pull(loss, student, teacher):
    """(the value, how strongly it pulls on the student's logits, and on the teacher's)."""
    grads = [None, None]
    if loss.requires_grad:
        grads = torch.autograd.grad(loss, (student, teacher), allow_unused=True)
    return [loss.item(), *(0.0 if g is None else g.abs().sum().item() for g in grads)]
