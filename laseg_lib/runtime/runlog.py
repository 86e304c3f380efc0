"""The files of a training besides its checkpoints: log.txt, history.csv, TensorBoard's scalars."""

import contextlib
import csv
import hashlib
import os
import socket
import time
from pathlib import Path

import torch
from filelock import FileLock, Timeout

from ..errors import LasegError
from . import distributed
from .machine import notify
from .program import NO_SPACE, flush_to_disk

SCALARS = {  # the walkthrough's TensorBoard names, and the column of history.csv each is drawn from
    "lr": "lr", "loss/loss": "loss", "loss/loss_seg": "loss_seg", "loss/loss_seg_dice": "loss_seg_dice",
    "train/consistency_weight": "consistency_weight", "train/consistency_dist": "consistency_dist",
    "Var_dice/Dice": "val_dice_student", "Var_dice/Teacher": "val_dice_teacher", "Var_dice/Best_dice": "best_dice",
}
HISTORY_COLUMNS = ["iteration", *SCALARS.values()]

def lock_folder(folder):
    """The lock of a run's folder.  It is released with its last reference, or when the process ends.

    LasegError if another process trains there: two trainings would mix their histories.
    """
    # A notebook may have two trainers in one folder: in one process they share the lock, in any thread.
    lock = FileLock(Path(os.path.realpath(folder), ".lock"), is_singleton=True, thread_local=False)
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise LasegError(f"{folder}: another process is training in this folder; wait for it, stop it, or choose "
                         "another --snapshot_path") from error
    except (OSError, NotImplementedError) as error:  # some network and shared folders have no locks
        if os.access(folder, os.W_OK):
            notify(f"WARNING: {folder}: this file system can't lock a file ({error}), so nothing prevents a second "
                   "training in this folder: start only one, or put --snapshot_path on a local disk")
    return lock


class Scalars:
    """The scalars of one run for TensorBoard, without SummaryWriter's thread, which prints a stack trace if the disk is
    full.  ``going_on``: the first iteration that is written again; TensorBoard drops older points from there on."""

    def __init__(self, folder, going_on=None):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        folder.mkdir(parents=True, exist_ok=True)
        self.file = open(folder / f"events.out.tfevents.{time.time_ns()}.{socket.gethostname()}", "xb")
        self._records, self._event, self._summary = RecordWriter(self.file), Event, Summary
        self._write(file_version="brain.Event:2")
        if going_on is not None:
            self._write(step=going_on, session_log=SessionLog(status=SessionLog.START))

    def _write(self, **event):
        self._records.write(self._event(wall_time=time.time(), **event).SerializeToString())

    def add(self, name, value, step):
        """One point of the curve ``name``."""
        point = self._summary.Value(tag=name, simple_value=float(value))
        self._write(step=step, summary=self._summary(value=[point]))

    def close(self):
        self.file.close()


class RunLog:
    """Appends to the files of one run.  With ``sizes``, from a checkpoint, the files are first cut back to the
    checkpoint, so that a resumed run leaves the same files as an uninterrupted one.

    A file that was edited, cut or deleted since the checkpoint is kept under another name, with a message, and a new
    one begins.
    """

    def __init__(self, folder, sizes=None, iteration=0):
        self.folder, self.told = Path(folder), set()
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            what = "is a link to a missing folder" if self.folder.is_symlink() else "is a file"
            raise LasegError(f"{folder}: {what}; --snapshot_path must name a folder") from error
        self.lock = lock_folder(self.folder)
        self.paths = {name: self.folder / name for name in ("log.txt", "history.csv")}
        with self._explain_disk():
            self._open(sizes, iteration)

    def _open(self, sizes, iteration):
        for name, path in self.paths.items():
            if why := reason_to_keep(path, sizes):
                self._put_aside(path, why)
            with open(path, "ab") as file:
                file.truncate(min((sizes or {}).get(name, 0), path.stat().st_size))
        self.text = open(self.paths["log.txt"], "a", encoding="utf-8")
        self.table = open(self.paths["history.csv"], "a", encoding="utf-8", newline="")
        with open(self.paths["history.csv"], encoding="utf-8", newline="") as file:
            columns = next(csv.reader(file), None)  # of a run that goes on
        self.rows = columns and self._writer(columns)
        self.scalars = Scalars(self.folder / "log", going_on=iteration + 1 if sizes else None)

    def _writer(self, columns):
        return csv.DictWriter(self.table, columns, extrasaction="ignore", lineterminator="\n")

    @staticmethod
    def _put_aside(path, why):
        kept = ""
        if path.exists():
            names = (path.with_name(f"{path.stem}.old{number}{path.suffix}") for number in ("", *range(2, 10**6)))
            aside = path.rename(next(name for name in names if not name.exists()))
            kept = f"it is kept as {aside.name}, and "
        notify(f"{path}: {why}; {kept}a new one begins here")

    @contextlib.contextmanager
    def _explain_disk(self):
        """Turn an OSError, such as a full disk, into a LasegError with the file's name."""
        try:
            yield
        except OSError as error:
            remedy = "free some space" if error.errno in NO_SPACE else "make this folder writable"
            raise LasegError(f"{error.filename or self.folder}: can't be written ({error.strerror or error}); the last "
                             f"checkpoint, if there is one, is complete: {remedy}, then --resume") from error

    def write_line(self, message):
        with self._explain_disk():
            self.text.write(message + "\n")
            self.text.flush()

    def record(self, row):
        """Write one iteration, a dict: HISTORY_COLUMNS and the parts that the first iteration has."""
        own = [name for name in row if name not in HISTORY_COLUMNS]  # a method's parts
        with self._explain_disk():
            if not self.rows:  # the first row says which parts the method has
                self.rows = self._writer([*HISTORY_COLUMNS, *own])
                self.rows.writeheader()
            if late := set(own) - set(self.rows.fieldnames) - self.told:
                notify(f"{self.paths['history.csv']}: was begun without {', '.join(sorted(map(str, late)))} of the "
                       "method's parts; these are not written")
                self.told |= late
            self.rows.writerow(row)
            self.table.flush()  # so that other programs can follow the training
            for name, column in SCALARS.items():
                if row.get(column) is not None:
                    self.scalars.add(name, row[column], row["iteration"])
            for name in own:
                self.scalars.add(f"train/{name}", row[name], row["iteration"])
        values = {"consistency_dist": 0, "consistency_weight": 0, **row}  # a method may have no consistency
        self.write_line("iteration {iteration} : loss : {loss:f} cons_dist: {consistency_dist:f}, "
                        "loss_weight: {consistency_weight:f}".format(**values))

    def sizes(self):
        """The files' current sizes, for the checkpoint; everything up to there is on the disk."""
        with self._explain_disk():
            self.scalars.file.flush()
            for file in (self.text, self.table):
                flush_to_disk(file)
        sizes = {name: path.stat().st_size for name, path in self.paths.items()}
        return sizes | {f"{name} sha256": digest_of(path, sizes[name]) for name, path in self.paths.items()}

    def close(self):
        for name in ("text", "table", "scalars"):
            if hasattr(self, name):
                with contextlib.suppress(OSError):  # a full disk was reported before
                    getattr(self, name).close()

    __del__ = close  # a notebook may drop a trainer and make another


def reason_to_keep(path, sizes):
    """Why a file must be kept under another name, not continued or overwritten; '' if a training left it so."""
    if sizes is None:
        begins = {"log.txt": b"TrainConfig(", "history.csv": ",".join(HISTORY_COLUMNS).encode()}[path.name]
        ours = not path.exists() or path.read_bytes()[:len(begins)] in (begins, b"")
        return "" if ours else "existed before, and no training wrote it"
    size, digest = sizes.get(path.name, 0), sizes.get(f"{path.name} sha256")  # older checkpoints have only the size
    as_left = (path.exists() and path.name in sizes and size <= path.stat().st_size
               and digest in (None, digest_of(path, size)))
    return "" if as_left else "was edited, cut or deleted after the last checkpoint"


def digest_of(path, size):
    """SHA-256 of a file's first ``size`` bytes."""
    with open(path, "rb") as file:
        return hashlib.sha256(file.read(size)).hexdigest()


def read_history(path):
    """history.csv as a list of dicts of numbers, without empty fields.  LasegError if it holds anything else."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [{key: int(value) if key == "iteration" else float(value) for key, value in row.items() if value}
                    for row in csv.DictReader(file)]
    except (ValueError, TypeError, csv.Error) as error:
        raise LasegError(f"{path}: not a history of numbers ({error}); move it away") from error


def as_floats(row):
    """The row with its tensors as floats, copied from the device in one step, and averaged over the processes."""
    names = [name for name, value in row.items() if torch.is_tensor(value)]
    values = distributed.mean_over_ranks(torch.stack([row[name].detach().float() for name in names]))
    return {**row, **dict(zip(names, values.tolist()))}
