"""Against a server on loopback; nothing here needs the network."""

import hashlib
import re
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from laseg_lib.data import download
from laseg_lib.data.download import FOLDER, PUBLIC_URL, fetch, registry
from laseg_lib.data.volumes import PUBLIC, read_list, read_volume, write_volume
from laseg_lib.errors import LasegError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")    # requests leaves failed connections to the GC

NAMES = ["AAA", "BBB", "CCC"]    # two for training, one for testing
CONTENT = {name: (name * 40_000).encode() for name in NAMES}


class Server(ThreadingHTTPServer):
    """Serves CONTENT; ``behave[name]`` is a list of what to do instead, one for each request."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.behave, self.asked, self.stop_hanging = {}, [], threading.Event()
        self.url = f"http://127.0.0.1:{self.server_port}/data/Some%20Set"


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        folder, name, file = self.path.rsplit("/", 2)
        assert folder == "/data/Some%20Set" and file == "mri_norm2.h5"
        self.server.asked.append(name)
        todo = self.server.behave.get(name, [])
        what = todo.pop(0) if todo else "good"
        body = CONTENT[name]
        if isinstance(what, int):
            self.send_error(what)
            return
        if what == "hang":
            self.server.stop_hanging.wait(20)
            return
        if what == "wrong":
            body = b"<html>Please log in</html>"
        self.send_response(200)
        if what != "cut without length":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if what == "stall":
            self.wfile.write(body[:1000])
            self.server.stop_hanging.wait(20)
            return
        self.wfile.write(body[:70_000] if what.startswith("cut") else body)

    def log_message(self, *args):
        pass


@pytest.fixture
def server(monkeypatch):
    for variable in ("NO_PROXY", "no_proxy"):
        monkeypatch.setenv(variable, "127.0.0.1")
    server = Server()
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield server
    server.stop_hanging.set()
    server.shutdown()
    server.server_close()


@pytest.fixture
def get(server, tmp_path, monkeypatch):
    """fetch() from the server, with its three cases for the public ones and without long waits."""
    monkeypatch.setattr("pooch.core.time.sleep", lambda seconds: None)
    public = tmp_path / "public"
    public.mkdir()
    (public / "train.list").write_text("AAA\nBBB\n")
    (public / "test.list").write_text("CCC\n")
    (public / "SHA256SUMS").write_text("".join(
        f"{hashlib.sha256(body).hexdigest()}  {name}/mri_norm2.h5\n" for name, body in CONTENT.items()))
    monkeypatch.setattr(download, "PUBLIC", public)
    options = {"base_url": server.url, "timeout": 5, "attempts": 3, "progress": False}
    return lambda **more: fetch(tmp_path / "data", **{**options, **more})


def have(tmp_path):
    """Every file below data, and its size; nothing half-written may be among them."""
    data = tmp_path / "data"
    return {path.relative_to(data).as_posix(): path.stat().st_size for path in data.rglob("*") if path.is_file()}


WHOLE = {f"{FOLDER}/{name}/mri_norm2.h5": 120_000 for name in NAMES} | {"train.list": 8, "test.list": 4}


def test_good(get, server, tmp_path):
    assert get() == tmp_path / "data" / FOLDER
    assert have(tmp_path) == WHOLE
    assert (tmp_path / "data" / FOLDER / "BBB/mri_norm2.h5").read_bytes() == CONTENT["BBB"]
    assert read_list(tmp_path / "data/train.list") == ["AAA", "BBB"]


def test_slash_at_the_end_of_the_address(get, server, tmp_path):
    get(base_url=server.url + "/")
    assert have(tmp_path) == WHOLE


def test_what_is_there_is_not_asked_for_again(get, server):
    get()
    get()
    assert server.asked == NAMES


def test_goes_on_where_it_was_cut_off(get, server, tmp_path):
    server.behave["BBB"] = [404] * 3
    with pytest.raises(LasegError):
        get()
    assert have(tmp_path) == {f"{FOLDER}/AAA/mri_norm2.h5": 120_000}    # and no list
    get()
    assert server.asked == ["AAA", *["BBB"] * 4, "CCC"] and have(tmp_path) == WHOLE


def test_damaged_file_is_fetched_again(get, server, tmp_path):
    root = get()
    (root / "AAA/mri_norm2.h5").write_bytes(CONTENT["AAA"][:-1])
    get()
    assert server.asked == [*NAMES, "AAA"] and have(tmp_path) == WHOLE


def test_a_volume_that_somebody_changed_is_kept_and_told(get, server, tmp_path):
    root = get()
    write_volume(root / "AAA/mri_norm2.h5", np.ones((4, 4, 4)), np.ones((4, 4, 4)), spacing=1)
    (root / "BBB/mri_norm2.h5").unlink()
    with pytest.raises(LasegError, match="AAA/mri_norm2.h5: has another checksum .*is kept.*Move it away"):
        get()
    assert server.asked == [*NAMES, "BBB"] and (root / "BBB/mri_norm2.h5").stat().st_size == 120_000
    assert read_volume(root / "AAA/mri_norm2.h5")[0].shape == (4, 4, 4)


@pytest.mark.parametrize("trouble", ["cut", "cut without length", "wrong", 500, 503, 429])
def test_passing_trouble_is_survived(get, server, tmp_path, trouble):
    server.behave["BBB"] = [trouble, trouble]
    get()
    assert server.asked == ["AAA", "BBB", "BBB", "BBB", "CCC"] and have(tmp_path) == WHOLE


@pytest.mark.parametrize("trouble, words", [
    ("cut", "BBB.*again"), (500, "BBB.*500.*again"), (404, "BBB.*404.*--base-url"),
    ("cut without length", "3 times the file had another checksum.*proxy"),
    ("wrong", "3 times the file had another checksum.*proxy")])
def test_lasting_trouble(get, server, tmp_path, trouble, words):
    server.behave["BBB"] = [trouble] * 9
    with pytest.raises(LasegError) as error:
        get()
    assert re.search(words, str(error.value)) and "BBB" in str(error.value)
    assert server.asked.count("BBB") == 3
    assert have(tmp_path) == {f"{FOLDER}/AAA/mri_norm2.h5": 120_000}


def test_wrong_bytes_leave_the_old_file(get, server, tmp_path):
    root = get()
    (root / "AAA/mri_norm2.h5").write_bytes(b"mine")
    server.behave["AAA"] = ["wrong"] * 9
    with pytest.raises(LasegError):
        get()
    assert (root / "AAA/mri_norm2.h5").read_bytes() == b"mine"


@pytest.mark.parametrize("trouble", ["hang", "stall"])
def test_server_that_hangs(get, server, tmp_path, trouble):
    server.behave["AAA"] = [trouble] * 9
    begun = time.monotonic()
    with pytest.raises(LasegError, match="AAA.*0.3 s.*2 times.*network"):
        get(timeout=0.3, attempts=2)
    assert time.monotonic() - begun < 15    # the server would have hung for 20 s, twice
    assert have(tmp_path) == {}


def test_hanging_once_is_survived(get, server, tmp_path):
    server.behave["AAA"] = ["hang"]
    get(timeout=0.5)
    assert have(tmp_path) == WHOLE


def test_nobody_there(get, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = "AAA.*no connection to 127.0.0.1.*3 times.*network.*laseg phantom"
    with pytest.raises(LasegError, match=words):
        get(base_url=f"http://127.0.0.1:{port}")
    assert have(tmp_path) == {}


@pytest.mark.parametrize("address", ["nonsense", "ftp://127.0.0.1/x", "http://"])
def test_no_address(get, address):
    with pytest.raises(LasegError, match="--base-url"):
        get(base_url=address)


def test_interrupted_by_the_user(get, server, tmp_path, monkeypatch):
    def interrupted(downloader, url, path, pooch):
        Path(path).write_bytes(b"half")
        raise KeyboardInterrupt
    monkeypatch.setattr("pooch.HTTPDownloader.__call__", interrupted)
    with pytest.raises(KeyboardInterrupt):
        get()
    assert have(tmp_path) == {}


def test_disk_that_can_not_be_written(get, server, monkeypatch):
    def full(downloader, url, path, pooch):
        raise OSError(28, "No space left on device")
    monkeypatch.setattr("pooch.HTTPDownloader.__call__", full)
    with pytest.raises(LasegError, match="mri_norm2.h5.*No space left.*free some space"):
        get()


def test_two_at_once(get, server, tmp_path):
    threads = [threading.Thread(target=get) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert have(tmp_path) == WHOLE


def test_files_can_be_read_by_others(get, tmp_path):
    """In a classroom one person fetches for all: no private permissions from temporary files."""
    plain = tmp_path / "plain"
    plain.touch()
    assert (get() / "AAA/mri_norm2.h5").stat().st_mode == plain.stat().st_mode


def test_packaged_lists_and_sums():
    train, test = (read_list(PUBLIC / f"{split}.list") for split in ("train", "test"))
    assert len(train) == 80 and len(test) == 20 and not set(train) & set(test)
    sums = registry()
    assert set(sums) == {*train, *test} and all(re.fullmatch("[0-9a-f]{64}", digest) for digest in sums.values())
    assert train[0] == "06SR5RBREL16DQ6M8LWS" and sums[train[0]].startswith("ae44895d7b90")


def test_public_address():
    assert re.fullmatch("https://raw.githubusercontent.com/yulequan/UA-MT/[0-9a-f]{40}/data/2018LA_Seg_Training%20Set",
                        PUBLIC_URL)


@pytest.mark.parametrize("address", ["http://user:topsecret@127.0.0.1:1/", "http://user:top@topsecret@127.0.0.1:1/",
                                     "http://user:topsecret@127.0.0.1:abc/", "http://" + "a" * 300 + "/"])
def test_an_address_is_told_without_its_password(address, tmp_path):
    with pytest.raises(LasegError, match="^http://(127|aaa)") as told:
        fetch(tmp_path, address, attempts=1, progress=False)
    assert "topsecret" not in str(told.value) and "user" not in str(told.value)
