"""Self-training: a teacher trained on the labelled volumes labels the others once; a second network learns from all.

    Y = largest component of argmax P_teacher(x),   then   L = L_seg(P, Y)   on labelled and unlabelled volumes alike

``label_by_teacher`` writes a data set, from which a training on labels (``--model supervised_equal``) learns:

    laseg train --root_path R --labelnum 4 --model supervised ...          # the teacher: labels only
    label_by_teacher("RUN/last.pth", R, names, 4, "pseudo", patch_size=..., downsample=2)
    laseg train --root_path pseudo/cases --model supervised_equal --labelnum 80 ...

Source: Lee 2013, "Pseudo-label", where one network labels while it learns; two steps: Yalniz et al. 2019
(arXiv:1905.00546).  Different from them: labels are made once, not selected by confidence, and there is no last
training on the true labels alone.  Only each class's largest component is kept, because an atrium is one piece.
"""

from pathlib import Path

import numpy as np
import torch

from ..classes import ATRIUM
from ..data.atomic import write_list, write_whole
from ..data.volumes import FILE, file_of, has_label, list_path, read_geometry, read_volume, write_volume
from ..errors import LasegError
from ..inference import largest_component, predict_volume
from ..metrics import mean_dice_of
from ..runtime.checkpoints import load_network
from ..runtime.machine import pick_device


def label_by_teacher(checkpoint, root, names, labelled, dest, *, patch_size, downsample=1):
    """Write a data set of the cases ``names`` of ``root`` to ``dest``.

    The first ``labelled`` keep their labels.  The others get the largest component of what the
    teacher of ``checkpoint`` predicts.  Voxel sizes, positions and patients.list go along.
    ``patch_size``, ``downsample``: of the teacher's training.
    Returns the mean Dice of the new labels where true ones exist, or NaN; choose nothing by it.
    Raises LasegError for broken files, if the teacher finds nothing, and if labels would be lost.
    """
    network, config = load_network(checkpoint, "teacher")
    network = network.to(pick_device(), memory_format=torch.channels_last_3d)
    root, dest, quality = Path(root), Path(dest), []
    for i, name in enumerate(names):
        path, target = file_of(root, name), dest / "cases" / name / FILE
        if target.exists() and target.samefile(path):
            raise LasegError(f"{dest}: the given labels would be lost; give another folder")
        image, label = read_volume(path, with_label=i < labelled or has_label(path))
        if i >= labelled:
            found = largest_component(predict_volume(network, image, patch_size, enlarge=True,
                                                     downsample=downsample)[0])
            if not found.any():
                raise LasegError(f"{path}: the teacher finds nothing; train it longer")
            quality += [] if label is None else [mean_dice_of(found, label)]
            label = found
        known = {kind: mm for kind, mm in read_geometry(path).items() if not np.isnan(mm).any()}
        write_volume(target, image, label, classes=config.get("classes", ATRIUM), **known)
    write_list(dest / "train.list", names)
    if (patients := list_path(root, "patients")).is_file():
        write_whole(dest / "patients.list", patients.read_bytes())
    return round(float(np.mean(quality)), 4) if quality else float("nan")
