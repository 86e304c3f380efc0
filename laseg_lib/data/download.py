"""Downloads the public volumes: 100 files from UA-MT's repository, each checked against its SHA-256.

pooch names a file only when it is complete and correct, so an interrupted fetch continues at the first missing file.
"""

import contextlib
import re
from pathlib import Path
from urllib.parse import quote, urlsplit

from tqdm.auto import tqdm

from ..errors import LasegError
from .volumes import FILE, PUBLIC, fingerprint, is_sound, keep_or_write_list, may_write_list, read_list

FOLDER = "2018LA_Seg_Training Set"
COMMIT = "88ed29ad794f877122e542a7fa9505a76fa83515"  # the checksums are of this commit
PUBLIC_URL = f"https://raw.githubusercontent.com/yulequan/UA-MT/{COMMIT}/data/{quote(FOLDER)}"


def registry():
    """{case: SHA-256 of its mri_norm2.h5}"""
    lines = (PUBLIC / "SHA256SUMS").read_text(encoding="utf-8").splitlines()
    return {path.split("/")[0]: digest for digest, path in (line.split() for line in lines)}


def fetch(dest, base_url=PUBLIC_URL, *, timeout=30, attempts=4, progress=True):
    """Download and verify the public volumes (223 MB); returns ``dest/2018LA_Seg_Training Set``.

    ``base_url``: the address of the folder that holds ``CASE/mri_norm2.h5``, for a mirror.
    ``timeout``: seconds without an answer.  ``attempts``: for each file, with a pause that grows by a second.
    Correct files are kept, and so are volumes that somebody changed.  Raises LasegError, with what to do, for these,
    and if a file can't be downloaded.
    """
    dest = Path(dest)
    root = dest / FOLDER
    lists = {dest / f"{split}.list": read_list(PUBLIC / f"{split}.list") for split in ("train", "test")}
    for path, names in lists.items():  # lists of another data set are refused before any download
        may_write_list(path, names)
    changed = []
    for name, digest in tqdm(registry().items(), desc="fetch", unit="file", disable=not progress):
        path = root / name / FILE
        if path.is_file() and fingerprint(path) != digest and is_sound(path):
            changed.append(path)
        else:
            fetch_file(f"{base_url.rstrip('/')}/{name}/{FILE}", path, digest, timeout, attempts)
    for path, names in lists.items():
        keep_or_write_list(path, names)
    if changed:
        raise LasegError(f"{changed[0]}: has another checksum than the published file, but it can be read, so somebody "
                         f"changed it ({len(changed)} in all). It is kept; every other file is complete. Move it away "
                         "and fetch again to get the published one")
    return root


def fetch_file(url, path, digest, timeout=30, attempts=4):
    """Download ``url`` to ``path``, unless it exists; it must have the SHA-256 ``digest``."""
    import pooch
    from requests.exceptions import ConnectionError, HTTPError, RequestException, Timeout

    pooch.get_logger().setLevel("ERROR")
    address = without_password(url)
    remedy = "check the network and run this again; finished files are kept. `laseg phantom` needs no network"
    try:
        files = pooch.create(path.parent, "", registry={path.name: digest}, urls={path.name: url},
                             retry_if_failed=attempts - 1)
        files.fetch(path.name, downloader=pooch.HTTPDownloader(timeout=timeout))
        with contextlib.suppress(PermissionError):  # it existed before, and belongs to another user
            path.chmod(0o644)  # pooch's temporary file is readable by its owner only
    except HTTPError as error:
        raise LasegError(f"{address}: the server answered {error.response.status_code}; check --base-url, or "
                         f"give that of a mirror. If the server has a problem, {remedy}") from error
    except (ConnectionError, Timeout) as error:
        late = isinstance(error, Timeout) or "timed out" in str(error)  # a body may stall, too
        trouble = f"no answer within {timeout} s" if late else f"no connection to {urlsplit(url).hostname}"
        raise LasegError(f"{address}: {trouble}, {attempts} times; {remedy}") from error
    except (RequestException, ValueError) as error:
        if "hash" in str(error):
            raise LasegError(f"{address}: {attempts} times the file had another checksum than the published one; a "
                             "proxy or a login page may answer instead of the server: open the address in a browser, "
                             "or try another network") from error
        raise LasegError(f"{address}: can't be downloaded ({without_password(error)}); check --base-url. If the "
                         f"network has a problem, {remedy}") from error
    except OSError as error:
        raise LasegError(f"{path}: can't be written ({error}); free some space, or choose another folder") from error


def without_password(text):
    """An address, or a text with one, without the user name and password before its host."""
    return re.sub(r"[^\s/'\"]*@", "", str(text))
