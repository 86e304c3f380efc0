"""The classes of a label: 0 is the background, 1 to K have names.

A dictionary {name: value} holds them in order.  ``value`` is the class's value in the original label, and in a
predicted mask.  As text, in files and on the command line, they are ``wall=1 cavity=2``.
"""

import re

import numpy as np

from .errors import LasegError

ATRIUM = {"left atrium": 1}  # the default


def as_text(classes):
    """['wall=1', 'cavity=2'] for {'wall': 1, 'cavity': 2}."""
    return [f"{name}={value}" for name, value in classes.items()]


def parse_classes(texts, where):
    """The inverse of ``as_text``.  A name without a value gets its place, counted from 1.

    LasegError, which begins with ``where``, for names that can't name classes (``mean`` is the mean of all classes in
    tables), and for values that aren't different whole numbers from 1 to 65535.
    """
    found = {}
    try:
        for place, text in enumerate(texts, 1):
            name, sign, value = text.rpartition("=")
            found[name if sign else value] = int(value) if sign else place
        sound = 0 < len(found) == len(texts) < 256 and len(set(found.values())) == len(found)
    except (AttributeError, TypeError, ValueError):
        sound = False
    if not sound or not all(name.strip() == name not in ("", "mean") and name.isprintable() and 0 < value < 2**16
                            for name, value in found.items()):
        raise LasegError(f"{where}: classes must be different names (mean is taken), each with a whole number of its "
                         f"own from 1 to 65535, such as wall=1 cavity=2; not {' '.join(repr(texts).split())[:60]}")
    slips = [name for name in found if re.search(r"[,;:{}]|=$|^[\d.]+$", name)]
    if slips and str(where).startswith("--"):
        raise LasegError(f"{where}: {slips[0]!r} can't name a class; write them as in wall=1 cavity=2, with spaces")
    return found


def with_values(label, classes):
    """``label`` (0 to K) with each class's value in place of its number: uint8, or uint16 for values above 255."""
    values = np.array([0, *classes.values()])
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)[label]
