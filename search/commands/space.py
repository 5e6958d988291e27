"""`depthweave space`: the architectures of a spec, before any training."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from depthweave.reports.formatting import count_text
from depthweave.search.console import Terminal, print_json
from depthweave.search.preparation import space_of
from depthweave.search.spec.loading import load_spec
from depthweave.search.spec.schema import Spec
from depthweave.search.training_length import training_sentences
from depthweave.spaces.balance import unbalanced, unbalanced_sentences
from depthweave.spaces.costs import costs_of
from depthweave.spaces.idle_rules import idle_sentences
from depthweave.spaces.plain_names import is_plain_name
from depthweave.spaces.single_wirings import has_one_wiring
from depthweave.spaces.skip_connections import num_skip_connections
from depthweave.spaces.space import Axes, Candidate, Infeasible, SearchSpace
from depthweave.spaces.sparse_graphs import sparse_text
from depthweave.spaces.wiring_rules import WiringRule, rule_family

_MAX_ROWS = 300
"""Most architectures that are listed one by one."""
_MAX_NEEDS = 20
"""Most infeasible wirings of a fusion, depth and budget that are listed."""


def print_space(path: Path, *, overrides: Sequence[str], as_json: bool) -> None:
    """Prints the space of a spec as a table, or as JSON."""
    spec = load_spec(path, overrides=overrides)
    # On standard error: standard output may be JSON.
    say = Terminal(stderr=True).say
    space = space_of(spec.axes_before_data(), say=say)
    reference = space.plain(depth=spec.reference.depth, budget=spec.reference.budget)
    if as_json:
        print_json(_as_dict(space, reference))
        return
    console = Terminal()
    console.say(_counts(spec, space))
    console.show(_table(space, reference) if len(space) <= _MAX_ROWS else _families(space))
    for line in training_sentences(space, spec=spec):
        console.say(line)
    for line in [*unbalanced_sentences(space), *idle_sentences(space), *_infeasible_sentences(space)]:
        console.say(line, style="yellow")


def _counts(spec: Spec, space: SearchSpace) -> str:
    return (
        f"{spec.name}: {space.num_combinations} combinations, {len(space)} distinct architectures, "
        f"{space.num_duplicates} duplicates of the same graph, {len(space.infeasible)} infeasible"
        + sparse_text(space.axes)
        + _blocks_text(space.axes)
    )


def _blocks_text(axes: Axes) -> str:
    if axes.head is None:
        return f"; blocks: {axes.block.text}"
    host = axes.head.host
    return f"; host: {host.depth} layers of width {host.width}, {host.weights}; {axes.head.classes} classes"


def _table(space: SearchSpace, reference: Candidate) -> Table:
    # Narrow enough for 80 columns; the JSON has the rest.
    table = Table(box=None, padding=(0, 1, 0, 0))
    for head in ("architecture", "fusion"):
        table.add_column(head, no_wrap=True)
    table.add_column("wiring", overflow="fold")
    for head in ("depth", "width", "ffn", "parameters", "flop", "states"):
        table.add_column(head, justify="right", no_wrap=True)
    for item in space:
        found, known = item.architecture, costs_of(item.architecture)
        table.add_row(
            found.id,
            found.fusion + ("*" if item is reference else ""),
            _rule_text(item),
            str(found.depth),
            str(found.width),
            str(found.feed_forward),
            f"{known.parameters:,}",
            count_text(known.forward_flops),
            str(known.kept_states),
        )
    table.caption = (
        "* the reference; wiring: its rule (4x5: dilation and period), + the number of others of the same graph; ffn: "
        "feed-forward width; flop: of a forward pass, a token; states: most held at once for later sites"
    )
    table.caption_justify = "left"
    return table


def _families(space: SearchSpace) -> Table:
    """A row for each fusion, depth and family of wirings: a list of thousands would help no reader."""
    groups: dict[tuple[str, int, str], list[Candidate]] = {}
    for item in space:
        groups.setdefault((item.architecture.fusion, item.architecture.depth, rule_family(item.rule)), []).append(item)
    table = Table(box=None, padding=(0, 1, 0, 0))
    for head in ("fusion", "depth", "family", "wirings", "number", "connections", "states", "flop"):
        table.add_column(head, justify="left" if head in ("fusion", "family") else "right", no_wrap=True)
    fusions, families = (list(dict.fromkeys(key[part] for key in groups)) for part in (0, 2))
    places = {key: (fusions.index(key[0]), key[1], families.index(key[2])) for key in groups}
    for (fusion, depth, family), items in sorted(groups.items(), key=lambda group: places[group[0]]):
        costs = [costs_of(item.architecture) for item in items]
        table.add_row(
            fusion,
            str(depth),
            "-" if is_plain_name(fusion) else family,
            "-" if is_plain_name(fusion) else f"{len({item.rule for item in items}):,}",
            f"{len(items):,}",
            _range([num_skip_connections(item.architecture.wiring) for item in items]),
            _range([item.kept_states for item in costs]),
            _range([item.forward_flops for item in costs]),
        )
    table.caption = (
        f"{len(space):,} architectures by family of wirings, which --json lists one by one; number: of architectures; "
        "connections: from earlier states to sites; states: most held at once for later sites; flop: of a forward "
        "pass, a token"
    )
    table.caption_justify = "left"
    return table


def _range(values: Sequence[int]) -> str:
    ends = dict.fromkeys(count_text(value) for value in (min(values), max(values)))
    return " to ".join(ends)


def _rule_text(item: Candidate) -> str:
    if item.rule is None:
        return "-"
    others = f" +{len(item.spellings) - 1}" if len(item.spellings) > 1 else ""
    name = "any" if has_one_wiring(item.architecture.fusion) else item.rule.short
    return f"{name}{others}"


def _infeasible_sentences(space: SearchSpace) -> list[str]:
    """Returns a line per (fusion, depth, budget): the wirings that miss it, each with the smallest budget it meets."""
    groups: dict[tuple[str, int, int], list[str]] = {}
    for (fusion, rule, depth, budget), _, enough in space.infeasible:
        name = "it" if rule is None else rule.short
        needs = _needs(rule, depth=depth, enough=enough)
        groups.setdefault((fusion, depth, budget), []).append(f"{name} {needs}")
    return [
        f"infeasible: {fusion}, depth {depth}, budget {budget:,}: {', '.join(needs[:_MAX_NEEDS])}"
        + (f" and {len(needs) - _MAX_NEEDS:,} more" if len(needs) > _MAX_NEEDS else "")
        for (fusion, depth, budget), needs in groups.items()
    ]


def _needs(rule: WiringRule | None, *, depth: int, enough: int | None) -> str:
    if rule is not None and rule.misfit(depth):
        return "at no budget (the model is too shallow for it)"
    return "at no budget" if enough is None else f"from {enough:,}"


def _combination(item: Infeasible) -> str:
    fusion, rule, depth, _ = item.combination
    return fusion + ("" if rule is None else f" {rule.text}") + f", {depth} blocks"


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
                "rule": None if item.rule is None else item.rule.text,
                "rules": [spelling.text for spelling in item.spellings],
                "patterns": [list(rule.stride) for rule in item.spellings if rule.stride is not None],
                **costs_of(item.architecture)._asdict(),
            }
            for item in space
        ],
        "sparse": None if space.axes.sparse is None else dataclasses.asdict(space.axes.sparse),
        "unbalanced": [item._asdict() for item in unbalanced(space)],
        "infeasible": [
            {"combination": _combination(item), "budget": item.combination.budget, "reason": item.reason}
            for item in space.infeasible
        ],
    }
