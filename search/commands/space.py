"""`depthweave space`: the architectures of a spec, before any training."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from depthweave.reports.formatting import count_text
from depthweave.search.console import Terminal, print_json
from depthweave.search.preparation import space_of
from depthweave.search.spec.loading import load_spec
from depthweave.search.spec.schema import Spec
from depthweave.spaces.balance import unbalanced, unbalanced_sentences
from depthweave.spaces.costs import costs_of
from depthweave.spaces.space import Candidate, Infeasible, Pattern, SearchSpace
from depthweave.trainers import TokenizerSpec


def print_space(path: Path, *, overrides: Sequence[str], as_json: bool) -> None:
    """Prints the space of a spec as a table, or as JSON."""
    spec = load_spec(path, overrides=overrides)
    # On standard error: standard output may be JSON.
    say = Terminal(stderr=True).say
    space = space_of(spec, vocabulary=TokenizerSpec.parse(spec.tokenizer).vocabulary, say=say)
    reference = space.plain(depth=spec.reference.depth, budget=spec.reference.budget)
    if as_json:
        print_json(_as_dict(space, reference))
        return
    console = Terminal()
    console.say(_counts(spec, space))
    console.show(_table(space, reference))
    for line in [*unbalanced_sentences(space), *_infeasible_sentences(space)]:
        console.say(line, style="yellow")


def _counts(spec: Spec, space: SearchSpace) -> str:
    return (
        f"{spec.name}: {space.num_combinations} combinations, {len(space)} distinct architectures, "
        f"{space.num_duplicates} duplicates of the same graph, {len(space.infeasible)} infeasible; "
        f"blocks: {space.axes.block.text}"
    )


def _table(space: SearchSpace, reference: Candidate) -> Table:
    # Narrow enough for 80 columns; the JSON has the rest.
    table = Table(box=None, padding=(0, 1, 0, 0))
    for head in ("architecture", "fusion", "k x p"):
        table.add_column(head, no_wrap=True)
    for head in ("depth", "width", "ffn", "parameters", "flop", "states"):
        table.add_column(head, justify="right", no_wrap=True)
    for item in space:
        found, known = item.architecture, costs_of(item.architecture)
        table.add_row(
            found.id,
            found.fusion + ("*" if item is reference else ""),
            _pattern_text(item.spellings),
            str(found.depth),
            str(found.width),
            str(found.feed_forward),
            f"{known.parameters:,}",
            count_text(known.forward_flops),
            str(known.kept_states),
        )
    table.caption = (
        "* the reference; k x p: dilation and period, + the number of others that give the same graph; ffn: "
        "feed-forward width; flop: of a forward pass, a token; states: most held at once for later sites"
    )
    table.caption_justify = "left"
    return table


def _pattern_text(spellings: Sequence[Pattern]) -> str:
    if not spellings:
        return "-"
    others = f" +{len(spellings) - 1}" if len(spellings) > 1 else ""
    return f"{spellings[0].dilation}x{spellings[0].period}{others}"


def _infeasible_sentences(space: SearchSpace) -> list[str]:
    """Returns a line per (fusion, depth, budget): the patterns that miss it, each with the smallest budget it meets."""
    groups: dict[tuple[str, int, int], list[str]] = {}
    for (fusion, pattern, depth, budget), _, enough in space.infeasible:
        name = "it" if pattern is None else f"{pattern.dilation}x{pattern.period}"
        needs = "at no budget" if enough is None else f"from {enough:,}"
        groups.setdefault((fusion, depth, budget), []).append(f"{name} {needs}")
    return [
        f"infeasible: {fusion}, depth {depth}, budget {budget:,}: {', '.join(needs)}"
        for (fusion, depth, budget), needs in groups.items()
    ]


def _combination(item: Infeasible) -> str:
    fusion, pattern, depth, _ = item.combination
    return fusion + ("" if pattern is None else f" {pattern.dilation}x{pattern.period}") + f", {depth} blocks"


def _as_dict(space: SearchSpace, reference: Candidate) -> dict[str, Any]:
    return {
        "block": space.axes.block.to_value(),
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
        "unbalanced": [item._asdict() for item in unbalanced(space)],
        "infeasible": [
            {"combination": _combination(item), "budget": item.combination.budget, "reason": item.reason}
            for item in space.infeasible
        ],
    }
