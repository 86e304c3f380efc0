"""The exception for a user's files and settings.  Wrong arguments in Python raise ValueError or TypeError.

Its message says what is wrong, in which file, and what to do.  The command line prints the message as one
line.
"""

import re


class LasegError(Exception):
    """A mistake in the input that the user can correct; the message says how."""

    def __init__(self, message=""):
        super().__init__(visible(message) if isinstance(message, str) else message)


def visible(text):
    """``text`` with every invisible character written as an escape: a file's name must not control a terminal."""
    return "".join(c if c.isprintable() or c in "\n\t\r" else c.encode("unicode_escape").decode() for c in text)


def require_no_text(path, kind):
    """LasegError for a file that is empty, or text in place of a ``kind``, as downloads leave it: a pointer of git-lfs,
    or a web page."""
    with open(path, "rb") as file:
        head = file.read(400).decode("utf-8-sig", "ignore")  # a letter may be cut off, or in another encoding
    if head.startswith("version https://git-lfs"):
        raise LasegError(f"{path}: is a git-lfs pointer, a text instead of the {kind} file; run `git lfs pull` in "
                         "its folder, or download the file itself")
    if not re.search(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]", head):
        what = "text" if head else "empty"
        what = "a web page" if re.match(r"\s*<(!doctype|html|\?xml)", head, re.IGNORECASE) else what
        raise LasegError(f"{path}: is {what}, not a {kind} file; download or copy it again")
