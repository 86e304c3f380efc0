"""The progress of a cell: a line that is updated in place, and is not stored in the notebook.

tqdm isn't used, because its text is stored in the output and differs from run to run.
"""

import contextlib
import time

import ipywidgets as widgets

from .viewer import LiveLine


class Progress:
    """``with Progress(150, "iteration") as at: at(3)`` shows *iteration 3 of 150*, a few times a second.

    ``patience``: seconds after which the line appears; shorter work shows none.
    """

    def __init__(self, total, what, every=0.25, patience=0.0):
        self.total, self.what, self.every, self._last = total, what, every, 0.0
        self.patience, self._begun, self._shown = patience, time.monotonic(), False
        self.bar, self.words = widgets.IntProgress(max=max(total, 1)), widgets.Label()
        self.line = LiveLine(self.bar, self.words)

    def __enter__(self):
        self._begun = time.monotonic()
        self.at(0, now=True)
        return self.at

    def at(self, number, *, now=False):
        """Show that ``number`` of them are done."""
        if now or number >= self.total or time.monotonic() - self._last >= self.every:
            self._last = time.monotonic()
            self.bar.value, self.words.value = number, f"{self.what} {number} of {self.total}"
        if not self._shown and time.monotonic() - self._begun >= self.patience:
            self._shown = True
            self.line.show_live()

    def __exit__(self, kind, *error):
        if kind:
            self.words.value += ", stopped"


def counted(items, what, patience=0.0):
    """Yield ``items``, with *what n of N* on the page after ``patience`` seconds."""
    items = list(items)
    with Progress(len(items), what, patience=patience) as at:
        for number, item in enumerate(items, 1):
            yield item
            at(number)


@contextlib.contextmanager
def waiting(words):
    """Show ``words`` on the page while something runs that can't be counted, and whether it ended."""
    with Progress(1, words) as at:
        yield
        at(1)
