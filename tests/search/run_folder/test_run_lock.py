"""One process works on a run, and is distinguished from a dead one without a common clock."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.store.storage import Storage, UnreachableError
from depthweave.search.run_folder import run_lock
from depthweave.search.run_folder.run_lock import LEASE, locked_run
from tests.buckets import in_memory


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Not a disk, and empty; leases live a tenth of a second."""
    for name, value in {"_RENEW_S": 0.05, "_DEAD_S": 0.6, "_POLL_S": 0.02, "_SETTLE_S": 0.02}.items():
        monkeypatch.setattr(run_lock, name, value)
    return Storage("/bucket/run", filesystem=in_memory())


def _lease(storage: Storage, **values: Any) -> None:
    lease = {"id": "other", "host": "elsewhere", "pid": 1, "renewals": 1, **values}
    storage.write(LEASE, json.dumps(lease).encode())


def _quiet(_: str) -> None:
    pass


@pytest.mark.parametrize("kind", ["disk", "object storage"])
def test_second_is_refused_while_the_first_lives(kind: str, storage: Storage, tmp_path: Path) -> None:
    place = Storage(tmp_path) if kind == "disk" else storage
    again = Storage(tmp_path) if kind == "disk" else storage
    waits: list[str] = []
    with locked_run(place, on_wait=_quiet):
        with (
            pytest.raises(ValueError, match=r"another search.* is working on this run"),
            locked_run(again, on_wait=waits.append),
        ):
            pass
        place.write("file", b"")
    # The first has released its lease: the second does not wait.
    num_waits = len(waits)
    with locked_run(again, on_wait=waits.append):
        again.write("file", b"")
    assert len(waits) == num_waits
    assert kind == "disk" or not storage.exists(LEASE)


@pytest.mark.parametrize("content", [None, b"no lease", b"[1]"])
def test_lease_that_is_not_renewed_is_taken_over_after_a_while(content: bytes | None, storage: Storage) -> None:
    _lease(storage)
    if content is not None:
        storage.write(LEASE, content)
    waits: list[str] = []
    with locked_run(storage, on_wait=waits.append):
        assert json.loads(storage.read(LEASE))["host"] == platform.node()
    assert len(waits) == 1


def test_dead_process_of_this_machine_is_not_waited_for(storage: Storage) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    _lease(storage, machine=run_lock._machine(), pid=gone.pid)
    waits: list[str] = []
    with locked_run(storage, on_wait=waits.append):
        pass
    assert waits == []


@pytest.mark.parametrize("pid", [pytest.param(os.getpid(), id="own"), 0, -1, "7", None])
def test_process_of_this_machine_that_may_live_is_waited_for(pid: object, storage: Storage) -> None:
    _lease(storage, machine=run_lock._machine(), pid=pid)
    waits: list[str] = []
    with locked_run(storage, on_wait=waits.append):
        pass
    assert len(waits) == 1


def test_machine_of_the_same_name_is_another(storage: Storage) -> None:
    # Containers that share a name do not see each other's processes.
    _lease(storage, host=platform.node(), machine="another", pid=2**22 + 1)
    waits: list[str] = []
    with locked_run(storage, on_wait=waits.append):
        pass
    assert len(waits) == 1


@pytest.mark.parametrize("renews", [True, False])
def test_holder_that_was_taken_over_writes_nothing_more(
    renews: bool, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not renews:
        # Its machine slept, or its renewer is still waiting for an answer.
        monkeypatch.setattr(run_lock._Lease, "_renew_until_ended", lambda self: None)
    other = storage.without_retries()
    with locked_run(storage, on_wait=_quiet):
        storage.write("file", b"ours")
        _lease(other)
        _until(lambda: _has_lost(storage))
        other.write("file", b"the other's")
        assert _has_lost(storage)
    assert storage.read("file") == b"the other's"
    assert json.loads(storage.read(LEASE))["id"] == "other", "it is not the former holder's to delete"


def test_of_two_that_come_at_once_one_has_it(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_lock, "_SETTLE_S", 0.3)
    together, enough = threading.Barrier(4), threading.Event()
    won: list[int] = []

    def come(number: int) -> None:
        together.wait()
        try:
            with locked_run(storage, on_wait=_quiet):
                won.append(number)
                enough.wait(timeout=10)
        except ValueError:
            pass

    threads = [threading.Thread(target=come, args=(number,)) for number in range(4)]
    for item in threads:
        item.start()
    _until(lambda: sum(item.is_alive() for item in threads) == 1)
    enough.set()
    for item in threads:
        item.join()
    assert len(won) == 1


def test_renewal_that_waited_is_not_written_over_anothers_lease(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    other, write = storage.without_retries(), run_lock._Lease._write
    away, tries = threading.Event(), []

    def cut_off(self: run_lock._Lease, to: Storage) -> None:
        if away.is_set():
            # Between its look and its writing the machine is cut off, for longer than a lease lives.
            tries.append(to)
            _lease(other)
            away.clear()
            raise UnreachableError("no answer")
        write(self, to)

    with locked_run(storage, on_wait=_quiet):
        monkeypatch.setattr(run_lock._Lease, "_write", cut_off)
        away.set()
        _until(lambda: _has_lost(storage))
    assert [item._patience_s for item in tries] == [0.0]
    assert json.loads(other.read(LEASE))["id"] == "other"


def _has_lost(storage: Storage) -> bool:
    try:
        storage.write("file", b"ours")
    except ValueError as error:
        return "has taken this run over" in str(error)
    return False


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("in vain")
