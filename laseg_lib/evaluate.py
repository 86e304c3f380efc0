"""A checkpoint against the cases of a split: one row of metrics a case."""

import csv
import io
import re
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from .data.atomic import write_whole
from .data.volumes import LAHeart, differ, in_mm, keep_apart, list_path, read_geometry, read_list
from .errors import LasegError
from .inference import largest_component, predict_volume
from .metrics import COLUMNS, case_metrics
from .runtime.checkpoints import load_network
from .runtime.machine import pick_device, tell


def evaluate_checkpoint(checkpoint, root_path, *, split="test", weights="student", window="walkthrough",
                        patch_size=None, downsample=None, at="same", largest_component=False, device="auto",
                        precision="fp32", spacing=None):
    """``evaluate_network`` for a checkpoint file; patch and downsampling are those of its training unless given.

    ``spacing``: a voxel's three sides in mm, for files that don't say them.
    ``at``: 'same' compares with labels at the network's resolution, 'full' with the labels as they are stored.
    """
    network, config = load_network(checkpoint, weights)
    require_one_channel(network, checkpoint)
    patch_size = patch_of(network, config, patch_size, checkpoint)
    downsample = factor_of(config, downsample)
    dataset = LAHeart(root_path, split, downsample=1 if at == "full" else downsample)
    dataset.require_labels()
    dataset.require_sound()
    train = list_path(root_path, "train")
    if split == "test" and train.is_file():
        keep_apart(list_path(root_path, "test"), dataset.image_list, train, read_list(train))
    doubt(checkpoint, config, dataset, spacing)
    return evaluate_network(network.to(pick_device(device), memory_format=torch.channels_last_3d), dataset, patch_size,
                            window=window, keep_largest=largest_component, precision=precision,
                            downsample=downsample if at == "full" else 1, spacing=spacing)


def doubt(checkpoint, config, dataset, spacing):
    """Say what makes the numbers mean something else than they seem to: cases that ``checkpoint`` was trained on,
    voxels of another size than those it was trained on, and a ``spacing`` that no case takes."""
    trained = config.get("cases") or {}
    if dataset.split == "test" and (known := [name for name in dataset.image_list if name in trained]):
        tell(f"WARNING: {checkpoint} was trained on {len(known)} of these cases, such as {known[0]}: what it scores "
             "there says nothing about new patients")
    sides = {name: read_geometry(dataset.path(name))["spacing"] for name in dataset.image_list}
    if config.get("spacing") is not None and (other := [name for name, mm in sides.items()
                                                        if differ(mm, config["spacing"])]):
        tell(f"WARNING: {dataset.path(other[0])}: its voxels are {in_mm(sides[other[0]])}, those that {checkpoint} was "
             f"trained on {in_mm(config['spacing'])}"
             + (f"; so it is with {len(other) - 1} more" if other[1:] else "") + "; prepare the cases alike")
    if spacing is not None and (said := [name for name, mm in sides.items() if not np.isnan(mm).any()
                                         and differ(mm, spacing)]):
        tell(f"WARNING: --spacing is not used for {len(said)} cases, such as {said[0]}, whose files say "
             f"{in_mm(sides[said[0]])}")


def require_one_channel(network, checkpoint):
    """LasegError for a network that wants more than one image of a scan."""
    channels = network.block_one.conv[0].in_channels
    if channels != 1:
        raise LasegError(f"{checkpoint}: a network for images of {channels} channels; these volumes have one")


def patch_of(network, config, patch_size, checkpoint):
    """The windows' size: ``patch_size``, or as in training; LasegError for one that the network's halvings don't
    divide."""
    patch_size = tuple(patch_size or config.get("patch_size", (112, 112, 80)))
    if any(not d <= side <= 4096 or side % d for side, d in zip(patch_size, network.divisor)):
        raise LasegError(f"--patch_size {patch_size}: the sides must be multiples of {network.divisor}, 4096 at most, "
                         f"for the network of {checkpoint}")
    return patch_size


def factor_of(config, downsample):
    """How many voxels are averaged to one: ``downsample``, or as in training; LasegError for less than one, or more
    than leave anything of an atrium."""
    downsample = config.get("downsample", 1) if downsample is None else downsample
    if not 1 <= downsample <= 64:
        raise LasegError(f"--downsample must be between 1 and 64; got {str(downsample)[:20]}")
    return downsample


def evaluate_network(network, dataset, patch_size, *, window="walkthrough", keep_largest=False, precision="fp32",
                     downsample=1, progress=True, spacing=None):
    """Predict and measure every volume of ``dataset``: a list of dicts, ``case`` and the metrics' COLUMNS.

    ``downsample``: of the network, where ``dataset`` holds the volumes as they are stored: it is scored at full size.

    Voxels are those of the (perhaps downsampled) volume; mm take the downsampling into account, and are NaN where
    neither the file nor ``spacing`` (three sides in mm of a stored voxel) says how large a voxel is.  An empty
    prediction is announced on stderr and scored as a failure.
    """
    found = predict_cases(network, dataset, patch_size, window=window, precision=precision,
                          downsample=downsample, progress=progress)
    return [measure_case(dataset, name, largest_component(mask) if keep_largest else mask, label, spacing)
            for name, mask, label in found]


def predict_cases(network, dataset, patch_size, *, window="walkthrough", precision="fp32", downsample=1, progress=True):
    """Yield (case, prediction, label) of every volume of ``dataset``, masks W x H x D; an empty prediction is
    announced on stderr.  ``downsample``: the network sees so many voxels averaged to one, and what it finds is enlarged
    again (``predict_volume``)."""
    for i, name in enumerate(tqdm(dataset.image_list, disable=not progress, desc="evaluate")):
        sample = dataset[i]
        mask, _ = predict_volume(network, sample["image"], patch_size, window=window, precision=precision,
                                 downsample=downsample, enlarge=True)
        if not mask.any():
            print(f"WARNING: {name}: the prediction is EMPTY", file=sys.stderr)
        yield name, mask, sample["label"]


def require_own_table(path):
    """LasegError where ``path`` is a file that is no table of metrics: a slip must not cost a checkpoint."""
    path = Path(path)
    if path.is_file() and path.stat().st_size:
        with open(path, "rb") as file:
            head = file.readline(1000)
        if not re.match(rb"(case|weights),", head) or COLUMNS[0].encode() not in head:
            raise LasegError(f"--csv {path}: is there already and is no table of metrics; give another name")


def write_table(path, rows):
    """Rows of metrics as CSV, the case (and the weights, where rows have them) in front; whole or not at all."""
    text = io.StringIO()
    first = [name for name in ("case", "weights") if not rows or name in rows[0]]
    writer = csv.DictWriter(text, [*first, *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def measure_case(dataset, name, mask, label, spacing=None):
    """The row of one case; ``spacing`` (mm, of a stored voxel) counts where its file doesn't say."""
    sides = dataset.spacing(name)
    if spacing is not None:
        sides = np.where(np.isnan(sides), np.asarray(spacing, float) * dataset.downsample, sides)
    return {"case": name, **case_metrics(mask, label, sides)}
