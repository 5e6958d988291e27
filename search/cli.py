"""The command `depthweave`: space, search, confirm, show, report, compare, export, train, generate, measure.

Errors are one line that says what was given, what is allowed and what to do, with exit code 2; `--debug` adds the
traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from depthweave.search.console import Terminal, discard, guarded_streams
from depthweave.search.signals import INTERRUPTED, deliver_signals

if TYPE_CHECKING:
    from depthweave.reports.figures.images import Format

app = typer.Typer(
    name="depthweave",
    help="Search how the layers of a transformer should feed each other, at measured cost.",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
_DEBUG = "--debug"
_MAY_BE_EMPTY = ("--prompt",)
"""Options whose empty value means something."""

SpecFile = Annotated[Path, typer.Argument(help="Spec of the search, YAML.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. recipe.steps=100.")
]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, local or s3://, gs://.")]
Address = Annotated[str | None, typer.Option("--address", help="Running Ray cluster: HOST:PORT or auto.")]
Ship = Annotated[bool, typer.Option("--ship", help="Send this version of the package to the cluster's workers.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Train again what failed in an earlier part.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]


def main() -> NoReturn:
    """Entry point: run the command line; an error becomes one line, with exit code 2 where the input is at fault."""
    arguments = [item for item in sys.argv[1:] if item != _DEBUG]
    debug = len(arguments) < len(sys.argv) - 1
    with guarded_streams():
        _run(arguments, debug=debug)


def _run(arguments: list[str], *, debug: bool) -> NoReturn:
    try:
        _check_given(arguments)
        with deliver_signals():
            code = app(arguments or ["--help"], prog_name="depthweave", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:
        # The reader of a pipe has gone (`| head`): not an error. What is still buffered has nowhere to go.
        discard(sys.stdout)
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseException as error:
        # A panic of a library written in Rust is no Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if debug:
            traceback.print_exc()
        fault = _fault_of_input(error)
        text = fault or f"{type(error).__name__}: {error}; this is a fault of Depthweave: --debug shows where"
        Terminal(stderr=True).say(" ".join(f"error: {text}".split()))
        sys.exit(2 if fault else 1)


def _check_given(arguments: list[str]) -> None:
    """Raises `ValueError` where an argument is empty: as a path it would mean the root, or the working folder."""
    for before, argument in pairwise(["", *arguments]):
        option, equals, value = argument.partition("=") if argument.startswith("--") else (before, "", argument)
        named = option if option.startswith("-") else "an argument"
        if not value and (equals or not argument) and option not in _MAY_BE_EMPTY:
            raise ValueError(f"{named} is empty: give a value, or leave it out (is a variable of the shell unset?)")


def _fault_of_input(error: BaseException) -> str | None:
    """What is wrong with the input; `None` for an error that no input should cause."""
    if isinstance(error, (ValueError, OSError)):
        return str(error) or type(error).__name__
    # In containers a user may have neither HOME nor an entry; Ray, torch and the cache of texts look for both.
    if (isinstance(error, RuntimeError) and "home directory" in str(error)) or (
        isinstance(error, KeyError) and "getpwuid" in str(error)
    ):
        return f"this user, {os.getuid()}, has no home: set HOME to a folder that may be written, and USER to any name"
    # The errors of a command line's syntax have no class that all versions of typer share.
    message = getattr(error, "format_message", None)
    return None if message is None else f"{message().rstrip('.')}: see depthweave --help"


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"depthweave {version('depthweave')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    pass


@app.command(epilog="Example: depthweave space examples/quick.yaml")
def space(spec: SpecFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a search space: combinations, distinct architectures, infeasible entries with reasons, and a table."""
    from depthweave.search.commands.space import print_space

    print_space(spec, overrides=overrides or [], as_json=as_json)


@app.command(epilog="Example: depthweave search examples/quick.yaml --out runs/quick")
def search(
    spec: Annotated[Path | None, typer.Argument(help="Spec of the search; with --resume the run's own.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Folder of the run, local or s3://, gs://.", show_default="runs/NAME")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    retry_failed: RetryFailed = False,
    address: Address = None,
    ship: Ship = False,
    trials: Annotated[int | None, typer.Option("--trials", help="Architectures to try.")] = None,
    time_budget: Annotated[
        str | None, typer.Option("--time-budget", help="When to stop: seconds, or 90s, 30m, 2h.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of sampler, weights and data order.")] = None,
    overrides: Overrides = None,
) -> None:
    """Search: train, prune, keep the front, report. Ctrl-C ends tidily; --resume goes on."""
    from depthweave.search.commands.search import run

    sets = list(overrides or [])
    if trials is not None:
        sets.append(f"search.trials={trials}")
    if time_budget is not None:
        sets.append(f"search.time_budget_s={_seconds(time_budget)}")
    if seed is not None:
        sets.append(f"seed={seed}")
    code = run(spec, out=out, resume=resume, address=address, overrides=sets, ship=ship, retry_failed=retry_failed)
    raise typer.Exit(code)


@app.command(epilog="Example: depthweave confirm runs/quick --seeds 5")
def confirm(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, local or shared.", show_default=False)],
    seeds: Annotated[
        int, typer.Option("--seeds", help="Fresh seeds beside the search's own, which does not count.")
    ] = 5,
    retry_failed: RetryFailed = False,
    every: Annotated[
        bool, typer.Option("--all", help="Every member of the front, its twins within tolerance too.")
    ] = False,
    address: Address = None,
    ship: Ship = False,
    overrides: Overrides = None,
) -> None:
    """Train the front's distinct members and plain baselines with more seeds, and restate it with intervals."""
    from depthweave.search.commands.confirm import confirm_run

    code = confirm_run(
        run,
        num_seeds=seeds,
        address=address,
        overrides=overrides or [],
        ship=ship,
        retry_failed=retry_failed,
        every=every,
    )
    raise typer.Exit(code)


@app.command(epilog="Example: depthweave show runs/quick --json")
def show(
    run: RunFolder,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    watch: Annotated[
        bool, typer.Option("--watch", help="Draw it anew whenever the run changed, until Ctrl-C.")
    ] = False,
) -> None:
    """Print the front of a run as a table and a plot."""
    from depthweave.search.commands.show import form_of, show_front

    show_front(run, form=form_of(as_json=as_json, as_csv=as_csv, watch=watch))


@app.command(epilog="Example: depthweave report runs/quick --watch")
def report(
    run: RunFolder,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve a page on this machine that follows the run, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int | None, typer.Option("--port", min=0, max=65535, help="Of --watch.", show_default="8765, or a free one")
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Folder for the figures as PNG (extra png).")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Folder for the figures as SVG (extra png).")] = None,
) -> None:
    """Write the report of a run: one HTML file that works offline; or its figures alone, for a paper."""
    from depthweave.search.commands.report import follow_run, make_report, write_figures

    asked: dict[Format, Path | None] = {"png": png, "svg": svg}
    figures = {kind: folder for kind, folder in asked.items() if folder is not None}
    if watch and figures:
        raise ValueError(f"report: --watch and --{next(iter(figures))} exclude each other: give one")
    if port is not None and not watch:
        raise ValueError("report: --port is of --watch: give both or none")
    if watch:
        follow_run(run, port=port)
    elif figures:
        write_figures(run, folders=figures)
    else:
        make_report(run)


@app.command(epilog="Example: depthweave compare runs/quick runs/large --out comparison.html")
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Folders of runs.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("comparison.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and write no page.")] = False,
) -> None:
    """Compare runs: do the orders of patterns agree, whose front is ahead, what cannot be compared."""
    from depthweave.search.commands.compare import compare_runs

    compare_runs(runs, out=out, as_json=as_json)


@app.command(epilog="Example: depthweave export runs/quick --select knee --where 'latency<=1.1' --out exports/knee")
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; new or empty.", show_default=False)],
    select: Annotated[
        str,
        typer.Option(
            "--select",
            help="best, knee, fastest, smallest, or id:ARCHITECTURE; several with commas, each a folder in --out.",
        ),
    ] = "best",
    where: Annotated[str | None, typer.Option("--where", help="Conditions, e.g. 'latency<=0.9, depth==12'.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="torch|onnx", help="The forward pass as a graph beside it; may be repeated."),
    ] = None,
) -> None:
    """Export architectures of a run: weights, tokenizer, metrics, recipe, model card; for transformers too."""
    from depthweave.search.commands.export import export_selected

    export_selected(run, out=out, select=select, where=where, formats=formats or [])


@app.command(
    epilog="Example: depthweave train exports/best/architecture.yaml --width 512 --depth 24 --out models/large"
)
def train(
    architecture: Annotated[
        Path,
        typer.Argument(metavar="EXPORT", help="Folder of an export, or its architecture.yaml.", show_default=False),
    ],
    out: Annotated[
        Path, typer.Option("--out", help="Folder to write; an interrupted one goes on.", show_default=False)
    ],
    corpus: Annotated[
        str | None,
        typer.Option(
            "--corpus",
            help="stdlib, hub:NAME, or files, folders and globs with commas between.",
            show_default="the export's, where that is stdlib",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option("--tokens", help="Tokens to train on, e.g. 500k or 20M.", show_default="as many as the export"),
    ] = None,
    width: Annotated[int | None, typer.Option("--width", help="Another width, of the same pattern.")] = None,
    depth: Annotated[int | None, typer.Option("--depth", help="Another number of blocks, likewise.")] = None,
    further: Annotated[
        bool, typer.Option("--further", help="Start from the weights beside architecture.yaml, not anew.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Threads on a CPU.", show_default="as recorded for the recorded training, else all"
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key, e.g. batch=32.")
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes that share every batch, a GPU each where there are any.")
    ] = 1,
    address: Address = None,
    ship: Ship = False,
) -> None:
    """Train an exported architecture: the recorded training again, or with whatever an option changes."""
    from depthweave.search.commands.train import train_architecture

    train_architecture(
        architecture,
        out=out,
        corpus=corpus,
        tokens=tokens,
        further=further,
        width=width,
        depth=depth,
        threads=threads,
        overrides=overrides or [],
        workers=workers,
        address=address,
        ship=ship,
    )


@app.command(epilog="Example: depthweave generate exports/knee --prompt 'def main(' --tokens 200")
def generate(
    folder: Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder of an export.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", help="How the text begins; without it a document begins.")] = "",
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Longest text, in tokens.")] = 200,
    temperature: Annotated[
        float, typer.Option("--temperature", help="How freely tokens are drawn; 0 takes the likeliest.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Draw from that many likeliest tokens.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the drawing: the same seed, the same text.")] = 0,
) -> None:
    """Print text as the model writes it, to the end of the document or of --tokens."""
    from depthweave.search.commands.generate import print_text

    print_text(folder, prompt=prompt, num_tokens=tokens, temperature=temperature, top_k=top_k, seed=seed)


@app.command(epilog="Example: depthweave measure none dwa:1x1 dwa:4x5 exports/knee --depth 12 --width 64 --heads 4")
def measure(
    configurations: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG...",
            help="none, FUSION:KxP, an export or its architecture.yaml; the first is the reference.",
            show_default=False,
        ),
    ],
    depth: Annotated[int, typer.Option("--depth", min=1, help="Blocks of none and FUSION:KxP.")] = 12,
    width: Annotated[
        int, typer.Option("--width", min=1, help="Their width; feed-forward layers have four times it.")
    ] = 256,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Their attention heads.")] = 8,
    context: Annotated[int, typer.Option("--context", min=1, help="Their context, in tokens.")] = 128,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Sequences at once.")] = 16,
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads on a CPU.")] = 1,
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds for each configuration.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Measure what configurations cost here: memory, and the time of a forward pass, a training step, a token."""
    from depthweave.search.commands.measure import Sizes, measure_configurations

    measure_configurations(
        configurations,
        sizes=Sizes(depth=depth, width=width, heads=heads, context=context),
        batch=batch,
        precision=precision,
        device=device,
        threads=threads,
        time_limit_s=time_limit,
        as_json=as_json,
    )


def _seconds(text: str) -> float:
    units = {"s": 1, "m": 60, "h": 3600, "d": 86400}
    number, unit = (text[:-1], units[text[-1]]) if text[-1:] in units else (text, 1)
    try:
        return float(number) * unit
    except ValueError:
        raise ValueError(f"--time-budget {text}: give seconds, or a number with s, m, h or d") from None
