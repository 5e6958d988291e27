"""What a reversible pruner answers: which trial a free worker goes on with, or a new one.

A pruner that only stops must be right for ever. A chooser pauses: at a rung a trial waits with its checkpoint, and
whoever is free goes to what promises most, the trial itself included. A trial is stopped for good only when it was
never chosen again.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

NEW: Final = "new"
"""A chooser's answer: start another architecture."""


class TrialSnapshot(NamedTuple):
    """One trial, as a chooser sees it."""

    number: int
    """The trial's number in the search."""
    architecture_id: str
    costs: Mapping[str, float]
    """Objectives known before training, by name, all minimised; empty until measured."""
    losses: tuple[float, ...]
    """Validation loss after evaluation 1, 2, ..., in nats a token."""
    state: Literal["running", "paused", "complete", "stopped"]
    """`stopped`: pruned for good. Failed and diverged trials are not shown."""


class Chooser(Protocol):
    """Gives free workers their work, from the standings alone: a resumed search asks a new one with the same ones."""

    def is_rung(self, evaluation: int) -> bool:
        """Whether to decide after this evaluation, counted from 1. The last one is no rung."""
        ...

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        """What a free worker does next: the number of a paused trial to continue, `NEW` where `may_start`, or `None`.

        `None`: nothing is worth doing now. When nothing runs either, the paused trials are stopped for good.
        """
        ...

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        """Numbers of the paused trials that run to their end all the same, as an audit of the pruner.

        Asked once: when nothing runs, nothing may start and `choose` answered None.
        """
        ...


class NewTrialOutlook(NamedTuple):
    """A trial that could be started."""

    mean: float
    """Of its final loss, nats a token."""
    sd: float
    costs: Mapping[str, float]


class GuideView(NamedTuple):
    """What somebody who knows the architectures expects."""

    forecasts: Mapping[int, tuple[float, float]]
    """Mean and standard deviation of every trial's final loss, by its number."""
    new: NewTrialOutlook | None
    """The best trial to start; `None` where all were."""


class Guide(Protocol):
    """Knows more than the curves: a chooser asks it where it is given one."""

    def advise(self, snapshots: Sequence[TrialSnapshot]) -> GuideView | None:
        """A pure function of the standings; `None` while it knows too little."""
        ...
