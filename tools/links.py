#!/usr/bin/env python3
"""Before a release, and each week on the server: does every outside link still lead somewhere?  `make links`.

    python tools/links.py                        all of them
    python tools/links.py README.md              of some files

A link is asked up to four times, with longer and longer pauses.  It ends with status 1 where a link is broken.
"""

import argparse
import re
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import requests
from notebook_cells import read_notebook
from requests.adapters import HTTPAdapter
from urllib3.util.retry import Retry

from laseg_lib.runtime.program import one_line_errors

REPO = Path(__file__).resolve().parent.parent
PROSE = ("README.md", "TWO_DIMENSIONS.md", "CONTRIBUTING.md", "data/README.md", "data/recorded/README.md",
         "notebooks/INSTRUCTOR.md", "notebooks/GLOSSARY.md")
LINK = re.compile(r"https?://[^\s<>\"'`|]+")
# They refuse programs, with these answers; a person's browser gets the page.
ANSWER_BADLY = {"www.sciencedirect.com", "ieeexplore.ieee.org", "dl.acm.org", "onlinelibrary.wiley.com",
                "link.springer.com", "doi.org", "zhuanlan.zhihu.com", "www.zhihu.com", "www.kaggle.com", "kaggle.com"}
REFUSALS = {401, 403, 405, 406, 418, 429, 503, 999}
OURS = ("127.0.0.1", "localhost")  # examples, and what a reader starts


@one_line_errors
def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", type=Path)
    files = parser.parse_args(argv).files or [
        *(REPO / name for name in PROSE), *sorted((REPO / "notebooks").glob("*.ipynb"))]
    places = links_of(files)
    found = ask(places)
    for url, (good, words) in found.items():
        if good is not True:
            print(f"{'BROKEN ' if good is False else 'refused'} {url}: {words} ({', '.join(places[url])})")
    broken = sum(good is False for good, _ in found.values())
    print(f"{len(found)} links in {len(files)} files: {broken} broken, "
          f"{sum(good is None for good, _ in found.values())} refuse programs")
    return int(broken > 0)


def links_of(files):
    """{link: names of the files that hold it}, sorted."""
    places = {}
    for path in files:
        if path.suffix == ".ipynb":
            text = "\n".join(cell.source for cell in read_notebook(path).cells if cell.cell_type == "markdown")
        else:
            text = path.read_text(encoding="utf-8")
        for url in set(map(trimmed, LINK.findall(text))):
            if urlsplit(url).hostname not in OURS and "OWNER" not in url:
                places.setdefault(url, []).append(path.name)
    return dict(sorted(places.items()))


def trimmed(url):
    """Without what belongs to the sentence around it: a full stop, a bracket that was opened before the link."""
    url = url.rstrip(".,;:!?*_")
    while url.endswith((")", "]")) and url.count(url[-1]) > url.count({")": "(", "]": "["}[url[-1]]):
        url = url[:-1].rstrip(".,;:!?*_")
    return url.partition("#")[0]


def ask(urls, badly=ANSWER_BADLY, pause=1.0, timeout=20):
    """{url: (True, False or None: it can't be told, words)}."""
    with session(pause) as asking, ThreadPoolExecutor(8) as pool:
        return dict(zip(urls, pool.map(lambda url: answer(asking, url, badly, timeout), urls)))


def session(pause):
    retry = Retry(total=3, backoff_factor=pause, status_forcelist=(429, 500, 502, 503, 504), raise_on_status=False,
                  respect_retry_after_header=False)
    made = requests.Session()
    made.headers["User-Agent"] = "Mozilla/5.0 (compatible; LASeg link check)"
    for scheme in ("http://", "https://"):
        made.mount(scheme, HTTPAdapter(max_retries=retry))
    return made


def answer(asking, url, badly, timeout):
    try:
        with asking.get(url, timeout=timeout, stream=True) as reply:  # not HEAD: many servers answer it wrongly
            status = reply.status_code
    except requests.RequestException as error:
        return (None if urlsplit(url).hostname in badly else False), type(error).__name__
    if status < 400:
        return True, str(status)
    return (None if status in REFUSALS and urlsplit(url).hostname in badly else False), f"status {status}"


if __name__ == "__main__":
    sys.exit(main())
