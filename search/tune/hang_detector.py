"""Which trials hang: silent for much longer than any of their like took for an evaluation.

A process that waits for ever (a device, a lock, a file of a server that went away) raises nothing and ends nothing: it
would hold its worker until somebody looks. How long an evaluation takes is known from those that were heard, so no
option says it.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

_TIMES = 20.0
"""Of the slowest evaluation heard so far, a trial's size taken into account: no crowded machine is that much slower."""
_LEAST_S = 900.0
"""Shorter silences are nobody's fault: the first evaluation waits for its turn to measure, and may compile."""
_UNKNOWN_S = 6 * 3600.0
"""While nothing was heard of any trial there is nothing to compare with."""


@dataclass(kw_only=True)
class _SilenceLimit:
    since: float
    flops: int


class HangDetector:
    """Listens to the running trials, by the executor's names, on a clock that does not jump."""

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._silences: dict[str, _SilenceLimit] = {}
        self._slowest_s = 0.0
        self._slowest_s_per_flop = 0.0

    def begin(self, name: str, *, forward_flops: int) -> None:
        """A trial of that size runs from now on."""
        self._silences[name] = _SilenceLimit(since=self._clock(), flops=max(1, forward_flops))

    def hear(self, name: str) -> None:
        """A trial made an evaluation."""
        silence, now = self._silences.get(name), self._clock()
        if silence is not None:
            taken_s, silence.since = now - silence.since, now
            self._slowest_s = max(self._slowest_s, taken_s)
            self._slowest_s_per_flop = max(self._slowest_s_per_flop, taken_s / silence.flops)

    def end(self, name: str) -> None:
        """A trial runs no more."""
        self._silences.pop(name, None)

    def hanging(self) -> dict[str, str]:
        """Why they are taken for hanging, by name; each is told once, for it has `end`ed."""
        now, found = self._clock(), {}
        for name, silence in list(self._silences.items()):
            silent_s, limit_s = now - silence.since, self._limit_s(silence)
            if silent_s > limit_s:
                self.end(name)
                slowest = f"the slowest before took {self._slowest_s:.0f} s" if self._slowest_s else "nor of any other"
                found[name] = f"the trial hung: no evaluation for {silent_s:.0f} s ({slowest}); its worker was killed"
        return found

    def _limit_s(self, silence: _SilenceLimit) -> float:
        if not self._slowest_s:
            return _UNKNOWN_S
        return max(_LEAST_S, _TIMES * max(self._slowest_s, self._slowest_s_per_flop * silence.flops))
