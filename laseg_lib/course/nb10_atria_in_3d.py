"""What notebook 10_atria_in_3d opens and draws, its exercises and their answers."""

from collections import namedtuple

import numpy as np

from ..data.phantom import make_phantom
from ..data.volumes import FILE, LAHeart, case_names, downsample, read_volume
from ..figures.meshes import atrium_scene, surface, surface_distance
from ..figures.stills import scene_still
from ..inference import predict_volume
from ..records.make import find_data
from ..records.plans import RECORDS, Run
from ..records.read import RECORDED
from ..training import Trainer
from . import spacing_of, train
from .exercise import Exercise

# What is seen in each picture, for whoever can't see it; not in the cells, where it would answer the question above.
ALT = {
    "lines":
        "The staircase stays at one and a half times the true area, marching cubes at about 1.1, however large "
        "the ball.",
}

# The scenes' own record, by tools/record_scene.py: voxels of 1.9 x 1.8 x 1.4 mm, in which veins look like veins.
SCENE = RECORDED / "scene"
SCENE_DATA = dict(train=44, test=4, size=(64, 48, 40), variability=1.5, scanner=1.5)
SCENE_SETTINGS = dict(patch_size=(32, 16, 16), downsample=2, n_filters=8, has_dropout=False, labelnum=8, max_samples=40,
                      val_num=0, max_iterations=500, base_lr=0.02, ema_decay=0.97, consistency=10.0,
                      consistency_rampup=20, ramp_every=20, teacher_view="turned", teacher_mode="train",
                      precision="fp32", normalization="instancenorm")

Atrium = namedtuple("Atrium", "case gold predictions spacing origin")  # spacing: mm, three sides
Fine = namedtuple("Fine", "gold spacing")


def predicted_atrium(data, arms=("supervised", "MT"), seed=0, number=0):
    """A test case with the student's prediction of each arm: from the quick record where it is there, otherwise
    (real volumes, or nothing recorded yet) from networks trained here for a minute.

    ``number``: the first test case, of the first seed, unless told otherwise.
    """
    folders = {arm: RECORDED / "quick" / Run(arm, 4, seed, {}, "instancenorm").name for arm in arms}
    if not data.real and all((folder / "predictions.npz").exists() for folder in folders.values()):
        root = find_data(RECORDS["quick"].data, seed)
        case = case_names(root, "test")[number]
        gold = read_volume(root / case / FILE)[1]
        masks = {arm: unpack(folder / "predictions.npz", f"student/{case}", gold.shape)
                 for arm, folder in folders.items()}
        return Atrium(case, gold, masks, spacing_of(gold.shape, False), f"the record quick (InstanceNorm), seed {seed}")
    masks = {}
    for arm in arms:
        trainer = Trainer(data.config(model=arm, val_num=0))
        train(trainer, 80 if data.real else 150)
        test = LAHeart(data.root, "test", downsample=trainer.config.downsample)
        image, gold = test[number]["image"], test[number]["label"]
        masks[arm] = predict_volume(trainer.student.eval(), image, trainer.config.patch_size, window="fast")[0]
    spacing = spacing_of(gold.shape, data.real) * trainer.config.downsample
    return Atrium(test.image_list[number], gold, masks, spacing, "networks trained for a minute, just now")


def unpack(path, key, shape):
    """A mask from the packed bits that ``records.make`` kept."""
    with np.load(path) as file:
        return np.unpackbits(file[key], count=int(np.prod(shape))).reshape(shape)


def fine_gold(data, case, seed=0):
    """The gold label of the same patient in small voxels: the file itself, or the phantom's formula once more."""
    if data.real:
        gold = read_volume(data.root / case / FILE)[1]
    else:
        patient = {name: RECORDS["quick"].data[name] for name in ("variability", "scanner")}
        gold = make_phantom(10_000 * seed + int(case.split("_")[1]), (95, 70, 44), **patient)[1]
    return Fine(gold, spacing_of(gold.shape, data.real))


def draw_surface(fine):
    """A function to slide: ``draw(shrink, triangles)`` -> the surface of ``fine`` with voxels ``shrink`` times wider
    and at most so many ``triangles``, and what that costs in mm."""
    def draw(shrink=1, triangles=4000):
        mask = downsample(np.zeros(fine.gold.shape, np.float32), fine.gold, shrink)[1]
        spacing = fine.spacing * shrink
        scene = atrium_scene({"gold": mask}, spacing, faces=triangles)
        vertices, found = surface(mask, spacing, faces=triangles)
        off = surface_distance(vertices, fine.gold, fine.spacing)
        scene.update_layout(title={"text": f"voxels of {np.mean(spacing):.2f} mm, {len(found)} triangles: on average "
                                           f"{off.mean():.2f} mm off, at most {off.max():.1f} mm"})
        return scene_still(scene)
    return draw


# --- Exercises -----------------------------------------------------------------------------------


def crossing(a, b, level):
    """The share of the way from a to b at which the level is crossed."""
    return (level - a) / (b - a)


check_crossing = Exercise(
    crossing, [(0.0, 1.0, 0.5), (0.2, 0.6, 0.5), (0.9, 0.1, 0.5), (0.0, 4.0, 1.0)],
    {"The middle is right for a mask only. With other values the crossing lies nearer to the end that is nearer to the "
     "level.": lambda a, b, level: 0.5,
     "That is the share of the way from b to a: turn it round.": lambda a, b, level: (b - level) / (b - a),
     "Where the values fall from a to b both differences are negative: divide by b - a, not by its size.":
        lambda a, b, level: (level - a) / abs(b - a),
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
