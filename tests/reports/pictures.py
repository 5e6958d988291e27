"""The pictures of the page that README and docs show, of a real run: the front at two widths, light and dark.

python -m tests.reports.pictures runs/quick docs
"""

from __future__ import annotations

import sys
from pathlib import Path

from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from tests.reports.browser import Browser

_PICTURES = (("front.png", 1280, "light", ".explore", 632), ("front-narrow.png", 390, "dark", "#explore", 1385))
"""Name, width, scheme, element and height."""


def take_pictures(run: str, folder: Path) -> list[Path]:
    """The pictures in `folder`, of a fresh report of the run; needs Chromium."""
    path = Path(write_report(RunStore.open(run))).resolve()
    taken = []
    for name, width, scheme, element, height in _PICTURES:
        with Browser(width=width, height=1400) as browser:
            browser.prefer(scheme)
            browser.open(path)
            browser.wait("document.querySelector('#front-plot .mark')")
            browser.screenshot(folder / name, of=element, height=height)
            assert browser.complaints == []
        taken.append(folder / name)
    return taken


if __name__ == "__main__":
    for picture in take_pictures(sys.argv[1], Path(sys.argv[2])):
        print(f"{picture}: {picture.stat().st_size / 1e3:.0f} kB")
