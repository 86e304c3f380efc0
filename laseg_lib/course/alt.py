"""The text alternatives of the pictures: ``ALT_TEXTS[notebook][picture]``, from alt.toml beside this file."""

import tomllib
from pathlib import Path

ALT_TEXTS = tomllib.loads(Path(__file__).with_name("alt.toml").read_text(encoding="utf-8"))
