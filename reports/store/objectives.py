"""The objectives a search may minimise: record columns, with the words a reader sees beside them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches


@dataclass(frozen=True, kw_only=True, slots=True)
class Objective:
    """One column of `Record` to be minimised."""

    name: str
    """Column of `Record`, and the objective's name in a spec."""
    label: str
    """Axis title, with the unit."""
    cost: bool
    """True where the value is known before training (everything but the losses)."""
    repeats: bool
    """True where measuring twice gives the same number (counted, not timed)."""
    tolerance: float
    """Relative difference below which two values are as good as equal, unless a spec says otherwise: what
    two measurements of a time or two trainings of one size differ by; of bytes and counts, how well a budget is met."""
    measured: bool = False
    """True where the device was asked, so that another kind of device gives another number."""

    @property
    def timed(self) -> bool:
        """True where a clock gives the value: it has an interval, columns `NAME_low` and `NAME_high` of `Record`."""
        return self.cost and not self.repeats


_LOSS, _CLOCK, _COUNT = 0.005, 0.02, 0.01
"""Tolerances: 0.005 nat/token of the loss is 0.5 % of the perplexity."""

OBJECTIVES: dict[str, Objective] = {
    item.name: item
    for item in (
        Objective(name="perplexity", label="validation perplexity", cost=False, repeats=True, tolerance=_LOSS),
        # At a loss of 2 nat/token the same 0.005.
        Objective(
            name="bits_per_byte", label="validation bits per byte", cost=False, repeats=True, tolerance=_LOSS / 2
        ),
        # Of every task but language modelling; what it means is the task's.
        Objective(name="error", label="validation error", cost=False, repeats=True, tolerance=_LOSS),
        Objective(
            name="latency",
            label="forward latency (× reference)",
            cost=True,
            repeats=False,
            tolerance=_CLOCK,
            measured=True,
        ),
        Objective(
            name="step_latency",
            label="training-step latency (× reference)",
            cost=True,
            repeats=False,
            tolerance=_CLOCK,
            measured=True,
        ),
        Objective(
            name="decode_latency",
            label="decoding latency (× reference)",
            cost=True,
            repeats=False,
            tolerance=_CLOCK,
            measured=True,
        ),
        Objective(
            name="memory_bytes",
            label="memory of a training step (bytes)",
            cost=True,
            repeats=True,
            tolerance=_COUNT,
            measured=True,
        ),
        Objective(
            name="forward_memory_bytes",
            label="memory of a forward pass (bytes)",
            cost=True,
            repeats=True,
            tolerance=_COUNT,
            measured=True,
        ),
        Objective(name="parameters", label="parameters without embedding", cost=True, repeats=True, tolerance=_COUNT),
        Objective(
            name="forward_flops", label="forward operations (flop/token)", cost=True, repeats=True, tolerance=_COUNT
        ),
    )
}

QUALITIES = tuple(name for name, item in OBJECTIVES.items() if not item.cost)
"""Objectives that only training shows; a record has those of its run's task."""


def quality_of(objectives: Sequence[str]) -> str:
    """The quality that a reader is shown: perplexity, or the first one of another task."""
    own = [name for name in objectives if name in QUALITIES and name != "bits_per_byte"]
    return "perplexity" if not own or "perplexity" in own else own[0]


def objective(name: str) -> Objective:
    """The objective of that name; `ValueError` names the nearest known one."""
    if name in OBJECTIVES:
        return OBJECTIVES[name]
    near = get_close_matches(name, OBJECTIVES, n=1, cutoff=0.0)
    raise ValueError(f"objective '{name}' is not known: did you mean '{near[0]}'? Known: {', '.join(OBJECTIVES)}")
