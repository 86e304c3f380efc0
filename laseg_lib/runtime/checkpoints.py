"""Checkpoints: written completely or not at all, and read without running code from pickle."""

import contextlib
import json
import os
import pickle
import re
import zipfile
from itertools import zip_longest
from pathlib import Path

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save

from ..classes import ATRIUM, as_text, parse_classes
from ..config import TrainConfig
from ..errors import LasegError, require_no_text
from ..vnet import network_from_state, settings_of
from . import places
from .program import flush_to_disk, in_one_line

WRAPPERS = re.compile(r"(?:^|(?<=\.))_(orig_mod|checkpoint_wrapped_module|fsdp_wrapped_module)\.")
LAST, PREVIOUS, BEST = "last.pth", "previous.pth", "best.pth"
# Other tools save a metric or a step as a NumPy number beside the weights.  These types make one, by new and old names.
_scalar = np.float64(0).__reduce__()[0]
NUMPY_SCALARS = [_scalar, (_scalar, "numpy.core.multiarray.scalar"), np.dtype,
                 *(type(np.dtype(kind)) for kind in ("f2", "f4", "f8", "i4", "i8", "bool"))]


def save_checkpoint(path, state, *, keep_previous=False):
    """Write ``state`` (tensors, numbers, strings, lists, dicts) to ``path``, by a temporary file beside it.

    ``keep_previous``: the old file is first renamed to ``previous.pth``, so that there is always a complete one.
    Raises LasegError if the file can't be written; the old one is then unchanged.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")  # always this name, so that a killed process's file is replaced
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with open(partial, "wb") as file:
            torch.save(state, file)
            flush_to_disk(file)
        if keep_previous and path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        raise LasegError(f"{path}: the checkpoint can't be written ({error}); the one before, if there is one, is "
                         "complete. Free some space, then --resume; or copy this folder to another disk, and give the "
                         "copy as --snapshot_path") from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path):
    """The state that ``save_checkpoint`` wrote, or any other file of tensors, on the CPU.

    Raises LasegError for a file that is missing, truncated or changed, or holds more than tensors and plain values.
    """
    path = Path(path)
    if path.is_dir():
        raise LasegError(f"{path}: " + ("is a training's folder; give its last.pth or best.pth" if has_checkpoints(path)
                                        else "is a folder; give the file of a network"))
    if not path.is_file():
        raise LasegError(f"{path}: no such checkpoint; give a .pth or .safetensors file that exists")
    require_no_text(path, "checkpoint")
    try:
        with open(path, "rb") as file:  # from Python 3.13 on zipfile.is_zipfile denies it for a damaged file
            zipped = file.read(4) == b"PK\x03\x04"
        if zipped:  # torch doesn't check the checksums that it writes
            with zipfile.ZipFile(path) as file:
                if (changed := file.testzip()) is not None:
                    raise OSError(f"{changed} has another checksum")
        with torch.serialization.safe_globals(NUMPY_SCALARS):
            return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported operand" in str(error):
            raise LasegError(f"{path}: is written in a newer pickle protocol, which torch doesn't read safely; save it "
                             "again with torch.save(...) and no pickle_protocol") from error
        raise LasegError(f"{path}: not a checkpoint, or it holds more than tensors and plain values; such a file could "
                         "run code and is not loaded. Save the weights alone, in the program that wrote it: "
                         "torch.save(network.state_dict(), 'weights.pth')") from error
    except Exception as error:  # torch raises many types of error for damaged files
        raise LasegError(f"{path}: the checkpoint is damaged or truncated, or of another kind "
                         f"({in_one_line(error)[:120]}); use the one before, or train again") from error


def has_checkpoints(folder):
    """Whether ``folder`` holds any checkpoint of a training: the last, the one before it, or the best."""
    return any((Path(folder) / name).exists() for name in (LAST, PREVIOUS, BEST))


def load_optimizer(optimizer, state, folder):
    """Load an optimiser's ``state``; LasegError if it is of another kind, such as Adam."""
    if any(not {"lr", "momentum", "weight_decay"} <= set(group) for group in state["param_groups"]):
        raise LasegError(f"{folder}: the checkpoint was made with another optimiser than "
                         f"{type(optimizer).__name__}, so it can't go on; begin from its weights (--init_weights)")
    optimizer.load_state_dict(state)


@contextlib.contextmanager
def explain_foreign(path):
    """Turn an error from the contents of a readable checkpoint into a LasegError."""
    try:
        yield
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise LasegError(f"{path}: not a checkpoint that this training can continue from ({type(error).__name__}: "
                         f"{str(error).splitlines()[0] if str(error) else ''})") from error


def load_last(folder, warn):
    """The newest complete checkpoint of a run; None if the run was stopped before its first.  If the last one is
    damaged, the one before it is used, and ``warn`` gets a message."""
    folder = Path(folder)
    for path in (folder / LAST, folder / PREVIOUS):
        if path.is_symlink() and not path.exists():
            raise LasegError(f"{path}: a link to a missing file; restore the checkpoint, or remove the link")
    present = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    if not present and (folder / BEST).exists():
        kept = folder / f"{BEST}.before"
        os.replace(folder / BEST, kept)
        warn(f"{folder}: holds {BEST}, but no {LAST} to continue from; training begins anew, and {kept.name} keeps the "
             "earlier weights")
        return None
    if not present and (folder / "log.txt").exists():
        return warn(f"{folder}: stopped before its first checkpoint; training begins anew")
    if not present:
        raise LasegError(f"{folder}: no checkpoint to resume from; start without --resume")
    for path in present:
        try:
            state = load_checkpoint(path)
            if not isinstance(state, dict) or not state:
                raise LasegError(f"{path}: not a checkpoint of a training; move it away")
            return state
        except LasegError as error:
            failure = error
            warn(f"{error}" + (". The checkpoint before it is used" if path != present[-1] else ""))
    raise failure


def write_weights(path, network, config):
    """Write one network in float16 as a safetensors file, with its ``config`` (as ``load_network`` returns it).  The
    file has half the size of the network in a checkpoint, and no pickle."""
    tensors = {name: value.half().contiguous() if value.is_floating_point() else value
               for name, value in network.state_dict().items()}
    Path(path).write_bytes(save(tensors, metadata={"laseg": json.dumps(config)}))


def is_safetensors(path):
    """Whether a file is safetensors by its suffix, or by its beginning: a length, then JSON's brace."""
    if not Path(path).is_file():
        return False
    with open(path, "rb") as file:
        return file.read(9)[8:] == b"{" or Path(path).suffix == ".safetensors"


def read_weights(path):
    """A safetensors file of LASeg or another tool as a checkpoint with one network, ``student``, in float32."""
    require_no_text(path, "safetensors")
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}
            config = json.loads((file.metadata() or {}).get("laseg", "{}"))
    except (SafetensorError, OSError, ValueError) as error:
        raise LasegError(f"{path}: not a complete safetensors file ({error}); get it again") from error
    state = {name: config.pop(name) for name in ("spacing", "cases", "classes") if name in config}
    if "classes" in state:
        state["classes"] = as_text(state["classes"])
    student = {name: value.float() if value.is_floating_point() else value for name, value in tensors.items()}
    return {"student": student, "config": config, **state}


def require_same_cases(folder, ours, theirs, kind):
    """LasegError unless ``ours``, {case: SHA-256} in order, equals ``theirs``, the checkpoint's in ``folder``.
    ``kind``: 'training' or 'validation'."""
    for number, (mine, other) in enumerate(zip_longest(ours.items(), theirs.items())):
        if mine != other:
            name, before = (pair[0] if pair else "no case" for pair in (mine, other))
            what = f"{name} has other contents now" if name == before else f"it is {name} now, it was {before}"
            raise LasegError(f"{folder}: the checkpoint was made with other cases: number {number + 1} of the {kind} "
                             f"list: {what}; restore them, or start a new training")


def load_network(path, weights="student"):
    """(VNet in eval mode, the checkpoint's config dict or {}) from a checkpoint of LASeg or other tools.

    ``weights``: 'student', 'teacher', or 'any' (the teacher, if there are two).  A safetensors file has one network,
    which is taken for any of them.  For files of other tools see ``unwrap_network``.
    Besides the settings the config has ``spacing`` and ``cases``, if the checkpoint has them (see ``Trainer.weights``),
    and ``classes``, {name: value}, if these aren't the left atrium alone.
    Raises LasegError if the file holds the weights of another architecture.
    """
    if is_safetensors(path):
        state, weights = read_weights(path), "student"
    else:
        state = load_checkpoint(path)
    if not isinstance(state, dict):
        raise LasegError(f"{path}: holds no dictionary of weights; save network.state_dict()")
    if "student" not in state and "teacher" not in state:
        has_teacher = any(name.endswith("teacher.out_conv.weight") for name, _ in flattened(state))
        if weights == "teacher" and not has_teacher:
            raise LasegError(f"{path}: holds one network only, no student and teacher; leave out --weights teacher")
        weights = weights if weights != "any" else "teacher" if has_teacher else "student"
        state = {weights: state}
    if weights == "any":
        weights = "teacher" if "teacher" in state else "student"
    if weights not in state:
        raise LasegError(f"{path}: holds no {weights}; choose one of {', '.join(map(str, state))}")
    config, tensors = state.get("config", {}), state[weights]
    extras = {name: state[name] for name in ("spacing", "cases") if state.get(name) is not None}
    sides, cases = extras.get("spacing", [1, 1, 1]), extras.get("cases", {})
    try:
        # A teacher of version 1.0 may have kept its buffers, in eval mode: today's check must not refuse it.
        TrainConfig.from_dict(config | {"ema_buffers": "average"} if isinstance(config, dict) else config)
        if not isinstance(cases, dict) or not isinstance(sides, (list, tuple)) or len(sides) != 3 or not all(
                isinstance(side, (int, float)) and side > 0 for side in sides):
            raise LasegError("spacing or cases have another form; use the LASeg version that wrote them")
    except LasegError as error:
        raise LasegError(f"{path}: {error} (or is it a file of another tool? Save the weights alone: "
                         "torch.save(network.state_dict(), FILE))") from error
    try:
        if not isinstance(tensors, dict):
            raise ValueError(f"holds a {type(tensors).__name__} where a network's weights should be")
        network = network_from_state(unwrap_network(tensors, weights)).eval()
    except (ValueError, LasegError) as error:
        raise LasegError(f"{path}: {error}") from error
    found = network.out_conv.out_channels - 1  # classes beside the background
    if not found:
        raise LasegError(f"{path}: a network of 1 class; two or more are needed, the first is the background")
    if "classes" in state:
        classes = parse_classes(state["classes"], path)
    else:
        classes = ATRIUM if found == 1 else {f"class {k}": k for k in range(1, found + 1)}
    if len(classes) != found:
        raise LasegError(f"{path}: the network has {found} classes beside the background, and the file names "
                         f"{', '.join(classes)}; use the checkpoint as it was written")
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise LasegError(f"{path}: holds weights that are NaN or infinite: its training diverged; use an earlier "
                         "checkpoint, and a lower --base_lr")
    config = {**config, **extras}
    return network, config if classes == ATRIUM else {**config, "classes": classes}


def load_to_predict(path, weights="student", patch_size=None, downsample=None):
    """``load_network``, with ``patch_size`` and ``downsample`` (see ``predict_volume``) in its config: those given, or
    the training's.

    LasegError for a network with more than one input channel, and for sizes that can't work.
    """
    network, config = load_network(path, weights)
    channels = network.block_one.conv[0].in_channels
    if channels != 1:
        raise LasegError(f"{path}: a network for {channels} channels; give one for 1, as the volumes have")
    patch_size = tuple(patch_size or config.get("patch_size", (112, 112, 80)))
    if any(not d <= side <= 4096 or side % d for side, d in zip(patch_size, network.divisor)):
        raise LasegError(f"--patch_size {patch_size}: the sides must be multiples of {network.divisor}, 4096 at most, "
                         f"for the network of {path}")
    downsample = config.get("downsample", 1) if downsample is None else downsample
    if not 1 <= downsample <= 64:
        raise LasegError(f"--downsample must be between 1 and 64; got {str(downsample)[:20]}")
    return network, {**config, "patch_size": patch_size, "downsample": downsample}


def start_from_weights(network, source):
    """Copy the weights of ``source`` (a file, or 'atrium') into ``network``, a VNet.  If the classes differ, the last
    layer is not copied.  LasegError for the weights of another V-Net."""
    path = places.weights(source) if source == "atrium" else Path(source)
    given = load_network(path, "any")[0]
    mine, theirs = settings_of(network.state_dict()), settings_of(given.state_dict())
    other = [name for name in mine if name != "n_classes" and mine[name] != theirs[name]]
    if other:
        raise LasegError(f"--init_weights {path}: the weights of a V-Net with "
                         + ", ".join(f"{'--' * hasattr(TrainConfig, name)}{name} {theirs[name]} (here {mine[name]})"
                                     for name in other)
                         + ("; train with the same settings" if all(hasattr(TrainConfig, name) for name in other) else
                            ", which LASeg doesn't train; give the weights of another network"))
    state = given.state_dict()
    if mine["n_classes"] != theirs["n_classes"]:
        state |= {name: value for name, value in network.state_dict().items() if name.startswith("out_conv.")}
    network.load_state_dict(state)


def unwrap_network(state, name=""):
    """The weights of the one V-Net in ``state``, or of several that of ``name`` (student, teacher), without the
    dictionaries around them and without the prefixes of DataParallel ("module.") and Lightning ("model.").

    If there is no V-Net, ``state`` is returned unchanged: building the network then says what is wrong.  ValueError for
    several.
    """
    values = dict(flattened(state))
    prefixes = [key.removesuffix("out_conv.weight") for key in values if key.endswith("out_conv.weight")]
    named = [prefix for prefix in prefixes if name and prefix.endswith(f"{name}.")]
    prefixes = named if len(named) == 1 else prefixes
    if len(prefixes) > 1:
        names = ", ".join(prefix.rstrip(".") or "unnamed" for prefix in prefixes)
        raise ValueError(f"holds {len(prefixes)} networks ({names}); save the one to use in a file of its own")
    if not prefixes:
        return state
    return {key.removeprefix(prefixes[0]): value for key, value in values.items() if key.startswith(prefixes[0])}


def flattened(state, prefix=""):
    """(name, value) of every value in a dictionary and in the dictionaries inside it; names are joined by dots, without
    the words that ``torch.compile``, checkpointing of activations and FSDP put into them (``WRAPPERS``)."""
    for key, value in state.items():
        if isinstance(value, dict):
            yield from flattened(value, f"{prefix}{key}.")
        else:
            yield WRAPPERS.sub("", f"{prefix}{key}"), value
