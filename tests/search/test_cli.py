"""The command line without Ray: help, one line for whatever is wrong, and the commands that need no cluster."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from depthweave.reports.analysis.front_file import write_front
from depthweave.spaces import load, save_model
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.files import MODEL_FILE
from tests.search.commandline import Cli
from tests.search.ledger_runs import Run

COMMANDS = ("space", "search", "show", "report", "compare", "export", "train")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three complete trials, all on the front, with their weights."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    made = Run(folder)
    for number, (loss, latency) in enumerate(((2.0, 1.0), (1.5, 1.5), (1.2, 2.5))):
        entry = made.start(str(number))
        made.train(str(number), last_loss=loss, latency=latency)
        path = Path(made.store.checkpoint_dir(number)) / MODEL_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(path, Decoder(entry.candidate.architecture, seed=0))
    write_front(made.store, made.store.records())
    return folder


# Help and syntax


@pytest.mark.parametrize("command", COMMANDS)
def test_help_of_every_command_has_an_example(command: str, run: Cli) -> None:
    for flag in ("--help", "-h"):
        code, out, err = run(command, flag)
        assert (code, err) == (0, "")
        assert f"Example: depthweave {command} " in out


def test_no_arguments_print_the_commands(run: Cli) -> None:
    code, out, _ = run()
    assert code == 0
    assert all(f"│ {command} " in out for command in COMMANDS)


def test_version(run: Cli) -> None:
    assert run("--version").out.startswith("depthweave ")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["serch"], "No such command 'serch'"),
        (["space"], "Missing argument"),
        (["search", "--trails", "3"], "No such option: --trails"),
        (["search", "--trials", "many"], "--trials"),
        (["show", "a", "b"], "unexpected extra argument"),
        (["export", "run"], "Missing option '--out'"),
    ],
)
def test_error_of_syntax_is_one_line(arguments: list[str], message: str, fault: Callable[..., str]) -> None:
    line = fault(*arguments)
    assert message in line
    assert line.endswith("see depthweave --help")


def test_debug_shows_the_traceback_and_else_there_is_none(run: Cli, tmp_path: Path) -> None:
    code, _, err = run("--debug", "space", tmp_path / "none.yaml")
    assert code == 2
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in run("space", tmp_path / "none.yaml").err


def test_fault_of_the_program_is_one_line_and_exit_code_1(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyError("lost")

    monkeypatch.setattr("depthweave.search.commands.report.make_report", fail)
    code, _, err = run("report", "x")
    assert code == 1
    assert err == "error: KeyError: 'lost'; this is a fault of Depthweave: --debug shows where\n"


def test_memory_that_ran_out_is_one_line_and_exit_code_2(run: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise MemoryError("Unable to allocate 1.0 EiB")

    monkeypatch.setattr("depthweave.search.commands.report.make_report", fail)
    code, _, err = run("report", "x")
    assert code == 2
    assert err.startswith("error: main memory ran out (MemoryError: Unable to allocate 1.0 EiB): ")
    assert err.count("\n") == 1


# Specs


@pytest.mark.parametrize("command", ["space", "search"])
@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("space.fusions=[dwx]", "did you mean 'dwa'?"),
        ("objectives=[perplexty]", "did you mean 'perplexity'?"),
        ("search.sampler=tpx", "did you mean 'tpe'?"),
        ("search.pruner=medan", "did you mean 'median'?"),
        ("recipe.stepz=3", "did you mean 'recipe.steps'?"),
        ("space.dilations=[0]", "space.dilations: 0 is below 1"),
        ("space.periods=[0]", "space.periods: 0 is below 1"),
        ("space.depths=[0]", "space.depths: 0 is below 1"),
        ("objectives=[]", "no objective"),
        ("objectives=[perplexity, perplexity]", "names an objective twice"),
        ("space.budgets=[500]", "the smallest larger budget that can be met is 2,385"),
        ("reference.depth=3", "the reference (none, depth 3, budget 20,000) is not in the space"),
    ],
)
def test_bad_spec_is_one_line_before_anything_is_made(
    command: str, override: str, message: str, spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    place = ["--out", out] if command == "search" else []
    assert message in fault(command, spec_file, *place, "--set", override)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"\x80\x81", "cannot be read"), (b"[1, 2]", "is not a mapping"), (b"a: [", "as YAML")],
)
def test_file_that_is_no_spec_is_one_line(
    content: bytes | None, message: str, fault: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_bytes(content)
    line = fault("space", path)
    assert message in line
    assert str(path) in line


# space


def test_space_fits_80_columns_and_groups_what_is_infeasible(spec_file: Path, run: Cli) -> None:
    code, out, err = run("space", spec_file, "--set", "space.budgets=[20000, 3000]")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("small: ")
    infeasible = [line for line in lines if line.startswith("infeasible: ")]
    rows = [line for line in lines[1:] if not line.startswith(("infeasible: ", "shape: ", "training: "))]
    assert all(len(line) <= 80 for line in rows)
    assert not any("…" in line for line in rows)
    assert any(line.split()[1] == "none*" for line in rows)
    assert infeasible
    heads = [line.split(": ")[1] for line in infeasible]
    assert len(set(heads)) == len(heads), "one line a fusion, depth and budget"
    assert all(" from " in line or "at no budget" in line for line in infeasible)


def test_space_names_wirings_that_read_no_earlier_state(spec_file: Path, run: Cli) -> None:
    code, out, _ = run("space", spec_file, "--set", "space.periods=[1, 40]", "--set", "space.dilations=[1]")
    assert code == 0
    assert "1x40: no earlier state is read at depth" in " ".join(out.split())


def test_space_as_json_has_every_architecture_and_reason(spec_file: Path, run: Cli) -> None:
    code, out, _ = run("space", spec_file, "--json", "--set", "space.budgets=[20000, 3000]")
    assert code == 0
    found = json.loads(out)
    assert found["distinct"] == len(found["architectures"])
    assert found["combinations"] == found["distinct"] + found["duplicates"] + len(found["infeasible"])
    assert found["reference"] in {item["id"] for item in found["architectures"]}
    assert all("cannot have 3,000 parameters" in item["reason"] for item in found["infeasible"])


def test_space_of_many_architectures_shows_the_families_of_their_wirings(spec_file: Path, run: Cli) -> None:
    code, out, err = run("space", spec_file, "--set", "space.wirings=[all]", "--set", "space.fusions=[dwa, concat]")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    table = [line for line in lines[1:] if not line.startswith(("infeasible", "shape", "training"))]
    assert max(map(len, table)) <= 80
    assert "…" not in out
    rows = {tuple(line.split()[:3]): line.split() for line in lines}
    # With 6 blocks there are 6 mirrors, as the grammar has them.
    assert rows["dwa", "6", "mirror"][3:5] == ["6", "6"]
    assert rows["dwa", "6", "skip"][3:6] == ["12", "12", "1"]


def test_space_names_each_wiring_by_its_rule(spec_file: Path, run: Cli) -> None:
    wirings = "space.wirings=[first:2, 'window:3+embed@2 from:3', one:4]"
    changes = (
        "--set",
        wirings,
        "--set",
        "space.dilations=[]",
        "--set",
        "space.periods=[]",
        "--set",
        "space.depths=[4, 6]",
    )
    code, out, err = run("space", spec_file, *changes)
    assert (code, err) == (0, "")
    assert "dwa    first:2" in out
    assert "one:4 at no budget (the model is too shallow for it)" in out
    rules = {item["rule"] for item in json.loads(run("space", spec_file, "--json", *changes).out)["architectures"]}
    assert rules == {None, "first:2", "window:3+embed@2 from:3", "one:4"}


def test_space_says_where_no_width_gives_the_plain_transformer_its_usual_shape(spec_file: Path, run: Cli) -> None:
    # A width of 32 has 7.8, the next multiple none that is feasible.
    wide_heads = ("--set", "space.head_width=32", "--set", "space.budgets=[40000]", "--set", "space.depths=[2]")
    _, out, _ = run("space", spec_file, *wide_heads)
    (line,) = [line for line in out.splitlines() if line.startswith("shape: ")]
    assert line.startswith(
        "shape: at depth 2 and budget 40,000 the plain transformer's feed-forward layers are 7.8 times its width of "
        "32, not 2 to 5 times; "
    )
    (item,) = json.loads(run("space", spec_file, "--json", *wide_heads).out)["unbalanced"]
    assert (item["depth"], item["width"], round(item["ratio"], 1)) == (2, 32, 7.8)


# show, report, export


def test_show_prints_the_front_and_json(finished: Path, run: Cli) -> None:
    code, out, err = run("show", finished)
    assert (code, err) == (0, "")
    assert max(map(len, out.splitlines())) <= 80
    rows = json.loads(run("show", finished, "--json").out)
    assert len(rows) == 3
    assert all(row["architecture_id"] in out for row in rows)


def test_report_writes_one_file_and_names_it(finished: Path, run: Cli) -> None:
    code, out, _ = run("report", finished)
    assert code == 0
    assert out.strip().endswith("report.html")
    assert (finished / "report.html").stat().st_size > 10_000


def test_export_writes_a_model_that_loads(finished: Path, run: Cli, tmp_path: Path) -> None:
    code, out, _ = run("export", finished, "--select", "fastest", "--out", tmp_path / "model")
    assert code == 0
    rows = json.loads(run("show", finished, "--json").out)
    (row,) = (row for row in rows if "fastest" in row["selected_by"])
    assert row["architecture_id"] in out
    assert load(tmp_path / "model").architecture.id == row["architecture_id"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--select", "id:ffffffff"], "id:ffffffff is no architecture of this run: nearest: "),
        (["--select", "bestt"], "did you mean 'best'?"),
        (["--where", "latency<=0.1"], "nothing meets latency<=0.1: nearest: latency 1 (id "),
        (["--where", "latncy<=1"], "did you mean 'latency'?"),
        (["--where", "latency"], "write COLUMN SIGN NUMBER"),
    ],
)
def test_export_of_what_is_not_there_is_one_line(
    arguments: list[str], message: str, finished: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    assert message in fault("export", finished, "--out", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


def test_export_names_what_cannot_be_read_before_it_chooses(finished: Path, run: Cli, tmp_path: Path) -> None:
    damaged = shutil.copytree(finished, tmp_path / "run")
    for path in (damaged / "records").glob("*.parquet"):
        path.write_bytes(b"not Parquet")
    code, _, err = run("export", damaged, "--out", tmp_path / "out")
    assert code == 2
    assert err.startswith("records/")
    assert "cannot be read (" in err.splitlines()[0]


def test_export_into_a_folder_that_is_not_empty_is_one_line(
    finished: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    (tmp_path / "note.txt").touch()
    assert "is not an empty folder" in fault("export", finished, "--out", tmp_path)


@pytest.mark.parametrize("command", ["show", "report", "export"])
def test_folder_without_a_run_is_one_line(command: str, fault: Callable[..., str], tmp_path: Path) -> None:
    place = ["--out", tmp_path / "out"] if command == "export" else []
    assert "holds no run" in fault(command, tmp_path, *place)


def test_damaged_part_is_named_and_the_rest_read(run: Cli, tmp_path: Path) -> None:
    made = Run(tmp_path)
    for name in ("a", "b"):
        made.start(name)
        made.train(name)
    next((tmp_path / "records").glob("trial-00000-*.parquet")).write_bytes(b"not Parquet")
    code, out, err = run("show", tmp_path, "--json")
    assert code == 0
    assert len(json.loads(out)) == 1
    damaged, unrecorded = err.splitlines()
    assert damaged.startswith("records/trial-00000-r000.parquet: cannot be read (")
    assert unrecorded.startswith(
        "study.journal: trial 0 has ended and has no readable record in records/: `depthweave search --resume"
    )
