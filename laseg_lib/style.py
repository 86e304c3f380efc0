"""Colours, lines, markers and names that mean the same thing in every figure.

The colours are Okabe and Ito's, which people with any colour blindness tell apart; line style and
marker differ as well, so that a grey print-out keeps every distinction.
"""

from collections import namedtuple

Look = namedtuple("Look", "colour dash marker label")  # dash: lengths in line widths; () is solid

LOOKS = {
    "gold": Look("#E69F00", (), "D", "gold label"),
    "supervised": Look("#0072B2", (1, 1.6), "s", "supervised (batch 2)"),
    "supervised_equal": Look("#56B4E9", (5, 1.4, 1, 1.4), "^", "supervised, equal volumes (batch 4)"),
    "lambda0": Look("#CC79A7", (7, 1.4, 1, 1.4, 1, 1.4), "v", "λ = 0 (batch 2+2)"),
    "MT": Look("#009E73", (4, 1.8), "o", "mean teacher (batch 2+2)"),
    "strong": Look("#D55E00", (9, 2), "P", "strong"),
    "strong_supervised": Look("#999999", (2.5, 1.2), "X", "strong, labels only"),
}
ARMS = [name for name in LOOKS if name != "gold"]
INK, GRID = "#222222", "#D0D0D0"
_ALIASES = {"label": "gold", "gold label": "gold", "mean teacher": "MT", "mt": "MT", "teacher": "MT",
            "semi-supervised": "MT", "prediction": "MT"}
_SPARE = ["strong", "supervised_equal", "lambda0", "MT", "supervised", "strong_supervised"]


def looks(names):
    """{name: Look} for arm keys ('MT'), their labels for people, 'gold', or any other names.

    A name the course doesn't know keeps its own text and takes a colour that no other one here has.
    """
    keys = {name: _key(name) for name in names}
    free = [arm for arm in _SPARE if arm not in keys.values()] or _SPARE
    strangers = [name for name, key in keys.items() if key is None]
    keys |= {name: free[i % len(free)] for i, name in enumerate(strangers)}
    return {name: LOOKS[key]._replace(label=LOOKS[key].label if name in LOOKS else str(name))
            for name, key in keys.items()}


def look(name):
    """The Look of one name."""
    return looks([name])[name]


def _key(name):
    labels = {entry.label: key for key, entry in LOOKS.items()}
    return name if name in LOOKS else labels.get(name) or _ALIASES.get(str(name).lower())


def rgb(colour):
    """'#E69F00' → (230, 159, 0)."""
    return tuple(int(colour[i : i + 2], 16) for i in (1, 3, 5))
