"""What reaches a terminal: no control character of a stranger's, whatever the stream, its width and its encoding."""

from __future__ import annotations

import io
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from rich.live import Live

from depthweave.reports.store.run_store import RunStore
from depthweave.search.commands.show import show_front
from depthweave.search.console import Terminal, command_line, control_free_streams, one_line, without_controls
from depthweave.search.progress import PlainProgress
from tests.reports.synthetic import OBJECTIVES, make_info, make_record, synthetic_trials
from tests.search.commandline import Cli

_TITLE = "\x1b]0;owned\x07"
_CLEAR = "\x9b2J\x1b[2J"
HOSTILE = f"{_TITLE}{_CLEAR}[/x] :smile:\r\x7f"


@contextmanager
def standard_output(encoding: str = "utf-8") -> Iterator[io.BytesIO]:
    sink, former = io.BytesIO(), sys.stdout
    sys.stdout = io.TextIOWrapper(sink, encoding=encoding, newline="", write_through=True)
    try:
        with control_free_streams():
            yield sink
    finally:
        sys.stdout = former


@pytest.fixture
def hostile(tmp_path: Path) -> RunStore:
    return _hostile_run(tmp_path / "hostile", run_id="hostile")


def _hostile_run(folder: Path, *, run_id: str) -> RunStore:
    """A run whose every text may be a stranger's."""
    store = RunStore.create(folder, info=make_info(name=HOSTILE, run_id=run_id), spec_yaml="name: x\n")
    texts = ("fusion", "hardware", "host", "corpus", "tokenizer", "software", "device")
    for trial in range(3):
        changes = {
            "run_id": run_id,
            **dict.fromkeys(texts, HOSTILE),
            "architecture_id": f"{trial}{HOSTILE}",
            "latency": 1.0 + trial,
        }
        store.append(make_record(trial, perplexity=4.0 - trial, **changes), evaluations=[], weights=[])
    failed = make_record(
        9, run_id=run_id, state="failed", reason=HOSTILE, perplexity=None, loss=None, bits_per_byte=None
    )
    store.append(failed, evaluations=[], weights=[])
    (Path(store.where) / "records" / f"x{HOSTILE.replace('/', '')}.parquet").write_bytes(b"")
    return store


@pytest.mark.parametrize(
    "command",
    [["show"], ["show", "--csv"], ["show", "--json"], ["compare"], ["export", "--out", "x", "--where", HOSTILE]],
)
def test_no_command_prints_a_control_character(
    command: list[str], hostile: RunStore, run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    others = [_hostile_run(tmp_path / "other", run_id="other").where] if command == ["compare"] else []
    code, out, err = run(command[0], hostile.where, *others, *command[1:])
    assert code == (2 if command[0] == "export" else 0), err
    assert "owned" in out + err
    assert without_controls(out + err) == out + err
    if command == ["show"]:
        assert "[/x] :smile:" in out, "no markup and no emoji is made of it"


def test_values_printed_as_json_are_what_they_were(hostile: RunStore, run: Cli) -> None:
    assert HOSTILE in {row["fusion"] for row in json.loads(run("show", hostile.where, "--json").out)}


def test_plain_prints_errors_and_displays_are_free_of_control_characters(capsys: pytest.CaptureFixture[str]) -> None:
    with control_free_streams():
        print(HOSTILE)
        sys.stderr.writelines([HOSTILE, "\n"])
        progress = PlainProgress(Terminal(), objectives=OBJECTIVES)
        progress.on_phase(f"one\n{HOSTILE}")
        with Live(HOSTILE, console=Terminal(), auto_refresh=False):
            print(f"beside {HOSTILE}")
    printed = capsys.readouterr()
    assert printed.out.count("owned") == 4
    assert printed.err.count("owned") == 1
    assert without_controls(printed.out + printed.err) == printed.out + printed.err


def test_terminal_keeps_its_own_styles_and_cursor_moves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm-256color")
    with standard_output() as sink:
        Terminal().say(HOSTILE, style="yellow")
        assert sink.getvalue().startswith(b"\x1b[33m")
        assert sink.getvalue().count(b"\x1b") == 2


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_stream_that_lacks_characters_gets_others_in_their_place(encoding: str, full_run: RunStore) -> None:
    shown = {}
    for name in ("utf-8", encoding):
        with standard_output(name) as sink:
            show_front(full_run.where, form="table")
            print("a name: \udc80")
            shown[name] = sink.getvalue().decode(name)
    plain = shown[encoding]
    assert "dwa 4x5" in plain or "dwa 4×5" in plain
    assert "?" not in plain.replace("? not", "").replace("a name: ?", "")
    assert len(plain.splitlines()) == len(shown["utf-8"].splitlines())


@pytest.fixture
def full_run(tmp_path: Path) -> RunStore:
    store = RunStore.create(tmp_path / "full", info=make_info(), spec_yaml="name: x\n")
    for trial in synthetic_trials():
        store.append(trial.record, evaluations=[], weights=[])
    return store


@pytest.mark.parametrize("command", ["show", "space"])
def test_narrow_terminal_loses_no_column(
    command: str, full_run: RunStore, spec_file: Path, run: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    named = full_run.where if command == "show" else spec_file
    texts = {}
    for columns in (20, 300):
        monkeypatch.setenv("COLUMNS", str(columns))
        texts[columns] = run(command, named).out
    wide_rows = [line.split() for line in texts[300].splitlines()]
    heads = next(row for row in wide_rows if "depth" in row)
    narrow_rows = [line.split() for line in texts[20].splitlines()]
    assert heads in narrow_rows
    assert [row for row in wide_rows if len(row) >= len(heads) - 2][:3] == [
        row for row in narrow_rows if len(row) >= len(heads) - 2
    ][:3]
    assert "…" not in texts[20]


def test_reader_that_has_gone_is_no_error(full_run: RunStore) -> None:
    program = "from depthweave.search.cli import main; main()"
    command = shlex.join([sys.executable, "-c", program, "show", full_run.where])
    answer = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {command} | true"], capture_output=True, text=True, check=False
    )
    assert (answer.returncode, answer.stderr) == (0, "")


def test_search_goes_on_where_its_output_is_gone() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    former = sys.stdout
    sys.stdout = os.fdopen(writing, "w", encoding="utf-8")
    try:
        with control_free_streams():
            terminal = Terminal(ignore_closed=True)
            for _ in range(3):
                terminal.say("a trial ended")
            # What Python does at its end.
            sys.stdout.flush()
    finally:
        gone, sys.stdout = sys.stdout, former
        gone.close()


@pytest.mark.parametrize("closed", [">&-", "2>&-", ">&- 2>&-", "<&- >&- 2>&-"])
def test_closed_streams_are_no_fault(closed: str, full_run: RunStore) -> None:
    program = "from depthweave.search.cli import main; main()"
    command = shlex.join([sys.executable, "-c", program, "show", full_run.where])
    answer = subprocess.run(["bash", "-c", f"{command} {closed}"], capture_output=True, text=True)
    assert (answer.returncode, answer.stderr) == (0, "")


def test_marks_that_reorder_a_line_are_dropped() -> None:
    assert one_line("run\u202egnp\u202c\u2066.exe\u2069\nnext") == "rungnp.exe next"


def test_printed_command_is_one_that_a_shell_reads_back() -> None:
    where = "/a folder/it's $HOME"
    assert shlex.split(command_line("export", where, "--select", "knee")) == [
        "depthweave",
        "export",
        where,
        "--select",
        "knee",
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        ["search", "examples/quick.yaml", "--out", ""],
        ["search", "examples/quick.yaml", "--out="],
        ["search", ""],
        ["show", ""],
        ["export", "run", "--out", ""],
        ["train", "export", "--out", "x", "--corpus", ""],
        ["report", "run", "--png="],
        ["measure", "none", ""],
        ["generate", ""],
    ],
)
def test_empty_path_is_refused(arguments: list[str], fault: Callable[..., str]) -> None:
    assert fault(*arguments).endswith("is empty: give a value, or leave it out (is a variable of the shell unset?)")
