"""The commands that plan and make a run: space, search, confirm."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from depthweave.search.cli.options import Address, AsJson, Overrides, RetryFailed, Ship, SpecFile
from depthweave.search.cli.quantities import parse_seconds

run_commands = typer.Typer()


@run_commands.command(epilog="Example: depthweave space examples/quick.yaml")
def space(spec: SpecFile, overrides: Overrides = None, as_json: AsJson = False) -> None:
    """Print a search space: its architectures as a table, and which combinations are infeasible and why."""
    from depthweave.search.commands.space import print_space

    print_space(spec, overrides=overrides or [], as_json=as_json)


@run_commands.command(epilog="Example: depthweave search examples/quick.yaml --out runs/quick")
def search(
    spec: Annotated[Path | None, typer.Argument(help="Spec of the search; not needed with --resume.")] = None,
    out: Annotated[
        str | None, typer.Option("--out", help="Folder of the run, local or s3://, gs://.", show_default="runs/NAME")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Continue the run in --out.")] = False,
    retry_failed: RetryFailed = False,
    address: Address = None,
    ship: Ship = False,
    trials: Annotated[int | None, typer.Option("--trials", help="Number of architectures to try.")] = None,
    time_budget: Annotated[
        str | None, typer.Option("--time-budget", help="Time after which the search stops: seconds, or 90s, 30m, 2h.")
    ] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Seed of sampler, weights and data order.")] = None,
    warm_start: Annotated[
        list[str] | None,
        typer.Option("--warm-start", metavar="SOURCE", help="Run, or Parquet table, to learn from; repeatable."),
    ] = None,
    overrides: Overrides = None,
) -> None:
    """Run a search: train and prune trials, keep the front, write a report. Ctrl-C stops it, --resume continues it."""
    from depthweave.search.commands.search import run

    sets = list(overrides or [])
    if trials is not None:
        sets.append(f"search.trials={trials}")
    if time_budget is not None:
        sets.append(f"search.time_budget_s={parse_seconds(time_budget, option='--time-budget')}")
    if seed is not None:
        sets.append(f"seed={seed}")
    code = run(
        spec,
        out=out,
        resume=resume,
        address=address,
        overrides=sets,
        ship=ship,
        retry_failed=retry_failed,
        warm_start=warm_start or [],
    )
    raise typer.Exit(code)


@run_commands.command(epilog="Example: depthweave confirm runs/quick --seeds 5")
def confirm(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, local or shared.", show_default=False)],
    seeds: Annotated[int, typer.Option("--seeds", help="Number of fresh seeds, besides the search's own.")] = 5,
    retry_failed: RetryFailed = False,
    every: Annotated[bool, typer.Option("--all", help="Train all members of the front, also twins.")] = False,
    all_sizes: Annotated[
        bool, typer.Option("--sizes", help="Train each pattern at the other budgets too, for depthweave compare RUN.")
    ] = False,
    address: Address = None,
    ship: Ship = False,
    overrides: Overrides = None,
) -> None:
    """Train the front's distinct members and their baselines with more seeds, and print it with intervals."""
    from depthweave.search.commands.confirm import confirm_run

    code = confirm_run(
        run,
        num_seeds=seeds,
        address=address,
        overrides=overrides or [],
        ship=ship,
        retry_failed=retry_failed,
        every=every,
        all_sizes=all_sizes,
    )
    raise typer.Exit(code)
