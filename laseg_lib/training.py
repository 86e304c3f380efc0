"""The training loop: one for every arm, for scripts and for notebooks.

    trainer = Trainer(TrainConfig(root_path="data/phantoms", ...))
    trainer = Trainer(config, method=my_loss)      # another way to use volumes without labels: see laseg_lib.methods
    trainer.run()              # to the end, or until interrupted; call it again to go on
    trainer.step()             # or one iteration at a time
"""

import copy
import math
import signal
from dataclasses import replace
from pathlib import Path

import torch
from torch import nn
from tqdm.auto import tqdm

from . import methods, ramps
from .batches import Batches
from .classes import ATRIUM, as_text, parse_classes
from .config import TrainConfig
from .data.volumes import LAHeart, split_of, training_names
from .ema import update_ema_variables
from .errors import LasegError
from .inference import mean_dice
from .runtime import checkpoints, distributed, machine
from .runtime.instance_norm import by_rows
from .runtime.randomness import seed_everything
from .runtime.runlog import RunLog, as_floats, read_history
from .runtime.sync_norm import synchronise_norm
from .vnet import VNet


class Trainer:
    """One training: networks, volumes, generators, history, files.

    ``config``: a TrainConfig.  ``method``: the loss of a batch, a function or ``nn.Module`` as ``laseg_lib.methods``
    describes it; None: the method that ``config.method`` names.  ``resume``: continue from the last checkpoint in
    ``config.snapshot_path``.
    Attributes: ``student``, ``teacher``, ``method``, ``config`` (with a complete split), ``iteration``, ``history`` (a
    list with a dict for each iteration), ``best`` (validation Dice).
    Raises LasegError for data or settings that can't work.
    """

    def __init__(self, config, *, method=None, resume=False):
        self.device = distributed.join_processes(config.device)
        self.first = distributed.rank() == 0  # only this process validates, writes and prints
        names = training_names(config)
        config = replace(config, method=config.method if method is None else methods.method_name(method))
        self.config = config = split_of(config, names, distributed.world())
        machine.require_memory(machine.training_bytes(config), self.device, "this network and batch",
                               "lower --patch_size, --batch_size or --n_filters, or use --downsample 2")
        seed_everything(config.seed, config.deterministic)
        self._open_data(names)
        self._make_networks(methods.find(config) if method is None else method, resume)
        # After the networks: this seeds torch on all ranks but the first, and the first weights must be equal on all.
        self.batches = Batches(config, self.train_set, self.device, distributed.rank(), distributed.world())
        self._begin_or_go_on(resume)

    def _make_networks(self, method, resume):
        """Student, teacher (a copy without gradients), the method's own networks, and their optimiser."""
        config = self.config
        machine.keep_memory()
        self.precision = "bf16" if machine.uses_bf16(self.device, config.precision, config.patch_size) else "fp32"
        n_classes = 1 + len(self.classes)
        self.student = self._on_device(VNet(1, n_classes, config.n_filters, config.normalization, config.has_dropout))
        if config.init_weights and not resume:
            checkpoints.start_from_weights(self.student, config.init_weights)
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher.train(config.teacher_mode == "train")
        self.method = method(config, n_classes) if isinstance(method, type) else method
        own = self.own_networks = [self._on_device(self.method)] if isinstance(self.method, nn.Module) else []
        self.replica = distributed.replicate(self.student, self.device)  # the student itself, in a single process
        self.loss_of = distributed.replicate(own[0], self.device) if own else self.method
        parameters = [p for network in (self.student, *own) for p in network.parameters() if p.requires_grad]
        self.optimizer = torch.optim.SGD(parameters, config.base_lr, momentum=0.9, weight_decay=1e-4)

    def _on_device(self, network):
        """``network`` in training mode on the device, its InstanceNorm computed faster.  With ``--sync_norm`` its
        BatchNorm is over all processes."""
        if self.config.sync_norm:
            network = synchronise_norm(network, self.device)
        return by_rows(network).to(self.device, memory_format=torch.channels_last_3d).train()

    def _open_data(self, names):
        """Open the volumes for training and validation."""
        config = self.config
        cache = {"none": None, "memory": "memory", "device": self.device}[config.cache]
        self.train_set = LAHeart(config.root_path, names=names[:config.max_samples], cache=cache,
                                 downsample=config.downsample, labelled=config.labelnum)
        self.val_set = LAHeart(config.root_path, names=names[len(names) - config.val_num:] if self.first else [],
                               cache=cache and "memory", downsample=config.downsample)
        self.cases = self.val_cases = None  # needed only if a checkpoint is written: its files may change later
        if config.snapshot_path:
            self.cases, self.val_cases = self.train_set.fingerprints(), self.val_set.fingerprints()
        self.classes, self.spacing = self.train_set.classes, self.train_set.usual_spacing(self.notify)
        self.train_set.require_labels()
        self.val_set.require_labels()
        self.val_set.require_classes(self.classes)
        self.val_set.require_sound()  # a damaged file would end the training at its first validation
        self.cache_bytes = self.train_set.cache_bytes() if cache else 0  # it is filled when volumes are first drawn
        where = self.device if config.cache == "device" else torch.device("cpu")
        machine.require_memory(self.cache_bytes, where, f"a cache of {len(self.train_set)} volumes", "use --cache none")

    def _begin_or_go_on(self, resume):
        """Start at iteration 0 or at the last checkpoint, and open the run's files."""
        config = self.config
        if resume and not config.snapshot_path:
            raise LasegError("resume needs a --snapshot_path, the folder that holds the checkpoint")
        self.iteration, self.saved, self.cut_short = 0, 0, False
        self.history, self.best, self.log = [], None, None
        state = checkpoints.load_last(config.snapshot_path, warn=self.notify) if resume else None
        if config.snapshot_path and not resume and checkpoints.has_checkpoints(config.snapshot_path):
            raise LasegError(f"{config.snapshot_path}: holds a training already; "
                             "continue it (--resume), or choose another --snapshot_path")
        with checkpoints.explain_foreign(config.snapshot_path):
            if state is not None:
                self.load_state_dict(state)
            if config.snapshot_path and self.first:
                self.log = RunLog(config.snapshot_path, state and state["files"], self.iteration)
                self.history = read_history(self.log.paths["history.csv"])
        if self.log and state is None:
            self.log.write_line(f"{config}; the cache takes up to {self.cache_bytes / 1e6:.0f} MB")

    def notify(self, message):
        if self.first:
            machine.notify(message)

    def next_batch(self):
        """image (B, 1, W, H, D) float32 and label (B, W, H, D) int64, labelled volumes first."""
        return next(self.batches)

    def step(self):
        """One iteration: batch, loss, gradient, student, teacher.  Returns its row of the history, a
        dict of floats: iteration, lr, loss, the method's parts, and after a validation its Dice.
        LasegError if the loss is not finite, if the memory is too small, and after an interrupted
        step."""
        self._begin_step()
        if self.config.schedule == "poly":
            self.optimizer.param_groups[0]["lr"] = self.config.base_lr * ramps.poly_rampdown(
                self.iteration, self.config.max_iterations)
        with machine.explain_memory():
            # First, because tensors allocated between old gradients would fragment the memory.
            self.optimizer.zero_grad()
            image, label = self.next_batch()
            with machine.autocast(self.device, self.precision):
                found = self.loss_of(self.replica, self.teacher, image, label, self.config,
                                     self.iteration, self.batches.generators.noise)
            loss, parts = methods.loss_and_parts(found, self.config.method)
            row = {"iteration": self.iteration + 1, "lr": self.optimizer.param_groups[0]["lr"],
                   **as_floats({**parts, "loss": loss})}
            self._stop_on_nan("loss", row["loss"], row["iteration"])
            loss.backward()
        self.optimizer.step()
        distributed.share_buffers(self.student, self.teacher, *self.own_networks)
        update_ema_variables(self.student, self.teacher, self.config.ema_decay, self.iteration,
                             buffers=self.config.ema_buffers)
        if hasattr(self.method, "after_step"):
            self.method.after_step(self.config, self.iteration)
        self.iteration += 1
        if self.val_set.image_list and self.iteration % self.config.val_every == 0:
            row.update(self.validate())
        self.history.append(row)
        if self.log:
            self.log.record(row)
        self.cut_short = False
        return row

    def _begin_step(self):
        """LasegError after a step that Ctrl-C or an error ended in the middle: networks and random generators no
        longer belong to one iteration."""
        if self.cut_short:
            raise LasegError("this training was interrupted in the middle of a step, so it can't be continued from "
                             "there. Make a new Trainer, with resume=True if there is a --snapshot_path")
        methods.require_trained(self.optimizer, self.student, *self.own_networks)
        self.cut_short = True

    def run(self, iterations=None, *, callback=None, progress=True):
        """Train until ``max_iterations``, or for ``iterations`` more.  ``callback(trainer)`` is called after each.

        Ctrl-C, a notebook's interrupt, SIGTERM, SIGHUP and SIGUSR1 end the training after the current step.
        With ``snapshot_path`` a checkpoint is written.  Call ``run`` again to continue.  Returns the history.
        """
        end = self.config.max_iterations if iterations is None else self.iteration + iterations
        end, stopped = min(end, self.config.max_iterations), 0
        bar = tqdm(total=self.config.max_iterations, initial=self.iteration, desc=self.config.model,
                   disable=not (progress and self.first))
        with machine.StopRequest() as stop, bar, distributed.explain_lost_rank():
            while self.iteration < end and not (stopped := distributed.max_over_ranks(stop.signal or 0)):
                row = self.step()
                bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
                bar.update()
                if self.iteration % self.config.save_every == 0:
                    self.save()
                if callback:
                    callback(self)
            if self.iteration != self.saved and not self.cut_short:
                self.save()
        if stopped:
            self.notify(f"{signal.Signals(stopped).name}: stopped after iteration {self.iteration} of "
                        f"{self.config.max_iterations}; "
                        + ("nothing is lost, --resume continues" if self.log else "run() continues from here"))
        return self.history

    def validate(self):
        """Mean Dice (0 to 1) of student and teacher on the validation cases: a dict of val_dice_student,
        val_dice_teacher and best_dice.  Writes a checkpoint of the best student."""
        scores = {}
        for name, network in (("student", self.student), ("teacher", self.teacher)):
            was_training = network.training
            scores[f"val_dice_{name}"] = mean_dice(network.eval(), self.val_set, self.config.patch_size,
                                                   precision=self.precision)
            network.train(was_training)
        if self.best is None or scores["val_dice_student"] > self.best:
            self.best = scores["val_dice_student"]
            if self.log:
                checkpoints.save_checkpoint(Path(self.config.snapshot_path) / checkpoints.BEST, self.weights())
        return {**scores, "best_dice": self.best}

    def _stop_on_nan(self, name, value, iteration):
        if not math.isfinite(value):
            folder = self.config.snapshot_path
            kept = f"; the last good checkpoint is in {folder}" * checkpoints.has_checkpoints(folder) if folder else ""
            raise LasegError(f"the {name} is {value} at iteration {iteration}: training has diverged{kept}. "
                             "Lower --base_lr (or use --precision fp32)")

    def weights(self):
        """Everything that prediction needs: copies of both networks; the settings; the sides in mm of a stored voxel,
        or None; {case: SHA-256} of the training files; the classes, if they aren't the left atrium alone."""
        copies = {name: copy.deepcopy(getattr(self, name).state_dict()) for name in ("student", "teacher")}
        return {"config": self.config.to_dict(), "spacing": self.spacing, "iteration": self.iteration,
                "cases": self.cases, **copies, **({} if self.classes == ATRIUM else {"classes": as_text(self.classes)})}

    def state_dict(self):
        """Everything that the next iteration depends on: a resumed training equals an uninterrupted one."""
        return {**self.weights(), "optimizer": copy.deepcopy(self.optimizer.state_dict()), "best": self.best,
                "method": [copy.deepcopy(network.state_dict()) for network in self.own_networks],
                "streams": distributed.gather(self.batches.state_dict()),  # one for each process
                "val_cases": self.val_cases, "files": self.log.sizes() if self.log else {}}

    def load_state_dict(self, state):
        """Return to a saved state.  LasegError if it was made with other settings, classes or cases."""
        config = self.config
        mine, theirs = config.to_dict(), TrainConfig.from_dict(state["config"]).to_dict()
        free = {"snapshot_path", "device", "cache", "save_every", "root_path", "train_list", "init_weights"}
        if config.schedule == "constant":  # another schedule's learning rate depends on the end
            free.add("max_iterations")
        other = [name for name in mine if name not in free and mine[name] != theirs[name]]
        if other:
            raise LasegError(f"{config.snapshot_path}: the checkpoint was made with other settings: "
                             + ", ".join(f"--{name} {theirs[name]} (now {mine[name]})" for name in other))
        before = list(parse_classes(state.get("classes", as_text(ATRIUM)), config.snapshot_path))
        if before != list(self.classes):
            raise LasegError(f"{config.snapshot_path}: the checkpoint was made with the classes "
                             f"{', '.join(before)}, and the volumes now have {', '.join(self.classes)}; restore the "
                             "earlier ones, or start a new training")
        if self.cases is not None:
            if state.get("cases") is None:
                self.notify("an older checkpoint names no training cases, so they are not checked")
            else:
                checkpoints.require_same_cases(config.snapshot_path, self.cases, state["cases"], "training")
            if self.first and state.get("val_cases") is not None:  # an older checkpoint hasn't got it
                checkpoints.require_same_cases(config.snapshot_path, self.val_cases, state["val_cases"], "validation")
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        for network, weights in zip(self.own_networks, state.get("method", []), strict=True):
            network.load_state_dict(weights)
        checkpoints.load_optimizer(self.optimizer, state["optimizer"], config.snapshot_path)
        self.iteration = self.saved = int(state["iteration"])
        self.best = None if state["best"] is None else float(state["best"])
        rank, world, before = distributed.rank(), distributed.world(), len(state["streams"])
        if before == world and self.batches.generators.fits(state["streams"][rank]):
            self.batches.load_state_dict(state["streams"][rank])
        else:
            self.batches = Batches(config, self.train_set, self.device, rank, world, restart=self.iteration)
            how = "on another kind of device" if before == world else f"by {before} processes, continued by {world}"
            self.notify(f"written {how}: the weights are the same, but random generators begin "
                        f"anew from seed {config.seed} and iteration {self.iteration}")
        del self.history[self.iteration:]

    def save(self):
        """Write the last checkpoint, if there is a snapshot_path.  Weights that aren't finite are never written."""
        if not self.config.snapshot_path:
            return
        weights = sum(parameter.detach().sum() for parameter in self.optimizer.param_groups[0]["params"])
        self._stop_on_nan("sum of the weights", float(weights), self.iteration)
        state = self.state_dict()
        if self.first:
            checkpoints.save_checkpoint(Path(self.config.snapshot_path) / checkpoints.LAST, state, keep_previous=True)
        self.saved = self.iteration
