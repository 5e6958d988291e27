"""Search spaces: every combination of the axes, resolved to its budget, equal graphs kept once."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, KeysView, Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import product
from typing import Any, NamedTuple

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.block_style import GPT, BlockStyle
from depthweave.spaces.budget import BudgetError, resolve
from depthweave.spaces.fusions import fusion_class
from depthweave.spaces.head_space import HeadAxes, head_wiring, resolve_hosted
from depthweave.spaces.heads.registry import head_class
from depthweave.spaces.plain_names import BASELINES, PLAIN_FUSION, PLAIN_HEAD
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.widths import Sizing
from depthweave.spaces.wiring import Wiring
from depthweave.spaces.wiring_grammar import WHOLE_GRAMMAR, grammar
from depthweave.spaces.wiring_rules import Period, WiringRule, simplest, strided_rule
from depthweave.spaces.wiring_text import parse_rule

MAX_DEPTH = 256
"""Limits: a typing error in an axis, or too many combinations, would mean hours of enumeration."""
MAX_COMBINATIONS = 100_000
_PROGRESS_COMBINATIONS = 1000
"""Enumerated between two calls of `on_progress`: some hundredths of a second."""
_AXES = ("fusions", "dilations", "periods", "wirings", "depths", "budgets")


@dataclass(frozen=True, kw_only=True)
class Axes:
    """What may vary, and the fixed sizes. Every axis is a list without repeats, checked on construction."""

    fusions: tuple[str, ...]
    """Names in `FUSIONS`, on a host in `HEADS`; the `plain` one is always added: the reference and its siblings belong
    to every space."""
    dilations: tuple[int, ...] = (1,)
    periods: tuple[Period, ...] = (1,)
    """Blocks between sites, or `depth` for one site after the last block."""
    wirings: tuple[str, ...] = ()
    """Wiring rules beside the product of dilations and periods, or `all`; see `depthweave.spaces.wiring_rules`."""
    depths: tuple[int, ...]
    budgets: tuple[int, ...]
    """Wanted parameters without the token embedding."""
    vocabulary: int
    context: int
    head_width: int = 32
    width: int | None = None
    """Size of a state; derived from depth and budget if it is `None`."""
    sizing: Sizing = "ratio"
    """How sizes follow from depth and budget; see `depthweave.spaces.widths`."""
    block: BlockStyle = GPT
    """Which layers every block has."""
    sparse: SparseAxes | None = None
    """Sparse graphs beside the combinations; they are sampled during a search and not enumerated."""
    head: HeadAxes | None = None
    """The host of a space of heads; `None` for a space of decoders."""

    def __post_init__(self) -> None:
        for name in _AXES:
            values = getattr(self, name)
            if not values and name != "wirings" and not (self.wirings and name in ("dilations", "periods")):
                raise ValueError(f"space.{name} is empty: list at least one")
            if len(set(values)) < len(values):
                raise ValueError(f"space.{name} lists {list(values)}: list each once")
        if bool(self.dilations) != bool(self.periods):
            raise ValueError(
                "space.dilations and space.periods: only one of them is empty: list values in both, or none"
            )
        for fusion in self.fusions:
            if self.head is None:
                fusion_class(fusion)
            else:
                head_class(fusion)
        for name in ("dilations", "periods", "depths", "budgets"):
            for value in getattr(self, name):
                if value != "depth" and value < 1:
                    raise ValueError(f"space.{name} has {value}: it must be a whole number of at least 1")
        if max(self.depths) > MAX_DEPTH:
            raise ValueError(f"space.depths has {max(self.depths)}: at most {MAX_DEPTH} blocks are searched")
        self._check_size()
        for text in self.wirings:
            misfits = [] if text == WHOLE_GRAMMAR else [parse_rule(text).misfit(depth) for depth in self.depths]
            if misfits and all(misfits):
                raise ValueError(f"space.wirings: {misfits[self.depths.index(max(self.depths))]}")

    @property
    def plain(self) -> str:
        """The name of what others are compared with."""
        return PLAIN_FUSION if self.head is None else PLAIN_HEAD

    def wiring(self, rule: WiringRule | None, *, depth: int) -> Wiring:
        """Returns the wiring of a rule, for `None` without a site. Raises `BudgetError` if a head has none."""
        if rule is None:
            return Wiring(depth)
        return rule.wiring(depth) if self.head is None else head_wiring(rule, depth=depth)

    @property
    def resolver(self) -> Callable[..., Architecture]:
        """The function of a fusion or head, its wiring and its budget: the architecture, or `BudgetError`."""
        if self.head is None:
            return partial(resolve, **self.sizes)
        return partial(resolve_hosted, axes=self.head, context=self.context)

    @cached_property
    def sizes(self) -> Mapping[str, Any]:
        """What all architectures of the space share, as arguments of `resolve`."""
        names = ("vocabulary", "context", "head_width", "width", "sizing", "block")
        return {name: getattr(self, name) for name in names}

    def _check_size(self) -> None:
        sizes = {name: len(getattr(self, name)) for name in _AXES}
        others = math.prod(sizes[name] for name in ("fusions", "depths", "budgets"))
        lengths = " x ".join(f"{size} {name}" for name, size in sizes.items() if size)
        num = others * (sizes["dilations"] * sizes["periods"] + sizes["wirings"])
        if num <= MAX_COMBINATIONS and WHOLE_GRAMMAR in self.wirings:
            num = sizes["fusions"] * sizes["budgets"] * sum(len(rules_of(self, depth=depth)) for depth in self.depths)
            lengths += f", with all wirings {num:,} in all"
        if num > MAX_COMBINATIONS:
            raise ValueError(f"space has {lengths}: at most {MAX_COMBINATIONS:,} combinations; shorten an axis")
        if self.sparse is not None:
            self.sparse.check(fusions=self.fusions, depths=self.depths)


def rules_of(axes: Axes, *, depth: int) -> tuple[WiringRule, ...]:
    """Returns the wiring rules of the axes at a depth, each once: first those of dilations and periods."""
    periods = dict.fromkeys(depth if period == "depth" else period for period in axes.periods)
    rules = [strided_rule(dilation, period) for period, dilation in product(periods, axes.dilations)]
    for text in axes.wirings:
        rules += grammar(depth) if text == WHOLE_GRAMMAR else [parse_rule(text).at(depth)]
    return tuple(dict.fromkeys(rules))


class Combination(NamedTuple):
    """One point of the axes; the rule is `None` for `none`."""

    fusion: str
    rule: WiringRule | None
    depth: int
    budget: int


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """One distinct architecture of a space, with the settings that lead to it."""

    architecture: Architecture
    rule: WiringRule | None
    """The simplest spelling of its wiring; `None` for the plain transformer and for untried sparse graphs."""
    budget: int
    spellings: tuple[WiringRule, ...] = ()
    """All rules of the space that give this graph."""


class Infeasible(NamedTuple):
    """A combination that no architecture meets, and why."""

    combination: Combination
    reason: str
    enough: int | None = None
    """A budget that can be met; `None` if none can."""


@dataclass(frozen=True, kw_only=True)
class SearchSpace:
    """Every distinct architecture of the axes, in a fixed order, and what was left out."""

    axes: Axes
    candidates: tuple[Candidate, ...]
    infeasible: tuple[Infeasible, ...]
    by_combination: Mapping[Combination, str]
    """The architecture id of every feasible combination."""
    num_combinations: int
    """Combinations of fusion, wiring rule, depth and budget; one a (depth, budget) for `none`."""
    _by_id: dict[str, Candidate] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_id", {item.architecture.id: item for item in self.candidates})

    def __len__(self) -> int:
        return len(self.candidates)

    def __iter__(self) -> Iterator[Candidate]:
        return iter(self.candidates)

    def __getitem__(self, architecture_id: str) -> Candidate:
        return self._by_id[architecture_id]

    @property
    def known_ids(self) -> KeysView[str]:
        """Ids of the enumerated architectures and of the included ones."""
        return self._by_id.keys()

    def include(self, candidate: Candidate) -> None:
        """Makes an architecture that was not enumerated known by its id. Neither length nor iteration count it."""
        self._by_id.setdefault(candidate.architecture.id, candidate)

    @property
    def num_duplicates(self) -> int:
        """Number of combinations whose graph another combination also gives."""
        return self.num_combinations - len(self.candidates) - len(self.infeasible)

    def plain(self, *, depth: int | None = None, budget: int | None = None) -> Candidate:
        """Returns the plain transformer of that depth and budget; by default of the greatest depth and budget.

        Raises `ValueError` if the space has none.
        """
        depth = max(self.axes.depths) if depth is None else depth
        budget = max(self.axes.budgets) if budget is None else budget
        at = Combination(self.axes.plain, None, depth, budget)
        # By combination and not by budget: two budgets a few parameters apart may give one architecture.
        if at in self.by_combination:
            return self[self.by_combination[at]]
        reasons = [item.reason for item in self.infeasible if item.combination == at]
        raise ValueError(
            f"the reference ({self.axes.plain}, depth {depth}, budget {budget:,}) is not in the space: "
            + (reasons[0] if reasons else f"depths {list(self.axes.depths)}, budgets {list(self.axes.budgets)}")
        )

    def baselines(self, *, depth: int, budget: int) -> list[Candidate]:
        """Returns those of `BASELINES` that the space has at that depth and budget; none where it has none."""
        found = {
            key: self[key]
            for at, key in self.by_combination.items()
            if at.fusion in BASELINES and (at.depth, at.budget) == (depth, budget)
        }
        return list(found.values())


def enumerate_space(axes: Axes, *, on_progress: Callable[[int, int], None] | None = None) -> SearchSpace:
    """Returns all combinations of the axes, each resolved to an architecture that meets its budget, equal graphs once.

    `on_progress` is called from time to time with the numbers of enumerated and of all combinations.
    """
    found: dict[str, Candidate] = {}
    by_combination: dict[Combination, str] = {}
    infeasible: list[Infeasible] = []
    combinations, plain_name, resolved = list(_combinations(axes)), axes.plain, axes.resolver
    # One object a wiring: its cached values serve all fusions and budgets.
    wirings: dict[tuple[int, WiringRule | None], Wiring] = {}
    for number, combination in enumerate(combinations):
        if on_progress is not None and number and number % _PROGRESS_COMBINATIONS == 0:
            on_progress(number, len(combinations))
        fusion, rule, depth, budget = combination
        wiring = wirings.get((depth, rule))
        try:
            if wiring is None:
                if rule is not None and (misfit := rule.misfit(depth)):
                    infeasible.append(Infeasible(combination, misfit))
                    continue
                wiring = wirings[depth, rule] = axes.wiring(rule, depth=depth)
            architecture = resolved(fusion=fusion, wiring=wiring, budget=budget)
        except BudgetError as error:
            infeasible.append(Infeasible(combination, str(error), error.enough))
            continue
        by_combination[combination] = architecture.id
        known = found.get(architecture.id)
        spellings = (() if known is None else known.spellings) + (() if rule is None else (rule,))
        plain = architecture.fusion == plain_name
        found[architecture.id] = Candidate(
            architecture=architecture,
            rule=None if plain else spellings[0] if len(spellings) == 1 else simplest(spellings),
            budget=budget if known is None else known.budget,
            spellings=() if plain else tuple(dict.fromkeys(spellings)),
        )
    return SearchSpace(
        axes=axes,
        candidates=tuple(found.values()),
        infeasible=tuple(infeasible),
        by_combination=by_combination,
        num_combinations=len(combinations),
    )


def _combinations(axes: Axes) -> Iterator[Combination]:
    for depth, budget in product(axes.depths, axes.budgets):
        yield Combination(axes.plain, None, depth, budget)
    fusions = [fusion for fusion in axes.fusions if fusion != axes.plain]
    rules = {depth: rules_of(axes, depth=depth) for depth in axes.depths}
    for fusion, depth, budget in product(fusions, axes.depths, axes.budgets):
        for rule in rules[depth]:
            yield Combination(fusion, rule, depth, budget)
