"""The one exception the library raises on purpose.

Its message is written for the person at the keyboard: what is wrong, in which
file, and what to do about it.  The command line prints it as a single line.
"""


class LasegError(Exception):
    """A mistake in the input that the user can mend; the message says how."""
