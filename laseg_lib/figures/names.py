"""Escapes the names of cases, files and networks for HTML, Markdown and figures.

Names come from folders and from people, and may hold any character.  Unescaped, ``<b>`` would print bold, ``a$b$``
would be a formula, and a script would run.
"""

import html
import re


def in_html(name):
    """For HTML and its attributes, and for plotly, whose texts are HTML."""
    return html.escape(str(name))


def in_markdown(name):
    """For Markdown, on one line."""
    text = html.escape(" ".join(str(name).split()), quote=False)
    # An underscore between letters, as in block_one, emphasises nothing.
    return re.sub(r"[\\`*\[\]$~]|(?<!\w)_|_(?!\w)", r"\\\g<0>", text)


def in_figure(name):
    """For matplotlib, which sets a formula between two dollar signs and leaves ``_name`` out of a legend."""
    text = str(name).replace("$", r"\$")
    return f"\u200b{text}" if text.startswith("_") else text  # a space without width
