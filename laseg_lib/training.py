"""The training loop: one for every arm, for scripts and for notebooks.

    trainer = Trainer(TrainConfig(root_path="data/phantoms", ...))
    trainer.run()              # to the end, or until interrupted; call it again to go on
    trainer.step()             # or one iteration at a time
"""

import copy
import random
import sys
from pathlib import Path

import numpy as np
import torch
from tqdm.auto import tqdm

from . import ramps
from .checkpoints import BEST, LAST, load_last, save_checkpoint
from .config import TrainConfig
from .ema import update_ema_variables
from .errors import LasegError
from .inference import mean_dice
from .losses import segmentation_loss, softmax_kl_loss, softmax_mse_loss
from .machine import StopRequest, autocast, explain_memory, pick_device
from .runlog import RunLog, read_history
from .sampler import TwoStreamBatchSampler
from .transforms import Compose, RandomCrop, RandomRotFlip, ToTensor, teacher_noise
from .vnet import VNet
from .volumes import LAHeart, case_names

CONSISTENCY = {"mse": softmax_mse_loss, "kl": softmax_kl_loss}


def consistency_weight(config, iteration):
    """lambda at this iteration: it climbs in steps of ``ramp_every`` iterations; 0 where unlabelled volumes don't count."""
    if config.model != "MT":
        return 0.0
    return config.consistency * ramps.sigmoid_rampup(iteration // config.ramp_every, config.consistency_rampup)


def mean_teacher_loss(student, teacher, image, label, config, iteration, generator=None):
    """The loss of one batch, and its parts for the log.

    ``image``: (B, 1, W, H, D), labelled volumes first; ``label``: (B, W, H, D), of which only the
    labelled ones are looked at.  Returns (scalar to differentiate, dict of scalars).
    """
    n = config.labelled_in_batch
    student_input = image
    if config.noise_on == "both" and image.shape[0] > n:
        student_input = torch.cat([image[:n], image[n:] + teacher_noise(image[n:], generator)])
    logits = student(student_input).float()
    supervised, cross_entropy, dice = segmentation_loss(logits[:n], label[:n])
    weight, distance = consistency_weight(config, iteration), torch.zeros_like(supervised)
    if image.shape[0] > n:
        noise = teacher_noise(image[n:], generator) if config.noise_on != "none" else 0
        with torch.no_grad():
            targets = teacher(image[n:] + noise).float()
        distance = CONSISTENCY[config.consistency_type](logits[n:], targets)
    loss = supervised + weight * distance
    return loss, {"loss": loss, "loss_seg": cross_entropy, "loss_seg_dice": dice,
                  "consistency_weight": weight, "consistency_dist": distance}


class Trainer:
    """One training: networks, volumes, generators, history, files.

    ``config``: a TrainConfig.  ``resume``: go on from the last checkpoint in ``config.snapshot_path``.
    Attributes for the curious: ``student``, ``teacher``, ``config`` (with the split decided), ``iteration``,
    ``history`` (a list of dicts, one an iteration), ``best`` (validation Dice).
    Raises LasegError for data or settings that can't work.
    """

    def __init__(self, config, *, resume=False):
        names = case_names(config.root_path, "train")
        self.config = config = config.with_split(len(names))
        self.device = pick_device(config.device)
        seed_everything(config.seed, config.deterministic)
        self.student = VNet(1, 2, config.n_filters, config.normalization, config.has_dropout)
        self.student.to(self.device, memory_format=torch.channels_last_3d).train()
        self.teacher = copy.deepcopy(self.student).requires_grad_(False)
        self.teacher.train(config.teacher_mode == "train")
        self.optimizer = torch.optim.SGD(self.student.parameters(), config.base_lr, momentum=0.9, weight_decay=1e-4)

        cache = {"none": None, "memory": "memory", "device": self.device}[config.cache]
        self.train_set = LAHeart(config.root_path, names=names[:config.max_samples], cache=cache,
                                 downsample=config.downsample)
        self.val_set = LAHeart(config.root_path, names=names[len(names) - config.val_num:], cache="memory",
                               downsample=config.downsample)
        # Every stream of chance has its own generator, so that an arm without one leaves the others as they were.
        draws = np.random.default_rng(config.seed).spawn(4)
        self.sampler = TwoStreamBatchSampler(
            range(config.labelnum), range(config.labelnum, config.max_samples),
            config.labelled_in_batch + config.unlabeled_bs, config.unlabeled_bs, generator=draws[0])
        self.augment_rngs = {"labelled": draws[1], "unlabelled": draws[2]}
        self.augment = {stream: Compose([
            RandomRotFlip(flip_probability=config.flip_probability, rng=rng),
            RandomCrop(config.patch_size, seed_offsets=config.seed_offsets, rng=rng),
            ToTensor()]) for stream, rng in self.augment_rngs.items()}
        self.noise = torch.Generator(self.device).manual_seed(int(draws[3].integers(2**62)))
        self.batches = iter(())

        self.iteration, self.history, self.best, self.log = 0, [], None, None
        state = load_last(config.snapshot_path, warn=tell) if resume else None
        if config.snapshot_path:
            Path(config.snapshot_path).mkdir(parents=True, exist_ok=True)
            if not resume and (Path(config.snapshot_path) / LAST).exists():
                raise LasegError(f"{config.snapshot_path}: holds a training already; "
                                 "go on with it (--resume), or choose another --snapshot_path")
            self.log = RunLog(config.snapshot_path, state and state["files"], state["iteration"] if state else 0)
        if state:
            self.load_state_dict(state)
        else:
            self.say(str(config))

    def say(self, message):
        if self.log:
            self.log.say(message)

    def next_batch(self):
        """image (B, 1, W, H, D) and label (B, W, H, D), labelled volumes first."""
        indices = next(self.batches, None)
        if indices is None:  # a new epoch
            self.batches = iter(self.sampler)
            return self.next_batch()
        samples = [self.augment["labelled" if slot < self.config.labelled_in_batch else "unlabelled"](self.train_set[i])
                   for slot, i in enumerate(indices)]
        image, label = (torch.stack([sample[key] for sample in samples]) for key in ("image", "label"))
        return image.to(self.device, memory_format=torch.channels_last_3d), label.to(self.device)

    def step(self):
        """One iteration: batch, loss, gradient, student, teacher.  Returns its row of the history."""
        image, label = self.next_batch()
        with explain_memory():
            with autocast(self.device, self.config.precision):
                loss, row = mean_teacher_loss(self.student, self.teacher, image, label, self.config,
                                              self.iteration, self.noise)
            row = {"iteration": self.iteration + 1, "lr": self.optimizer.param_groups[0]["lr"], **numbers(row)}
            self._stop_on_nan(row)
            self.optimizer.zero_grad()
            loss.backward()
        self.optimizer.step()
        update_ema_variables(self.student, self.teacher, self.config.ema_decay, self.iteration,
                             buffers=self.config.ema_buffers)
        self.iteration += 1
        if self.val_set.image_list and self.iteration % self.config.val_every == 0:
            row.update(self.validate())
        self.history.append(row)
        if self.log:
            self.log.record(row)
        return row

    def run(self, iterations=None, *, callback=None, progress=True):
        """Train until ``max_iterations``, or for ``iterations`` more.  ``callback(trainer)`` after each.

        Ctrl-C, a notebook's interrupt and SIGTERM end it after the step in hand, with a checkpoint and
        nothing lost; calling ``run`` again goes on.  Returns the history.
        """
        end = self.config.max_iterations if iterations is None else self.iteration + iterations
        end = min(end, self.config.max_iterations)
        bar = tqdm(total=self.config.max_iterations, initial=self.iteration, disable=not progress, desc=self.config.model)
        with StopRequest() as stop, bar:
            while self.iteration < end and not stop.signal:
                row = self.step()
                bar.set_postfix(loss=f"{row['loss']:.3f}", refresh=False)
                bar.update()
                if self.iteration % self.config.save_every == 0 or self.iteration == end:
                    self.save()
                if callback:
                    callback(self)
            if stop.signal:
                self.save()
        if stop.signal:
            tell(f"{stop.signal.name}: stopped after iteration {self.iteration} of {self.config.max_iterations}; "
                 + ("nothing is lost, --resume goes on" if self.log else "run() goes on from here"))
        return self.history

    def validate(self):
        """Mean Dice of student and teacher on the validation cases; keeps the best student's checkpoint."""
        scores = {}
        for name, network in (("student", self.student), ("teacher", self.teacher)):
            was_training = network.training
            scores[f"val_dice_{name}"] = mean_dice(network.eval(), self.val_set, self.config.patch_size,
                                                   precision=self.config.precision)
            network.train(was_training)
        if self.best is None or scores["val_dice_student"] > self.best:
            self.best = scores["val_dice_student"]
            if self.log:
                save_checkpoint(Path(self.config.snapshot_path) / BEST, self.weights())
        return {**scores, "best_dice": self.best}

    def _stop_on_nan(self, row):
        if not np.isfinite(row["loss"]):
            where = f"; the last good checkpoint is in {self.config.snapshot_path}" if self.log else ""
            raise LasegError(f"the loss is {row['loss']} at iteration {row['iteration']}: training has diverged{where}. "
                             "Lower --base_lr (or use --precision fp32)")

    def weights(self):
        """What is needed to predict: both networks and the settings."""
        return {"config": self.config.to_dict(), "iteration": self.iteration,
                "student": self.student.state_dict(), "teacher": self.teacher.state_dict()}

    def state_dict(self):
        """Everything that the next iteration depends on, so that a resumed training is the same one."""
        return {**self.weights(), "optimizer": self.optimizer.state_dict(), "best": self.best,
                "sampler": self.sampler.state_dict(),
                "augment": {stream: rng.bit_generator.state for stream, rng in self.augment_rngs.items()},
                "noise": self.noise.get_state(), "dropout": torch.get_rng_state(),
                "dropout_cuda": torch.cuda.get_rng_state_all() if self.device.type == "cuda" else [],
                "files": self.log.sizes() if self.log else {}}

    def load_state_dict(self, state):
        """Go back to the moment of ``state``.  LasegError when it belongs to other settings."""
        mine, theirs = self.config.to_dict(), state["config"]
        free = {"max_iterations", "snapshot_path", "device", "cache", "save_every", "root_path"}
        other = [name for name in mine if name not in free and mine[name] != theirs.get(name)]
        if other:
            raise LasegError(f"{self.config.snapshot_path}: the checkpoint was made with other settings: "
                             + ", ".join(f"--{name} {theirs.get(name)} (now {mine[name]})" for name in other))
        self.student.load_state_dict(state["student"])
        self.teacher.load_state_dict(state["teacher"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.iteration, self.best = state["iteration"], state["best"]
        self.sampler.load_state_dict(state["sampler"])
        for stream, rng in self.augment_rngs.items():
            rng.bit_generator.state = state["augment"][stream]
        self.noise.set_state(state["noise"])
        torch.set_rng_state(state["dropout"])
        if state["dropout_cuda"]:
            torch.cuda.set_rng_state_all(state["dropout_cuda"])
        self.batches = iter(self.sampler)
        if self.log:
            self.history = read_history(self.log.paths["history.csv"])

    def save(self):
        """Write the last checkpoint (nothing without a snapshot_path)."""
        if self.log:
            save_checkpoint(Path(self.config.snapshot_path) / LAST, self.state_dict(), keep_previous=True)


def seed_everything(seed, deterministic=True):
    """Python's, NumPy's and torch's global generators; ``deterministic`` also forbids cuDNN to choose by timing."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)
    torch.backends.cudnn.deterministic = bool(deterministic)
    torch.backends.cudnn.benchmark = not deterministic


def numbers(row):
    """The row with its tensors as floats, fetched from the device at once."""
    names = [name for name, value in row.items() if torch.is_tensor(value)]
    return {**row, **dict(zip(names, torch.stack([row[name].detach().float() for name in names]).tolist()))}


def tell(message):
    print(message, file=sys.stderr, flush=True)
