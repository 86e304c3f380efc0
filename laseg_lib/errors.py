"""The one exception that the library raises on purpose.

Its message is for the person at the keyboard: what is wrong, in which file, and what to do.  The command line prints
it as one line.
"""


class LasegError(Exception):
    """A mistake in the input that the user can correct; the message says how."""

    def __init__(self, message=""):
        super().__init__(visible(message) if isinstance(message, str) else message)


def visible(text):
    """``text`` with every invisible character written as an escape: a file's name must not control a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t\r" else c.encode("unicode_escape").decode() for c in text)
