"""Checks for notebooks 01, 09 and 11; see ``exercises`` for what an Exercise is."""

import math

import numpy as np

from .exercises import Exercise

# --- 01 left_atrium_data --------------------------------------------------------------------------


def atrium_ml(label, spacing):
    """The volume of a mask in millilitres; ``spacing``: a voxel's side in mm, the same in all directions."""
    return float(label.sum() * spacing**3 / 1000)


_BLOCK = np.zeros((20, 20, 20), np.uint8)
_BLOCK[5:15, 5:15, 5:10] = 1

check_ml = Exercise(
    atrium_ml, [(_BLOCK, 1.25), (_BLOCK, 0.625), (_BLOCK[:, :, :8], 2.0)],
    {"That is in cubic millimetres: a millilitre is 1000 of them.": lambda label, mm: float(label.sum() * mm**3),
     "A voxel has three sides: its volume is the spacing cubed.": lambda label, mm: float(label.sum() * mm / 1000),
     "That is the whole scan. Only voxels whose label is 1 are atrium.": lambda label, mm: label.size * mm**3 / 1000})


def places(size, patch):
    """How many different crops of ``patch`` (w, h, d) a volume of ``size`` has; a smaller volume is padded."""
    return math.prod(max(have - want, 0) + 1 for have, want in zip(size, patch))


check_places = Exercise(
    places, [((6, 5, 4), (4, 4, 4)), ((190, 140, 88), (112, 112, 80)), ((190, 140, 72), (112, 112, 80))],
    {"Trap 2! With room for k voxels there are k + 1 offsets, from 0 to k: add one on each axis.":
        lambda size, patch: math.prod(max(a - b, 0) for a, b in zip(size, patch)),
     "The three offsets are chosen independently: multiply, don't add.":
        lambda size, patch: sum(max(a - b, 0) + 1 for a, b in zip(size, patch)),
     "An axis shorter than the patch is padded to it: one place, not none or a negative number.":
        lambda size, patch: math.prod(a - b + 1 for a, b in zip(size, patch))})

# --- 09 atria_in_3d -------------------------------------------------------------------------------


def crossing(a, b, level):
    """The share of the way from a to b at which the level is crossed."""
    return (level - a) / (b - a)


check_crossing = Exercise(
    crossing, [(0.0, 1.0, 0.5), (0.2, 0.6, 0.5), (0.9, 0.1, 0.5), (0.0, 4.0, 1.0)],
    {"The middle is right for a mask only. With other values the crossing lies nearer to the end that is nearer to the "
     "level.": lambda a, b, level: 0.5,
     "That is the share of the way from b to a: turn it round.": lambda a, b, level: (b - level) / (b - a),
     "That is a difference of values; divide by b - a to get a share of the edge.": lambda a, b, level: level - a,
     "Divide by the difference of the two ends, b - a, not by b.": lambda a, b, level: (level - a) / b})


def mesh_area(vertices, triangles):
    """The area of a mesh, in the square of its vertices' unit."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def _area_without(step):
    def wrong(vertices, triangles):
        a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
        cross = np.cross(b - a, c - a)
        return float({"half": np.linalg.norm(cross, axis=1).sum(), "sum": np.linalg.norm(cross.sum(0)) / 2,
                      "origin": np.linalg.norm(np.cross(b, c), axis=1).sum() / 2}[step])
    return wrong


_TETRAHEDRON = (np.array([[1, 1, 1], [3, 1, 1], [1, 4, 1], [1, 1, 5]], float),
                np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3]]))

check_area = Exercise(
    mesh_area, [_TETRAHEDRON, (_TETRAHEDRON[0], _TETRAHEDRON[1][:1])],
    {"The cross product's length is the area of a parallelogram: a triangle is half of it.": _area_without("half"),
     "Take each triangle's length first, then add: vectors that point to different sides cancel.": _area_without("sum"),
     "Use the sides B - A and C - A, not the corners themselves: they count from the origin.": _area_without("origin")})

# --- 11 many_gpus ---------------------------------------------------------------------------------


def wire_seconds(parameters, processes, gigabytes_a_second):
    """Seconds that a ring all-reduce of one float32 gradient takes."""
    return 2 * (processes - 1) / processes * 4 * parameters / (gigabytes_a_second * 1e9)


check_wire = Exercise(
    wire_seconds, [(9_186_722, 2, 25), (9_186_722, 8, 1.25), (9_186_722, 1, 1.25)],
    {"A float32 has 4 bytes.": lambda p, n, speed: 2 * (n - 1) / n * p / (speed * 1e9),
     "The gradient goes round the ring twice, first to be added up, then to be handed out: 2 (N - 1) / N.":
        lambda p, n, speed: (n - 1) / n * 4 * p / (speed * 1e9),
     "The pieces are 1/N of the gradient: 2 (N - 1) / N times its bytes, not 2 (N - 1) times.":
        lambda p, n, speed: 2 * (n - 1) * 4 * p / (speed * 1e9)})


def share_of(indices, rank, world):
    """What this rank draws from: every world-th index."""
    return list(indices)[rank::world]


check_share = Exercise(
    share_of, [(range(10), 0, 2), (range(10), 1, 2), (range(8, 80), 3, 4), (range(5), 2, 3)],
    {"Every rank gets the same volumes: begin at `rank`.": lambda i, rank, world: list(i)[::world],
     "Those are `world` volumes in a row from `rank` on, not every world-th.":
        lambda i, rank, world: list(i)[rank:rank + world],
     "Blocks leave a remainder out when the numbers don't divide, and overlap nowhere; ours deals like cards.":
        lambda i, rank, world: list(i)[rank * (len(i) // world):(rank + 1) * (len(i) // world)]})
