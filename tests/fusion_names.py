"""Which fusions a test runs over: fusions of one file share their code, and a suite has minutes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest

from depthweave.spaces.fusions import FUSIONS

FIRST_OF_FILES = tuple({made.__module__: name for name, made in reversed(FUSIONS.items())}.values())[::-1]
"""The first fusion of each file."""
LAST_OF_FILES = tuple({made.__module__: name for name, made in FUSIONS.items()}.values())
"""The last of each, with the most of what its file has."""


def others_are(mark: pytest.MarkDecorator, *, fast: Iterable[str], names: Iterable[str] = FUSIONS) -> list[Any]:
    """Returns the names as parameters, with a mark on those that are not `fast`."""
    kept = set(fast)
    return [name if name in kept else pytest.param(name, marks=mark) for name in names]
