"""The interface of a chooser, a pruner whose decisions are reversible: it says which trial a free worker resumes.

The stop of an ordinary pruner is final. A chooser pauses instead: at a rung a trial waits with its checkpoint, and the
free worker takes the most promising trial, which may be the same one, or starts a new one. A trial is stopped for good
only at the end of the search, if it was not chosen again.
"""

from collections.abc import Mapping, Sequence
from typing import Final, Literal, NamedTuple, Protocol

NEW: Final = "new"
"""A chooser's answer: start a new trial."""


class TrialSnapshot(NamedTuple):
    """One trial, as a chooser sees it."""

    number: int
    """The trial's number in the search."""
    architecture_id: str
    costs: Mapping[str, float]
    """Objectives that are known before training, by name, all minimised; empty until measured."""
    losses: tuple[float, ...]
    """Validation loss after evaluation 1, 2, ..., in nats a token."""
    state: Literal["running", "paused", "complete", "stopped"]
    """`stopped`: pruned for good. There are no snapshots of failed and diverged trials."""
    fusion: str = ""
    """Empty where it is not known."""


class Chooser(Protocol):
    """Decides what free workers do. A pure function of the snapshots, so that a resumed search decides as before."""

    def is_rung(self, evaluation: int) -> bool:
        """Returns whether this evaluation, counted from 1, is a rung. The last one is not."""
        ...

    def choose(self, snapshots: Sequence[TrialSnapshot], *, may_start: bool) -> int | Literal["new"] | None:
        """Returns the number of the paused trial that a free worker resumes, `NEW` if `may_start`, or `None`.

        `None`: nothing is worth training now. If no trial runs either, the paused trials are stopped for good.
        """
        ...

    def audits(self, snapshots: Sequence[TrialSnapshot]) -> Sequence[int]:
        """Returns the paused trials that are trained to their end although they were given up, as an audit.

        Called once: when no trial runs, none may start and `choose` has returned None.
        """
        ...


class NewTrialOutlook(NamedTuple):
    """What is expected of a new trial."""

    mean: float
    """Of its final loss, in nats a token."""
    sd: float
    costs: Mapping[str, float]


class GuideView(NamedTuple):
    """What a guide expects of the existing trials and of a new one."""

    forecasts: Mapping[int, tuple[float, float]]
    """Mean and standard deviation of the final loss of every trial, by trial number."""
    new: NewTrialOutlook | None
    """The best new trial; `None` if every architecture has been tried."""
    is_prior: bool = False
    """Whether other runs alone say this: the search has too few losses of its own."""


class Guide(Protocol):
    """Forecasts final losses from the architectures as well as the curves, for a chooser."""

    def advise(self, snapshots: Sequence[TrialSnapshot]) -> GuideView | None:
        """Returns the expectations, a pure function of the snapshots; `None` while there is too little evidence."""
        ...
