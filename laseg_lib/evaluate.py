"""Measures a checkpoint on the cases of a split."""

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

    ``at``: 'same' compares with labels at the network's resolution, 'full' with the labels as they are stored.
    LasegError for a checkpoint or volume that can't be read, for cases without a label, for other classes, and for a
    test case, or a test patient, that is for training too.
    """
    network, config = load_to_predict(checkpoint, weights, patch_size, downsample)
    patch_size, downsample = config["patch_size"], config["downsample"]
    dataset = LAHeart(root_path, split, downsample=1 if at == "full" else downsample)
    dataset.require_labels()
    dataset.require_sound()
    if len(dataset.classes) != len(classes := config.get("classes", ATRIUM)):
        raise LasegError(f"{checkpoint}: the network's classes are {', '.join(classes)}, but the labels of {root_path} "
                         f"hold {', '.join(dataset.classes)}; use a checkpoint that was trained on these classes")
    train = list_path(root_path, "train")
    if split == "test" and train.is_file():
        keep_apart(list_path(root_path, "test"), dataset.image_list, train, read_list(train), root_path)
    warn_about_comparability(checkpoint, config, dataset, spacing)
    return evaluate_network(network.to(pick_device(device), memory_format=torch.channels_last_3d), dataset, patch_size,
                            window=window, keep_largest=largest_component, precision=precision,
                            downsample=downsample if at == "full" else 1, spacing=spacing)


def warn_about_comparability(checkpoint, config, dataset, spacing):
    """Warn of cases that were trained on, of other voxel sizes or class names, of an unused ``spacing``."""
    ours, theirs = list(dataset.classes), list(config.get("classes", ATRIUM))
    if len(ours) > 1 and ours != theirs:
        notify(f"WARNING: {checkpoint} was trained on {', '.join(theirs)}, but the labels hold {', '.join(ours)}: "
               "classes are compared in this order")
    trained = config.get("cases") or {}
    if dataset.split == "test" and (known := [name for name in dataset.image_list if name in trained]):
        notify(f"WARNING: {checkpoint} was trained on {len(known)} of these cases, such as {known[0]}: its score there "
               "says nothing about new patients")
    sides = {name: read_geometry(dataset.path(name))["spacing"] for name in dataset.image_list}
    if config.get("spacing") is not None and (other := [name for name, mm in sides.items()
                                                        if sizes_differ(mm, config["spacing"])]):
        notify(f"WARNING: {dataset.path(other[0])}: its voxels are {in_mm(sides[other[0]])}, those that {checkpoint} "
               f"was trained on {in_mm(config['spacing'])}"
               + (f"; {len(other) - 1} more cases differ" if other[1:] else "") + "; prepare the cases in the same way")
    if spacing is not None and (said := [name for name, mm in sides.items() if not np.isnan(mm).any()
                                         and sizes_differ(mm, spacing)]):
        notify(f"WARNING: --spacing is not used for {len(said)} cases, such as {said[0]}, because their files have "
               f"their own: {in_mm(sides[said[0]])}")


def evaluate_network(network, dataset, patch_size, *, window="walkthrough", keep_largest=False, precision="fp32",
                     downsample=1, progress=True, spacing=None):
    """Predict and measure every volume of ``dataset``: a list of dicts, ``case`` and the metrics' COLUMNS; of several
    classes with ``class`` too, see ``metric_rows``.

    ``downsample``: the network's, if ``dataset`` holds the volumes at their stored size.  Metrics in voxels are in
    voxels of ``dataset``'s volumes.  Metrics in mm are NaN if neither the file nor ``spacing`` (three sides in mm of a
    stored voxel) gives a voxel's size.  An empty prediction is reported on stderr and scored as a failure.
    """
    found = predict_cases(network, dataset, patch_size, window=window, precision=precision,
                          downsample=downsample, progress=progress)
    return [row for name, mask, label in found
            for row in measure_case(dataset, name, largest_component(mask) if keep_largest else mask, label, spacing)]


def predict_cases(network, dataset, patch_size, *, window="walkthrough", precision="fp32", downsample=1, progress=True):
    """Yield (case, prediction, label) of every volume of ``dataset``, W x H x D; see ``evaluate_network``."""
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
    """The rows of one case, as ``metric_rows`` gives them; ``spacing`` as in ``evaluate_network``."""
    return metric_rows(name, mask, label, dataset.classes, dataset.spacing(name, spacing))
