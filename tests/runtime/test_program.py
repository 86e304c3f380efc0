"""Programs end with a line and a status where their user made a mistake."""

import argparse
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from laseg_lib.data.atomic import require_writable
from laseg_lib.errors import LasegError
from laseg_lib.runtime import program
from laseg_lib.runtime.program import one_line_errors, positive_integer

REPO = Path(__file__).resolve().parents[2]


@pytest.mark.parametrize(("error", "told"), [
    (LasegError("no such thing:\nmove it"), "no such thing: move it"), (KeyboardInterrupt(), "interrupted"),
    (OSError(28, "No space left on device", "a\x1b[31m.csv"), "a\\x1b[31m.csv: No space left on device"),
    (OSError("can't"), "can't")])
def test_a_mistake_is_one_line(error, told, capsys):
    @one_line_errors
    def main(argv=None):
        raise error

    assert main() == 1
    assert capsys.readouterr().err == f"test_program.py: {told}\n"


def test_a_fault_of_ours_is_no_mistake_of_the_user():
    with pytest.raises(KeyError):
        one_line_errors(lambda: {}["x"])()
    assert one_line_errors(lambda n: n)(3) == 3


def test_numbers_of_things():
    assert [positive_integer(text) for text in ("1", "007")] == [1, 7]
    for text in ("0", "-1", "x", "", "9" * 400, "1.5", "\u0663"):
        with pytest.raises(argparse.ArgumentTypeError):
            positive_integer(text)


def test_a_file_that_can_not_be_written_is_known_before_the_work(tmp_path):
    require_writable(tmp_path / "new" / "a.csv", "--csv")
    assert (tmp_path / "new").is_dir() and not list((tmp_path / "new").iterdir())
    (tmp_path / "file").touch()
    for path in (tmp_path, tmp_path / "file" / "a.csv", "/dev/null/a.csv"):
        with pytest.raises(LasegError, match="^--csv .*can't be written; name"):
            require_writable(path, "--csv")


@pytest.fixture
def interrupts():
    before = signal.getsignal(signal.SIGINT)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_during_the_imports_leaves_no_trace(tmp_path):
    """A torch that interrupts whoever imports it; a command imports it when it is needed."""
    (tmp_path / "torch.py").write_text("import os, signal, time; os.kill(os.getpid(), signal.SIGINT); time.sleep(9)")
    done = subprocess.run([sys.executable, "-m", "laseg_lib", "phantom", str(tmp_path / "data")], capture_output=True,
                          text=True, env={**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), str(REPO)])})
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "laseg phantom: interrupted\n")


def test_ctrl_c_is_pythons_own_once_a_program_has_begun(interrupts):
    program.before_imports()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_DFL
    program.restore_ctrl_c()
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a background job of a shell
    program.before_imports()
    program.restore_ctrl_c()
    assert signal.getsignal(signal.SIGINT) == signal.SIG_IGN


def test_a_program_without_stdout_and_stderr_can_write_to_them(monkeypatch):
    """As with 2>&- in a shell, pythonw, and services."""
    for name in ("stdout", "stderr"):
        monkeypatch.setattr(sys, name, None)
    program.open_streams()
    with sys.stdout, sys.stderr:
        assert sys.stdout.write("a") == sys.stderr.write("b") == 1


@pytest.mark.parametrize(("target", "told"), [("/dev/full", 1), ("pipe", 0)])
def test_what_can_not_be_printed_is_no_success(target, told, monkeypatch, capsys):
    if target == "pipe":
        read, number = os.pipe()
        os.close(read)
    else:
        number = os.open(target, os.O_WRONLY)
    with open(number, "w") as stream, monkeypatch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        print("done")
        assert program.exit_status(0) == 1 and program.exit_status(2) == 2
    assert capsys.readouterr().err.count("the output can't be written") == told
