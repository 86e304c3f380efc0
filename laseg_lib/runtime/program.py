"""How a program begins and ends: one clear line and a status where its user made a mistake, no stack trace.

Imports nothing large: it stands before torch, which takes seconds to import.
"""

import argparse
import contextlib
import errno
import functools
import os
import signal
import sys
import threading
from pathlib import Path

from ..errors import LasegError, visible


def before_imports():
    """Before the imports of a program (``laseg``, ``python -m laseg_lib...``): streams that were closed lead nowhere,
    and Ctrl-C ends it at once, without a trace from the middle of an import, until ``restore_ctrl_c`` is called.

    A closed stream's number would go to the next file that is opened, and warnings would be written into that.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # takes the lowest number that is free
    sys.stdout, sys.stderr = (stream or open(os.devnull, "w") for stream in (sys.stdout, sys.stderr))
    if threading.current_thread() is threading.main_thread() and (
            signal.getsignal(signal.SIGINT) is signal.default_int_handler):
        signal.signal(signal.SIGINT, signal.SIG_DFL)


def restore_ctrl_c():
    """From here on Ctrl-C is Python's own again."""
    if threading.current_thread() is threading.main_thread() and signal.getsignal(signal.SIGINT) == signal.SIG_DFL:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def exit_status(status):
    """``status``, or 1 where what was printed can't be written; nothing is left that Python would complain about."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except OSError as error:
            status = status or 1
            with contextlib.suppress(OSError, ValueError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
            if error.errno != errno.EPIPE:
                print_error(f"what was printed can't be written ({error.strerror})")
    return status


def print_error(message):
    """One line on stderr, if anybody listens there."""
    with contextlib.suppress(OSError):
        print(message, file=sys.stderr, flush=True)


def one_line_errors(main):
    """``main``, with one line on stderr and the status 1 for a LasegError, a disk or file that refuses, and Ctrl-C."""
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
    """For argparse: a whole number of things, one or more."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) and len(text) < 9):
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, not {text[:20]!r}")
    return int(text)


def in_one_line(error):
    """What an error says, in one line that steers no terminal; of a system's error, the file and what it says of it."""
    if isinstance(error, BrokenPipeError):
        return "nobody reads what it prints any more"
    system = isinstance(error, OSError) and error.filename
    message = f"{error.filename}: {error.strerror}" if system else str(error)
    return " ".join(visible(message).splitlines())


class OneLineParser(argparse.ArgumentParser):
    """Says what is wrong without repeating forty options."""

    def error(self, message):
        self.exit(2, in_one_line(f"{self.prog}: {message}; see {self.prog} --help") + "\n")


class WithDefaults(argparse.ArgumentDefaultsHelpFormatter):
    """Adds a default to what doesn't say its own, where there is one."""

    def _get_help_string(self, action):
        plain = not action.help or "default:" in action.help or action.default in (None, False)
        return action.help if plain else super()._get_help_string(action)
