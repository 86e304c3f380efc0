"""The check of outside links, against a server of this machine."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import links
import nbformat
import pytest


@pytest.fixture
def server():
    """(address, {path: how often it was asked})."""
    asked = {}

    class Answers(BaseHTTPRequestHandler):
        def do_GET(self):
            asked[self.path] = asked.get(self.path, 0) + 1
            status = {"/there": 200, "/gone": 404, "/moved": 301, "/refuses": 403, "/broken": 500,
                      "/tired": 503 if asked[self.path] < 3 else 200}[self.path]
            self.send_response(status)
            if status == 301:
                self.send_header("Location", "/there")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args):
            pass

    running = ThreadingHTTPServer(("127.0.0.1", 0), Answers)
    threading.Thread(target=running.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{running.server_port}", asked
    running.shutdown()
    running.server_close()


def test_each_answer_counts_as_what_it_is(server):
    address, asked = server
    names = ["there", "moved", "tired", "gone", "refuses", "broken"]
    found = links.ask([f"{address}/{name}" for name in names], pause=0.01)
    assert [good for good, _ in found.values()] == [True, True, True, False, False, False]
    assert asked["/tired"] == 3 and asked["/broken"] == 4 and asked["/gone"] == 1
    assert found[f"{address}/gone"][1] == "status 404"


def test_a_site_that_answers_machines_badly_is_no_broken_link(server):
    address, _ = server
    urls = [f"{address}/{name}" for name in ("refuses", "gone", "there")]
    found = links.ask(urls, badly={"127.0.0.1"}, pause=0.01)
    assert [good for good, _ in found.values()] == [None, False, True]  # a page that is gone is gone, on any site


def test_where_nobody_answers_the_link_is_broken():
    found = links.ask(["http://127.0.0.1:9/"], pause=0.01, timeout=2)
    assert found["http://127.0.0.1:9/"][0] is False


def test_links_are_found_whole_in_prose_and_in_notebooks(tmp_path):
    (tmp_path / "a.md").write_text("See [one](https://a.org/x_(y)#z), (https://b.org/p?q=1). *https://c.org*, and "
                                   "`http://localhost:8888` https://github.com/OWNER/laseg <https://d.org/>\n")
    cells = [nbformat.v4.new_markdown_cell("[x](https://a.org/x_(y))"), nbformat.v4.new_code_cell("'https://no.org'")]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), tmp_path / "b.ipynb")
    found = links.links_of([tmp_path / "a.md", tmp_path / "b.ipynb"])
    assert found == {"https://a.org/x_(y)": ["a.md", "b.ipynb"], "https://b.org/p?q=1": ["a.md"],
                     "https://c.org": ["a.md"], "https://d.org/": ["a.md"]}


def test_the_command_names_the_file_and_fails(server, tmp_path, capsys, monkeypatch):
    address, _ = server
    monkeypatch.setattr(links, "OURS", ())
    (tmp_path / "page.md").write_text(f"[a]({address}/there) [b]({address}/gone)")
    assert links.main([str(tmp_path / "page.md")]) == 1
    said = capsys.readouterr().out
    assert f"BROKEN  {address}/gone: status 404 (page.md)" in said and "2 links in 1 files: 1 broken" in said
    (tmp_path / "page.md").write_text(f"[a]({address}/there)")
    assert links.main([str(tmp_path / "page.md")]) == 0
