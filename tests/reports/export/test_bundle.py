"""Modules bundled into one file: it does not import Depthweave, and each name has one meaning."""

from __future__ import annotations

import ast
import importlib
import sys
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.export.bundle import bundle
from depthweave.spaces.fusions import FUSIONS
from depthweave.spaces.wiring import strided_wiring

_MODELING = "depthweave.reports.export.modeling_depthweave"
_BESIDE = frozenset({"depthweave.reports.export.configuration_depthweave"})


def test_bundle_imports_nothing_of_ours_and_defines_each_name_once() -> None:
    tree = ast.parse(bundle(_MODELING, beside=_BESIDE))
    imports = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    names = [node.module if isinstance(node, ast.ImportFrom) else node.names[0].name for node in imports]
    assert all(name is not None and "depthweave." not in name for name in names)
    assert [node.module for node in imports if isinstance(node, ast.ImportFrom) and node.level] == [
        "configuration_depthweave"
    ]
    defined = [node.name for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)]
    assert len(defined) == len(set(defined))
    assert {"Decoder", "Wiring", "DepthWeightedAverage", "Concat", "DepthWiseAttention"} <= set(defined)
    assert {"DepthweaveForCausalLM", "TokenLayout"} <= set(defined)


def test_bundle_computes_what_its_modules_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "bundled_space.py").write_text(bundle("depthweave.spaces.space"))
    monkeypatch.syspath_prepend(str(tmp_path))
    theirs: Any = importlib.import_module("bundled_space")
    for pattern in ((1, 1), (4, 5), (2, 12)):
        wiring = theirs.strided_wiring(12, dilation=pattern[0], period=pattern[1])
        assert wiring.sites == strided_wiring(12, dilation=pattern[0], period=pattern[1]).sites
    assert list(theirs.FUSIONS) == list(FUSIONS)
    assert theirs.FUSIONS["dwa"].__module__ == "bundled_space"


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A package that the bundler treats as Depthweave."""
    monkeypatch.setattr("depthweave.reports.export.bundle._PREFIX", "planted.")
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "planted"
    folder.mkdir()
    (folder / "__init__.py").write_text('"""Planted."""\n')
    sys.modules.pop("planted", None)
    return folder


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (
            "from planted.other import _size\n\n_size2 = 1\n\n\ndef shared(): ...\n",
            "shared is defined in planted.other",
        ),
        ("from json import loads as shared\nfrom planted.other import _size\n", "shared is defined in planted.other"),
        ("from planted.other import _size as mine\n", "under another name"),
        ("def f():\n    from planted.other import _size\n", "inside another statement"),
    ],
)
def test_module_that_cannot_be_bundled_is_refused(package: Path, source: str, message: str) -> None:
    (package / "other.py").write_text('"""Other."""\n\n_size = 3\n\n\ndef shared(): ...\n')
    (package / "main.py").write_text(f'"""Main."""\n\n{source}')
    with pytest.raises(ValueError, match=message):
        bundle("planted.main")


def test_bundle_writes_each_module_once_and_what_it_needs_first(package: Path) -> None:
    (package / "low.py").write_text('"""Low."""\n\nimport math\n\nLOW = math.pi\n')
    (package / "left.py").write_text('"""Left."""\n\nfrom planted.low import LOW\n\nLEFT = LOW\n')
    (package / "main.py").write_text(
        '"""Main."""\n\nimport math\n\nfrom planted.left import LEFT\nfrom planted.low import LOW\n\nSUM = LEFT + LOW\n'
    )
    text = bundle("planted.main")
    assert text == (
        '"""Main."""\n\nimport math\n\n\n# planted.low\n\n"""Low."""\n\n\nLOW = math.pi\n\n\n'
        '# planted.left\n\n"""Left."""\n\n\nLEFT = LOW\n\n\nSUM = LEFT + LOW\n'
    )
