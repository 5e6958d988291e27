"""Heads on one host as a search space: which states a wiring rule selects, and the head that meets a budget."""

from __future__ import annotations

from dataclasses import dataclass

from depthweave.spaces.budget import BudgetError
from depthweave.spaces.heads.head_budget import resolve_head
from depthweave.spaces.heads.registry import head_class
from depthweave.spaces.hosted import HostedArchitecture, HostShape, hosted
from depthweave.spaces.wiring import Site, Wiring
from depthweave.spaces.wiring_rules import WiringRule


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadAxes:
    """What all heads of a space share."""

    host: HostShape
    classes: int
    """Number of classes of a token."""


def head_wiring(rule: WiringRule, *, depth: int) -> Wiring:
    """Returns the wiring of a head: one site after the last of `depth` layers, with the states that the rule selects.

    A rule K x P selects the states after every P-th layer, the embedding among them, and of these the ones that lie a
    multiple of K layers before the last. Other rules select what their site after the last layer reads. The last state
    is always among them. Raises `BudgetError` if it is the only one.
    """
    sources: tuple[int, ...]
    if rule.is_plain_stride:
        assert rule.number is not None
        period = depth if rule.period == "depth" else rule.period
        sources = (*(i for i in range(depth) if i % period == 0 and (depth - i) % rule.number == 0), depth)
    else:
        sources = dict(rule.wiring(depth).sites).get(depth, ())
    if len(sources) < 2:
        raise BudgetError(
            f"wiring {rule.short} selects no state of {depth} layers but the last: take a smaller dilation or period"
        )
    return Wiring(depth, (Site(depth, sources),))


def resolve_hosted(*, fusion: str, axes: HeadAxes, wiring: Wiring, budget: int, context: int) -> HostedArchitecture:
    """Returns the head of that name whose added parameters meet the budget; raises `BudgetError` if there is none.

    `last` is the same for all budgets that it fits in.
    """
    host = axes.host
    sources = dict(wiring.sites).get(host.depth, (host.depth,))
    if head_class(fusion).reads_earlier and len(sources) < 2:
        raise BudgetError(f"head {fusion!r} reads earlier states, and the wiring selects the last alone")
    head = resolve_head(
        fusion,
        depth=host.depth,
        sources=sources,
        width=host.width,
        classes=axes.classes,
        budget=budget,
        heads=host.heads,
        causal=host.causal,
    )
    return hosted(head, host=host, context=context)
