#!/usr/bin/env python3
"""Hostile inputs of every kind (tests/hostile.py), each given to what would read it; prints a table of what became of
them.

    make faults                              all of them, some minutes
    python tests/faults.py --quick           those that neither train nor start a process
    python tests/faults.py --only scans      some kinds;  --show  also tells what each case was answered

Each case runs in a forked process with a folder and a time limit of its own.  Counted are: crashes (killed by a signal,
or more memory than any small input should take), stack traces, hangs, bytes lost (of files that were there before and
are nowhere any more), and inputs taken for good that must be refused.  The exit status is 1 if any of them is not zero.
"""

import argparse
import contextlib
import hashlib
import json
import os
import re
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

REPO = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(REPO), str(REPO / "tests"), str(REPO / "tools")]

import hostile  # noqa: E402
import torch  # noqa: E402

from laseg_lib.errors import LasegError  # noqa: E402

MOST = 3 * 2**30  # bytes that a case may take beyond what the imports took
COUNTED = ("crashes", "traces", "hangs", "bytes lost", "taken for good")
BAR = re.compile(r"\d+%\|")  # tqdm's
NOISE = ("Traceback (most recent call last)", "Exception ignored")


def contents(folder):
    """{path: bytes} of every regular file below ``folder``, links aside."""
    files = [Path(where, name) for where, _, names in os.walk(folder) for name in names]
    return {path: path.read_bytes() for path in files if path.is_file() and not path.is_symlink()}


def lost_bytes(before, after, replaced):
    """How many bytes of ``before`` no file of ``after`` begins with any more; files of the names ``replaced`` aside."""
    kept = {hashlib.sha256(data).digest() for data in after.values()}
    return sum(len(data) for path, data in before.items()
               if path.name not in replaced and hashlib.sha256(data).digest() not in kept
               and not any(other.startswith(data) for other in after.values()))


def judge(case, folder):
    """What became of one case, in the process made for it: its exit status, bytes lost, and the memory it took."""
    status = None
    act = case.make(folder)
    before = contents(folder)
    try:
        status = act()
    except LasegError as error:
        status = 1
        print(error, file=sys.stderr)
    except SystemExit as stop:
        status = stop.code
    except BaseException:  # which would have been a trace on somebody's terminal
        traceback.print_exc()
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError):
            stream.flush()
    return {"status": status, "bytes lost": lost_bytes(before, contents(folder), case.replaced),
            "memory": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}


def in_a_process(case, folder, seconds):
    """A dict of the COUNTED, the ``status`` and what was ``told`` last, of ``judge`` in a forked process; it is killed
    when it takes longer.  All it says comes through pipes: a case may find every disk full."""
    output, answer = os.pipe(), os.pipe()
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job ignores it
        os.dup2(output[1], 1), os.dup2(output[1], 2)
        sys.stdout, sys.stderr = (open(number, "w", buffering=1, closefd=False) for number in (1, 2))
        os.chdir(folder)
        try:
            os.write(answer[1], json.dumps(judge(case, folder)).encode())
        except BaseException:
            traceback.print_exc()
        finally:  # even where that fails: this process must not go on as the one it was forked from
            os._exit(0)
    os.close(output[1]), os.close(answer[1])
    os.set_blocking(output[0], False), os.set_blocking(answer[0], False)
    until, text, found = time.monotonic() + seconds, b"", {**dict.fromkeys(COUNTED, 0), "status": None}
    while (ended := os.waitpid(child, os.WNOHANG))[0] == 0:
        text += drained(output[0])
        if time.monotonic() > until:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            found["hangs"] = 1
            break
        time.sleep(0.002)
    text, judged = (text + drained(output[0])).decode(errors="replace"), drained(answer[0])
    os.close(output[0]), os.close(answer[0])
    told = [line for line in text.replace("\r", "\n").splitlines() if line.strip() and not BAR.search(line)]
    found["told"] = told[-1] if told else ""
    if found["hangs"]:
        return found
    if not judged:
        return {**found, "crashes": 1, "told": f"ended with {ended[1]}: {found['told']}"}
    judged = json.loads(judged)
    found |= {"status": judged["status"], "bytes lost": judged["bytes lost"]}
    found["crashes"] = int(judged["memory"] > MOST or judged["status"] not in (0, 1, 2, None))
    found["traces"] = int(any(noise in text for noise in NOISE) or "\x1b" in text.replace("\x1b[A", ""))
    found["taken for good"] = int(case.refused and not found["traces"] and not judged["status"])
    return found


def drained(pipe):
    """The bytes that are in a pipe now."""
    read = b""
    with contextlib.suppress(BlockingIOError):
        while some := os.read(pipe, 2**16):
            read += some
    return read


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="only cases that neither train nor start a process")
    parser.add_argument("--only", nargs="+", default=[""], metavar="WORDS",
                        help="only kinds (or cases: kind/name) that contain one of these")
    parser.add_argument("--show", action="store_true", help="a line a case")
    parser.add_argument("--seconds", type=float, default=60, help="what a case may take, on a machine that does "
                        "something else as well")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    table, bad = {}, 0
    with tempfile.TemporaryDirectory(prefix="faults") as place:
        sound = hostile.make_sound(Path(place) / "sound")
        cases = [case for case in hostile.cases(sound) if any(words in f"{case.kind}/{case.name}"
                                                                     for words in args.only)
                 and (case.quick or not args.quick)]
        for case in cases:
            folder = Path(place) / "case" / "here"
            folder.mkdir(parents=True)
            found = in_a_process(case, folder, args.seconds)
            shutil.rmtree(folder.parent, ignore_errors=True)
            row = table.setdefault(case.kind, dict.fromkeys(("cases", *COUNTED), 0))
            row["cases"] += 1
            for name in COUNTED:
                row[name] += found[name]
            wrong = {name: found[name] for name in COUNTED if found[name]}
            bad += bool(wrong)
            if wrong or args.show:
                print(f"{case.kind}/{case.name}: {wrong or 'ok'} (status {found['status']}) {found['told'][:300]!r}",
                      flush=True)
    table["all"] = {name: sum(row[name] for row in table.values()) for name in ("cases", *COUNTED)}
    print(f"{'kind':<14}" + "".join(f"{name:>16}" for name in ("cases", *COUNTED)))
    for name, row in table.items():
        print(f"{name:<14}" + "".join(f"{number:>16}" for number in row.values()))
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main())
