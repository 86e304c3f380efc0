"""How much memory a notebook takes, and whether several kernels at once say the same."""

import os
import subprocess
import sys

import nbformat
import notebook_load
import pytest


def small(path, *sources):
    nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source) for source in sources]), path)
    return path


def test_the_peak_counts_what_is_held_for_a_moment_and_the_limit_is_told(tmp_path, capsys, monkeypatch):
    path = small(tmp_path / "a.ipynb", "import time\nheld = bytearray(b'x' * 200_000_000)\ntime.sleep(0.5)\ndel held")
    monkeypatch.setattr(notebook_load.os, "sched_setaffinity", lambda *given: None, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    assert notebook_load.main(["memory", str(path), "--limit", "0.1"]) == 1
    said = capsys.readouterr()
    assert 0.2 < float(said.out.split("|")[-2]) < 0.6 and "More than 0.1 GB: a" in said.err


@pytest.mark.skipif(os.name != "posix", reason="the child is asked by a pipe")
def test_children_count_and_the_dead_do_not():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        assert notebook_load.resident(os.getpid()) > notebook_load.resident(child.pid) > 1e6
    finally:
        child.kill()
        child.wait()
    assert notebook_load.resident(child.pid) == 0


def test_outputs_are_compared_without_what_is_no_words_of_theirs(tmp_path):
    path = small(tmp_path / "a.ipynb", "object()", "print(6 * 7)", "import ipywidgets; ipywidgets.IntSlider()")
    one, other = notebook_load.outputs_of(path), notebook_load.outputs_of(path)
    assert notebook_load.differences([one, other]) == [] and "42" in one[1][0]
    assert notebook_load.differences([one, one | {1: ["43\n"]}]) == [1]
