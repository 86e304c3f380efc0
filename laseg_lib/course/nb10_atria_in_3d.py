"""What notebook 10_atria_in_3d opens and draws, its exercises and their answers."""

from collections import namedtuple

import numpy as np

from ..data.phantom import make_phantom
from ..data.volumes import FILE, LAHeart, downsample, read_volume
from ..figures.meshes import atrium_scene, surface, surface_distance
from ..figures.stills import meshes_still, scene_still
from ..figures.style import looks
from ..inference import predict_volume
from ..metrics import dice_of
from ..records.read import RECORDED
from ..training import Trainer
from . import spacing_of, train
from .alt import ALT_TEXTS
from .exercise import Exercise

ALT = ALT_TEXTS["10_atria_in_3d"]

# The record of the scenes, by tools/record_scene.py.  Its voxels, 1.9 x 1.8 x 1.4 mm, are small enough for veins.
SCENE = RECORDED / "scene"
SCENE_DATA = dict(train=44, test=4, size=(64, 48, 40), variability=1.5, scanner=1.5)
SCENE_SETTINGS = dict(patch_size=(32, 16, 16), downsample=2, n_filters=8, has_dropout=False, labelnum=8, max_samples=40,
                      val_num=0, max_iterations=500, base_lr=0.02, ema_decay=0.97, consistency=10.0,
                      consistency_rampup=20, ramp_every=20, teacher_view="turned", teacher_mode="train",
                      precision="fp32", normalization="instancenorm")

Atrium = namedtuple("Atrium", "case gold predictions spacing origin")  # spacing: mm, three sides
Fine = namedtuple("Fine", "gold spacing")


def predicted_atrium(data, arms=("supervised", "MT"), seed=0, number=0):
    """A test case with the student's prediction of each arm.

    The predictions are those of the record ``scene``.  For real volumes, and without the record,
    networks are trained here for a minute.  ``number``: which of the test cases.
    """
    if not data.real and (SCENE / "predictions.npz").exists():
        case = f"PHANTOM_{SCENE_DATA['train'] + number:04d}"
        gold = phantom_gold(case, seed, SCENE_DATA["size"])
        masks = {arm: unpack(SCENE / "predictions.npz", f"{arm}/{seed}/{case}", gold.shape)
                 for arm in arms}
        spacing = spacing_of(gold.shape, False)
        return Atrium(case, gold, masks, spacing, f"the record scene, seed {seed}")
    masks = {}
    for arm in arms:
        trainer = Trainer(data.config(model=arm, val_num=0))
        train(trainer, 80 if data.real else 150)
        test = LAHeart(data.root, "test", downsample=trainer.config.downsample)
        image, gold = test[number]["image"], test[number]["label"]
        masks[arm], _ = predict_volume(trainer.student.eval(), image, trainer.config.patch_size,
                                       window="fast")
    spacing = spacing_of(gold.shape, data.real) * trainer.config.downsample
    origin = "networks trained for a minute, just now"
    return Atrium(test.image_list[number], gold, masks, spacing, origin)


def unpack(path, key, shape):
    """A mask from the packed bits that ``tools/record_scene.py`` stored."""
    with np.load(path) as file:
        return np.unpackbits(file[key], count=int(np.prod(shape))).reshape(shape)


def phantom_gold(case, seed, size):
    """The label of a phantom in voxels of any size, by its formula: the same patient every time."""
    patient = {name: SCENE_DATA[name] for name in ("variability", "scanner")}
    return make_phantom(10_000 * seed + int(case.split("_")[1]), size, **patient)[1]


def fine_gold(data, case, seed=0):
    """The gold label of the same patient in small voxels: the file's, or the phantom's formula."""
    if data.real:
        gold = read_volume(data.root / case / FILE)[1]
    else:
        gold = phantom_gold(case, seed, (95, 70, 44))
    return Fine(gold, spacing_of(gold.shape, data.real))


def draw_case(data):
    """``draw(seed, number)`` for a SliderView: a still of that test case, with the Dice of both arms."""
    def draw(seed=0, number=0):
        atrium = predicted_atrium(data, seed=seed, number=number)
        scene = atrium_scene({"gold": atrium.gold, **atrium.predictions}, atrium.spacing,
                             opacity={"gold": 0.3, "supervised": 0.55})
        scores = ", ".join(f"{looks([arm])[arm].label.split(' (')[0]} {dice_of(mask, atrium.gold):.2f}"
                           for arm, mask in atrium.predictions.items())
        scene.update_layout(title={"text": f"{atrium.case}, seed {seed}: Dice {scores}"})
        return scene_still(scene)
    return draw


def draw_surface(fine):
    """``draw(shrink, triangles)`` for a SliderView: the surface of ``fine`` with voxels ``shrink`` times as wide and at
    most ``triangles`` triangles, and its error in mm."""
    gold, = atrium_scene({"gold": fine.gold}, fine.spacing).data  # for its look, once: a scene takes long

    def draw(shrink=1, triangles=4000):
        mask = downsample(np.zeros(fine.gold.shape, np.float32), fine.gold, shrink)[1]
        spacing = fine.spacing * shrink
        vertices, found = surface(mask, spacing, faces=triangles)
        off = surface_distance(vertices, fine.gold, fine.spacing)
        return meshes_still([gold], [(vertices, found)], f"voxels of {np.mean(spacing):.2f} mm, {len(found)} triangles:"
                            f" on average {off.mean():.2f} mm off, at most {off.max():.1f} mm")
    return draw


# --- Exercises -----------------------------------------------------------------------------------


def borders(line, side):
    """(mm of the mask's surface, mm of the probability's) from the beginning of a line of voxels.

    They are ``side`` mm wide, and their probabilities rise above one half once.
    """
    line = np.asarray(line, float)
    first = int(np.argmax(line > 0.5))  # the first voxel inside
    below, above = line[first - 1], line[first]
    share = (0.5 - below) / (above - below)
    return first * side, (first - 0.5 + share) * side


def _borders(first=lambda line: int(np.argmax(np.asarray(line) > 0.5)), share=lambda a, b: (0.5 - a) / (b - a),
             centre=0.5, mm=True):
    def wrong(line, side):
        k = first(line)
        places = (k - 1 + centre + 0.5, k - 1 + centre + share(line[k - 1], line[k]))
        return tuple(place * (side if mm else 1) for place in places)
    return wrong


check_borders = Exercise(
    borders, [([0.02, 0.1, 0.2, 0.9, 0.98], 2.0), ([0.0, 0.0, 1.0, 1.0], 1.25), ([0.1, 0.3, 0.55, 0.6], 0.625),
              ([0.2, 0.5, 0.9], 1.0)],
    {"Voxel i has its centre at (i + ½) times its side, not at i times.": _borders(centre=0.0),
     "That is in voxels: a place in mm is so many voxels times the side of one.": _borders(mm=False),
     "The share counts from the voxel below one half: (½ - a) / (b - a), with a below and b above.":
        _borders(share=lambda a, b: (b - 0.5) / (b - a)),
     "The middle is right for the mask only. The probability's surface is nearer to the voxel that is nearer to ½.":
        _borders(share=lambda a, b: 0.5),
     "A voxel of exactly one half is not inside: the mask is where the probability is *above* one half.":
        _borders(first=lambda line: int(np.argmax(np.asarray(line) >= 0.5)))},
    names=("the mask's surface", "the probability's surface"))


def mesh_area(vertices, triangles):
    """The area of a mesh, in the square of its vertices' unit."""
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return float(np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2)


def colleagues_area(vertices, triangles):
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    arrows = np.cross(b - a, c - a)  # one a triangle, square to it
    return np.linalg.norm(arrows.sum(axis=0))


def _area(of_arrows):
    def wrong(vertices, triangles):
        a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
        return of_arrows(np.cross(b - a, c - a))
    return wrong


_TETRAHEDRON = (np.array([[1, 1, 1], [3, 1, 1], [1, 4, 1], [1, 1, 5]], float),
                np.array([[0, 1, 2], [0, 3, 1], [0, 2, 3]]))


def _any_mesh(seed, points=9, triangles=14):
    """Random triangles, no two alike, so that no wrong answer is right by chance."""
    rng = np.random.default_rng(seed)
    corners = np.array([rng.choice(points, 3, replace=False) for _ in range(triangles)])
    return rng.normal(5, 3, (points, 3)), corners


check_area = Exercise(
    mesh_area, [_TETRAHEDRON, (_TETRAHEDRON[0], _TETRAHEDRON[1][:1]), _any_mesh(0), _any_mesh(1, 30, 5),
                _any_mesh(2, 4, 1)],
    {"The cross product's length is the area of a parallelogram: a triangle is half of it.":
        _area(lambda arrows: np.linalg.norm(arrows, axis=1).sum()),
     "Take the length of each arrow first, then add: arrows in opposite directions cancel.":
        _area(lambda arrows: np.linalg.norm(arrows.sum(axis=0)) / 2),
     "axis=0 runs over the triangles and mixes them. The length of an arrow is along axis=1.":
        _area(lambda arrows: np.linalg.norm(arrows, axis=0).sum() / 2),
     "The length of an arrow is along axis=1, not 0; and a triangle is half of the parallelogram.":
        _area(lambda arrows: np.linalg.norm(arrows, axis=0).sum()),
     "The length of an arrow is not the sum of its components: use the norm along axis=1.":
        _area(lambda arrows: np.abs(arrows).sum() / 2),
     "The length of an arrow is not the sum of its components; and a triangle is half of the parallelogram.":
        _area(lambda arrows: np.abs(arrows).sum()),
     "Use the sides B - A and C - A, not the corners, which are measured from the origin.":
        lambda v, t: np.linalg.norm(np.cross(v[t[:, 1]], v[t[:, 2]]), axis=1).sum() / 2},
    given=colleagues_area)
