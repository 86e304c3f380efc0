"""`make faults` counts what falls, and its quickest kind stands."""

import os
import signal
import time

import pytest
from children import POSIX

from laseg_lib.errors import LasegError
from laseg_lib.runtime.machine import one_thread

if not POSIX:
    pytest.skip("each case runs in a forked process", allow_module_level=True)
import faults  # noqa: E402
import hostile  # noqa: E402


def refuses():
    raise LasegError("a sentence")


def loses():
    os.unlink("kept.txt")
    return 1


@pytest.mark.parametrize(("act", "counted"), [
    (refuses, {}), (lambda: 1, {}), (lambda: 0, {"taken for good": 1}), (lambda: {}["trace"], {"traces": 1}),
    (lambda: os.kill(os.getpid(), signal.SIGKILL), {"crashes": 1}), (lambda: time.sleep(60), {"hangs": 1}),
    (loses, {"bytes lost": 5})], ids=["refused", "status 1", "taken", "trace", "crash", "hang", "loss"])
def test_what_falls_is_counted(act, counted, tmp_path, capfd):
    folder = tmp_path / "case" / "here"
    folder.mkdir(parents=True)

    def make(folder):
        (folder / "kept.txt").write_text("bytes")
        return act

    with capfd.disabled():  # the process writes to a file of its own
        found = faults.in_a_process(hostile.case("it", make), folder, 1 if "hangs" in counted else 60)
    assert {name: found[name] for name in faults.COUNTED if found[name]} == counted


def test_what_the_environment_says_falls_nowhere(capsys):
    with one_thread():
        fallen = faults.main(["--quick", "--only", "environment/"])
    assert not fallen and "environment" in capsys.readouterr().out
