"""The beginning and end of a program: for a user's mistake one line and an exit status, without a stack trace.

It imports nothing large, because it runs before the import of torch, which takes seconds.
"""

import argparse
import contextlib
import errno
import functools
import os
import re
import signal
import sys
import threading
from pathlib import Path

from ..errors import LasegError, visible

NO_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}  # a full disk, a user's share of it, a limit on files


def flush_to_disk(file):
    """Everything that was written to ``file`` is on the disk afterwards, if its file system can do that."""
    file.flush()
    try:
        os.fsync(file.fileno())
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP}:
            raise


def before_imports():
    """From here until ``restore_ctrl_c`` Ctrl-C ends the program without a stack trace from the middle of an import."""
    if threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def restore_ctrl_c():
    """From here on Ctrl-C raises KeyboardInterrupt again."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def open_streams():
    """Put the null device in place of a stdout or stderr that is closed (``2>&-``) or missing, as in a
    service.  tqdm, for example, writes to them."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))
    if hasattr(sys.stdout, "reconfigure"):  # the terminal's encoding may lack a path's characters
        sys.stdout.reconfigure(errors="backslashreplace")


def exit_status(status):
    """``status``, or 1 if the output can't be written.  Flushes it, so that Python reports no error when it ends."""
    for stream in filter(None, (sys.stdout, sys.stderr)):
        try:
            stream.flush()
        except OSError as error:
            status = status or 1
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if error.errno != errno.EPIPE:
                print_error(f"the output can't be written ({error.strerror})")
    return status


def print_error(message):
    """Print one line on stderr, if it is open."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def one_line_errors(main):
    """``main``, with one line on stderr and status 1 for a LasegError, an OSError and Ctrl-C."""
    @functools.wraps(main)
    def run(*args, **options):
        try:
            return main(*args, **options)
        except (LasegError, OSError) as error:
            message = in_one_line(error)
        except KeyboardInterrupt:
            message = "interrupted"
        print_error(f"{Path(sys.modules[main.__module__].__file__).name}: {message}")
        return 1
    return run


def positive_integer(text):
    """For argparse: a whole number of 1 or more."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) and len(text) < 9):
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, not {text[:20]!r}")
    return int(text)


def in_one_line(error):
    """An error's message in one line of visible characters; for an OSError with a file, the file and the reason."""
    if isinstance(error, BrokenPipeError):
        return "the program that reads the output has ended"
    system = isinstance(error, OSError) and error.filename
    message = f"{error.filename}: {error.strerror}" if system else str(error)
    return " ".join(visible(message).splitlines())


class OneLineParser(argparse.ArgumentParser):
    """A parser whose errors are one line, without the list of all options.  An empty argument is an error: an unset
    variable of a script must not be the current folder, or no weights."""

    def parse_known_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else args
        if any(re.fullmatch(r"(--[\w-]+=)?\s*", str(word)) for word in args):
            self.error("one of the arguments is empty; is a variable of the script not set?")
        home = re.compile(r"(--[\w-]+=)~(?=[/\\]|$)")  # a shell leaves the ~ of --out=~/masks
        args = [home.sub(lambda found: found[1] + os.path.expanduser("~"), str(word)) for word in args]
        return super().parse_known_args(args, namespace)

    def error(self, message):
        self.exit(2, in_one_line(f"{self.prog}: {message}; see {self.prog} --help") + "\n")


class WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to each help text that doesn't name one."""

    def _get_help_string(self, action):
        plain = not action.help or "default:" in action.help or action.default in (None, False)
        return action.help if plain else super()._get_help_string(action)
