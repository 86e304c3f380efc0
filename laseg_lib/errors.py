"""The one exception the library raises on purpose.

Its message is written for the person at the keyboard: what is wrong, in which
file, and what to do about it.  The command line prints it as a single line.
"""


class LasegError(Exception):
    """A mistake in the input that the user can mend; the message says how."""

    def __init__(self, message=""):
        super().__init__(visible(message) if isinstance(message, str) else message)


def visible(text):
    """``text`` with every letter that isn't seen written out: a file's name or key must not steer a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t\r" else c.encode("unicode_escape").decode() for c in text)
