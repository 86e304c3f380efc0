"""How a program ends whose user made a mistake: one clear line and a status, no stack trace."""

import argparse
import functools
import sys
from pathlib import Path

from ..errors import LasegError, visible


def polite(main):
    """``main``, with one line on stderr and the status 1 for a LasegError, a disk or file that refuses, and Ctrl-C."""
    @functools.wraps(main)
    def run(*args, **options):
        try:
            return main(*args, **options)
        except (LasegError, OSError) as error:
            message = in_one_line(error)
        except KeyboardInterrupt:
            message = "interrupted"
        print(f"{Path(sys.modules[main.__module__].__file__).name}: {message}", file=sys.stderr)
        return 1
    return run


def counted(text):
    """For argparse: a whole number of things, one or more."""
    if not (text.isascii() and text.isdigit() and 0 < int(text[:9]) and len(text) < 9):
        raise argparse.ArgumentTypeError(f"must be a whole number of 1 or more, not {text[:20]!r}")
    return int(text)


def in_one_line(error):
    """What an error says, in one line that steers no terminal; of a system's error, the file and what it says of it."""
    system = isinstance(error, OSError) and error.filename
    message = f"{error.filename}: {error.strerror}" if system else str(error)
    return " ".join(visible(message).splitlines())
