"""`depthweave space`: what a spec spans, before any training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from depthweave.search.setting import space_of
from depthweave.search.spec import Spec, load_spec
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import Candidate, Infeasible, SearchSpace
from depthweave.trainers import TokenizerSpec


def print_space(path: Path, *, overrides: Sequence[str], as_json: bool) -> None:
    """Print the space of a spec as a table, or as JSON."""
    spec = load_spec(path, overrides=overrides)
    space = space_of(spec, vocabulary=TokenizerSpec.parse(spec.tokenizer).vocabulary)
    reference = space.plain(depth=spec.reference.depth, budget=spec.reference.budget)
    if as_json:
        print(json.dumps(_as_dict(space, reference), indent=2))
        return
    console = Console()
    console.print(_counts(spec, space), highlight=False)
    console.print(_table(space, reference))
    for line in _reasons(space.infeasible):
        console.print(line, markup=False, highlight=False, style="yellow")


def _counts(spec: Spec, space: SearchSpace) -> str:
    return (
        f"{spec.name}: {space.num_combinations} combinations, {len(space)} distinct architectures, "
        f"{space.num_duplicates} of the same graph, {len(space.infeasible)} infeasible"
    )


def _table(space: SearchSpace, reference: Candidate) -> Table:
    table = Table(box=None, padding=(0, 2, 0, 0))
    for head in ("architecture", "fusion"):
        table.add_column(head, no_wrap=True)
    for head in ("k x p", "depth", "width", "feed-fwd", "parameters", "budget", "Mflop/token", "states kept"):
        table.add_column(head, justify="right", no_wrap=True)
    for item in space:
        found, known = item.architecture, costs_of(item.architecture)
        mark = "*" if item is reference else ""
        table.add_row(
            found.id,
            found.fusion + mark,
            " ".join(f"{k}x{p}" for k, p in item.spellings) or "-",
            str(found.depth),
            str(found.width),
            str(found.feed_forward),
            f"{known.parameters:,}",
            f"{known.parameters / item.budget - 1:+.2%}",
            f"{known.forward_flops / 1e6:.2f}",
            str(known.kept_states),
        )
    table.caption = "* the reference; budget: how far the parameters are from it"
    table.caption_justify = "left"
    return table


def _reasons(infeasible: Sequence[Infeasible]) -> list[str]:
    return [f"infeasible: {_combination(item)}: {item.reason}" for item in infeasible]


def _combination(item: Infeasible) -> str:
    fusion, pattern, depth, _ = item.combination
    return fusion + ("" if pattern is None else f" {pattern.dilation}x{pattern.period}") + f", {depth} blocks"


def _as_dict(space: SearchSpace, reference: Candidate) -> dict[str, Any]:
    return {
        "combinations": space.num_combinations,
        "distinct": len(space),
        "duplicates": space.num_duplicates,
        "reference": reference.architecture.id,
        "architectures": [
            {
                "id": item.architecture.id,
                **item.architecture.to_dict(),
                "budget": item.budget,
                "patterns": [list(spelling) for spelling in item.spellings],
                **costs_of(item.architecture)._asdict(),
            }
            for item in space
        ],
        "infeasible": [{"combination": _combination(item), "reason": item.reason} for item in space.infeasible],
    }
