"""Programs end with a line and a status where their user made a mistake."""

import argparse

import pytest

from laseg_lib.data.atomic import require_writable
from laseg_lib.errors import LasegError
from laseg_lib.runtime.manners import counted, polite


@pytest.mark.parametrize(("error", "told"), [
    (LasegError("no such thing:\nmove it"), "no such thing: move it"), (KeyboardInterrupt(), "interrupted"),
    (OSError(28, "No space left on device", "a\x1b[31m.csv"), "a\\x1b[31m.csv: No space left on device"),
    (OSError("can't"), "can't")])
def test_a_mistake_is_one_line(error, told, capsys):
    @polite
    def main(argv=None):
        raise error

    assert main() == 1
    assert capsys.readouterr().err == f"test_manners.py: {told}\n"


def test_a_fault_of_ours_is_no_mistake_of_the_user():
    with pytest.raises(KeyError):
        polite(lambda: {}["x"])()
    assert polite(lambda n: n)(3) == 3


def test_numbers_of_things():
    assert [counted(text) for text in ("1", "007")] == [1, 7]
    for text in ("0", "-1", "x", "", "9" * 400, "1.5", "\u0663"):
        with pytest.raises(argparse.ArgumentTypeError):
            counted(text)


def test_a_file_that_can_not_be_written_is_known_before_the_work(tmp_path):
    require_writable(tmp_path / "new" / "a.csv")
    assert (tmp_path / "new").is_dir() and not list((tmp_path / "new").iterdir())
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "a.csv", "/dev/null/a.csv"):
        with pytest.raises(LasegError, match="can't be written; name|can't be written .*; name"):
            require_writable(path)
