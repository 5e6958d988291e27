"""The commands that work with an exported model: train, generate, measure."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from depthweave.search.cli.options import Address, AsJson, Ship
from depthweave.search.cli.quantities import parse_tokens

model_commands = typer.Typer()


@model_commands.command(
    epilog="Example: depthweave train exports/best/architecture.yaml --width 512 --depth 24 --out models/large"
)
def train(
    architecture: Annotated[
        Path,
        typer.Argument(metavar="EXPORT", help="Folder of an export, or its architecture.yaml.", show_default=False),
    ],
    out: Annotated[
        Path,
        typer.Option("--out", help="Folder to write; an interrupted training in it is resumed.", show_default=False),
    ],
    corpus: Annotated[
        str | None,
        typer.Option(
            "--corpus",
            help="stdlib, hub:NAME, or files, folders and globs separated by commas.",
            show_default="the export's, if that is stdlib",
        ),
    ] = None,
    tokens: Annotated[
        str | None,
        typer.Option("--tokens", help="Tokens to train on, e.g. 500k or 20M.", show_default="as many as the export"),
    ] = None,
    width: Annotated[int | None, typer.Option("--width", help="Another width for the same pattern.")] = None,
    depth: Annotated[int | None, typer.Option("--depth", help="Another number of blocks for the same pattern.")] = None,
    further: Annotated[
        bool, typer.Option("--further", help="Start from the weights of the export, not from new ones.")
    ] = False,
    threads: Annotated[
        int | None,
        typer.Option(
            "--threads", min=1, help="Threads on a CPU.", show_default="as recorded when repeating it, otherwise all"
        ),
    ] = None,
    overrides: Annotated[
        list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a recipe key, e.g. batch=32.")
    ] = None,
    workers: Annotated[
        int,
        typer.Option("--workers", min=1, help="Processes that share every batch, with a GPU each if there are GPUs."),
    ] = 1,
    address: Address = None,
    ship: Ship = False,
) -> None:
    """Train an exported architecture: repeats its recorded training, with the changes that options make."""
    from depthweave.search.commands.recipe import RecipeOptions
    from depthweave.search.commands.train import train_architecture
    from depthweave.search.commands.train_plan import TrainOptions

    num_tokens = None if tokens is None else parse_tokens(tokens, option="--tokens")
    recipe = RecipeOptions(num_tokens=num_tokens, overrides=overrides or [], further=further)
    options = TrainOptions(corpus=corpus, width=width, depth=depth, recipe=recipe)
    train_architecture(
        architecture, out=out, options=options, threads=threads, workers=workers, address=address, ship=ship
    )


@model_commands.command(epilog="Example: depthweave generate exports/knee --prompt 'def main(' --tokens 200")
def generate(
    folder: Annotated[Path, typer.Argument(metavar="EXPORT", help="Folder of an export.", show_default=False)],
    prompt: Annotated[str, typer.Option("--prompt", help="Beginning of the text; a new document without it.")] = "",
    tokens: Annotated[int, typer.Option("--tokens", min=1, help="Most tokens to generate.")] = 200,
    temperature: Annotated[
        float, typer.Option("--temperature", help="Sampling temperature; 0 takes the most likely token.")
    ] = 0.8,
    top_k: Annotated[int | None, typer.Option("--top-k", help="Sample from this many most likely tokens.")] = None,
    seed: Annotated[int, typer.Option("--seed", help="Seed of the sampling: the same seed gives the same text.")] = 0,
) -> None:
    """Generate text with an exported model, up to the end of a document or --tokens, and print it as it comes."""
    from depthweave.search.commands.generate import generate_and_print

    generate_and_print(folder, prompt=prompt, num_tokens=tokens, temperature=temperature, top_k=top_k, seed=seed)


@model_commands.command(
    epilog="Example: depthweave measure none dwa:1x1 dwa:4x5 exports/knee --depth 12 --width 64 --heads 4"
)
def measure(
    configurations: Annotated[
        list[str],
        typer.Argument(
            metavar="CONFIG...",
            help="none, FUSION:WIRING (dwa:4x5), an export or its architecture.yaml; the first is the reference.",
            show_default=False,
        ),
    ],
    depth: Annotated[int, typer.Option("--depth", min=1, help="Blocks of none and FUSION:WIRING.")] = 12,
    width: Annotated[
        int, typer.Option("--width", min=1, help="Their width; feed-forward layers have four times it.")
    ] = 256,
    heads: Annotated[int, typer.Option("--heads", min=1, help="Their attention heads.")] = 8,
    context: Annotated[int, typer.Option("--context", min=1, help="Their context, in tokens.")] = 128,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Sequences per batch.")] = 16,
    precision: Annotated[str, typer.Option("--precision", help="auto, float32 or bfloat16.")] = "auto",
    device: Annotated[str, typer.Option("--device", help="auto, cpu, cuda or mps.")] = "auto",
    threads: Annotated[int, typer.Option("--threads", min=1, help="Threads on a CPU.")] = 1,
    time_limit: Annotated[float, typer.Option("--time-limit", help="Seconds for each configuration.")] = 10.0,
    as_json: AsJson = False,
) -> None:
    """Measure configurations on this machine: memory, and the time of a forward pass, a training step and a token."""
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
