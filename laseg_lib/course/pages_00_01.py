"""Small experiments and drawings of notebooks 00 and 01, each used on one page.

What is measured is measured on the library's own volumes, transforms and training.
"""

import os
from collections import Counter, namedtuple

import numpy as np

from ..axes import SMALL, TEXT, dress, line_style, new_axes
from ..inference import predict_volume
from ..phantom import FIELD_MM, make_phantom, write_phantoms
from ..prepare import read_nrrd, read_pair
from ..records import HOME
from ..style import INK, LOOKS
from ..volumes import FILE, SPACING_MM, LAHeart, case_names, find_root, read_volume

Volumes = namedtuple("Volumes", "root real spacing")  # folder of the cases; whether patients; a voxel's sides in mm


# --- 00 start_here --------------------------------------------------------------------------------


def spacing_of(shape, real):
    """A voxel's three sides in mm: the public volumes' is fixed, a phantom divides its field of view."""
    return np.full(3, SPACING_MM) if real else np.divide(FIELD_MM, shape)


def try_on_test(trainer, number=0):
    """A test case that the training never saw: (image, gold label, {'student' | 'teacher': mask}, spacing in mm)."""
    config, real = trainer.config, bool(os.environ.get("LASEG_DATA"))
    sample = LAHeart(config.root_path, "test", downsample=config.downsample)[number]
    masks = {}
    for who in ("student", "teacher"):
        network = getattr(trainer, who)
        was_training = network.training
        masks[who] = predict_volume(network.eval(), sample["image"], config.patch_size, window="fast")[0]
        network.train(was_training)
    spacing = spacing_of(sample["image"].shape, real) * (config.downsample if real else 1)
    return sample["image"], sample["label"], masks, spacing


def dice(one, two):
    """Twice the overlap over the sum of the sizes: 1 is perfect, 0 no overlap."""
    return float(2 * np.sum(one * two) / (np.sum(one) + np.sum(two)))


def draw_learning(history):
    """Loss over the iterations, and Dice of student and teacher on the validation cases."""
    figure, (left, right) = new_axes(2, height=3.6, xlabel="iteration")
    dress(left, "iteration", "loss", "how wrong the student is")
    dress(right, "iteration", "Dice on validation cases", "how well both segment")
    loss = np.array([row["loss"] for row in history], float)
    left.plot(np.arange(1, len(loss) + 1), loss, color=LOOKS["supervised"].colour, linewidth=2)
    scored = [row for row in history if "val_dice_student" in row]
    for who, arm in (("student", "supervised"), ("teacher", "MT")):
        given = LOOKS[arm]
        at, values = [row["iteration"] for row in scored], [row[f"val_dice_{who}"] for row in scored]
        right.plot(at, values, marker=given.marker, markersize=9, **line_style(given._replace(label=who), 2.6))
    left.set_ylim(0, None)
    left.set_xlim(0, max(len(loss), 10))
    right.set(xlim=(0, max(len(loss), 10)), ylim=(-0.03, 1))
    right.legend(fontsize=TEXT, frameon=False, loc="lower right")
    return figure


# --- 01 left_atrium_data --------------------------------------------------------------------------


def volumes_to_look_at():
    """The real volumes that LASEG_DATA names, otherwise twelve phantoms with voxels of 1.25 mm, made where missing."""
    if os.environ.get("LASEG_DATA"):
        return Volumes(find_root(os.environ["LASEG_DATA"]), True, SPACING_MM)
    size = (95, 70, 44)
    root = write_phantoms(HOME / "data" / "course_phantoms", train=10, test=2, size=size, progress=False)
    return Volumes(root, False, FIELD_MM[0] / size[0])


def summaries(root):
    """A row a training case: name, share of foreground, mean, standard deviation, different intensities."""
    rows = []
    for name in case_names(root, "train"):
        image, label = read_volume(root / name / FILE)
        rows.append((name, float(label.mean()), float(image.mean()), float(image.std()), len(np.unique(image))))
    return rows


def draw_balance(shares):
    """The share of atrium in each case, lowest first, in percent."""
    figure, ax = new_axes(height=3.4, xlabel="case, smallest share first", ylabel="atrium (% of voxels)")
    values = 100 * np.sort(shares)
    ax.bar(range(len(values)), values, color=LOOKS["gold"].colour, width=0.8, label="left atrium")
    ax.axhline(values.mean(), color=INK, linewidth=2, linestyle=(0, (4, 2)), label=f"mean {values.mean():.1f} %")
    ax.set(xticks=[], ylim=(0, max(values.max() * 1.25, 10)))
    ax.legend(fontsize=TEXT, frameon=False, loc="upper left", ncols=2)
    return figure


def draw_intensities(cases):
    """Histograms of atrium and everything else, a panel a case: {name: (image, label)}."""
    figure, axes = new_axes(len(cases), height=3.5, sharex=True, sharey=True, xlabel="normalised intensity")
    for ax, (name, (image, label)) in zip(axes, cases.items()):
        for inside, arm, text in ((False, "strong_supervised", "everything else"), (True, "gold", "left atrium")):
            ax.hist(image[label == inside], bins=np.linspace(-2.5, 4, 60), density=True, color=LOOKS[arm].colour,
                    alpha=0.65, label=text, histtype="stepfilled", edgecolor=INK, linestyle="-" if inside else ":")
        ax.set_title(name[:14], fontsize=TEXT, loc="left")
    axes[0].set_ylabel("density", fontsize=TEXT)
    axes[-1].legend(fontsize=SMALL, frameon=False, loc="upper left")
    return figure


def best_threshold(image, label):
    """(threshold, Dice) of the best rule 'brighter than t is atrium', among 60 of them."""
    scores = {}
    for t in np.linspace(image.min(), image.max(), 60):
        found = image > t
        scores[float(t)] = dice(found, label)
    best = max(scores, key=scores.get)
    return best, scores[best]


def draw_raw(raw_case, image, label):
    """An axial slice of a raw scan with the box of the crop, and beside it what is left of it.

    ``raw_case``: folder with the NRRD pair; ``image``, ``label``: the prepared volume of that case.
    """
    from matplotlib.patches import Rectangle

    scan, gold, _ = read_pair(raw_case)
    z = int(np.argwhere(gold)[:, 2].mean())
    corner = [int(a.min() - b.min()) for a, b in zip(np.nonzero(gold)[:2], np.nonzero(label)[:2])]
    figure, (left, right) = new_axes(2, height=4.0, gridspec_kw={"width_ratios": [1.5, 1]})
    for ax, picture, mask, title in ((left, scan, gold, "raw: the whole chest"), (right, image, label, "prepared")):
        ax.imshow(picture[:, :, z].T, cmap="gray", vmin=np.percentile(scan, 1), vmax=np.percentile(scan, 99.7))
        ax.contour(mask[:, :, z].T, [0.5], colors=LOOKS["gold"].colour, linewidths=2.2)
        ax.set_title(f"{title}, {picture.shape[0]} × {picture.shape[1]}", fontsize=TEXT, color=INK)
        ax.set_axis_off()
    left.add_patch(Rectangle(corner, *image.shape[:2], fill=False, edgecolor=LOOKS["supervised_equal"].colour,
                             linewidth=2.6, linestyle="--"))
    return figure


def header(path):
    """What an NRRD file says of itself: size, voxel type, sides of a voxel in mm."""
    data, said = read_nrrd(path)
    return data.shape, str(data.dtype), np.linalg.norm(said["space directions"], axis=1).round(2).tolist()


def walkthrough_rot_flip(image):
    """As the walkthrough's RandomRotFlip has it."""
    k = np.random.randint(0, 4)
    image = np.rot90(image, k)
    axis = np.random.randint(0, 2)
    return np.flip(image, axis=axis).copy()


def walkthrough_offset(size, patch):
    """One axis of the walkthrough's RandomCrop."""
    return np.random.randint(0, size - patch)


SYMMETRIES = {f"{turn}° {'mirrored' if flip else ''}".strip(): (turn // 90, flip)
              for flip in (False, True) for turn in (0, 90, 180, 270)}


def symmetry(flat, name):
    """One of the square's eight symmetries of a volume or slice, in its first two axes."""
    k, flip = SYMMETRIES[name]
    return np.rot90(np.flip(flat, 0) if flip else flat, k)


def count_symmetries(augment, draws=4000):
    """{symmetry: share of the draws}; ``augment`` takes and returns an array (W, H, 1)."""
    tile = np.array([[0, 1], [2, 3]])[..., None]
    names = {symmetry(tile, name).tobytes(): name for name in SYMMETRIES}
    found = Counter(names[np.ascontiguousarray(augment(tile)).tobytes()] for _ in range(draws))
    return {name: found[name] / draws for name in SYMMETRIES}


def draw_symmetries(image, label, shares):
    """The eight symmetries of a slice (W, H), each with the percentage at which it comes up: {name: share}."""
    side = min(image.shape)
    cut = [slice((n - side) // 2, (n - side) // 2 + side) for n in image.shape]
    figure, axes = new_axes(4, rows=2, height=5.6)
    low, high = np.percentile(image, (1, 99.7))
    for ax, name in zip(axes, SYMMETRIES):
        ax.imshow(symmetry(image[*cut], name).T, cmap="gray", vmin=low, vmax=high, alpha=1 if shares[name] else 0.3)
        ax.contour(symmetry(label[*cut], name).T, [0.5], colors=LOOKS["gold"].colour, linewidths=2)
        ax.set_title(f"{name}: {100 * shares[name]:.0f} %", fontsize=TEXT, color=INK if shares[name] else "#B00020")
        ax.set_axis_off()
    return figure


def draw_offsets(counts, room):
    """How often each offset from 0 to ``room`` is drawn, per way of drawing: {name: list of offsets}."""
    figure, axes = new_axes(len(counts), height=3.4, sharey=True, xlabel="offset of the crop (voxels)")
    for ax, (name, offsets), arm in zip(axes, counts.items(), ("strong", "MT")):
        values = np.bincount(offsets, minlength=room + 1)
        hatch = "//" if arm == "strong" else ""
        ax.bar(range(room + 1), values, color=LOOKS[arm].colour, hatch=hatch, edgecolor="white")
        ax.set_title(name, fontsize=TEXT, loc="left")
        ax.set_xticks(range(room + 1))
        for at in np.flatnonzero(values == 0):
            ax.text(at, values.max() * 0.04, "never", rotation=90, ha="center", fontsize=TEXT, color="#B00020")
    axes[0].set_ylabel("times drawn", fontsize=TEXT)
    return figure


def break_file(folder, how):
    """A ``mri_norm2.h5`` in ``folder`` with one thing wrong; returns its path."""
    import h5py

    image, label = make_phantom(0, (24, 20, 12))
    changes = {"NaN": lambda: image.__setitem__((0, 0, 0), np.nan), "255": lambda: label.__imul__(255),
               "empty": lambda: label.__imul__(0)}
    changes.get(how, lambda: None)()
    path = folder / FILE
    with h5py.File(path, "w") as file:
        file["image"] = image
        if how != "no label":
            file["label"] = label[:, :, 1:] if how == "shapes" else label
    if how == "cut off":
        path.write_bytes(path.read_bytes()[:5000])
    return path
