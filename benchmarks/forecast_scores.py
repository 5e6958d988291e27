"""Compares a search's forecasts with the outcomes: sums of standard scores.

A score is the difference between a trial's final loss and its forecast, in standard deviations of the forecast. The
scores of a calibrated search have a standard deviation of 1. The forecasts of all paused trials count at every
decision, so that a trial that waits for long counts often.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from benchmarks.replay import Curves
from depthweave.search.pruners.chooser import Guide, GuideView, TrialSnapshot
from depthweave.search.pruners.pareto import MIN_FINISHED


@dataclass(kw_only=True, slots=True)
class Scores:
    """Sums over forecasts."""

    count: int = 0
    total: float = 0.0
    squares: float = 0.0
    beyond_2: int = 0
    beyond_3: int = 0

    def add(self, score: float) -> None:
        """Adds a forecast."""
        self.count += 1
        self.total += score
        self.squares += score * score
        self.beyond_2 += abs(score) > 2.0
        self.beyond_3 += abs(score) > 3.0

    def __add__(self, other: Scores) -> Scores:
        return Scores(
            count=self.count + other.count,
            total=self.total + other.total,
            squares=self.squares + other.squares,
            beyond_2=self.beyond_2 + other.beyond_2,
            beyond_3=self.beyond_3 + other.beyond_3,
        )

    @property
    def mean(self) -> float:
        """Above 0 if trials end worse than forecast."""
        return self.total / self.count if self.count else math.nan

    @property
    def sd(self) -> float:
        """Standard deviation; 1 is calibrated, more is overconfident."""
        return math.sqrt(max(self.squares / self.count - self.mean**2, 0.0)) if self.count else math.nan


@dataclass(kw_only=True, slots=True)
class Watched:
    """A guide that scores its forecasts of paused trials at each call."""

    guide: Guide
    final: Mapping[str, float]
    """Final loss by architecture id."""
    scores: Scores = field(default_factory=Scores)

    def advise(self, snapshots: Sequence[TrialSnapshot]) -> GuideView | None:
        view = self.guide.advise(snapshots)
        if view is not None and sum(item.state == "complete" for item in snapshots) >= MIN_FINISHED:
            for item in snapshots:
                if item.state == "paused":
                    mean, sd = view.forecasts[item.number]
                    self.scores.add((self.final[item.architecture_id] - mean) / max(sd, 1e-9))
        return view


def watch(guide: Guide | None, *, curves: Curves) -> tuple[Guide | None, Scores | None]:
    """Returns the guide with its forecasts scored, and the scores; `None` for both without a guide."""
    if guide is None:
        return None, None
    final = dict(zip(curves.ids, curves.losses_NE[:, -1].tolist(), strict=True))
    watched = Watched(guide=guide, final=final)
    return watched, watched.scores
