"""A disk that is full while a record is written: one clear line, no partial files, and the search can be resumed."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.trial import TrialState

from depthweave.reports.page.page import write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import UnreachableError
from depthweave.search.driver import run_search
from depthweave.search.preparation import create_run
from depthweave.search.trials.live_trial import Decision, LiveTrial
from depthweave.search.trials.trial import TrialReport
from depthweave.search.tune.guarded_ledger import GuardedLedger, LedgerFault
from tests.search.ledger_runs import SPACE, Run, make_report
from tests.search.search_runs import RecordingProgress, prepared_search, resume

_SIZE = 24 * 2**20


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of a few megabytes."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={_SIZE}", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root mounts a small disk")
    try:
        yield folder
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _fill(folder: Path, *, leave_bytes: int) -> Path:
    """Writes a file that leaves so many bytes free, and returns it."""
    path = folder / "ballast"
    free = os.statvfs(folder).f_bavail * os.statvfs(folder).f_frsize
    path.write_bytes(bytes(max(0, free - leave_bytes)))
    return path


@pytest.mark.parametrize("leave_bytes", [0, 4096, 8192, 12288, 16384])
def test_full_disk_stops_the_search_in_one_line_and_loses_nothing(leave_bytes: int, small_disk: Path) -> None:
    folder = small_disk / "run"
    run = Run(folder)
    for name in ("a", "b"):
        run.start(name)
        run.train(name)
    kept = repr(run.store.records())
    run.start("c")
    ballast = _fill(small_disk, leave_bytes=leave_bytes)
    with pytest.raises(OSError, match="No space left on device") as error:
        run.train("c")
    assert error.value.errno == errno.ENOSPC
    assert len(str(error.value).splitlines()) == 1

    # Whatever was written is whole, or is not read.
    store = RunStore.open(folder)
    assert repr(store.records()).startswith(kept[:-1])
    assert store.problems == []
    ballast.unlink()
    write_report(store)

    again = Run(folder)
    numbers = [item.trial for item in again.store.records()]
    assert numbers in ([0, 1], [0, 1, 2])
    while not again.ledger.ended:
        if again.ledger.next("more") is not None:
            again.train("more")
    records = again.store.records()
    assert repr(records).startswith(kept[:-1])
    assert len({item.architecture_id for item in records}) == len(records) == len(SPACE)
    assert {item.state for item in again.studies.trials} == {TrialState.COMPLETE}
    assert not list(folder.rglob(".*.tmp"))


class _Breaks:
    """A ledger that cannot write."""

    ended = False

    def __init__(self) -> None:
        self.failed: list[str] = []

    def next(self, name: str) -> LiveTrial | None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def report(self, name: str, report: TrialReport) -> None:
        raise KeyError(name)

    def decide(self, name: str) -> Decision:
        raise ValueError(name)

    def fail(self, name: str, error: str, *, node_lost: bool) -> None:
        self.failed.append(error)

    def finish(self, name: str, *, crashed: bool) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def ignore_events(self) -> None:
        pass

    def close(self) -> None:
        pass


def test_fault_of_the_driver_is_no_exception_that_tune_could_take_for_a_trials() -> None:
    ledger = _Breaks()
    guarded = GuardedLedger(ledger)
    for call in (
        lambda: guarded.next("a"),
        lambda: guarded.report("a", make_report()),
        lambda: guarded.decide("a"),
        lambda: guarded.finish("a", crashed=False),
        lambda: guarded.fail("a", "OSError: [Errno 28] No space left on device: 'state.pt'", node_lost=False),
    ):
        with pytest.raises(LedgerFault) as fault:
            call()
        assert isinstance(fault.value.error, Exception)
    assert not issubclass(LedgerFault, Exception)
    guarded.fail("a", "OSError: another", node_lost=False)
    assert ledger.failed == ["OSError: another"]


def test_trial_whose_storage_is_unreachable_has_not_failed() -> None:
    ledger = _Breaks()
    guarded = GuardedLedger(ledger)
    with pytest.raises(LedgerFault) as fault:
        guarded.fail("a", "UnreachableError: s3://bucket/run: no answer for 180 s (refused)", node_lost=False)
    assert isinstance(fault.value.error, UnreachableError)
    assert str(fault.value.error) == "s3://bucket/run: no answer for 180 s (refused)"
    assert ledger.failed == []


@pytest.mark.release
@pytest.mark.timeout(900)
def test_search_on_a_full_disk_ends_in_one_line_and_resumes_complete(
    small_spec: dict[str, Any], small_disk: Path, ray_address: str
) -> None:
    prepared = prepared_search(small_spec, "search.trials=6")
    out, ballast = small_disk / "run", small_disk / "ballast"

    class Fills(RecordingProgress):
        def on_finish(self, record: Record) -> None:
            super().on_finish(record)
            if len(self.finished) == 3:
                _fill(small_disk, leave_bytes=0)

    store = create_run(prepared, out=out)
    with pytest.raises(
        ValueError, match=f"{out}: the disk is full .* free some space, then `depthweave search"
    ) as error:
        run_search(prepared, store, address=ray_address, progress=Fills())
    assert len(str(error.value).splitlines()) == 1
    kept = repr(RunStore.open(out).records())
    assert kept.count("Record(") >= 3
    ballast.unlink()
    records = resume(prepared, out=out, address=ray_address).records
    assert len(records) == 6 == len({item.architecture_id for item in records})
    assert {item.state for item in records} == {"complete"}
    before = {item.trial for item in RunStore.open(out).records()}
    assert before == {item.trial for item in records}


def test_file_size_limit_while_a_part_is_written_leaves_no_half_of_it(tmp_path: Path) -> None:
    """The kernel cuts the write off in the middle, as a full disk does on other filesystems."""
    script = (
        "import resource, signal, sys; from depthweave.reports.store.run_store import RunStore\n"
        "from tests.reports.synthetic import *\n"
        "store = RunStore.create(sys.argv[1], info=make_info(), spec_yaml='')\n"
        "t = make_trial(make_record(0)); store.append(t.record, evaluations=t.evaluations, weights=t.weights)\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))\n"
        "t = make_trial(make_record(1))\n"
        "try: store.append(t.record, evaluations=t.evaluations, weights=t.weights)\n"
        "except OSError as error: print(error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "run")],
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "[Errno 27] File too large\n"
    store = RunStore.open(tmp_path / "run")
    assert [item.trial for item in store.records()] == [0]
    assert set(store.evaluations()["trial"].to_pylist()) <= {0, 1}
    assert store.problems == []
    assert not list((tmp_path / "run").rglob(".*.tmp"))
