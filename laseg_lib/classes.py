"""The classes of a label: 0 is the background, 1 to K have names.

A dictionary {name: value} holds them in order; ``value`` is what the k-th had in the label that somebody drew, and what
a predicted mask gets again.
"""

import numpy as np

from .errors import LasegError

ATRIUM = {"left atrium": 1}  # where nobody says otherwise


def check_classes(classes, where):
    """``classes`` as {name: value}, plain text and numbers; LasegError, which begins with ``where``, for names that
    can't name classes, and for values that aren't different whole numbers from 1 to 65535."""
    try:
        found = {str(name): int(value) for name, value in classes.items() if int(value) == value}
        sound = 0 < len(found) == len(classes) <= 255 and len(set(found.values())) == len(found)
        sound = sound and all(0 < value < 2**16 for value in found.values())
    except (AttributeError, TypeError, ValueError, OverflowError):
        sound = False
    if not sound:
        raise LasegError(f"{where}: classes must be names with different whole numbers from 1 to 65535, such as "
                         f"wall=1 cavity=2; not {' '.join(repr(classes).split())[:60]}")
    if odd := [name for name in found if name != name.strip() or not name.isprintable() or name in ("", "mean")]:
        raise LasegError(f"{where}: {odd[0][:40]!r} can't name a class; give a word such as wall, and not mean, which "
                         "the tables call the mean of all")
    return found


def with_values(label, classes):
    """``label`` (0 to K) with the value of each class in place of its number: uint8, or uint16 for values above 255."""
    values = np.array([0, *classes.values()])
    return values.astype(np.uint8 if values.max() < 256 else np.uint16)[label]
