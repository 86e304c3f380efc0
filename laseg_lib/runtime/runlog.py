"""What a training leaves behind besides its weights: log.txt, history.csv, TensorBoard scalars."""

import csv
import os
from pathlib import Path

import torch

from ..errors import LasegError
from . import distributed

SCALARS = {  # the walkthrough's TensorBoard names, and the column of history.csv each is drawn from
    "lr": "lr", "loss/loss": "loss", "loss/loss_seg": "loss_seg", "loss/loss_seg_dice": "loss_seg_dice",
    "train/consistency_weight": "consistency_weight", "train/consistency_dist": "consistency_dist",
    "Var_dice/Dice": "val_dice_student", "Var_dice/Teacher": "val_dice_teacher", "Var_dice/Best_dice": "best_dice",
}
COLUMNS = ["iteration", *SCALARS.values()]


class RunLog:
    """Appends to the files of one run.  ``sizes`` (from a checkpoint) first cuts them back to that moment,
    so that a resumed run leaves the files of one that was never stopped."""

    def __init__(self, folder, sizes=None, iteration=0):
        from torch.utils.tensorboard import SummaryWriter

        self.folder = Path(folder)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise LasegError(f"{folder}: is a file; --snapshot_path must name a folder") from error
        self.paths = {name: self.folder / name for name in ("log.txt", "history.csv")}
        for name, path in self.paths.items():
            keep = (sizes or {}).get(name, 0)
            with open(path, "ab") as file:
                file.truncate(min(keep, path.stat().st_size))
        self.text = open(self.paths["log.txt"], "a", encoding="utf-8")
        self.table = open(self.paths["history.csv"], "a", encoding="utf-8", newline="")
        self.rows = csv.DictWriter(self.table, COLUMNS, lineterminator="\n")
        if self.paths["history.csv"].stat().st_size == 0:
            self.rows.writeheader()
        self.scalars = SummaryWriter(self.folder / "log", purge_step=iteration + 1 if sizes else None)

    def say(self, message):
        self.text.write(message + "\n")
        self.text.flush()

    def record(self, row):
        """One iteration: a dict with the COLUMNS that it has."""
        self.rows.writerow(row)
        for name, column in SCALARS.items():
            if row.get(column) is not None:
                self.scalars.add_scalar(name, row[column], row["iteration"])
        self.say("iteration {iteration} : loss : {loss:f} cons_dist: {consistency_dist:f}, "
                 "loss_weight: {consistency_weight:f}".format(**row))

    def sizes(self):
        """How long the files are now, for the checkpoint; what it counts is on the disk."""
        self.scalars.flush()
        for file in (self.text, self.table):
            file.flush()
            os.fsync(file.fileno())
        return {name: path.stat().st_size for name, path in self.paths.items()}

    def close(self):
        for file in (self.text, self.table, self.scalars):
            file.close()

    def __del__(self):  # a notebook may drop a trainer and make another
        for name in ("text", "table"):
            if hasattr(self, name):
                getattr(self, name).close()


def read_history(path):
    """history.csv as a list of dicts of numbers; empty fields are left out.  LasegError when it holds anything else."""
    try:
        with open(path, encoding="utf-8", newline="") as file:
            return [{key: int(value) if key == "iteration" else float(value) for key, value in row.items() if value}
                    for row in csv.DictReader(file)]
    except (ValueError, TypeError, csv.Error) as error:
        raise LasegError(f"{path}: not a history of numbers ({error}); move it away") from error


def numbers(row):
    """The row with its tensors as floats, fetched from the device at once (and averaged over the processes)."""
    names = [name for name, value in row.items() if torch.is_tensor(value)]
    values = distributed.average(torch.stack([row[name].detach().float() for name in names]))
    return {**row, **dict(zip(names, values.tolist()))}
