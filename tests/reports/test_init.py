"""The map leads where it says, and costs nothing to open."""

from __future__ import annotations

import subprocess
import sys

import pytest

import depthweave.reports as reports


def test_every_name_of_the_map_resolves() -> None:
    for name in reports.__all__:
        assert getattr(reports, name) is not None


def test_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = reports.nothing


def test_importing_the_map_is_light() -> None:
    code = (
        "import sys, depthweave.reports\n"
        "heavy = {'torch', 'ray', 'optuna', 'plotly', 'pyarrow', 'moocore'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_page_imports_no_torch_nor_search() -> None:
    code = (
        "import sys, depthweave.reports.page.page, depthweave.reports.terminal.table\n"
        "import depthweave.reports.store.run_store\n"
        "heavy = {'torch', 'ray', 'optuna', 'depthweave.search', 'depthweave.trainers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
