"""TensorBoard's curves, written step by step.

PyTorch's SummaryWriter isn't used.  It writes in another thread, where the error of a full disk can't be caught, and
names its file by the clock, which may be set back.
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

    ``going_on``: the first iteration of a resumed run; TensorBoard then drops earlier files' points from there on.  If
    the file can't be written, one message says so, and nothing more is written: history.csv holds the same numbers.
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
        """Seconds since 1970, or a larger number if an existing file has one as large: TensorBoard reads files in the
        order of their names, and this one must be the last."""
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
        """Pass everything that was added on to the system."""
        if self.file is not None:
            with self._report_full_disk():
                self.file.flush()

    def close(self):
        """Close the file; later points are ignored."""
        if self.file is not None:
            file, self.file = self.file, None
            with contextlib.suppress(OSError):  # the rest of its buffer meets the same full disk
                file.close()
