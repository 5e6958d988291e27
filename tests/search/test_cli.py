"""The command line without Ray: help, one line for whatever is wrong, and the commands that need no cluster."""

from __future__ import annotations

import json
import socket
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
import yaml
from safetensors.torch import load_file

from depthweave.search import cli, cluster
from depthweave.search.commands import train as train_command
from depthweave.spaces import load, save_model
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.files import ARCHITECTURE_FILE, MODEL_FILE, write_architecture
from depthweave.spaces.wiring import strided_wiring
from tests.search.bookkeeping import Run

COMMANDS = ("space", "search", "show", "report", "export", "train")


class Answer(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


Cli = Callable[..., Answer]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Cli:
    """Runs the command line as the installed script does, on a terminal of 80 columns."""
    monkeypatch.setenv("COLUMNS", "80")

    def call(*arguments: object) -> Answer:
        monkeypatch.setattr(sys, "argv", ["depthweave", *map(str, arguments)])
        with pytest.raises(SystemExit) as exit_:
            cli.main()
        printed = capsys.readouterr()
        code = exit_.value.code
        return Answer(code if isinstance(code, int) else 0, printed.out, printed.err)

    return call


@pytest.fixture
def fault(run: Cli) -> Callable[..., str]:
    """Runs a command that must fail on its input, and answers its one line."""

    def call(*arguments: object) -> str:
        code, _, err = run(*arguments)
        assert code == 2, err
        assert err.startswith("error: ")
        assert err.count("\n") == 1
        assert err.endswith("\n")
        return err.removeprefix("error: ").rstrip("\n")

    return call


@pytest.fixture
def spec_file(corpus_folder: Path, tmp_path: Path) -> Path:
    path = tmp_path / "small.yaml"
    values = {
        "name": "small",
        "corpus": {"kind": "files", "paths": [str(corpus_folder)], "validation_frac": 0.3},
        "space": {
            "fusions": ["none", "dwa", "concat"],
            "dilations": [1, 2],
            "periods": [1, 2],
            "depths": [2, 6],
            "budgets": [20_000],
            "head_width": 8,
        },
        "recipe": {"steps": 6, "batch": 4, "context": 32, "num_evaluations": 3, "evaluation_tokens": 512},
    }
    path.write_text(yaml.safe_dump(values), encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of three complete trials, of which all stand on the front, with their weights."""
    folder = tmp_path_factory.mktemp("runs") / "small"
    made = Run(folder)
    for number, (loss, latency) in enumerate(((2.0, 1.0), (1.5, 1.5), (1.2, 2.5))):
        entry = made.start(str(number))
        made.train(str(number), last_loss=loss, latency=latency)
        path = Path(made.store.checkpoint_dir(number)) / MODEL_FILE
        path.parent.mkdir(parents=True, exist_ok=True)
        save_model(path, Decoder(entry.candidate.architecture, seed=0))
    made.store.write_front(made.store.records())
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
    ("arguments", "told"),
    [
        (["serch"], "No such command 'serch'"),
        (["space"], "Missing argument"),
        (["search", "--trails", "3"], "No such option: --trails"),
        (["search", "--trials", "many"], "--trials"),
        (["show", "a", "b"], "unexpected extra argument"),
        (["export", "run"], "Missing option '--out'"),
    ],
)
def test_error_of_syntax_is_one_line(arguments: list[str], told: str, fault: Callable[..., str]) -> None:
    line = fault(*arguments)
    assert told in line
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

    monkeypatch.setattr("depthweave.search.commands.results.make_report", fail)
    code, _, err = run("report", "x")
    assert code == 1
    assert err == "error: KeyError: 'lost'; this is a fault of Depthweave: --debug shows where\n"


# Specs


@pytest.mark.parametrize("command", ["space", "search"])
@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("space.fusions=[dwx]", "did you mean 'dwa'?"),
        ("objectives=[perplexty]", "did you mean 'perplexity'?"),
        ("search.sampler=tpx", "did you mean 'tpe'?"),
        ("search.pruner=medan", "did you mean 'median'?"),
        ("recipe.stepz=3", "did you mean recipe.steps?"),
        ("space.dilations=[0]", "space.dilations: 0 is below 1"),
        ("space.periods=[0]", "space.periods: 0 is below 1"),
        ("space.depths=[0]", "space.depths: 0 is below 1"),
        ("objectives=[]", "no objective"),
        ("objectives=[perplexity, perplexity]", "names one twice"),
        ("space.budgets=[500]", "the smallest larger budget that can be met is 2,408"),
        ("reference.depth=3", "the reference (none, depth 3, budget 20,000) is not in the space"),
    ],
)
def test_bad_spec_is_one_line_before_anything_is_made(
    command: str, override: str, told: str, spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    out = tmp_path / "run"
    place = ["--out", out] if command == "search" else []
    assert told in fault(command, spec_file, *place, "--set", override)
    assert not out.exists()


@pytest.mark.parametrize(
    ("content", "told"),
    [(None, "no such file"), (b"\x80\x81", "cannot be read"), (b"[1, 2]", "is not a mapping"), (b"a: [", "as YAML")],
)
def test_file_that_is_no_spec_is_one_line(
    content: bytes | None, told: str, fault: Callable[..., str], tmp_path: Path
) -> None:
    path = tmp_path / "spec.yaml"
    if content is not None:
        path.write_bytes(content)
    line = fault("space", path)
    assert told in line
    assert str(path) in line


# Searches that cannot start


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("none.txt", None, "none.txt does not exist"),
        ("empty.txt", b"", "every file is empty"),
        ("binary.txt", b"\xff\x00\x81", "is not UTF-8 text"),
        ("zero.txt", b"a\0b", "is not text"),
        ("small.txt", b"one\ntwo\nthree", "training tokens; one batch of 4 x 32 needs 129"),
    ],
)
def test_bad_corpus_is_one_line_before_anything_is_made(
    name: str, content: bytes | None, told: str, spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    if content is not None:
        (tmp_path / name).write_bytes(content)
    sets = ("--set", f"corpus.paths=[{tmp_path / name}]", "--set", r'corpus.separator="\n"')
    assert told in fault("search", spec_file, "--out", tmp_path / "run", *sets)
    assert not (tmp_path / "run").exists()


def test_folder_that_holds_a_run_is_refused_and_resume_named(
    spec_file: Path, finished: Path, fault: Callable[..., str]
) -> None:
    assert "already holds a run: continue it with --resume" in fault("search", spec_file, "--out", finished)


def test_resume_without_a_run_is_one_line(fault: Callable[..., str], tmp_path: Path) -> None:
    assert "holds no run" in fault("search", "--resume", "--out", tmp_path)
    assert "say which run with --out" in fault("search", "--resume")
    assert "no spec given" in fault("search")


def test_resume_with_another_spec_says_where_it_differs(
    spec_file: Path, run: Cli, fault: Callable[..., str], tmp_path: Path
) -> None:
    folder = tmp_path / "run"
    _begin(spec_file, folder)
    line = fault("search", spec_file, "--resume", "--out", folder, "--set", "recipe.batch=8", "--seed", 3)
    assert "recipe.batch is 8, was 4 (and 1 more)" in line
    assert "recipe.steps is 7, was 6" in fault("search", "--resume", "--out", folder, "--set", "recipe.steps=7")


def test_resume_with_damaged_spec_names_the_file(spec_file: Path, fault: Callable[..., str], tmp_path: Path) -> None:
    folder = tmp_path / "run"
    _begin(spec_file, folder)
    (folder / "spec.yaml").write_text("space: [", encoding="utf-8")
    assert f"{folder}/spec.yaml: cannot be read as YAML" in fault("search", "--resume", "--out", folder)


def _begin(spec_file: Path, folder: Path) -> None:
    """The run's folder as it is before the first trial."""
    from depthweave.search.setting import create_run, prepare
    from depthweave.search.spec import load_spec

    create_run(prepare(load_spec(spec_file)), out=folder)


@pytest.mark.parametrize(
    ("flag", "value", "told"),
    [
        ("--time-budget", "soon", "--time-budget soon: give seconds"),
        ("--time-budget", "0", "search.time_budget_s"),
        ("--time-budget", "-5m", "search.time_budget_s"),
        ("--trials", "0", "search.trials"),
        ("--seed", "-1", "seed"),
        ("--set", "recipe", "write KEY=VALUE"),
        ("--out", "s3://bucket/run", "not to object storage"),
        ("--address", "somewhere", "give HOST:PORT"),
    ],
)
def test_bad_option_of_search_is_one_line(
    flag: str, value: str, told: str, spec_file: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    place = [] if flag == "--out" else ["--out", tmp_path / "run"]
    assert told in fault("search", spec_file, *place, flag, value)
    assert not (tmp_path / "run").exists()


@pytest.fixture
def mute_port() -> Iterator[int]:
    """A port that takes connections and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server.getsockname()[1]


def test_address_that_nobody_listens_at_is_one_line_at_once(
    spec_file: Path, mute_port: int, fault: Callable[..., str], tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        closed = server.getsockname()[1]
    started = time.monotonic()
    line = fault("search", spec_file, "--out", tmp_path / "run", "--address", f"127.0.0.1:{closed}")
    assert "no Ray cluster answers" in line
    assert time.monotonic() - started < 30
    assert not (tmp_path / "run").exists()


def test_address_that_is_no_ray_cluster_is_one_line(
    mute_port: int, spec_file: Path, fault: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cluster._CONNECT_LIMIT_S < 30
    monkeypatch.setattr(cluster, "_CONNECT_LIMIT_S", 0.2)
    line = fault("search", spec_file, "--out", tmp_path / "run", "--address", f"127.0.0.1:{mute_port}")
    assert "no Ray cluster answers" in line
    assert not (tmp_path / "run").exists()


# space


def test_space_fits_80_columns_and_groups_what_is_infeasible(spec_file: Path, run: Cli) -> None:
    code, out, err = run("space", spec_file, "--set", "space.budgets=[20000, 3000]")
    assert (code, err) == (0, "")
    lines = out.splitlines()
    assert lines[0].startswith("small: ")
    infeasible = [line for line in lines if line.startswith("infeasible: ")]
    rows = [line for line in lines[1:] if line not in infeasible]
    assert all(len(line) <= 80 for line in rows)
    assert not any("…" in line for line in rows)
    assert any(line.split()[1] == "none*" for line in rows)
    assert infeasible
    heads = [line.split(": ")[1] for line in infeasible]
    assert len(set(heads)) == len(heads), "one line a fusion, depth and budget"
    assert all(" from " in line or "at no budget" in line for line in infeasible)


def test_space_as_json_has_every_architecture_and_reason(spec_file: Path, run: Cli) -> None:
    code, out, _ = run("space", spec_file, "--json", "--set", "space.budgets=[20000, 3000]")
    assert code == 0
    found = json.loads(out)
    assert found["distinct"] == len(found["architectures"])
    assert found["combinations"] == found["distinct"] + found["duplicates"] + len(found["infeasible"])
    assert found["reference"] in {item["id"] for item in found["architectures"]}
    assert all("cannot have 3,000 parameters" in item["reason"] for item in found["infeasible"])


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
    ("arguments", "told"),
    [
        (["--select", "id:ffffffff"], "id:ffffffff is no architecture of this run: nearest: "),
        (["--select", "bestt"], "did you mean 'best'?"),
        (["--where", "latency<=0.1"], "nothing meets latency<=0.1: nearest: latency 1 (id "),
        (["--where", "latncy<=1"], "did you mean 'latency'?"),
        (["--where", "latency"], "write COLUMN SIGN NUMBER"),
    ],
)
def test_export_of_what_is_not_there_is_one_line(
    arguments: list[str], told: str, finished: Path, fault: Callable[..., str], tmp_path: Path
) -> None:
    assert told in fault("export", finished, "--out", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


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
    assert err.startswith("left out: records/trial-00000-r000.parquet: ")
    assert err.count("\n") == 1


# train


@pytest.fixture
def architecture_file(tmp_path: Path) -> Path:
    folder = tmp_path / "exported"
    folder.mkdir()
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(2), width=16, heads=2, feed_forward=16, vocabulary=256, context=32
    )
    write_architecture(folder / ARCHITECTURE_FILE, architecture)
    save_model(folder / MODEL_FILE, Decoder(architecture, seed=9))
    return folder / ARCHITECTURE_FILE


@pytest.fixture
def training(architecture_file: Path, corpus_folder: Path) -> list[object]:
    """Arguments of a training of eight steps and four evaluations."""
    sets = ("batch=4", "num_evaluations=4", "evaluation_tokens=512", "learning_rate=1e-3")
    return [
        *("train", architecture_file, "--corpus", corpus_folder, "--tokens", "1024"),
        *(item for text in sets for item in ("--set", text)),
    ]


def test_train_writes_a_model_that_loads_with_its_metrics(training: list[object], run: Cli, tmp_path: Path) -> None:
    out = tmp_path / "model"
    code, printed, _ = run(*training, "--out", out)
    assert code == 0
    assert printed.count("step ") >= 4
    metrics = json.loads((out / "metrics.json").read_text(encoding="utf-8"))
    assert (metrics["step"], metrics["tokens"], metrics["recipe"]["learning_rate"]) == (8, 1024, 0.001)
    assert f"perplexity {metrics['perplexity']:.3f}" in printed
    assert load(out).architecture.depth == 2
    code, printed, _ = run(*training, "--out", out)
    assert code == 0
    assert "is already trained to its end" in printed


def test_interrupted_training_goes_on_to_the_same_weights(
    training: list[object], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    assert run(*training, "--out", whole).code == 0
    true_train = train_command.train

    def interrupted(*given: Any, **named: Any) -> Iterator[Any]:
        evaluations = true_train(*given, **named)
        yield next(evaluations)
        yield next(evaluations)
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "train", interrupted)
        assert run(*training, "--out", broken).code == 130
    assert not (broken / MODEL_FILE).exists()
    code, printed, _ = run(*training, "--out", broken)
    assert code == 0
    assert "from step 4" in printed
    first, second = (load_file(folder / MODEL_FILE) for folder in (whole, broken))
    assert all(torch.equal(first[name], second[name]) for name in first)


def test_training_killed_before_its_model_was_written_writes_it_after_all(
    training: list[object], run: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(train_command, "save_model", interrupted)
        assert run(*training, "--out", tmp_path / "model").code == 130
    assert run(*training, "--out", tmp_path / "model").code == 0
    assert load(tmp_path / "model").architecture.depth == 2


def test_train_further_starts_from_the_weights_beside(training: list[object], run: Cli, tmp_path: Path) -> None:
    frozen = [*training, "--set", "learning_rate=1e-12", "--set", "weight_decay=0"]
    assert run(*frozen, "--further", "--out", tmp_path / "further").code == 0
    before = load_file(tmp_path / "exported" / MODEL_FILE)
    after = load_file(tmp_path / "further" / MODEL_FILE)
    assert all(torch.allclose(before[name], after[name], atol=1e-6) for name in before)


def test_diverged_training_is_one_line_and_is_not_called_trained(
    training: list[object], fault: Callable[..., str], tmp_path: Path
) -> None:
    wild = [*training, "--set", "learning_rate=1e30", "--set", "grad_clip=null", "--out", tmp_path / "model"]
    for _ in range(2):
        assert "the loss was not finite at step" in fault(*wild)
    assert not (tmp_path / "model" / MODEL_FILE).exists()


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--tokens", "few"], "--tokens few: give a number"),
        (["--tokens", "0"], "--tokens 0: give at least one token"),
        (["--set", "lr=1"], "write KEY=VALUE with a key of the recipe; did you mean"),
        (["--set", "batch"], "write KEY=VALUE"),
        (["--set", "batch=0"], "recipe.batch is 0; it must be at least 1"),
        (["--set", "batch=big"], "batch: Input should be a valid integer"),
        (["--set", "context=64"], "recipe.context is 64; it must be at most the architecture's, 32"),
        (["--corpus", "none.txt"], "none.txt does not exist"),
    ],
)
def test_bad_option_of_train_is_one_line(
    arguments: list[str], told: str, training: list[object], fault: Callable[..., str], tmp_path: Path
) -> None:
    assert told in fault(*training, "--out", tmp_path / "model", *arguments)
    assert not (tmp_path / "model").exists()


def test_train_with_other_settings_in_the_same_folder_is_one_line(
    training: list[object], run: Cli, fault: Callable[..., str], tmp_path: Path
) -> None:
    assert run(*training, "--out", tmp_path / "model").code == 0
    line = fault(*training, "--out", tmp_path / "model", "--set", "batch=8")
    assert "holds a training of another architecture or recipe" in line
    assert "is not empty" in fault(*training, "--out", tmp_path / "exported")


def test_train_without_an_architecture_is_one_line(fault: Callable[..., str], tmp_path: Path) -> None:
    assert "no such file" in fault("train", tmp_path / "none.yaml", "--out", tmp_path / "model")
