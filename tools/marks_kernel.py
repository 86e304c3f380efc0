"""A kernel that runs somebody else's code between walls: see tools/marks.py, which starts it.

    python marks_kernel.py BOX GIGABYTES SECONDS WALLS -f CONNECTION_FILE

BOX is the only folder that may be written. WALLS is "namespaces" where the process was started by
``unshare`` with namespaces of its own, else "none".
"""

import contextlib
import ctypes
import os
import subprocess
import sys
from pathlib import Path

READ_ONLY, RECURSIVE, HERE, MOUNT_SETATTR = 1, 0x8000, -100, 442  # of Linux, the same on every processor
WRITES = ("w", "a", "x", "+")
# What removes or changes files; the arguments that are paths.
CHANGES = {"os.remove": 1, "os.rmdir": 1, "os.rename": 2, "os.link": 2, "os.symlink": 2, "os.truncate": 1,
           "os.chmod": 1, "os.chown": 1, "os.mkdir": 1, "os.utime": 1, "shutil.rmtree": 1}
STARTS = ("subprocess.Popen", "os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn",
          "os.startfile", "os.kill", "os.killpg", "pty.spawn", "ctypes.dlopen", "socket.bind")


def main():
    box, gigabytes, seconds, walls = Path(sys.argv.pop(1)), *(float(sys.argv.pop(1)) for _ in range(2)), sys.argv.pop(1)
    if walls == "namespaces":
        read_only_but(box)
    limit(gigabytes, seconds)
    from ipykernel.kernelapp import IPKernelApp

    app = IPKernelApp.instance()
    app.initialize(sys.argv)  # it opens its sockets before the guard stands
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
    main()
