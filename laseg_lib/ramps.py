"""Schedules: how strongly the consistency loss counts as training goes on."""

import numpy as np


def sigmoid_rampup(current, rampup_length):
    """exp(-5 (1 - t/T)^2), from e^-5 = 0.0067 at t = 0 to 1 at t = T.

    ``current`` (t) and ``rampup_length`` (T) share any unit; t is clipped to [0, T].
    T = 0 means no ramp: 1.0.  Returns a float.
    Source: Laine & Aila 2017, "Temporal ensembling" (arXiv:1610.02242), section 2.1 and appendix A.

    >>> [round(sigmoid_rampup(t, 40), 4) for t in (0, 20, 40, 60)]
    [0.0067, 0.2865, 1.0, 1.0]
    """
    if rampup_length == 0:
        return 1.0
    phase = 1.0 - np.clip(float(current), 0.0, rampup_length) / rampup_length
    return float(np.exp(-5.0 * phase * phase))


def linear_rampup(current, rampup_length):
    """t/T, from 0 to 1 and flat after T.  T = 0 gives 1.0.  Returns a float.

    ``current`` (t) and ``rampup_length`` (T) share any unit; t is clipped to [0, T].
    """
    if rampup_length == 0:
        return 1.0
    return float(np.clip(float(current) / rampup_length, 0.0, 1.0))


def cosine_rampdown(current, rampdown_length):
    """(1 + cos(pi t/T)) / 2, from 1 down to 0 at T.  T = 0 gives 1.0.  Returns a float.

    ``current`` (t) and ``rampdown_length`` (T) share any unit.
    Raises ValueError outside 0 <= t <= T, where the cosine would rise again.
    Source: Loshchilov & Hutter 2017, "SGDR" (arXiv:1608.03983).
    """
    if not 0 <= current <= rampdown_length:
        raise ValueError(f"cosine_rampdown needs 0 <= current <= {rampdown_length}, got {current}")
    if rampdown_length == 0:
        return 1.0
    return float(0.5 * (np.cos(np.pi * current / rampdown_length) + 1.0))


def poly_rampdown(current, rampdown_length, power=0.9):
    """(1 - t/T)^power, from 1 down to 0 at T and 0 after it.  Returns a float.

    ``current`` (t) and ``rampdown_length`` (T) share any unit.
    Source: Chen et al. 2017, DeepLab (arXiv:1606.00915), where it lowers the learning rate.
    """
    return float((1.0 - np.clip(current / max(rampdown_length, 1e-9), 0.0, 1.0)) ** power)
