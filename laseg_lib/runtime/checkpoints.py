"""Checkpoints: written whole or not at all, read without pickle's powers."""

import contextlib
import mmap
import os
import pickle
import zipfile
from itertools import zip_longest
from pathlib import Path

import torch

from ..classes import ATRIUM, parse_classes
from ..config import TrainConfig
from ..errors import LasegError
from ..vnet import network_from_state
from .machine import refuse_bomb, require_memory

LAST, PREVIOUS, BEST = "last.pth", "previous.pth", "best.pth"
MOST_PACKED = 20  # torch packs nothing at all, and weights hardly shrink


def save_checkpoint(path, state, *, keep_previous=False):
    """Write ``state`` (tensors, numbers, strings, lists, dicts) to ``path``, or leave what is there.

    A temporary file beside it is written, flushed to the disk and renamed.  ``keep_previous``
    first renames the old one to ``previous.pth``, so that there is always a whole one.
    Raises LasegError when the disk refuses.
    """
    path = Path(path)
    partial = path.with_name(f"{path.name}.partial")  # one name: what a killed process left is overwritten
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.unlink(missing_ok=True)  # it could be a pipe, which waits for ever, or a link to another file
        with open(partial, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        if keep_previous and path.exists():
            os.replace(path, path.with_name(PREVIOUS))
        os.replace(partial, path)
    except (OSError, RuntimeError) as error:  # torch's zip writer reports a full disk as RuntimeError
        raise LasegError(f"{path}: the checkpoint can't be written ({error}); the one before is whole. "
                         "Make room or choose another --snapshot_path, then --resume") from error
    finally:
        partial.unlink(missing_ok=True)


def load_checkpoint(path):
    """What ``save_checkpoint`` wrote (or any file of tensors), on the CPU.

    Raises LasegError for a file that is missing, truncated, changed, or holds anything but tensors and plain values.
    """
    path = Path(path)
    if not path.is_file():
        raise LasegError(f"{path}: no such checkpoint")
    refuse_huge(path)
    refuse_calls(path)
    try:
        if zipfile.is_zipfile(path):  # torch itself doesn't look at the checksums that it writes
            with zipfile.ZipFile(path) as file:
                if (changed := file.testzip()) is not None:
                    raise OSError(f"{changed} has another checksum")
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise LasegError(f"{path}: not a checkpoint, or it holds more than tensors and plain values; "
                         "such a file could run code and is not loaded") from error
    except Exception as error:  # torch raises a different kind for every way a file can be damaged
        raise LasegError(f"{path}: the checkpoint is damaged or truncated ({type(error).__name__}); "
                         "use the one before, or train again") from error


def refuse_huge(path):
    """LasegError for a checkpoint that is a few MB on the disk and as many GB in memory: by its directory, unread."""
    try:
        with zipfile.ZipFile(path) as file:
            unpacked, packed = sum(entry.file_size for entry in file.infolist()), os.path.getsize(path)
    except Exception:  # no zip, or a damaged one: reading it says what is wrong
        return
    refuse_bomb(path, "this checkpoint", packed, unpacked, MOST_PACKED, "get it anew")
    require_memory(unpacked, torch.device("cpu"), path, "load it on a larger machine")


def refuse_calls(path):
    """LasegError for a pickle that calls ``bytearray``, which torch allows and no checkpoint needs: with a number it
    takes as many bytes, from a file of thirty."""
    try:
        with zipfile.ZipFile(path) as file:
            found = any(b"bytearray" in file.read(name) for name in file.namelist() if name.endswith("data.pkl"))
    except Exception:  # no zip: pickles, one after the other; or damaged, and reading it says so
        try:
            with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
                found = whole.find(b"\nbytearray\n") >= 0  # as a pickle names what it calls
        except (OSError, ValueError):  # unreadable, or empty
            return
    if found:
        raise LasegError(f"{path}: holds more than tensors and plain values (bytes to be made anew), and is not loaded")


def begun(folder):
    """Whether ``folder`` holds a training's checkpoints, be it only the one before the last, or the best."""
    return any((Path(folder) / name).exists() for name in (LAST, PREVIOUS, BEST))


@contextlib.contextmanager
def explain_foreign(path):
    """Turn what goes wrong with the contents of a readable checkpoint into a sentence."""
    try:
        yield
    except (KeyError, IndexError, AttributeError, TypeError, ValueError, RuntimeError, OverflowError) as error:
        raise LasegError(f"{path}: not a checkpoint that this training can go on from ({type(error).__name__}: "
                         f"{str(error).splitlines()[0] if str(error) else ''})") from error


def load_last(folder, warn):
    """The newest whole checkpoint of a run; None when it was stopped before its first.
    A damaged last one gives way to the one before, with a word to ``warn``."""
    folder = Path(folder)
    for path in (folder / LAST, folder / PREVIOUS):
        if path.is_symlink() and not path.exists():
            raise LasegError(f"{path}: a link that leads nowhere; put the checkpoint there, or remove the link")
    present = [folder / name for name in (LAST, PREVIOUS) if (folder / name).exists()]
    if not present and (folder / "log.txt").exists():
        return warn(f"{folder}: stopped before its first checkpoint; training begins anew")
    if not present:
        raise LasegError(f"{folder}: no checkpoint to resume from; start without --resume")
    for path in present:
        try:
            state = load_checkpoint(path)
            if not isinstance(state, dict) or not state:
                raise LasegError(f"{path}: no checkpoint of a training, it holds nothing of one.")
            with explain_foreign(path):
                check_training(state)
            return state
        except LasegError as error:
            failure = error
            warn(f"{error}" + (" Falling back to the checkpoint before it." if path != present[-1] else ""))
    raise failure


def check_training(state):
    """ValueError for a training's checkpoint with numbers in it that no training writes: they would be taken for others
    (PyTorch copies complex weights into real ones, ``int`` reads words), and what went on from there be another one."""
    counts = [state.get("iteration", 0), *(size for name, size in state.get("files", {}).items() if "sha" not in name),
              *(stream["sampler"]["batches"] for stream in state.get("streams", []))]
    if odd := [count for count in counts if type(count) is not int or not 0 <= count < 2**53]:
        raise ValueError(f"{shown(odd[0])} where it counts iterations, batches or bytes")
    optimizer = state.get("optimizer", {"param_groups": [], "state": {}})
    numbers = [group[name] for group in optimizer["param_groups"] for name in ("lr", "momentum", "weight_decay")]
    numbers += [state["best"]] if state.get("best") is not None else []
    if odd := [number for number in numbers if type(number) not in (int, float) or not 0 <= number < 2**53]:
        raise ValueError(f"{shown(odd[0])} where it holds a learning rate, momentum, weight decay or Dice")
    momenta = {f"momentum {name}": entry["momentum_buffer"] for name, entry in optimizer["state"].items()}
    if odd := [name for name, value in momenta.items() if not torch.is_tensor(value)]:
        raise ValueError(f"{odd[0]} holds a {type(momenta[odd[0]]).__name__} in place of numbers")
    for weights in (state.get("student", {}), state.get("teacher", {}), momenta):
        refuse_tricks(weights)


def check_momenta(optimizer, iteration):
    """ValueError unless ``optimizer``, as loaded, holds a finite momentum of each weight's shape, if it made a step."""
    for number, weight in enumerate(optimizer.param_groups[0]["params"]):
        momentum = optimizer.state[weight].get("momentum_buffer") if weight in optimizer.state else None
        if iteration and (momentum is None or momentum.shape != weight.shape or not momentum.isfinite().all()):
            raise ValueError(f"its momentum number {number} isn't that of {tuple(weight.shape)} weights")


def same_cases(folder, ours, theirs, kind, warn):
    """LasegError unless ``ours`` are the volumes, {case: SHA-256} in order, that the checkpoint in ``folder`` was
    trained on, or validated on (``kind``).  ``warn``: called with a word where an older checkpoint doesn't say."""
    if ours is None:
        return None
    if theirs is None:
        return warn("an older checkpoint, which doesn't say on which cases it was trained: not checked")
    for number, (mine, other) in enumerate(zip_longest(ours.items(), theirs.items())):
        if mine != other:
            name, before = (pair[0] if pair else "no case" for pair in (mine, other))
            what = f"{name} has other contents now" if name == before else f"it is {name} now, it was {before}"
            raise LasegError(f"{folder}: the checkpoint was made with other cases: number {number + 1} of the {kind} "
                             f"list: {what}; bring them back, or start anew")
    return None


def load_network(path, weights="student"):
    """(VNet in eval mode, the checkpoint's config dict or {}) from a checkpoint of ours or of other tools.

    ``weights``: 'student' or 'teacher'.  Other files hold one network: plain, inside a dictionary ('state_dict', 'net',
    ...), or with 'module.' or '_orig_mod.' before its names, as DataParallel and ``torch.compile`` leave it.
    The config has, besides the settings, ``spacing`` and ``cases`` where the checkpoint knows them: see
    ``Trainer.weights``; and ``classes``, {name: value}, of a network that finds others than the left atrium.
    Raises LasegError when the file holds the weights of another architecture.
    """
    state = load_checkpoint(path)
    if not isinstance(state, dict):
        raise LasegError(f"{path}: holds no dictionary of weights")
    config, spacing, cases, classes = {}, None, {}, None
    if "student" in state or "teacher" in state:
        if weights not in state:
            raise LasegError(f"{path}: holds no {weights}; it holds {', '.join(map(str, state))}")
        cases = state["cases"] if isinstance(state.get("cases"), dict) else {}
        classes = parse_classes(state["classes"], path) if "classes" in state else None
        config, spacing, state = state.get("config", {}), sides_in_mm(state.get("spacing"), path), state[weights]
    elif weights == "teacher":
        raise LasegError(f"{path}: holds one network only, no student and teacher; leave out --weights teacher")
    try:
        # A teacher of 1.0 may have kept its buffers: it is what it is, and predicts as it did.
        TrainConfig.from_dict(config | {"ema_buffers": "average"} if isinstance(config, dict) else config)
        state = only_network(state)
        refuse_tricks(state)
        network = network_from_state(state).eval()
    except (ValueError, LasegError) as error:
        raise LasegError(f"{path}: {error}") from error
    found = network.out_conv.out_channels - 1  # classes beside the background
    if not found:
        raise LasegError(f"{path}: a network of 1 class; two or more are needed here, the first is the background")
    if classes is None:
        classes = ATRIUM if found == 1 else {f"class {k}": k for k in range(1, found + 1)}
    if len(classes) != found:
        raise LasegError(f"{path}: a network of {found} classes beside the background, for which the file names "
                         f"{', '.join(classes)}; use the checkpoint as it was written")
    if not all(torch.isfinite(value).all() for value in network.state_dict().values()):
        raise LasegError(f"{path}: holds weights that are NaN or infinite: its training broke down; use an earlier "
                         "checkpoint, and a lower --base_lr")
    return network, {**config, **({"spacing": spacing} if spacing else {}), **({"cases": cases} if cases else {}),
                     **({} if classes == ATRIUM else {"classes": classes})}


def load_to_predict(path, weights="student", patch_size=None, downsample=None):
    """``load_network`` of a network for these volumes; its config has ``patch_size``, the windows' size, and
    ``downsample``, how many voxels are averaged to one: the given ones, or those of the training.

    LasegError for a network that wants more than one image of a scan, a patch that its halvings don't divide, and a
    downsampling that leaves nothing of an atrium.
    """
    network, config = load_network(path, weights)
    if (channels := network.block_one.conv[0].in_channels) != 1:
        raise LasegError(f"{path}: a network for images of {channels} channels; these volumes have one")
    patch_size = tuple(patch_size or config.get("patch_size", (112, 112, 80)))
    if any(not d <= side <= 4096 or side % d for side, d in zip(patch_size, network.divisor)):
        raise LasegError(f"--patch_size {patch_size}: the sides must be multiples of {network.divisor}, 4096 at most, "
                         f"for the network of {path}")
    downsample = config.get("downsample", 1) if downsample is None else downsample
    if not 1 <= downsample <= 64:
        raise LasegError(f"--downsample must be between 1 and 64; got {str(downsample)[:20]}")
    return network, {**config, "patch_size": patch_size, "downsample": downsample}


def shown(value):
    """A value of a checkpoint, for a message: it may be a list without end, or a number of a million digits."""
    short = isinstance(value, (str, float)) or (type(value) is int and abs(value) < 10**30)
    return repr(value)[:40] if short else f"({type(value).__name__})"


def sides_in_mm(spacing, path):
    """The ``spacing`` of a checkpoint, which is None where it doesn't know; LasegError for what can't be a voxel's."""
    if spacing is None:
        return None
    if not isinstance(spacing, (list, tuple)) or len(spacing) != 3 or not all(
            isinstance(side, (int, float)) and 0 < side <= 1000 for side in spacing):
        raise LasegError(f"{path}: its spacing must be a voxel's three sides in mm, more than 0 and no more than a "
                         f"metre, not {shown(spacing)}; use the checkpoint as it was written")
    return spacing


def refuse_tricks(state):
    """ValueError for what is no dictionary, or a weight that claims to be larger than what the file holds of it, or
    isn't stored as so many real numbers."""
    if not isinstance(state, dict):
        raise ValueError(f"holds a {type(state).__name__} where a network's weights should be")
    for name, value in state.items():
        if torch.is_tensor(value) and (value.is_complex() or value.is_quantized or value.layout != torch.strided):
            kind = "complex" if value.is_complex() else "quantized" if value.is_quantized else "sparse"
            raise ValueError(f"{name} holds {kind} numbers, and a V-Net's weights are plain real ones")
        if torch.is_tensor(value) and value.numel() * value.element_size() > value.untyped_storage().nbytes():
            raise ValueError(f"{name} claims {value.numel()} numbers, more than the file holds; save the network again")


def only_network(state):
    """The one V-Net's weights in ``state``, whatever is wrapped around them; ValueError where there are several.

    What holds none is given back as it is: building the network from it says what is wrong.
    """
    found = {}
    seen = set()  # a file of a few bytes can hold a dictionary in itself, or a million times

    def search(name, value, depth=0):
        if not isinstance(value, dict) or id(value) in seen or depth > 10 or len(found) > 9:
            return
        keys = {strip_prefixes(key): tensor for key, tensor in value.items() if isinstance(key, str)}
        if "out_conv.weight" in keys and len(keys) == len(value):
            found[name] = keys  # under two names it is two, be they the same
            return
        seen.add(id(value))
        for key, inner in value.items():
            search(f"{name}.{key}".lstrip(".") if isinstance(key, (str, int)) else name, inner, depth + 1)

    search("", state)
    if len(found) > 1:
        raise ValueError(f"holds {len(found)} networks ({', '.join(found)}); save the one to use in a file of its own")
    return next(iter(found.values()), state)


def strip_prefixes(key):
    """A weight's name without what DataParallel and torch.compile put before it."""
    while (bare := key.removeprefix("module.").removeprefix("_orig_mod.")) != key:
        key = bare
    return key
