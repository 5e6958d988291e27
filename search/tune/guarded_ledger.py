"""A fault of the driver's own is no fault of a trial: it ends the search at once, and the trials in flight wait.

Tune hears an exception of its searcher or scheduler as a failure of the trial that it was told of: it would start anew,
and in the end record as failed, what trained to its end while the disk was full.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from depthweave.reports.store.storage import DISK_FULL, UnreachableError
from depthweave.search.cluster.ray_health import RayLostError, check_alive
from depthweave.search.failures.causes import is_of_surroundings
from depthweave.search.failures.streak import OneCauseError
from depthweave.search.trials.live_trial import Decision, Ledger, LiveTrial
from depthweave.search.trials.trial import TrialReport

_MAX_IN_TURN = 3
"""Crashes in a row that are the surroundings' fault, after which no further one is waited for."""


class SurroundingsError(Exception):
    """What every trial needs is not there."""


class LedgerFault(BaseException):
    """Leaves Tune's loop. Not an `Exception`: Tune would take it for a trial's."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class GuardedLedger:
    """A ledger whose exceptions Tune never sees."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._num_in_turn = 0

    @property
    def ended(self) -> bool:
        with _guarded():
            return self._ledger.ended

    def next(self, name: str) -> LiveTrial | None:
        with _guarded():
            return self._ledger.next(name)

    def report(self, name: str, report: TrialReport) -> None:
        with _guarded():
            self._num_in_turn = 0
            self._ledger.report(name, report)

    def decide(self, name: str) -> Decision:
        with _guarded():
            return self._ledger.decide(name)

    def fail(self, name: str, error: str, *, node_lost: bool) -> None:
        with _guarded():
            # All workers end with their Ray.
            check_alive()
            # A full disk is nobody's architecture's fault, and every other trial would fail of it too.
            for number in DISK_FULL:
                if os.strerror(number) in error:
                    raise OSError(number, os.strerror(number))
            # Nor is it anybody's that the storage is away.
            _, is_away, reason = error.partition(f"{UnreachableError.__name__}: ")
            if is_away:
                raise UnreachableError(reason)
            excused = is_of_surroundings(error)
            self._num_in_turn = self._num_in_turn + 1 if excused else 0
            if self._num_in_turn >= _MAX_IN_TURN:
                raise SurroundingsError(error)
            # Counted as a lost node is: no crash of the trial's own.
            self._ledger.fail(name, error, node_lost=node_lost or excused)

    def finish(self, name: str, *, crashed: bool) -> None:
        with _guarded():
            self._ledger.finish(name, crashed=crashed)

    def ignore_events(self) -> None:
        self._ledger.ignore_events()

    def close(self) -> None:
        self._ledger.close()


@contextmanager
def faults_as_one_line(where: str, *, command: str) -> Iterator[None]:
    """A `ValueError`, one line with how to go on, in place of what ends every trial.

    That is a full disk, storage that does not answer, a dead Ray, and workers that all fail of one cause.
    """
    try:
        yield
    except RayLostError as error:
        raise ValueError(f"{error}; every finished trial is kept: go on with `{command}`") from None
    except SurroundingsError as error:
        raise ValueError(
            f"the workers cannot work ({error}); that is no trial's fault, and none is recorded as failed for it: "
            f"mend it, then `{command}`"
        ) from None
    except OneCauseError as error:
        raise ValueError(
            f"{error.count} trials in a row failed of one cause ({error.reason}); the search stops here: mend it, then "
            f"`{command} --retry-failed`, or without --retry-failed go on with other trials"
        ) from None
    except UnreachableError as error:
        raise ValueError(f"{error}; every finished trial is kept: once it answers, `{command}`") from None
    except OSError as error:
        if error.errno not in DISK_FULL:
            raise
        disk = "a disk of this machine or of a worker" if "://" in where else "the disk"
        raise ValueError(
            f"{where}: {disk} is full ({os.strerror(error.errno)}); every finished trial is kept: free some space, "
            f"then `{command}`"
        ) from None


@contextmanager
def _guarded() -> Iterator[None]:
    try:
        yield
    except Exception as error:
        raise LedgerFault(error) from None
