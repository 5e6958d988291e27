"""The file map of `docs/architecture.md` names exactly the files of the packages; paths in the documentation exist."""

from __future__ import annotations

import re
from pathlib import Path

from tests.import_reader import PACKAGES, ROOT

_PAGE = ROOT / "docs" / "architecture.md"


def _mapped() -> dict[str, str]:
    """Returns the paths of the map with their descriptions; fails on a path that is listed twice."""
    text = _PAGE.read_text(encoding="utf-8").partition("## File map")[2]
    folder, found = "", {}
    for line in text.splitlines():
        if heading := re.fullmatch(r"### `(.+)/`", line):
            folder = heading[1]
        elif row := re.fullmatch(r"- `(.+?)`: (.+)", line):
            path = f"{folder}/{row[1]}"
            assert path not in found
            found[path] = row[2]
    return found


def _is_listed(path: Path) -> bool:
    """Whether a file belongs into the map: all but markers and `__init__.py`."""
    return path.is_file() and path.name not in {"__init__.py", "py.typed"} and path.suffix != ".pyc"


def test_file_map_names_the_files_that_exist_and_no_others() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if _is_listed(path)]
    names = {path.relative_to(ROOT).as_posix() for path in files}
    mapped = set(_mapped())
    assert len(mapped) > 150
    assert {"missing in the map": names - mapped, "not there": mapped - names} == {
        "missing in the map": set(),
        "not there": set(),
    }


def test_paths_of_the_documentation_exist() -> None:
    pages = [*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CHANGELOG.md"]
    pattern = re.compile(rf"`((?:{'|'.join(PACKAGES)}|tests|benchmarks|examples|docs)/[\w./-]+)`")
    named = {(page.name, path) for page in pages for path in pattern.findall(page.read_text(encoding="utf-8"))}
    assert len(named) > 40
    assert {(page, path) for page, path in named if not (ROOT / path).exists()} == set()


def test_links_of_the_documentation_point_to_files() -> None:
    pages = [*(ROOT / "docs").rglob("*.md"), *(ROOT / "benchmarks").rglob("*.md")]
    links = {
        (page, target)
        for page in pages
        for target in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", _prose(page))
        if not target.startswith("http")
    }
    assert len(links) > 50
    assert {(page.name, target) for page, target in links if not (page.parent / target).exists()} == set()


def _prose(page: Path) -> str:
    """Returns the text of a page without its code, whose brackets are no links."""
    return re.sub(r"```.*?```", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
