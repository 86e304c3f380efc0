"""What a learner has done is kept, in whichever kernel it was done, and shown in words."""

import re
import shutil

import pytest

from laseg_lib import course
from laseg_lib.course import exercise, passed
from laseg_lib.course.exercise import Exercise
from laseg_lib.course.nb06_ramp_up import check_half, check_length


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("LASEG_HOME", str(tmp_path))
    monkeypatch.delenv("LASEG_PROGRESS", raising=False)
    return tmp_path


def state(check):
    return passed.state_of(f"06_ramp_up.{check}")


def shown(capsys):
    course.progress()
    return re.sub(r" +", " ", capsys.readouterr().out)


def test_what_is_done_is_noted_and_stays_done(home, capsys):
    check_half(lambda length, every: None)
    check_length(lambda share, t: 1)
    assert (state("check_half"), state("check_length")) == ("", "begun")
    check_length(check_length.reference)
    check_length(lambda share, t: 1)
    assert state("check_length") == "done"
    assert [path.name for path in (home / "data" / "progress").iterdir()] == ["06_ramp_up.check_length"]
    assert exercise.exercise_name(check_half) == "06_ramp_up.check_half"
    Exercise(lambda: 1, [()], {})(lambda: 1)  # of no notebook
    assert len(list((home / "data" / "progress").iterdir())) == 1


def test_every_exercise_stands_in_the_table_with_its_state_in_words(capsys):
    check_half(check_half.reference)
    check_length(lambda share, t: 1)
    said = shown(capsys)
    names = [name for checks in passed.exercises().values() for name in checks]
    assert f"1 of {len(names)} exercises done." in said and len(names) == len(set(names)) >= 28
    assert "06_ramp_up check_half ✓ done" in said and "06_ramp_up check_length … begun" in said
    assert said.count("<td>not tried yet</td>") == len(names) - 2


def test_what_is_not_to_be_noted_or_cannot_be_is_not(home, monkeypatch, capsys):
    monkeypatch.setenv("LASEG_PROGRESS", "off")
    check_half(check_half.reference)
    assert not (home / "data").exists()
    monkeypatch.delenv("LASEG_PROGRESS")
    with monkeypatch.context() as full:
        full.setattr("os.replace", lambda *names: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        check_half(check_half.reference)
    assert "Correct" in capsys.readouterr().out and state("check_half") == ""
    shutil.rmtree(home / "data")
    (home / "data").write_text("a file where the folder should be")
    check_half(check_half.reference)
    assert "Correct" in capsys.readouterr().out and state("check_half") == ""
    monkeypatch.setattr(passed.os, "access", lambda *given: False)
    assert "nothing is noted" in shown(capsys)


def test_a_note_that_nobody_of_us_wrote_counts_as_none(home):
    (home / "data" / "progress").mkdir(parents=True)
    (home / "data" / "progress" / "06_ramp_up.check_half").write_bytes(b"\xff\x00")
    assert state("check_half") == ""
