"""Arguments and options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

SpecFile = Annotated[Path, typer.Argument(help="Spec of the search, YAML.", show_default=False)]
Overrides = Annotated[
    list[str] | None, typer.Option("--set", metavar="KEY=VALUE", help="Override a key, e.g. recipe.steps=100.")
]
RunFolder = Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, local or s3://, gs://.")]
Address = Annotated[str | None, typer.Option("--address", help="Ray cluster to join: HOST:PORT, or auto.")]
Ship = Annotated[bool, typer.Option("--ship", help="Send this version of the package to the cluster's workers.")]
RetryFailed = Annotated[bool, typer.Option("--retry-failed", help="Train again the trials that failed earlier.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
