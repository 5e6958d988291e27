"""What is installed: every folder with modules is a package of `pyproject.toml`, and other files are package data."""

from __future__ import annotations

import fnmatch
import tomllib

from tests.import_reader import PACKAGES, ROOT

_SETTINGS = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["setuptools"]


def test_every_folder_with_modules_is_installed() -> None:
    folders = {path.parent for package in PACKAGES for path in (ROOT / package).rglob("*.py")}
    names = {".".join(("depthweave", *folder.relative_to(ROOT).parts)) for folder in folders}
    assert len(names) > 15
    assert names == set(_SETTINGS["packages"])


def test_every_other_file_is_package_data() -> None:
    files = [path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.is_file()]
    others = [path for path in files if path.suffix not in {".py", ".pyc"}]
    assert len(others) > 10
    for path in others:
        folder = next(parent for parent in path.parents if (parent / "__init__.py").exists())
        name = path.relative_to(folder).as_posix()
        assert any(fnmatch.fnmatch(name, pattern) for pattern in _SETTINGS["package-data"]["*"]), path
