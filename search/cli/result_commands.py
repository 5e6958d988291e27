"""The commands that read a run: show, report, compare, export."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from depthweave.search.cli.options import AsJson, RunFolder

if TYPE_CHECKING:
    from depthweave.reports.figures.images import Format

result_commands = typer.Typer()


@result_commands.command(epilog="Example: depthweave show runs/quick --json")
def show(
    run: RunFolder,
    as_json: AsJson = False,
    as_csv: Annotated[bool, typer.Option("--csv", help="Print CSV instead of a table.")] = False,
    watch: Annotated[bool, typer.Option("--watch", help="Redraw it whenever the run changes, until Ctrl-C.")] = False,
) -> None:
    """Print the front of a run as a table and a plot."""
    from depthweave.search.commands.show import output_format, show_front

    show_front(run, form=output_format(as_json=as_json, as_csv=as_csv, watch=watch))


@result_commands.command(epilog="Example: depthweave report runs/quick --watch")
def report(
    run: RunFolder,
    watch: Annotated[
        bool, typer.Option("--watch", help="Serve a page on this machine that follows the run, until Ctrl-C.")
    ] = False,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65535, help="Port for --watch.", show_default="8765, or a free one"),
    ] = None,
    png: Annotated[Path | None, typer.Option("--png", help="Folder for the figures as PNG (extra png).")] = None,
    svg: Annotated[Path | None, typer.Option("--svg", help="Folder for the figures as SVG (extra png).")] = None,
) -> None:
    """Write the report of a run as one HTML file that works offline, or only its figures, for a paper."""
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


@result_commands.command(epilog="Example: depthweave compare runs/quick runs/large --out comparison.html")
def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN RUN...", help="Folders of runs.", show_default=False)],
    out: Annotated[Path, typer.Option("--out", help="HTML file to write.")] = Path("comparison.html"),
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, and write no page.")] = False,
) -> None:
    """Compare runs: whether they rank patterns alike, whose front is ahead, and what cannot be compared."""
    from depthweave.search.commands.compare import compare_runs

    compare_runs(runs, out=out, as_json=as_json)


@result_commands.command(
    epilog="Example: depthweave export runs/quick --select knee --where 'latency<=1.1' --out exports/knee"
)
def export(
    run: RunFolder,
    out: Annotated[Path, typer.Option("--out", help="Folder to write; new or empty.", show_default=False)],
    select: Annotated[
        str,
        typer.Option(
            "--select",
            help="best, knee, fastest, smallest, or id:ARCHITECTURE; several with commas, each into a folder in --out.",
        ),
    ] = "best",
    where: Annotated[str | None, typer.Option("--where", help="Conditions, e.g. 'latency<=0.9, depth==12'.")] = None,
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", metavar="torch|onnx", help="Also write the forward pass as a graph; may be repeated."),
    ] = None,
) -> None:
    """Export architectures of a run with weights, tokenizer, metrics and model card; transformers can load them."""
    from depthweave.search.commands.export import export_selected

    export_selected(run, out=out, select=select, where=where, formats=formats or [])
