"""Why workers fail: the cause without Ray's header, whose fault it is, and when every trial would fail of it."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
from ray.exceptions import RayTaskError

from depthweave.reports.store.records import Record
from depthweave.search.cluster.worker_imports import outside_user_folder
from depthweave.search.commands.no_results import has_no_results, no_results_sentence
from depthweave.search.failures.causes import is_environment_fault, is_same_cause, reason_of
from depthweave.search.failures.streak import LIMIT, OneCauseError, Streak
from depthweave.search.tune.guarded_ledger import GuardedLedger, LedgerFault, WorkerEnvironmentError, faults_as_one_line
from tests.reports.synthetic import make_record
from tests.search.ledger_runs import Run, make_evaluation, make_report

_UNLOADED = """The actor died because of an error raised in its creation task, \x1b[36mray::_Inner.__init__()\x1b[39m
  At least one of the input arguments for this task could not be computed:
ray.exceptions.RaySystemError: System error: Can't import ray.tune as some dependencies are missing.
traceback: Traceback (most recent call last):
  File "/home/me/numpy.py", line 1, in <module>
    raise ImportError("planted numpy")
ImportError: planted numpy

The above exception was the direct cause of the following exception:

\x1b[36mray::_Inner.__init__()\x1b[39m (pid=1, ip=127.0.0.1)
  File "ray/tune/__init__.py", line 9, in <module>
    raise ImportError(
ImportError: Can't import ray.tune as some dependencies are missing. Run `pip install "ray[tune]"` to fix."""

_TASK = """The remote function failed to import on the worker. This may be because needed library dependencies are not
installed in the worker environment:

Traceback (most recent call last):
  File "<frozen importlib._bootstrap>", line 1204, in _gcd_import
ModuleNotFoundError: No module named 'depthweave'"""


@pytest.mark.parametrize(
    ("text", "cause"),
    [(_UNLOADED, "ImportError: planted numpy"), (_TASK, "ModuleNotFoundError: No module named 'depthweave'")],
)
def test_worker_that_cannot_load_says_what_came_first(text: str, cause: str) -> None:
    reason = reason_of(RuntimeError(text))
    assert reason == f"the worker cannot load what it is to run: {cause}"
    assert is_environment_fault(reason)


def test_cause_of_a_task_is_the_exception_and_no_header() -> None:
    error = RayTaskError("_measure", "\x1b[36mray::_measure()\x1b[39m (pid=1)\nOSError: planted", OSError("planted"))
    assert reason_of(error) == "OSError: planted"


@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("ModuleNotFoundError: No module named 'x'", True),
        ("PermissionError: [Errno 13] Permission denied: '/run/checkpoints'", True),
        (f"OSError: [Errno 24] {os.strerror(errno.EMFILE)}: 'state.pt'", True),
        (f"BlockingIOError: [Errno 11] {os.strerror(errno.EAGAIN)}", True),
        ("RuntimeError: can't start new thread", True),
        ("OutOfMemoryError: CUDA out of memory", False),
        ("OSError: planted", False),
        ("the worker died: exit code 1", False),
    ],
)
def test_environment_fault_is_distinguished_from_a_trials_fault(reason: str, expected: bool) -> None:
    assert is_environment_fault(reason) is expected


def test_causes_are_the_same_whatever_their_numbers_and_paths() -> None:
    memory = "OutOfMemoryError: CUDA out of memory. Tried to allocate {} GiB at 0x{}"
    assert is_same_cause(memory.format("2.50", "7f"), memory.format(12, "0a"))
    assert is_same_cause("OSError: '/a/trial-00001'", "OSError: '/a/trial-00002'")
    assert not is_same_cause("OSError: planted", "ValueError: planted")


def test_environment_fault_ends_the_search_and_no_trial_is_recorded_as_failed(tmp_path: Path) -> None:
    run = Run(tmp_path)
    ledger = GuardedLedger(run.ledger)

    def crash() -> None:
        assert ledger.next("a") is not None
        ledger.fail("a", "ImportError: planted numpy", node_lost=False)
        ledger.finish("a", crashed=True)

    crash()
    crash()
    # A report shows that not every trial fails.
    assert ledger.next("b") is not None
    ledger.report("b", make_report(make_evaluation(0, loss=2.0)))
    crash()
    crash()
    assert ledger.next("a") is not None
    with pytest.raises(LedgerFault) as fault:
        ledger.fail("a", "ImportError: planted numpy", node_lost=False)
    assert isinstance(fault.value.error, WorkerEnvironmentError)
    assert run.store.records() == []
    with (
        pytest.raises(
            ValueError, match=r"the workers cannot work \(ImportError: planted numpy\).*then `go on`"
        ) as line,
        faults_as_one_line("run", command="go on"),
    ):
        raise fault.value.error
    assert "\n" not in str(line.value)


def _failed(number: int, reason: str) -> Record:
    return make_record(number, state="failed", reason=reason, perplexity=None, loss=None, bits_per_byte=None)


def test_failures_of_one_cause_in_a_row_end_the_search(tmp_path: Path) -> None:
    run = Run(tmp_path)
    for number in range(LIMIT - 1):
        run.start("a")
        run.ledger.fail("a", f"OSError: planted {number}")
        run.ledger.finish("a", crashed=True)
    run.start("a")
    run.ledger.fail("a", "OSError: planted 9")
    with pytest.raises(OneCauseError) as caught:
        run.ledger.finish("a", crashed=True)
    assert (caught.value.count, caught.value.reason) == (LIMIT, "OSError: planted 9")
    assert len(run.store.records()) == LIMIT, "each is recorded"
    with (
        pytest.raises(ValueError, match=rf"{LIMIT} trials in a row failed of one cause \(OSError: planted 9\)"),
        faults_as_one_line("run", command="go on"),
    ):
        raise caught.value


def test_streak_is_broken_by_another_cause_and_by_a_trial_that_works() -> None:
    streak = Streak(limit=3)
    for record in (_failed(0, "a 1"), _failed(1, "a 2"), _failed(2, "b"), _failed(3, "a 3"), _failed(4, "a 4")):
        streak.add(record)
    streak.add(make_record(5))
    streak.add(_failed(6, "a 5"))
    streak.add(_failed(7, "a 6"))
    with pytest.raises(OneCauseError):
        streak.add(_failed(8, "a 7"))


def test_what_became_of_nothing_is_said_with_its_cause() -> None:
    records = [_failed(0, "a 1"), _failed(1, "b"), _failed(2, "a 2")]
    assert has_no_results(records)
    assert not has_no_results([*records, make_record(3)])
    assert not has_no_results([])
    assert no_results_sentence(records) == "no trial of 3 is complete, 3 failed, 2 of one cause: a 1"
    assert "all of one cause: a 1" in no_results_sentence([records[0], records[2]])


def test_workers_are_joined_from_outside_the_users_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["lib", "/absolute"]))
    monkeypatch.setenv("TMPDIR", "scratch")
    with outside_user_folder():
        assert Path.cwd() == Path("/")
        assert os.environ["PYTHONPATH"] == os.pathsep.join([str(tmp_path / "lib"), "/absolute"])
        assert os.environ["TMPDIR"] == str(tmp_path / "scratch")
    assert Path.cwd() == tmp_path
    assert (os.environ["PYTHONPATH"], os.environ["TMPDIR"]) == (os.pathsep.join(["lib", "/absolute"]), "scratch")
