"""`learning_rates.json`: the short trainings that chose a learning rate for each fusion family and depth of a run.

The trials were trained with these rates, so a run that is resumed or confirmed reads them here.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

from depthweave.reports.store.bounds import json_value
from depthweave.reports.store.checked_values import number_of, text_of, whole_of
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.checksums import add_checksum, verified_values

LEARNING_RATES_FILE = "learning_rates.json"


class RateGroup(NamedTuple):
    """The architectures that share a learning rate."""

    family: str
    """Of the fusion."""
    depth: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTraining:
    """A short training of one architecture with one learning rate."""

    family: str
    depth: int
    architecture_id: str
    width: int
    """Of that architecture."""
    learning_rate: float
    loss: float | None
    """Validation loss at its end, nat/token; `None` where it diverged or failed."""
    reason: str | None = None
    """Why it has no loss."""

    def __post_init__(self) -> None:
        if not (math.isfinite(self.learning_rate) and self.learning_rate > 0):
            raise ValueError(f"a learning rate is {self.learning_rate}")
        if self.width < 1:
            raise ValueError(f"a width is {self.width}")
        if self.loss is not None and not math.isfinite(self.loss):
            raise ValueError("a loss is not a finite number")

    @property
    def group(self) -> RateGroup:
        """The architectures that it speaks for."""
        return RateGroup(self.family, self.depth)


@dataclass(frozen=True, kw_only=True, slots=True)
class RateTrainings:
    """The short trainings of a run, in the order in which they ended."""

    run_id: str
    steps: int
    """Optimiser steps of each."""
    tokens: int
    """Tokens of each."""
    seed: int
    """Of weights and data order; no trial has it."""
    trainings: tuple[RateTraining, ...] = ()

    def chosen(self) -> dict[RateGroup, float]:
        """Returns the rate of the lowest loss of each group, the lower of two equal ones; the lowest without a loss."""
        found: dict[RateGroup, float] = {}
        for item in sorted(self.trainings, key=_preference):
            found.setdefault(item.group, item.learning_rate)
        return found

    def widths(self) -> dict[RateGroup, int]:
        """Returns the width of the architecture that trained for each group."""
        return {item.group: item.width for item in self.trainings}

    def at_an_end(self) -> dict[RateGroup, Literal["highest", "lowest"]]:
        """Returns the groups whose best rate is the highest or the lowest that was tried, and which of the two."""
        ends: dict[RateGroup, Literal["highest", "lowest"]] = {}
        for group, rate in self.chosen().items():
            tried = [item.learning_rate for item in self.trainings if item.group == group]
            if group not in self.without_loss() and len(tried) > 1 and rate in (min(tried), max(tried)):
                ends[group] = "highest" if rate == max(tried) else "lowest"
        return ends

    def without_loss(self) -> list[RateGroup]:
        """Returns the groups of which no training has a loss."""
        have = {item.group for item in self.trainings if item.loss is not None}
        return [group for group in self.chosen() if group not in have]


def _preference(item: RateTraining) -> tuple[float, float]:
    return (math.inf if item.loss is None else item.loss, item.learning_rate)


def write_rate_trainings(store: RunStore, found: RateTrainings) -> None:
    """Replaces the run's file."""
    text = json.dumps(add_checksum(dataclasses.asdict(found)), indent=1, ensure_ascii=False, allow_nan=False)
    store.write_bytes(LEARNING_RATES_FILE, text.encode())


def read_rate_trainings(store: RunStore) -> RateTrainings | None:
    """Returns what the file says, `None` without one. Raises `ValueError`, one line, where it is damaged."""
    if not store.has_file(LEARNING_RATES_FILE):
        return None
    where = f"{store.where}/{LEARNING_RATES_FILE}"
    try:
        values = verified_values(json_value(store.read_bytes(LEARNING_RATES_FILE).decode()))
        found = _trainings(values)
    except (ValueError, TypeError, LookupError, AttributeError, RecursionError) as error:
        reason = " ".join(str(error).split())[:160]
        raise ValueError(
            f"{where}: cannot be read ({reason}): restore it, or start a new run: the trials have its rates"
        ) from None
    if found.run_id != store.info.run_id:
        raise ValueError(f"{where}: belongs to run {found.run_id:.80}: restore the file of {store.info.run_id}")
    return found


def _trainings(values: Mapping[str, Any]) -> RateTrainings:
    return RateTrainings(
        run_id=text_of(values["run_id"]),
        steps=whole_of(values["steps"]),
        tokens=whole_of(values["tokens"]),
        seed=whole_of(values["seed"]),
        trainings=tuple(_training(item) for item in values["trainings"]),
    )


def _training(values: Mapping[str, Any]) -> RateTraining:
    loss, reason = values["loss"], values["reason"]
    return RateTraining(
        family=text_of(values["family"]),
        depth=whole_of(values["depth"]),
        architecture_id=text_of(values["architecture_id"]),
        width=whole_of(values["width"]),
        learning_rate=number_of(values["learning_rate"]),
        loss=None if loss is None else number_of(loss),
        reason=None if reason is None else text_of(reason),
    )
