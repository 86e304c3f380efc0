"""The public volumes: 100 files from UA-MT's repository, each checked against the SHA-256 of what it should be.

A file gets its name only once it is whole and right, so a fetch that was cut off goes on at the first file that
is missing, and two fetches into one folder don't hurt each other.
"""

import re
import threading
import time
from pathlib import Path
from urllib.parse import quote, urlsplit

from tqdm.auto import tqdm

from ..errors import LasegError
from .atomic import remove_left, replacing
from .volumes import FILE, PUBLIC, fingerprint, is_ours, keep_or_write_list, read_list

FOLDER = "2018LA_Seg_Training Set"
COMMIT = "88ed29ad794f877122e542a7fa9505a76fa83515"  # the sums were taken at this one
MOST_BYTES = 5_000_000  # of one file; the largest of the public ones has 3,368,118
LEAST_SPEED, PATIENCE = 2_000, 30  # bytes a second, on average, once so many seconds more than the timeout have passed
PUBLIC_URL = f"https://raw.githubusercontent.com/yulequan/UA-MT/{COMMIT}/data/{quote(FOLDER)}"


def public_names(split):
    """The 80 names of the public ``train`` list or the 20 of ``test``, in their order."""
    return read_list(PUBLIC / f"{split}.list")


def registry():
    """{case: SHA-256 of its mri_norm2.h5}"""
    lines = (PUBLIC / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {path.split("/")[0]: digest for digest, path in (line.split() for line in lines)}


def fetch(dest, base_url=PUBLIC_URL, cases=None, *, timeout=30, attempts=4, wait=1.0, progress=True):
    """Download and verify the public volumes (223 MB); returns ``dest/2018LA_Seg_Training Set``.

    ``base_url``: the address of the folder that holds ``CASE/mri_norm2.h5``, for a mirror.
    ``cases``: only these names.  The lists written to ``dest`` name the cases that are there, in the public order.
    ``timeout``: seconds without an answer or a byte; ``attempts`` a file, ``wait`` seconds longer before each.
    A server that sends more than a file can have, or next to nothing for ever, is left.
    Files that are there and right are kept. Raises LasegError, saying what to do, when one can't be had.
    """
    sums, dest = registry(), Path(dest)
    wanted = list(sums if cases is None else cases)
    if unknown := [name for name in wanted if name not in sums]:
        raise LasegError(f"{unknown[0]}: no public case has this name; they are those of {PUBLIC / 'train.list'} "
                         "and test.list")
    root = dest / FOLDER

    def listed(split):
        """The public names of a split whose files are here: what the list says that a fetch writes."""
        return [name for name in public_names(split) if (root / name / FILE).is_file()]

    for split in ("train", "test"):  # another data set's lists are found before anything is fetched
        is_ours(dest / f"{split}.list", public_names(split))
    before = {split: listed(split) for split in ("train", "test")}
    for name in tqdm(wanted, desc="fetch", unit="file", disable=not progress):
        fetch_file(f"{base_url.rstrip('/')}/{name}/{FILE}", root / name / FILE, sums[name], timeout, attempts, wait)
    for split, written in before.items():  # by a fetch of fewer cases
        if listed(split):
            keep_or_write_list(dest / f"{split}.list", listed(split), written)
    return root


def fetch_file(url, path, digest, timeout=30, attempts=4, wait=1.0):
    """Download ``url`` to ``path`` unless it is there already; it must have the SHA-256 ``digest``."""
    from requests.exceptions import HTTPError, RequestException
    from urllib3.exceptions import HTTPError as CutOff

    def is_right(file):
        return file.is_file() and fingerprint(file) == digest

    if is_right(path):
        return
    shown = without_password(url)
    remove_left(path)
    for attempt in range(attempts):
        time.sleep(attempt * wait)
        try:
            with replacing(path) as partial:
                download(url, partial, timeout)
                if not is_right(partial):
                    raise WrongBytes
            return
        except HTTPError as error:
            status = error.response.status_code
            problem = f"the server answered {status}"
            if status < 500 and status not in (408, 429):  # asking again won't help
                raise LasegError(f"{shown}: the server won't give this file ({status}); check --base-url, "
                                 "or the address may have moved: look for a newer LASeg") from error
        except WrongBytes:
            problem = None
        except TooSlow:
            problem = f"fewer than {LEAST_SPEED} bytes a second came"
        except (RequestException, CutOff, ValueError) as error:  # urllib3 has its own for what is no address
            problem = in_words(error, url, timeout)
            if isinstance(error, ValueError):  # requests' way to say that this is no address
                raise LasegError(f"{shown}: not an address that can be fetched ({without_password(error)}); check "
                                 "--base-url") from error
        except OSError as error:  # the disk; or, on Windows, another process holds the file open
            if is_right(path):
                return
            raise LasegError(f"{path}: can't be written ({error}); "
                             "free some space, or choose another folder") from error
    if problem is None:
        raise LasegError(f"{shown}: the bytes are not those that were published, {attempts} times; "
                         "a proxy or login page may be answering in the server's place: open the address in a "
                         "browser, or try another network")
    raise LasegError(f"{shown}: can't be downloaded after {attempts} attempts ({problem}); check the network and "
                     "run this again, finished files are kept. `laseg phantom` needs no network")


def download(url, path, timeout):
    """Write what the server answers to ``path``: WrongBytes when it is too much, TooSlow when it would take for ever.

    The clock is looked at from outside: a server may drip its headers, too, of which nobody hears before the last.
    """
    begun, arriving = time.monotonic(), Arriving(url, timeout)
    arriving.start()
    while arriving.is_alive():
        arriving.join(0.1)
        seconds = time.monotonic() - begun
        if seconds > timeout + PATIENCE and len(arriving.content) < LEAST_SPEED * seconds:
            arriving.wanted = False
            raise TooSlow
    if arriving.error is not None:
        raise arriving.error
    path.write_bytes(arriving.content)


class Arriving(threading.Thread):
    """A request in a thread of its own; ``content``: what has come of its answer, ``error``: why no more will.

    ``wanted = False`` ends it with the next bytes; it holds no file, and keeps no program from ending.
    """

    def __init__(self, url, timeout):
        super().__init__(daemon=True)
        self.url, self.timeout = url, timeout
        self.content, self.error, self.wanted = bytearray(), None, True

    def run(self):
        import requests

        try:
            with requests.get(self.url, timeout=self.timeout, stream=True) as response:
                response.raise_for_status()
                # read1 gives what has come, be it a byte; reading whole blocks would wait for them.
                while self.wanted and (some := response.raw.read1(2**16, decode_content=True)):
                    self.content += some
                    if len(self.content) > MOST_BYTES:
                        raise WrongBytes
        except Exception as error:  # for the thread that waits
            self.error = error


def in_words(error, url, timeout):
    """One of requests' errors for people; its own text is four lines of class names."""
    from requests.exceptions import ConnectionError, Timeout

    if isinstance(error, Timeout) or "timed out" in str(error):
        return f"no answer within {timeout} s"
    if isinstance(error, ConnectionError):
        return f"no connection to {urlsplit(url).hostname}"
    return "the connection was cut"


def without_password(text):
    """An address, or words with one in it, as it may be shown: without the name and password before its host."""
    return re.sub(r"[^\s/'\"]*@", "", str(text))


class TooSlow(Exception):
    """What comes, comes so slowly that it would never end."""


class WrongBytes(Exception):
    """What came has another SHA-256."""
