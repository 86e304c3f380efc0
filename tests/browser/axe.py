"""What axe-core finds wrong with a page for people who use a keyboard or a screen reader."""

import pytest


def serious(page, within="body"):
    """The serious and critical findings in what matches ``within``: [(rule, HTML of the first place)]."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    found = axe.run(page, context={"include": [[within]]}, options={"preload": False}).response["violations"]
    return [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in ("serious", "critical")]
