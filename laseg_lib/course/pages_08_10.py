"""Small experiments and drawings of notebooks 08 and 10, each used on one page.

What is measured is measured on the library's own training, sliding window and metrics.
"""

import copy
import warnings
from contextlib import contextmanager

import numpy as np
import torch

from ..axes import SMALL, TEXT, dress, line_style, new_axes
from ..inference import WINDOWS, predict_volume, seed_stride
from ..metrics import case_metrics
from ..phantom import write_phantoms
from ..records import HOME
from ..style import INK, LOOKS
from ..training import Trainer
from ..views import turn, turn_back


def show_table(table):
    """Display a pandas table without its index: HTML on a page, columns where there is only text."""
    from IPython.display import display

    plain = table.to_string(index=False) if len(table) else "not recorded yet"
    html = table.to_html(index=False, border=0) if len(table) else "<p><em>not recorded yet</em></p>"
    display({"text/html": html, "text/plain": plain}, raw=True)


# --- 08 supervised_comparison ---------------------------------------------------------------------


@contextmanager
def one_thread():
    """For small volumes, where a second thread gains little and loses much on a machine that does something else."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


@one_thread()
def control_runs(course, normalization, iterations=4):
    """Supervised and lambda = 0 of one seed: ({arm: cross-entropy by iteration}, the largest difference of the two).

    One thread, or sums are rounded in another order for another batch, and training lets that grow tenfold a step.
    """
    losses, small = {}, {}
    if course.real:  # where reading the volumes alone takes minutes
        small = dict(patch_size=(32, 32, 16), n_filters=4, labelnum=4, max_samples=8)
    for arm in ("supervised", "lambda0"):
        trainer = Trainer(course.config(model=arm, normalization=normalization, has_dropout=False,
                                        max_iterations=iterations, val_every=10**6, **small))
        losses[arm] = [row["loss_seg"] for row in trainer.run(progress=False)]
    return losses, float(np.abs(np.subtract(*losses.values())).max())


def draw_controls(runs):
    """{normalisation: {arm: losses}}: a panel each; where only one line is seen, the two lie on each other."""
    figure, axes = new_axes(len(runs), height=3.8, sharey=True, xlabel="iteration")
    for ax, (name, losses) in zip(axes, runs.items()):
        ax.set_title(name, fontsize=TEXT + 1, loc="left")
        for arm, width in (("supervised", 6), ("lambda0", 2.4)):
            ax.plot(range(1, len(losses[arm]) + 1), losses[arm], **line_style(LOOKS[arm]._replace(dash=()), width))
    axes[0].set_ylabel("cross-entropy", fontsize=TEXT)
    axes[0].legend(fontsize=SMALL, frameon=False)
    return figure


def forest(differences, *, xlabel="difference of Dice", title=""):
    """A row a Difference: a dot per seed, mean and 95 % interval; zero is marked.  Not recorded: said in its row."""
    figure, ax = new_axes(height=1.4 + 0.72 * len(differences), xlabel=xlabel, title=title)
    seen = [value for given in differences for value in given.values.values()]
    reach = 1.15 * max([abs(value) for value in seen] + [given.half + abs(given.mean) for given in differences
                                                          if np.isfinite(given.half)] + [0.01])
    ax.axvline(0, color=INK, linewidth=1.6)
    for row, given in enumerate(differences):
        values = list(given.values.values())
        if not values:
            ax.text(0.02 * reach, row, "not recorded yet", va="center", fontsize=TEXT, style="italic", color="#666666")
            continue
        colour = LOOKS["MT"].colour if given.verdict == "above zero" else (
            LOOKS["strong"].colour if given.verdict == "below zero" else "#777777")
        ax.plot(values, np.full(len(values), row), "o", markersize=8, color=colour, alpha=0.45, markeredgecolor="white")
        if np.isfinite(given.half):
            ax.plot([given.mean - given.half, given.mean + given.half], [row, row], color=INK, linewidth=2)
            ax.plot(given.mean, row, "D", markersize=10, color=colour, markeredgecolor=INK)
            text = f"{given.mean:+.3f} ± {given.half:.3f}"
        else:
            text = f"{given.mean:+.3f}, one seed"
        ax.annotate(text, (1.01, row), xycoords=("axes fraction", "data"), va="center", fontsize=SMALL, color=INK)
    names = [given.name.replace(": ", ":\n", 1).replace(", without", ",\nwithout") for given in differences]
    ax.set_yticks(range(len(differences)), names, fontsize=SMALL)
    ax.set(xlim=(-reach, reach), ylim=(len(differences) - 0.4, -0.6))
    ax.locator_params(axis="x", nbins=6)
    return figure


def starts(side, patch, stride):
    """Where the windows begin along one axis: every ``stride`` voxels, the last one pushed back to fit."""
    side = max(side, patch)
    return [min(i * stride, side - patch) for i in range(int(np.ceil((side - patch) / stride)) + 1)]


def overlap_map(size, patch, stride=None):
    """How many windows see each voxel of a volume of ``size``: an int array."""
    counts = [np.zeros(side, int) for side in size]
    for count, side, p, step in zip(counts, size, patch, stride or seed_stride(patch)):
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
        rows.append({window: (case_metrics(mask, sample["label"])["dice"], float((mask != masks["seed"]).mean()))
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


# --- 10 what_really_helps -------------------------------------------------------------------------


@torch.no_grad()
def eight_opinions(network, image):
    """Probability of atrium (8, W, H, D) for ``image`` (W, H, D) seen at each symmetry of the W-H plane (turned back).

    Only the four without quarter turns where W and H differ.
    """
    square = image.shape[0] == image.shape[1]
    views = [(k, mirrored) for k in (range(4) if square else (0, 2)) for mirrored in (False, True)]
    x = torch.as_tensor(np.ascontiguousarray(image))[None, None].expand(len(views), -1, -1, -1, -1)
    network = copy.deepcopy(network).eval()
    return turn_back(network(turn(x, views)), views).softmax(1)[:, 1].numpy()


def binary_entropy(p):
    """Entropy in bits (0: sure, 1: no idea) of the mean of the opinions ``p`` (n, ...): predictive entropy."""
    mean = np.clip(np.mean(p, axis=0), 1e-7, 1 - 1e-7)
    return -(mean * np.log2(mean) + (1 - mean) * np.log2(1 - mean))


@one_thread()
def look_at_uncertainty(student, teacher, samples):
    """(entropy in bits, whether the teacher is wrong, squared gap student - teacher) of every voxel of ``samples``."""
    entropy, wrong, gap = [], [], []
    for sample in samples:
        opinions = eight_opinions(teacher, sample["image"])
        entropy.append(binary_entropy(opinions))
        wrong.append((opinions[0] > 0.5) != (np.asarray(sample["label"]) > 0))
        gap.append((opinions[0] - predict_volume(student.eval(), sample["image"], None, window="whole")[1]) ** 2)
    return entropy, wrong, gap


def masked_out(entropy, wrong, gap, threshold):
    """What the mask ``entropy < threshold`` takes away: share of the voxels, of the errors, of the consistency loss."""
    away, wrong, gap = (np.concatenate([part.ravel() for part in parts]) for parts in (entropy, wrong, gap))
    away = away >= threshold
    return {"voxels": float(away.mean()), "errors": float(wrong[away].sum() / wrong.sum()),
            "consistency loss": float(gap[away].sum() / gap.sum())}


def draw_uncertainty(image, label, entropy, wrong):
    """One axial slice: the scan with its label, the teacher's entropy, its errors, and the errors it was sure of."""
    z = int(np.argmax(wrong.sum((0, 1))))
    figure, axes = new_axes(4, height=2.85)
    sure = wrong & (entropy < 0.5)
    for ax, picture, title, cmap, top in (
            (axes[0], image, "scan and label", "gray", None), (axes[1], entropy, "entropy of the mean", "viridis", 1),
            (axes[2], wrong, "errors", "gray", 1), (axes[3], sure, "sure and wrong", "gray", 1)):
        ax.imshow(picture[:, :, z].T, cmap=cmap, vmin=None if top is None else 0, vmax=top)
        ax.contour(label[:, :, z].T, [0.5], colors=LOOKS["gold"].colour, linewidths=2)
        ax.set_title(title, fontsize=TEXT, color=INK)
        ax.set_axis_off()
    return figure
