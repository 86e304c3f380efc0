"""Other ways to use volumes without labels, one file for each.

A *method* is the loss of one batch: a function

    method(student, teacher, image, label, config, iteration, generator) -> (loss, parts)

``student``: the network that is trained; it returns logits (B, C, W, H, D).  Call it as a whole; on several processes
its parts (``student.encoder``) can't be called alone.  ``teacher``: its moving average, without gradients.
``image``: (B, 1, W, H, D) float32, the ``config.labelled_in_batch`` labelled volumes first.  ``label``: (B, W, H, D)
int64; only the labelled volumes' part may be used.  ``iteration``: counted from 0.  ``generator``: a
``torch.Generator`` on the device.  Draw all random numbers from it; otherwise a resumed training differs from an
uninterrupted one.
``loss``: a scalar to differentiate.  ``parts``: a dict of scalars for the log, the same ones at each iteration; it may
be empty.  The training itself logs ``iteration``, ``lr`` and the validation's Dice, so no part has one of these names;
it logs the returned loss as ``loss``.

A method with parameters of its own (a second network) is an ``nn.Module`` with this ``forward``, or a class of such
modules that is made from ``(config, n_classes)``; ``n_classes`` counts the background.  Its parameters are trained with
the student's, and its state dict is saved and resumed.
``after_step(config, iteration)``, if it exists, is called after each step of the optimiser, for averages for example.

``self_training`` is the exception: it labels the volumes once, and an ordinary training learns from them.

Everything else is the same for all methods: volumes, batches, optimiser, EMA, prediction and scoring.  The library's
own methods read the settings that they need: ``consistency_type`` and ``confidence`` are mean teacher's, and
``student_affine`` moves volumes for mean teacher and ``uncertainty`` only.
"""

import importlib
import importlib.util
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..config import METHODS
from ..errors import LasegError


def find(config):
    """The method that ``config.method`` names: one of the library's, or the reader's own, ``FILE.py:NAME``.

    Returns a function, or a class to be made from ``(config, n_classes)``.
    Raises LasegError if it doesn't exist, and for a batch without unlabelled volumes.
    """
    if config.method == "mean_teacher":
        from ..mean_teacher import mean_teacher_loss

        return mean_teacher_loss
    if not config.unlabeled_bs:
        raise LasegError(f"--method {config.method} needs unlabelled volumes in its batch: use --model MT")
    if ":" in config.method:
        return _from_file(config.method)
    if config.method not in METHODS:
        raise LasegError(f"--method {config.method}: the library has {', '.join(METHODS)}; name your own method as "
                         "FILE.py:NAME, or pass it to the trainer: Trainer(config, method=...)")
    return importlib.import_module(f"{__name__}.{config.method}").METHOD


def _from_file(text):
    """The function or class that ``text`` names: FILE.py:NAME."""
    file, _, name = text.rpartition(":")
    if not Path(file).is_file():
        raise LasegError(f"--method {text}: there is no file {file}; write FILE.py:NAME")
    spec = importlib.util.spec_from_file_location(Path(file).stem, file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not callable(getattr(module, name, None)):
        raise LasegError(f"--method {text}: {file} defines no function or class {name}")
    return getattr(module, name)


def loss_and_parts(found, name):
    """``found``, what the method ``name`` returned; LasegError unless it is (scalar tensor, dict of scalars)."""
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[1], dict)
            and torch.is_tensor(found[0]) and not found[0].ndim):
        raise LasegError(f"the method {name} must return (loss, parts): a scalar tensor, and a dict of scalars for the "
                         "log")
    if not found[0].requires_grad:
        raise LasegError(f"the method {name} returns a loss without a gradient, so nothing would be trained: leave out "
                         ".item(), .detach() and no_grad around the student")
    for part, value in found[1].items():
        if str(part).startswith("val_dice") or part in ("iteration", "lr", "best_dice"):
            raise LasegError(f"the method {name} returns a part named {part}, which the training itself logs; give it "
                             "another name")
        if np.ndim(value):
            raise LasegError(f"the method {name} returns the part {part} of shape {tuple(np.shape(value))}; the log "
                             "takes one number: give its mean")
    return found


def require_trained(optimizer, *networks):
    """LasegError for a parameter that the optimiser doesn't have: of a network that was put into the trainer later, of
    a layer made in a forward, or of one that was frozen when the training began."""
    known = {id(one) for group in optimizer.param_groups for one in group["params"]}
    for network in networks:
        for name, one in network.named_parameters():
            if one.requires_grad and id(one) not in known:
                raise LasegError(f"the parameter {name} would not be trained, because it was made, put there or "
                                 "unfrozen after the trainer was, or the optimizer was replaced; make all layers "
                                 "first, then the trainer, and freeze the others: requires_grad_(False)")


def method_name(method):
    """The name of ``method`` in checkpoints and records: the library's name for it, or its own.

    Raises LasegError if it can't be called.
    """
    if not callable(method):
        raise LasegError(f"method={method!r}: give a function or an nn.Module; a name belongs in the settings, "
                         "TrainConfig(method=...)")
    inside = {} if isinstance(method, (type, nn.Module)) else getattr(method, "__dict__", {})
    held = [getattr(method, "__self__", None), getattr(method, "func", None), *inside.values()]
    if any(isinstance(one, nn.Module) and any(p.requires_grad for p in one.parameters()) for one in held):
        raise LasegError("this method is a function or an object around an nn.Module, whose parameters would be "
                         "neither trained nor saved; give an nn.Module that holds the network and whose forward is the "
                         "method")
    kind = type(method) if isinstance(method, nn.Module) else method
    package, _, file = getattr(kind, "__module__", "").rpartition(".")
    ours = package.startswith("laseg_lib") and file in METHODS  # the reader's own file may have the same name
    return file if ours else getattr(kind, "__name__", type(method).__name__)
