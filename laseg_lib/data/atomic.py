"""Writes files completely or not at all, so that an interrupted program leaves nothing half-written."""

import contextlib
import csv
import glob
import io
import json
import os
import re
import secrets
import time
from pathlib import Path

from ..errors import LasegError
from ..metrics import COLUMNS
from ..runtime.program import NO_SPACE


@contextlib.contextmanager
def replacing(path):
    """A temporary name beside ``path``.  When the block ends without an error, the file moves to ``path`` in one step.

    Several processes may write the same file: each has a temporary name of its own, and the last one wins.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.partial")
    try:
        yield partial
        os.replace(partial, path)
    except OSError as error:
        if error.filename or error.errno not in NO_SPACE:
            raise
        raise LasegError(f"{path}: can't be written ({error.strerror}); free some space, or choose another folder"
                         ) from error
    finally:
        partial.unlink(missing_ok=True)


def remove_leftovers(path):
    """Remove what killed processes left beside ``path``: temporary files older than an hour.  A younger one may belong
    to a running process."""
    for left in path.parent.glob(f"{glob.escape(path.name)}.????????.partial"):
        with contextlib.suppress(OSError):
            if time.time() - left.lstat().st_mtime > 3600:
                left.unlink()


def require_writable(path, option):
    """LasegError if no file can be written to ``path``, which was given as ``option``: before the work and not after
    it.  Makes its folder."""
    path = Path(path)
    with contextlib.suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
    may_write = path.parent.is_dir() and os.access(path.parent, os.W_OK)
    if not may_write or path.exists() and not path.is_file():
        raise LasegError(f"{option} {path}: can't be written; name a file in a folder that you may write to")


def write_whole(path, content):
    """Write a file, completely or not at all.  ``content``: bytes, or text, which is written in UTF-8."""
    with replacing(path) as partial:
        partial.write_bytes(content.encode("utf-8") if isinstance(content, str) else content)


def write_list(path, names):
    """Write a ``.list`` file, one case in each line."""
    write_whole(path, "".join(f"{name}\n" for name in names))


def require_own_table(path):
    """LasegError if ``path`` is a file but no table of metrics: a typing error must not overwrite a checkpoint."""
    path = Path(path)
    if path.is_file() and path.stat().st_size:
        with open(path, "rb") as file:
            head = file.readline(1000)
        if not re.match(rb"(case|weights),", head) or COLUMNS[0].encode() not in head:
            raise LasegError(f"--csv {path}: exists already and is no table of metrics; give another name")


def write_table(path, rows):
    """Write rows of metrics as CSV, with the case (and weights and class, if rows have them) first."""
    text = io.StringIO()
    first = [name for name in ("case", "weights", "class") if name in (rows[0] if rows else ("case", "weights"))]
    writer = csv.DictWriter(text, [*first, *COLUMNS], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_whole(path, text.getvalue())


def require_same_settings(folder, settings):
    """Write the settings of a folder's cases to ``folder/settings.json``, before the first case is made.

    Raises LasegError if there are cases with other settings: new cases would not fit them.
    """
    path = Path(folder) / "settings.json"
    cases = path.parent.is_dir() and any(child.is_dir() and child.name[0] != "." for child in path.parent.iterdir())
    if not cases:
        write_whole(path, json.dumps(settings, indent=1) + "\n")
        return
    if not path.exists():
        raise LasegError(f"{path}: is missing, so the settings of the cases beside it are unknown; restore it, choose "
                         "another folder, or delete the folder around it")
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        settings = json.loads(json.dumps(settings))  # tuples become lists, as they are in the file
        differ = sorted(k for k in {*found, *settings} if found.get(k) != settings.get(k))
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise LasegError(f"{path}: can't be read ({error}); delete the folder around it, or choose another") from error
    if differ:
        was, now = ({k: d.get(k) for k in differ} for d in (found, settings))
        raise LasegError(f"{path}: the cases here were made with {was}, but now {now} is given; "
                         "choose another folder, or delete this one")
