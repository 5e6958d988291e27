"""Which trials hang: they have not reported for much longer than any evaluation took.

A process that waits for ever (for a device, a lock, a file of a server that is gone) raises nothing and would occupy
its worker until someone looks. The time limit is derived from the evaluations of all trials, so it needs no option.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_FACTOR = 20.0
"""Times the slowest evaluation so far, for a trial's size: no crowded machine is that much slower."""
_MIN_LIMIT_S = 900.0
"""The first evaluation waits for its turn to measure, and may compile."""
_FIRST_LIMIT_S = 6 * 3600.0
"""Before the first evaluation of any trial."""


@dataclass(kw_only=True)
class _RunningTrial:
    last_report_s: float
    """When it started or reported last."""
    flops: int


class HangDetector:
    """Watches the running trials, by Ray's names, on a clock that does not jump."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._running: dict[str, _RunningTrial] = {}
        self._slowest_s = 0.0
        self._slowest_s_per_flop = 0.0

    def begin(self, name: str, *, forward_flops: int) -> None:
        """A trial of that size starts or continues."""
        self._running[name] = _RunningTrial(last_report_s=self._clock(), flops=max(1, forward_flops))

    def add_report(self, name: str) -> None:
        """A trial made an evaluation."""
        trial, now = self._running.get(name), self._clock()
        if trial is not None:
            taken_s, trial.last_report_s = now - trial.last_report_s, now
            self._slowest_s = max(self._slowest_s, taken_s)
            self._slowest_s_per_flop = max(self._slowest_s_per_flop, taken_s / trial.flops)

    def end(self, name: str) -> None:
        """A trial no longer runs."""
        self._running.pop(name, None)

    def hanging(self) -> dict[str, str]:
        """Returns by name why trials are taken for hanging. Each is returned once, and has ended afterwards."""
        now, found = self._clock(), {}
        for name, trial in list(self._running.items()):
            silent_s, limit_s = now - trial.last_report_s, self._limit_s(trial)
            if silent_s > limit_s:
                self.end(name)
                slowest_s = self._slowest_s
                others = f"the slowest so far took {slowest_s:.0f} s" if slowest_s else "no other trial had one"
                found[name] = f"the trial hung: no evaluation for {silent_s:.0f} s ({others}); its worker was killed"
        return found

    def _limit_s(self, trial: _RunningTrial) -> float:
        if not self._slowest_s:
            return _FIRST_LIMIT_S
        return max(_MIN_LIMIT_S, _FACTOR * max(self._slowest_s, self._slowest_s_per_flop * trial.flops))
