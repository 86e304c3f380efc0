"""TensorBoard's curves, written step by step.

PyTorch's SummaryWriter writes in a thread of its own, where nobody can catch what a full disk says, and names its file
by the clock, which may be set back.
"""

import contextlib
import os
import re
import socket
import time
from pathlib import Path

from .machine import notify


class Curves:
    """The file of one run's scalars in ``folder``, as TensorBoard reads it.

    ``going_on``: the first iteration that is written anew; TensorBoard then drops what earlier files have from there
    on.  A disk that refuses is told once, and no more is written: history.csv holds the same numbers.
    """

    def __init__(self, folder, going_on=None):
        from tensorboard.compat.proto.event_pb2 import Event, SessionLog
        from tensorboard.compat.proto.summary_pb2 import Summary
        from tensorboard.summary.writer.record_writer import RecordWriter

        self.folder, self.file = Path(folder), None
        self._event, self._summary = Event, Summary
        with self._report_full_disk():
            self.folder.mkdir(parents=True, exist_ok=True)
            name = f"events.out.tfevents.{self._number():010d}.{socket.gethostname()}.{os.getpid()}.0"
            self.file = open(self.folder / name, "xb")
            self._records = RecordWriter(self.file)
            self._write(file_version="brain.Event:2")
            if going_on is not None:
                self._write(step=going_on, session_log=SessionLog(status=SessionLog.START))
            self.flush()

    def _number(self):
        """Seconds since 1970 (0 for a clock before that), or more, so that this file comes after those that are
        there: TensorBoard reads them in the order of their names."""
        found = [re.match(r"events\.out\.tfevents\.(\d{1,15})\.", path.name) for path in self.folder.iterdir()]
        return max([0, int(time.time()), *(int(match[1]) + 1 for match in found if match)])

    def _write(self, **event):
        self._records.write(self._event(wall_time=time.time(), **event).SerializeToString())

    @contextlib.contextmanager
    def _report_full_disk(self):
        try:
            yield
        except OSError as error:
            notify(f"{self.folder}: the curves for TensorBoard can't be written ({error.strerror or error}); training "
                   "goes on without them, history.csv has the same numbers")
            self.close()

    def add_scalar(self, name, value, step):
        """One point of the curve ``name``."""
        if self.file is not None:
            with self._report_full_disk():
                point = self._summary.Value(tag=name, simple_value=float(value))
                self._write(step=step, summary=self._summary(value=[point]))

    def flush(self):
        """What was added is on its way to the disk."""
        if self.file is not None:
            with self._report_full_disk():
                self.file.flush()

    def close(self):
        """No more is written."""
        if self.file is not None:
            file, self.file = self.file, None
            with contextlib.suppress(OSError):  # what is still in its buffer finds the same full disk
                file.close()
