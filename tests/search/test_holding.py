"""Who works on a run: one process, told from a dead one without a common clock."""

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

from depthweave.reports.storage import Storage
from depthweave.search import holding
from depthweave.search.holding import LEASE, held
from tests.buckets import in_memory


@pytest.fixture
def storage(monkeypatch: pytest.MonkeyPatch) -> Storage:
    """Not a disk, and empty; leases live a tenth of a second."""
    for name, value in {"_RENEW_S": 0.05, "_DEAD_S": 0.6, "_LOOK_S": 0.02, "_SETTLE_S": 0.02}.items():
        monkeypatch.setattr(holding, name, value)
    return Storage("/bucket/run", filesystem=in_memory())


def _lease(storage: Storage, **values: Any) -> None:
    told = {"id": "other", "host": "elsewhere", "pid": 1, "renewals": 1, **values}
    storage.write(LEASE, json.dumps(told).encode())


def _quiet(_: str) -> None:
    pass


@pytest.mark.parametrize("kind", ["disk", "object storage"])
def test_second_is_refused_while_the_first_lives(kind: str, storage: Storage, tmp_path: Path) -> None:
    place = Storage(tmp_path) if kind == "disk" else storage
    again = Storage(tmp_path) if kind == "disk" else storage
    waits: list[str] = []
    with held(place, on_wait=_quiet) as check:
        with (
            pytest.raises(ValueError, match=r"another search.* is working on this run"),
            held(again, on_wait=waits.append),
        ):
            pass
        check()
    # The first has gone in good order: nobody waits.
    told = len(waits)
    with held(again, on_wait=waits.append) as check:
        check()
    assert len(waits) == told
    assert kind == "disk" or not storage.exists(LEASE)


@pytest.mark.parametrize("content", [None, b"no lease", b"[1]"])
def test_lease_that_nobody_renews_is_taken_over_after_a_while(content: bytes | None, storage: Storage) -> None:
    _lease(storage)
    if content is not None:
        storage.write(LEASE, content)
    waits: list[str] = []
    with held(storage, on_wait=waits.append) as check:
        check()
        assert json.loads(storage.read(LEASE))["host"] == platform.node()
    assert len(waits) == 1


def test_dead_process_of_this_machine_is_not_waited_for(storage: Storage) -> None:
    with subprocess.Popen(["true"]) as gone:
        gone.wait()
    _lease(storage, host=platform.node(), pid=gone.pid)
    waits: list[str] = []
    with held(storage, on_wait=waits.append):
        pass
    assert waits == []


@pytest.mark.parametrize("pid", [os.getpid(), 0, -1, "7", None])
def test_process_of_this_machine_that_may_live_is_waited_for(pid: object, storage: Storage) -> None:
    _lease(storage, host=platform.node(), pid=pid)
    waits: list[str] = []
    with held(storage, on_wait=waits.append):
        pass
    assert len(waits) == 1


def test_holder_that_was_taken_over_is_told(storage: Storage) -> None:
    with held(storage, on_wait=_quiet) as check:
        _lease(storage)
        _until(lambda: _is_told(check))
    assert json.loads(storage.read(LEASE))["id"] == "other", "it is not the former holder's to delete"


def test_of_two_that_come_at_once_one_has_it(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holding, "_SETTLE_S", 0.3)
    together, enough = threading.Barrier(4), threading.Event()
    won: list[int] = []

    def come(number: int) -> None:
        together.wait()
        try:
            with held(storage, on_wait=_quiet):
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


def _is_told(check: Callable[[], None]) -> bool:
    try:
        check()
    except ValueError as error:
        return "has taken this run over" in str(error)
    return False


def _until(condition: Callable[[], bool]) -> None:
    for _ in range(1000):
        if condition():
            return
        threading.Event().wait(0.01)
    raise AssertionError("in vain")
