"""Finds the wiring rules of a space that join no states wherever they are used: they give the plain architecture."""

from __future__ import annotations

from depthweave.spaces.space import SearchSpace
from depthweave.spaces.wiring_rules import WiringRule


def idle_rules(space: SearchSpace) -> list[WiringRule]:
    """Returns every such rule, in the order of the space."""
    plain = {item.architecture.id for item in space if item.architecture.fusion == space.axes.plain}
    joins: dict[WiringRule, bool] = {}
    for combination, architecture_id in space.by_combination.items():
        if combination.rule is not None:
            joins[combination.rule] = joins.get(combination.rule, False) or architecture_id not in plain
    return [rule for rule, has_sites in joins.items() if not has_sites]


def idle_sentences(space: SearchSpace) -> list[str]:
    """Returns a sentence on the rules that join no states; none where all do."""
    idle = [rule.short for rule in idle_rules(space)]
    if not idle:
        return []
    depths = ", ".join(map(str, space.axes.depths))
    return [
        f"{', '.join(idle)}: no earlier state is read at depth {depths}, so the space has no architecture of "
        f"{'it' if len(idle) == 1 else 'these'}; take a larger depth, or a smaller dilation or period"
    ]
