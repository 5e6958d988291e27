"""Parameter budgets of heads: all parameters that a head adds to its host, the classifier's included."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from depthweave.spaces.budget import BudgetError
from depthweave.spaces.heads.deeper import fitting_blocks
from depthweave.spaces.heads.head import HeadShape
from depthweave.spaces.heads.registry import head_class
from depthweave.spaces.widths import TOLERANCE_FRAC, TOLERANCE_PARTS, fitting_feed_forward


def resolve_head(
    kind: str,
    *,
    depth: int,
    sources: Sequence[int],
    width: int,
    classes: int,
    budget: int,
    heads: int = 1,
    causal: bool = False,
    scaled: bool = True,
) -> HeadShape:
    """Returns the shape of that head whose parameters meet the budget.

    `deeper`, `concat` and `dwatt` meet it within `TOLERANCE_FRAC` by their inner size. The others have no size to set
    and need to fit below it. Of `sources`, `heads`, `causal` and `scaled` a head takes what it uses, so that two equal
    heads have one shape: `last` and `deeper` read the last state alone. Raises `BudgetError` with the nearest budget
    that can be met.
    """
    if budget < 1:
        raise BudgetError(f"budget is {budget}: it must be a number of parameters, at least 1")
    made = head_class(kind)
    is_deeper = kind == "deeper"
    shape = HeadShape(
        kind=kind,
        depth=depth,
        sources=tuple(sources) if made.reads_earlier else (depth,),
        width=width,
        classes=classes,
        inner=1 if made.sized else 0,
        blocks=fitting_blocks(budget=budget - (width + 1) * classes, width=width) if is_deeper else 0,
        heads=heads if is_deeper else 1,
        causal=causal if is_deeper or kind == "mix" else False,
        scaled=scaled if kind == "dwatt" else True,
    )
    made.check(shape)
    parameters = made.num_parameters(shape)
    if not made.sized:
        if parameters > budget:
            raise _head_budget_error(shape, budget, nearest=parameters)
        return shape
    unit = made.num_parameters(replace(shape, inner=2)) - parameters
    inner = fitting_feed_forward(budget=budget, smallest=1, parameters=parameters, unit=unit)
    if inner is None:
        raise _head_budget_error(shape, budget, nearest=_nearest_budget(budget, parameters=parameters, unit=unit))
    return replace(shape, inner=inner)


def _nearest_budget(budget: int, *, parameters: int, unit: int) -> int:
    """Returns the budget nearest to a given one that `parameters` and any number of units meet."""
    below = parameters + max(0, (budget - parameters) // unit) * unit
    # The limits of the tolerance are part of it, so both divisions round toward the number of parameters.
    from_below = below * TOLERANCE_PARTS // (TOLERANCE_PARTS - 1)
    from_above = -(-(below + unit) * TOLERANCE_PARTS // (TOLERANCE_PARTS + 1))
    if below > budget:
        return -(-below * TOLERANCE_PARTS // (TOLERANCE_PARTS + 1))
    return min(from_below, from_above, key=lambda met: abs(met - budget))


def _head_budget_error(shape: HeadShape, budget: int, *, nearest: int) -> BudgetError:
    within = f" within {TOLERANCE_FRAC:.0%}" if shape.inner else ""
    states = "state" if len(shape.sources) == 1 else "states"
    return BudgetError(
        f"head {shape.kind!r} of {len(shape.sources)} {states} of width {shape.width} and {shape.classes} classes "
        f"cannot have {budget:,} parameters{within}: the nearest budget that can be met is {nearest:,}",
        enough=nearest,
    )
