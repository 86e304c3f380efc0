"""What notebook 08_measuring draws, its exercises and their answers."""

import math
import warnings

import numpy as np
import torch

from ..data.phantom import write_phantoms
from ..figures.style import LOOKS, SMALL, TEXT, dress, new_axes
from ..inference import WINDOWS, predict_volume, walkthrough_stride
from ..metrics import case_metrics
from ..records.read import HOME
from ..runtime.machine import one_thread
from ..training import Trainer
from .exercise import Exercise


def starts(side, patch, stride):
    """Where the windows begin along one axis: every ``stride`` voxels, the last one pushed back to fit."""
    side = max(side, patch)
    return [min(i * stride, side - patch) for i in range(int(np.ceil((side - patch) / stride)) + 1)]


def overlap_map(size, patch, stride=None):
    """How many windows see each voxel of a volume of ``size``: an int array."""
    counts = [np.zeros(side, int) for side in size]
    for count, side, p, step in zip(counts, size, patch, stride or walkthrough_stride(patch)):
        for start in starts(side, p, step):
            count[start:start + p] += 1
    return counts[0][:, None, None] * counts[1][:, None] * counts[2]


def draw_overlap(size, patch):
    """The count in the axial slice through the middle, with the first window drawn, and along its middle row."""
    from matplotlib.patches import Rectangle

    counts = overlap_map(size, patch)
    flat = counts[:, :, size[2] // 2]
    figure, (left, right) = new_axes(2, height=4.2)
    shown = left.imshow(flat.T, cmap="viridis")
    left.add_patch(Rectangle((-0.5, -0.5), patch[0], patch[1], fill=False, edgecolor="white", linewidth=3))
    left.text(patch[0] / 2, patch[1] / 2, "one\nwindow", ha="center", va="center", color="white", fontsize=TEXT)
    figure.colorbar(shown, ax=left, shrink=0.8).ax.tick_params(labelsize=SMALL)
    dress(left, "x (voxels)", "y (voxels)", "windows that see a voxel")
    left.grid(False)
    right.step(range(size[0]), flat[:, size[1] // 2], where="mid", color=LOOKS["supervised"].colour, linewidth=2.6)
    dress(right, "x (voxels)", "windows", "along the middle row")
    right.set_ylim(0)
    return figure


@one_thread()
def window_network(course, iterations=200):
    """A network trained for a moment on patches of volumes larger than them: (trainer, patch size).

    The quick phantoms are as small as their patch, so these are others, 48 x 40 x 20; real volumes are what they are.
    """
    changes = dict(patch_size=(48, 48, 40), n_filters=4)
    if not course.real:
        root = write_phantoms(HOME / "data" / "window_phantoms", train=16, test=4, size=(48, 40, 20), seed=900,
                              progress=False)
        changes = dict(root_path=str(root), patch_size=(32, 32, 16), labelnum=16, max_samples=16, val_num=0)
    settings = {**course.settings, "model": "supervised", "max_iterations": iterations, "base_lr": 0.05,
                "has_dropout": False, "ema_decay": 0.95, "ema_buffers": "average", "val_every": 10**6, **changes}
    trainer = Trainer(type(course.config())(**{"root_path": str(course.root), **settings}))
    trainer.run(progress=False)
    return trainer


@one_thread()
def compare_windows(network, patch_size, samples):
    """Of each sample: {window: (Dice, share of the voxels that differ from the walkthrough's window)}."""
    rows = []
    for sample in samples:
        masks = {window: predict_volume(network, sample["image"], patch_size, window=window)[0] for window in WINDOWS}
        rows.append({window: (case_metrics(mask, sample["label"])["dice"], float((mask != masks["walkthrough"]).mean()))
                     for window, mask in masks.items()})
    return rows


def ball(radius=9, side=40, centre=None):
    """A ball in a cube, as a boolean mask."""
    at = np.indices((side,) * 3) - np.reshape([side // 2] * 3 if centre is None else centre, (3, 1, 1, 1))
    return (at**2).sum(0) <= radius**2


def five_metrics(prediction, label):
    """Dice, then distances in voxels: medpy's HD95 (pooled), MONAI's (the larger way), ASD there and back."""
    from medpy.metric import binary
    from monai.metrics import compute_hausdorff_distance

    ours = case_metrics(prediction, label)
    masks = (torch.from_numpy(mask)[None, None].float() for mask in (prediction, label))
    with warnings.catch_warnings():  # MONAI warns of its own arguments
        warnings.simplefilter("ignore", FutureWarning)
        larger = compute_hausdorff_distance(*masks, include_background=True, percentile=95)
    return {"Dice": ours["dice"], "HD95 pooled": ours["hd95"], "HD95 MONAI": float(larger),
            "ASD prediction→label": ours["asd"], "ASD label→prediction": float(binary.asd(label, prediction))}


def checkpoint_noise(table):
    """How far the mean Dice over the test cases is off for one checkpoint and not for its neighbour (a share of 1).

    Student and teacher of one run are near neighbours: the spread over cases of their difference, over sqrt(2) and
    the root of the number of cases; the mean over the runs.
    """
    both = table.pivot_table(index=["arm", "labels", "variant", "seed", "case"], columns="weights", values="dice")
    runs = (both.student - both.teacher).groupby(level=["arm", "labels", "variant", "seed"])
    return float((runs.std() / np.sqrt(2 * runs.count())).mean())


def choose(checkpoints, drift, noise, repeats=20_000, seed=0):
    """Trainings whose checkpoints are all alike but for chance: what choosing one reports, and what it is worth.

    A checkpoint's true Dice is normal with spread ``drift``; a test set measures it with an error of spread
    ``noise``, a validation set of the same size with an error of its own.  Dict of means; the average checkpoint is 0.
    """
    chance = np.random.default_rng(seed)
    true = drift * chance.normal(size=(repeats, checkpoints))
    test, validation = (true + noise * chance.normal(size=true.shape) for _ in range(2))
    rows, on_test, on_validation = np.arange(repeats), test.argmax(1), validation.argmax(1)
    return {"last checkpoint": float(test[:, -1].mean()),
            "chosen on validation cases": float(test[rows, on_validation].mean()),
            "chosen on the test cases": float(test[rows, on_test].mean()),
            "what that one is truly worth": float(true[rows, on_test].mean())}


# --- Exercises -----------------------------------------------------------------------------------


def window_count(size, patch, stride):
    """How many windows cover a volume."""
    return math.prod(len(starts(*axis)) for axis in zip(size, patch, stride))


def _windows(along):
    return lambda size, patch, stride: math.prod(along(*axis) for axis in zip(size, patch, stride))


check_windows = Exercise(
    window_count, [((190, 140, 88), (112, 112, 80), (18, 18, 4)), ((48, 48, 24), (32, 32, 16), (5, 5, 1)),
                   ((112, 60, 80), (112, 112, 80), (18, 18, 4))],
    {"The first window is missing: n steps make n + 1 windows.":
        _windows(lambda side, patch, stride: math.ceil(max(side - patch, 0) / stride)),
     "The last voxels are left out: a last window is pushed back to the border, so round the steps up.":
        _windows(lambda side, patch, stride: max(side - patch, 0) // stride + 1),
     "A volume smaller than its patch is padded: one window, never fewer.":
        _windows(lambda side, patch, stride: math.ceil((side - patch) / stride) + 1)})
