"""A checkpoint against the cases of a split: one row of metrics a case; of several classes one each, and their mean."""

import numpy as np
import torch
from tqdm.auto import tqdm

from .classes import ATRIUM
from .data.masks import metric_rows
from .data.volumes import LAHeart, in_mm, keep_apart, list_path, read_geometry, read_list, sizes_differ
from .errors import LasegError
from .inference import largest_component, predict_volume
from .runtime.checkpoints import load_to_predict
from .runtime.machine import notify, pick_device


def evaluate_checkpoint(checkpoint, root_path, *, split="test", weights="student", window="walkthrough",
                        patch_size=None, downsample=None, at="same", largest_component=False, device="auto",
                        precision="fp32", spacing=None):
    """``evaluate_network`` for a checkpoint file; patch and downsampling are those of its training unless given.

    ``spacing``: a voxel's three sides in mm, for files that don't say them.
    ``at``: 'same' compares with labels at the network's resolution, 'full' with the labels as they are stored.
    """
    network, config = load_to_predict(checkpoint, weights, patch_size, downsample)
    patch_size, downsample = config["patch_size"], config["downsample"]
    dataset = LAHeart(root_path, split, downsample=1 if at == "full" else downsample)
    dataset.require_labels()
    dataset.require_sound()
    if len(dataset.classes) != len(classes := config.get("classes", ATRIUM)):
        raise LasegError(f"{checkpoint}: a network for {', '.join(classes)}, and the labels of {root_path} hold "
                         f"{', '.join(dataset.classes)}; use a checkpoint that was trained on these classes")
    train = list_path(root_path, "train")
    if split == "test" and train.is_file():
        keep_apart(list_path(root_path, "test"), dataset.image_list, train, read_list(train))
    warn_about_comparability(checkpoint, config, dataset, spacing)
    return evaluate_network(network.to(pick_device(device), memory_format=torch.channels_last_3d), dataset, patch_size,
                            window=window, keep_largest=largest_component, precision=precision,
                            downsample=downsample if at == "full" else 1, spacing=spacing)


def warn_about_comparability(checkpoint, config, dataset, spacing):
    """Say what makes the numbers mean something else than they seem to: cases that ``checkpoint`` was trained on,
    voxels of another size than those it was trained on, classes of other names, and a ``spacing`` that no case takes.
    """
    ours, theirs = list(dataset.classes), list(config.get("classes", ATRIUM))
    if len(ours) > 1 and ours != theirs:
        notify(f"WARNING: {checkpoint} was trained on {', '.join(theirs)}, the labels hold {', '.join(ours)}: each is "
               "compared with the one in its place")
    trained = config.get("cases") or {}
    if dataset.split == "test" and (known := [name for name in dataset.image_list if name in trained]):
        notify(f"WARNING: {checkpoint} was trained on {len(known)} of these cases, such as {known[0]}: what it scores "
               "there says nothing about new patients")
    sides = {name: read_geometry(dataset.path(name))["spacing"] for name in dataset.image_list}
    if config.get("spacing") is not None and (other := [name for name, mm in sides.items()
                                                        if sizes_differ(mm, config["spacing"])]):
        notify(f"WARNING: {dataset.path(other[0])}: its voxels are {in_mm(sides[other[0]])}, those that {checkpoint} "
               f"was trained on {in_mm(config['spacing'])}"
               + (f"; so it is with {len(other) - 1} more" if other[1:] else "") + "; prepare the cases alike")
    if spacing is not None and (said := [name for name, mm in sides.items() if not np.isnan(mm).any()
                                         and sizes_differ(mm, spacing)]):
        notify(f"WARNING: --spacing is not used for {len(said)} cases, such as {said[0]}, whose files say "
               f"{in_mm(sides[said[0]])}")


def evaluate_network(network, dataset, patch_size, *, window="walkthrough", keep_largest=False, precision="fp32",
                     downsample=1, progress=True, spacing=None):
    """Predict and measure every volume of ``dataset``: a list of dicts, ``case`` and the metrics' COLUMNS; of several
    classes with ``class`` too, see ``measure_case``.

    ``downsample``: of the network, where ``dataset`` holds the volumes as they are stored: it is scored at full size.

    Voxels are those of the (perhaps downsampled) volume; mm take the downsampling into account, and are NaN where
    neither the file nor ``spacing`` (three sides in mm of a stored voxel) says how large a voxel is.  An empty
    prediction is announced on stderr and scored as a failure.
    """
    found = predict_cases(network, dataset, patch_size, window=window, precision=precision,
                          downsample=downsample, progress=progress)
    return [row for name, mask, label in found
            for row in measure_case(dataset, name, largest_component(mask) if keep_largest else mask, label, spacing)]


def predict_cases(network, dataset, patch_size, *, window="walkthrough", precision="fp32", downsample=1, progress=True):
    """Yield (case, prediction, label) of every volume of ``dataset``, W x H x D; an empty prediction of a class is
    announced on stderr.  ``downsample``: the network sees so many voxels averaged to one, and what it finds is enlarged
    again (``predict_volume``)."""
    for i, name in enumerate(tqdm(dataset.image_list, disable=not progress, desc="evaluate")):
        sample = dataset[i]
        mask, _ = predict_volume(network, sample["image"], patch_size, window=window, precision=precision,
                                 downsample=downsample, enlarge=True)
        for k, kind in enumerate(dataset.classes, 1):
            if not (mask == k).any():
                of_class = f" of {kind}" if len(dataset.classes) > 1 else ""
                notify(f"WARNING: {name}: the prediction{of_class} is EMPTY")
        yield name, mask, sample["label"]


def measure_case(dataset, name, mask, label, spacing=None):
    """The rows of one case, see ``metric_rows``; ``spacing`` (mm, of a stored voxel) counts where its file
    doesn't say."""
    return metric_rows(name, mask, label, dataset.classes, dataset.spacing(name, spacing))
