"""A ledger whose faults end the search at once: the trials in flight wait, and none of them is recorded as failed.

Tune takes an exception of its searcher or scheduler for a failure of the trial that it is about. On a full disk it
would restart a trial that has trained to its end, and finally record it as failed.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager

from depthweave.reports.store.storage import DISK_FULL, UnreachableError
from depthweave.search.cluster.ray_health import RayLostError, check_alive
from depthweave.search.failures.causes import is_environment_fault
from depthweave.search.failures.streak import OneCauseError
from depthweave.search.trials.live_trial import Decision, Ledger, LiveTrial
from depthweave.search.trials.trial import TrialReport

_MAX_ENVIRONMENT_FAULTS = 3
"""Crashes in a row through a fault of the workers' environment that end the search."""


class WorkerEnvironmentError(Exception):
    """The workers lack something that every trial needs."""


class LedgerFault(BaseException):
    """Leaves Tune's loop. Not an `Exception`: Tune would take it for a failure of a trial."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class GuardedLedger:
    """A ledger that raises its exceptions as `LedgerFault`, which Tune does not catch."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._environment_faults = 0

    @property
    def ended(self) -> bool:
        with _guarded():
            return self._ledger.ended

    def next(self, name: str) -> LiveTrial | None:
        with _guarded():
            return self._ledger.next(name)

    def report(self, name: str, report: TrialReport) -> None:
        with _guarded():
            self._environment_faults = 0
            self._ledger.report(name, report)

    def decide(self, name: str) -> Decision:
        with _guarded():
            return self._ledger.decide(name)

    def fail(self, name: str, error: str, *, node_lost: bool) -> None:
        with _guarded():
            # Where Ray has died, all workers have ended with it.
            check_alive()
            # A full disk is no fault of the trial, and every other trial would fail of it too.
            for number in DISK_FULL:
                if os.strerror(number) in error:
                    raise OSError(number, os.strerror(number))
            # The same holds for storage that cannot be reached.
            _, is_unreachable, reason = error.partition(f"{UnreachableError.__name__}: ")
            if is_unreachable:
                raise UnreachableError(reason)
            excused = is_environment_fault(error)
            self._environment_faults = self._environment_faults + 1 if excused else 0
            if self._environment_faults >= _MAX_ENVIRONMENT_FAULTS:
                raise WorkerEnvironmentError(error)
            # Counted like a lost node: the trial did not cause the crash.
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
    """Raises a `ValueError` of one line, with the command to continue, in place of faults that end every trial.

    These are a full disk, storage that does not answer, a dead Ray, and workers that all fail of one cause.
    """
    try:
        yield
    except RayLostError as error:
        raise ValueError(f"{error}; every finished trial is kept: continue with `{command}`") from None
    except WorkerEnvironmentError as error:
        raise ValueError(
            f"the workers cannot work ({error}); no trial causes that, and none is recorded as failed for it: "
            f"repair it, then `{command}`"
        ) from None
    except OneCauseError as error:
        raise ValueError(
            f"{error.count} trials in a row failed of one cause ({error.reason}); the search stops here: "
            f"repair it, then `{command} --retry-failed`, or continue with other trials without --retry-failed"
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
