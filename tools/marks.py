#!/usr/bin/env python3
"""For an instructor: mark the exercises of a class, between walls, and write a table; `make marks`.

    python tools/marks.py STUDENTS                                  a folder that holds a folder a student
    python tools/marks.py STUDENTS notebooks/05_ema_teacher.ipynb   the exercises of this notebook only
    python tools/marks.py STUDENTS --output marks.csv               default: build/marks.csv

A student's folder is copied, and the copy gets a kernel of its own. Of each notebook, only the statements are executed
that an exercise's function needs. The verdict is that of the library's own check, whatever the notebook prints or
stores. notebooks/INSTRUCTOR.md says what the walls stop, and what they don't.

    python tools/marks.py kernel BOX GIGABYTES SECONDS WALLS -f CONNECTION_FILE

is such a kernel. BOX is the only folder that may be written. WALLS is "namespaces" if ``unshare`` has started the
process with namespaces of its own, else "none".
"""

import argparse
import ast
import contextlib
import csv
import ctypes
import os
import queue
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from jupyter_client.blocking import BlockingKernelClient
from jupyter_client.connect import write_connection_file
from notebook_cells import attempts, code_of, module_of, needed_by, read_notebook, up_to

from laseg_lib.data.atomic import replacing
from laseg_lib.errors import visible
from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent
COLUMNS = ("student", "notebook", "exercise", "attempted", "correct", "hint")
LARGEST = 20_000_000  # bytes of a file that is copied
# Namespaces of its own for mounts, network and processes, without rights that the user doesn't have.
UNSHARE = ["unshare", "--user", "--map-root-user", "--mount", "--net", "--pid", "--fork", "--kill-child"]

READ_ONLY, RECURSIVE, HERE, MOUNT_SETATTR = 1, 0x8000, -100, 442  # of Linux, the same on every processor
WRITES = ("w", "a", "x", "+")
# What removes or changes files; the arguments that are paths.
CHANGES = {"os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
           "os.chmod": 1, "os.chown": 1, "os.mkdir": 1, "os.utime": 1, "shutil.rmtree": 1}
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
          "os.startfile", "os.kill", "os.killpg", "pty.spawn", "ctypes.dlopen", "socket.bind")


@one_line_errors
def main(argv=None):
    if sys.argv[1:2] == ["kernel"] and argv is None:
        return run_kernel(*sys.argv[2:])
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("students", type=Path)
    parser.add_argument("notebooks", nargs="*", type=Path, help="whose exercises count; default: all of notebooks/")
    parser.add_argument("--output", type=Path, default=REPO / "build" / "marks.csv")
    parser.add_argument("--cell-seconds", type=float, default=60, help="for one exercise (default: 60)")
    parser.add_argument("--seconds", type=float, default=600, help="for one student, in all (default: 600)")
    parser.add_argument("--gigabytes", type=float, default=4, help="of memory (default: 4)")
    args = parser.parse_args(argv)
    args.students, args.output = args.students.expanduser(), args.output.expanduser()
    if not args.students.is_dir():
        sys.exit(f"{args.students}: there is no such folder")
    folders = sorted(path for path in args.students.glob("*")
                     if path.is_dir() and not path.name.startswith((".", "__MACOSX")))
    if not folders:
        sys.exit(f"{args.students} holds no folder: put each student's notebooks into a folder of the student's name.")
    exercises = exercises_of(args.notebooks or sorted((REPO / "notebooks").glob("*.ipynb")))
    walls = walls_here()
    print(f"{len(folders)} students, {len(exercises)} exercises. " + (
        "Walls: no network, all but a copy read only, limits of time and memory." if walls else
        "Walls: those within Python only, which stop accidents, not intent: this system gives no namespaces."))
    rows = []
    try:
        for number, folder in enumerate(folders, 1):
            print(f"\n[{number}/{len(folders)}] {visible(folder.name)}", flush=True)
            for row in marks_of(folder, exercises, args, walls):
                rows.append(row)
                print("  {notebook:28} {exercise:24} {attempted:4} {correct:4} {hint}".format(**row), flush=True)
    except KeyboardInterrupt:
        print("\nStopped: the table holds what was marked until now.", file=sys.stderr)
        return 130
    finally:
        write(rows, args.output)
    print(f"\n{'student':24} attempted  correct  of {len(exercises)}")
    for folder in folders:
        own = [row for row in rows if row["student"] == folder.name]
        print(f"{visible(folder.name):24} {count(own, 'attempted'):9}  {count(own, 'correct'):7}")
    print(f"The table: {args.output}")
    return 0


def count(rows, column):
    return sum(row[column] == "yes" for row in rows)


def exercises_of(notebooks):
    """[(path of the notebook, check, name of the function, the cell as it was handed out)]."""
    found = []
    for path in notebooks:
        notebook = read_notebook(path)
        for check, name in attempts(notebook).items():
            found.append((path, check, name, needed_by(name, code_of(notebook))[-1]))
    return found


def walls_here():
    """Whether this system lets a user have namespaces: Linux does, unless its administrator says no."""
    script = "import marks, tempfile; marks.read_only_but(tempfile.gettempdir())"
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run([*UNSHARE, sys.executable, "-c", script], cwd=Path(__file__).parent, capture_output=True,
                              timeout=300).returncode == 0  # its imports take minutes on a busy machine
    return False


def marks_of(folder, exercises, args, walls):
    """Yield a row of the table for each exercise."""
    handed_in, unreadable = read(folder)
    with Kernel(folder, args, walls) as kernel:
        end = time.monotonic() + args.seconds
        for path, check, name, given in exercises:
            where, notebook, others = chosen(handed_in, path.stem, check, name, given)
            if notebook is None:
                said = unreadable.get(path.stem, "No notebook.")
            elif time.monotonic() > end:
                said = f"Not run: all exercises together took more than {args.seconds:g} s."
            else:
                said = verdict(kernel, notebook, path, check, attempts(notebook).get(check, name), given,
                               min(args.cell_seconds, end - time.monotonic()), where.parent.relative_to(folder))
                said += f" ({where.name} counts; {others} more have an answer.)" if others else ""
            said = " ".join(visible(said).split())
            tried = notebook is not None and not said.startswith(("Not attempted", "Not run"))
            yield dict(zip(COLUMNS, (folder.name, path.stem, check, "yes" if tried else "no",
                                     "yes" if said.startswith("Correct.") else "no",
                                     "" if said.startswith("Correct.") and not others else said)))


def chosen(handed_in, stem, check, name, given):
    """(path, notebook, how many others have an answer) of the notebook whose answer counts: with an answer, if there is
    one, of the right name, and the last that was changed."""
    found = [(path, book) for path, book in handed_in.items() if path.stem == stem or check in attempts(book)]
    tried = [one for one in found if has_answer(one[1], check, name, given)]
    if not found:
        return None, None, 0
    best = max(tried or found, key=lambda one: (one[0].stem == stem, one[0].stat().st_mtime))
    return *best, len(tried) - 1 if tried else 0


def has_answer(notebook, check, name, given):
    try:
        return needed_by(attempts(notebook).get(check, name), up_to(check, code_of(notebook))) not in ([], [given])
    except (SyntaxError, RecursionError):
        return True


def read(folder):
    """({path: notebook} of the folder's notebooks, {stem: what is wrong} of those that can't be read)."""
    handed_in, unreadable = {}, {}
    for path in sorted(folder.rglob("*.ipynb")):
        if ".ipynb_checkpoints" in path.parts or path.is_symlink():
            continue
        try:
            if path.stat().st_size > LARGEST:
                raise ValueError(f"it has more than {LARGEST // 10**6} MB")
            handed_in[path] = read_notebook(path)
            code_of(handed_in[path])
        except Exception as error:  # a file that a student hands in may be anything
            handed_in.pop(path, None)
            unreadable[path.stem] = f"The notebook can't be read: {type(error).__name__}: {str(error)[:120]}"
    return handed_in, unreadable


def verdict(kernel, notebook, path, check, name, given, seconds, place="."):
    """What the check says of the function ``name`` of a student's notebook."""
    try:
        code = needed_by(name, up_to(check, code_of(notebook)))
    except (SyntaxError, RecursionError) as error:
        return f"Not yet: Python can't read the cell: {error}"
    if not code:
        return f"Not attempted: no function {name}."
    if code == [given]:  # unchanged: this needs no kernel
        return "Not attempted."
    return kernel.ask("\n".join(code), module_of(path).__name__, f"{check}.verdict({name})", seconds, place)


class Kernel:
    """A kernel between walls on a copy of ``folder``.  It starts with the first question, and anew if it has ended."""

    def __init__(self, folder, args, walls):
        self.folder, self.args, self.walls, self.process, self.client = folder, args, walls, None, None

    def __enter__(self):
        self.box = Path(tempfile.mkdtemp(prefix="laseg-marks-")).resolve()
        return self

    def __exit__(self, *error):
        self.stop()
        shutil.rmtree(self.box, ignore_errors=True)

    def start(self):
        work = self.box / "work"
        shutil.rmtree(work, ignore_errors=True)
        shutil.copytree(self.folder, work, symlinks=True, ignore=too_much)
        # On POSIX a file in place of a port: it works without a network, and no other user can open it.
        transport = {"transport": "ipc", "ip": str(self.box / f"k{secrets.token_hex(3)}")} if os.name == "posix" else {}
        key = secrets.token_hex(32).encode()
        file, _ = write_connection_file(str(self.box / "connection.json"), key=key, **transport)
        command = [sys.executable, str(Path(__file__).resolve()), "kernel", str(self.box),
                   str(self.args.gigabytes), str(self.args.seconds),
                   "namespaces" if self.walls else "none", "-f", file]
        with open(self.box / "log", "wb") as log:
            self.process = subprocess.Popen(
                [*(UNSHARE if self.walls else []), *command], cwd=work, env=self.environment(), start_new_session=True,
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=log)
        self.client = BlockingKernelClient()
        self.client.load_connection_file(file)
        self.client.start_channels(hb=False)
        if self.reply(self.client.kernel_info(), 120) is None:
            log = (self.box / "log").read_text(encoding="utf-8", errors="replace")[-1500:]
            raise RuntimeError(f"The kernel for {self.folder.name} does not start:\n{log}")

    def environment(self):
        """The environment variables that a kernel needs, and no others of the instructor's."""
        kept = {name: value for name, value in os.environ.items() if name in ("PATH", "LANG", "SYSTEMROOT")}
        own = dict.fromkeys(("HOME", "USERPROFILE", "TMPDIR", "TEMP", "TMP", "IPYTHONDIR", "MPLCONFIGDIR", "LASEG_HOME",
                             "JUPYTER_RUNTIME_DIR", "JUPYTER_CONFIG_DIR", "JUPYTER_DATA_DIR"), str(self.box))
        return kept | own | {"OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1", "PYTHONPATH": str(REPO),
                             "MPLBACKEND": "Agg", "LASEG_PROGRESS": "off", "PYTHONUTF8": "1"}

    def ask(self, code, module, expression, seconds, place="."):
        """The value of ``expression`` of ``module``, a str, after ``code`` in a fresh namespace; or what went wrong.

        ``seconds`` limits the student's code, not the import of the module before it.
        """
        if self.process is None:
            self.start()
        here = str(self.box / "work" / place)  # a notebook's own folder: files and modules beside it
        self.reply(self.client.execute(f"%reset -f\nimport {module}, os\nos.chdir({here!r})\ndel os", silent=True), 120)
        answer = self.reply(self.client.execute(code, store_history=False, user_expressions={
            "it": f"__import__('importlib').import_module({module!r}).{expression}"}), seconds)
        if answer is None:
            alive = self.process.poll() is None
            self.stop()
            return (f"Not yet: its code took more than {seconds:.0f} s and was stopped." if alive else
                    "Not yet: its code ended the kernel, perhaps by too much memory.")
        if answer["status"] != "ok":
            return f"Not yet: its code stops with {answer['ename']}: {answer['evalue']}"[:300]
        found = answer["user_expressions"]["it"]
        if found["status"] != "ok":
            return f"Not yet: the check stops with {found['ename']}: {found['evalue']}"[:300]
        with contextlib.suppress(ValueError, SyntaxError):
            return str(ast.literal_eval(found["data"]["text/plain"]))
        return "Not yet: the check gave no answer."

    def reply(self, message, seconds):
        """The content of the answer to ``message``; None after ``seconds``, or when the kernel has ended."""
        end = time.monotonic() + seconds
        while time.monotonic() < end and (self.process.poll() is None):
            with contextlib.suppress(queue.Empty):
                answer = self.client.get_shell_msg(timeout=0.2)
                if answer["parent_header"].get("msg_id") == message:
                    return answer["content"]
        return None

    def stop(self):
        if self.client:
            self.client.stop_channels()
        if self.process:
            with contextlib.suppress(OSError):
                if os.name == "posix":
                    os.killpg(self.process.pid, signal.SIGKILL)  # with all that it started
                self.process.kill()
            self.process.wait()
        self.process = self.client = None


def too_much(folder, names):
    """What isn't copied: links, whose targets lie elsewhere, and files larger than any notebook."""
    paths = [Path(folder) / name for name in names]
    return [path.name for path in paths
            if path.is_symlink() or not (path.is_dir() or path.is_file() and path.stat().st_size <= LARGEST)]


def write(rows, path):
    """The table as CSV.  A cell that a spreadsheet would take for a formula begins with an apostrophe."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial, open(partial, "w", newline="", encoding="utf-8-sig") as file:
        table = csv.DictWriter(file, COLUMNS)
        table.writeheader()
        table.writerows({name: "'" + value if value[:1] in ("=", "+", "-", "@", "\t", "\r") else value
                         for name, value in row.items()} for row in rows)


# --- The kernel -----------------------------------------------------------------------------------

def run_kernel(box, gigabytes, seconds, walls, *options):
    """Be the kernel: see above."""
    box = Path(box)
    if walls == "namespaces":
        read_only_but(box)
    limit(float(gigabytes), float(seconds))
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(list(options))  # it opens its sockets before the guard stands
    import laseg_lib.course  # noqa: F401  (it loads libraries, which the guard wouldn't let it)

    sys.addaudithook(guard(box))
    app.start()


def read_only_but(box):
    """Make all but ``box`` read only for this process and its children (Linux 5.12, in a mount namespace)."""
    libc = ctypes.CDLL(None, use_errno=True)

    def set_mount(path, flags, attribute_set, attribute_clear):
        attributes = (ctypes.c_uint64 * 4)(attribute_set, attribute_clear, 0, 0)
        if libc.syscall(MOUNT_SETATTR, HERE, str(path).encode(), flags, ctypes.byref(attributes), 32):
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), str(path))

    subprocess.run(["mount", "--bind", box, box], check=True)
    set_mount("/", RECURSIVE, READ_ONLY, 0)
    set_mount(box, 0, 0, READ_ONLY)
    os.chdir(os.getcwd())  # from the folder as it was into the one that may be written


def limit(gigabytes, seconds):
    """Memory, processor time and the size of a file, where the system knows such limits."""
    with contextlib.suppress(ImportError):  # Windows
        import resource

        for what, most in ((resource.RLIMIT_DATA, gigabytes * 2**30), (resource.RLIMIT_CPU, seconds),
                           (resource.RLIMIT_FSIZE, 2**28), (resource.RLIMIT_CORE, 0)):
            _, allowed = resource.getrlimit(what)
            most = int(most) if allowed == resource.RLIM_INFINITY else min(int(most), allowed)
            resource.setrlimit(what, (most, allowed))


def guard(box):
    """An audit hook that stops Python code from writing outside ``box``, starting programs, and using the network."""
    box = os.path.realpath(box)

    def outside(path):
        if isinstance(path, int):  # a file that is open already
            return False
        with contextlib.suppress(TypeError, ValueError):
            place = os.path.realpath(os.fsdecode(path))
            return place != os.devnull and place != box and not place.startswith(box + os.sep)
        return True

    def watch(event, args):
        if event == "open":
            path, mode, flags = args
            writes = any(letter in mode for letter in WRITES) if mode else flags & (
                os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC)
            if writes and path is not None and outside(path):
                raise PermissionError(f"{path} lies outside the folder that may be written here")
        elif event in CHANGES and any(outside(path) for path in args[:CHANGES[event]]):
            raise PermissionError(f"{args[0]} lies outside the folder that may be written here")
        elif event.startswith(STARTS):
            raise PermissionError(f"{event} is not allowed here")
        elif event in ("socket.connect", "socket.getaddrinfo", "socket.sendto"):
            raise PermissionError("there is no network here")

    return watch


if __name__ == "__main__":
    sys.exit(main())
