"""`depthweave show`: its forms, and the watching of a run."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from depthweave.search.commands import show
from tests.search.commandline import Cli
from tests.search.ledger_runs import Run


@pytest.fixture
def made(tmp_path: Path) -> Run:
    """A run of two complete trials."""
    run = Run(tmp_path / "small")
    for name, loss, latency in (("a", 2.0, 1.0), ("b", 1.5, 1.5)):
        run.start(name)
        run.train(name, last_loss=loss, latency=latency)
    return run


def test_show_as_csv_is_the_json_in_rows(made: Run, run: Cli) -> None:
    rows = json.loads(run("show", made.store.where, "--json").out)
    read = list(csv.DictReader(io.StringIO(run("show", made.store.where, "--csv").out)))
    assert [row["architecture_id"] for row in read] == [row["architecture_id"] for row in rows]


@pytest.mark.parametrize("command", [("show",), ("show", "--json"), ("report",)])
def test_trials_that_only_the_journal_knows_are_named(made: Run, run: Cli, command: tuple[str, ...]) -> None:
    first, *options = command
    made.start("c")
    assert "journal" not in run(first, made.store.where, *options).err, "a running trial has no record yet"
    (Path(made.store.where) / "records" / "trial-00001-r000.parquet").unlink()
    resume = f"`depthweave search --resume --out {made.store.where}` trains what is missing again"
    message = f"study.journal: trial 1 has ended and has no readable record in records/: {resume}\n"
    assert run(first, made.store.where, *options).err == message

    shutil.rmtree(Path(made.store.where) / "records")
    assert "trials 0, 1 have ended and have no readable record" in run(first, made.store.where, *options).err
    # A damaged or missing journal knows nothing: it is rebuilt from the records.
    journal = Path(made.store.where) / "study.journal"
    whole = journal.read_bytes()
    for damaged in (b"x\n" + whole, whole.replace(b'"values":[', b'"values":[9,', 1)):
        journal.write_bytes(damaged)
        assert run(first, made.store.where, *options).err == ""
    journal.unlink()
    assert run(first, made.store.where, *options).err == ""


def test_two_forms_at_once_are_refused(made: Run, fault: Callable[..., str]) -> None:
    assert fault("show", made.store.where, "--json", "--csv") == "show: --json and --csv exclude each other: give one"


def test_watch_without_a_terminal_is_refused(made: Run, fault: Callable[..., str]) -> None:
    assert "the output is none" in fault("show", made.store.where, "--watch")


def test_watch_draws_again_when_a_record_came_and_ends_with_ctrl_c(
    made: Run, run: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    sink, readings, looks = io.StringIO(), [], []
    console = Console(file=sink, force_terminal=True, width=80, height=50)
    monkeypatch.setattr(show, "Terminal", lambda **_: console)
    records = type(made.store).records
    monkeypatch.setattr(type(made.store), "records", lambda store: readings.append(1) or records(store))  # type: ignore[func-returns-value]

    def look(_: float) -> None:
        looks.append(len(readings))
        if len(looks) == 2:
            made.start("c")
            made.train("c", last_loss=1.2, latency=2.5)
            # What the book itself read while it wrote is not the watcher's.
            readings[:] = [1]
        if len(looks) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(show.time, "sleep", look)
    assert run("show", made.store.where, "--watch").code == 0
    # Read once at the start, not again while nothing changed, and again after the new record.
    assert looks == [1, 1, 2]
    assert "2 trials, 2 complete" in sink.getvalue()
    assert "3 trials, 3 complete" in sink.getvalue()
