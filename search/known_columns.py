"""What is known of an architecture before it is trained, under the names of a record's columns.

An objective that is a cost takes its value from a record, or from this in the place of one.
"""

from __future__ import annotations

import dataclasses
from functools import cached_property
from typing import Any

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.costs import Costs, costs_of
from depthweave.trainers import Measurement

_MEASURED = frozenset(item.name for item in dataclasses.fields(Measurement))


class KnownColumns:
    """An architecture with its counted costs and its measurement, each readable as an attribute.

    A measured column is `None` where there is no measurement.
    """

    def __init__(self, architecture: Architecture, measurement: Measurement | None) -> None:
        self._architecture = architecture
        self._measurement = measurement

    @cached_property
    def _costs(self) -> Costs:
        return costs_of(self._architecture)

    def __getattr__(self, name: str) -> Any:
        if name in _MEASURED:
            return None if self._measurement is None else getattr(self._measurement, name)
        return getattr(self._costs if name in Costs._fields else self._architecture, name)
