"""Compares runs: which orders agree, whose front is ahead, and what cannot be compared and why."""

from __future__ import annotations

import itertools
import os
from collections.abc import Sequence
from typing import Any, NamedTuple

from depthweave.reports.analysis.front import complete
from depthweave.reports.analysis.rank_agreement import MIN_PATTERNS
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.size_text import sizes_sentences
from depthweave.reports.analysis.sizes import Sizes, sizes_of
from depthweave.reports.analysis.training_tokens import language_model_ratios, range_phrase
from depthweave.reports.comparison.agreement import Order, order_of
from depthweave.reports.comparison.comparability import Facts, Refusal, facts_of, refusals
from depthweave.reports.comparison.dominance import Dominance, dominance_of
from depthweave.reports.comparison.size_table import sizes_values
from depthweave.reports.formatting import listed, plural, title_of
from depthweave.reports.store.objectives import OBJECTIVES, quality_names
from depthweave.reports.store.run_store import RunStore

_MIN_MATCHED = 3
"""Plain and two patterns; with fewer there is no order to compare."""

_AGREEMENT_WORDS = {"agree": "agree", "oppose": "are opposed", "not settled": "are not settled"}


class ComparedRun(NamedTuple):
    """What a comparison needs of one run."""

    label: str
    """Short and unique among the runs."""
    where: str
    name: str
    objectives: tuple[str, ...]
    view: RunView
    facts: Facts
    num_complete: int
    seeds: list[int]
    tokens: list[int]
    """Distinct token counts of complete trials."""
    training: str
    """Their tokens a parameter, as a phrase."""
    sizes: Sizes | None
    """`None` for a run with one budget."""


class Pair(NamedTuple):
    """The comparison of two runs."""

    first: str
    """Label of the first run."""
    second: str
    orders: list[Order]
    """One for each objective with at least `_MIN_MATCHED` matched units."""
    unmatched: list[str]
    """Objectives of both runs with fewer matched units."""
    fronts: Dominance | None
    why_no_fronts: str
    """Empty if `fronts` is given."""
    refused: list[Refusal]
    notes: list[str]


class Comparison(NamedTuple):
    """Several runs and each pair of them, or one run with several budgets."""

    runs: list[ComparedRun]
    pairs: list[Pair]


def compare(stores: Sequence[RunStore]) -> Comparison:
    """Compares different runs, or the sizes of one run with several budgets.

    Raises `ValueError` with one line if one has no complete trial, or if the only one has a single budget.
    """
    ids = [store.info.run_id for store in stores]
    for index, store in enumerate(stores):
        if store.info.run_id in ids[:index]:
            first = stores[ids.index(store.info.run_id)].where
            same = "is given twice" if first == store.where else f"is the same run as {first}"
            raise ValueError(f"compare: {store.where} {same}: name different runs")
    runs = [_read(store, label=label) for store, label in zip(stores, _labels(stores), strict=True)]
    if len(runs) == 1 and runs[0].sizes is None:
        raise ValueError(
            f"compare: one run given, and {runs[0].where} has plain architectures of one budget only: name at least "
            "two runs, or one whose space.budgets has several"
        )
    return Comparison(runs, [_pair(first, second) for first, second in itertools.combinations(runs, 2)])


def comparison_values(comparison: Comparison) -> dict[str, Any]:
    """Returns the comparison as values for JSON."""
    return {
        "runs": [
            {
                **{
                    name: getattr(run, name)
                    for name in ("label", "where", "name", "num_complete", "seeds", "tokens", "training")
                },
                "objectives": list(run.objectives),
                "facts": {fact: list(values) for fact, values in run.facts.items()},
                "sizes": None if run.sizes is None else sizes_values(run.sizes),
            }
            for run in comparison.runs
        ],
        "pairs": [_pair_values(pair) for pair in comparison.pairs],
    }


def answer_sentence(comparison: Comparison) -> list[str]:
    """Returns the result in a few sentences: of one run's sizes, of two runs, or the counts of pairs for more."""
    if not comparison.pairs:
        return [sentence for run in comparison.runs if run.sizes is not None for sentence in sizes_sentences(run.sizes)]
    if len(comparison.pairs) == 1:
        (pair,) = comparison.pairs
        losses = [order_sentence(order) for order in pair.orders if not OBJECTIVES[order.objective].cost]
        fronts = pair.why_no_fronts
        if pair.fronts is not None:
            fronts = dominance_sentence(pair.fronts, first=pair.first, second=pair.second)
        return [*(losses or ["Too few patterns are in both runs to compare their orders."]), fronts]
    sentences = []
    for name in dict.fromkeys(order.objective for pair in comparison.pairs for order in pair.orders):
        verdicts = [order.verdict for pair in comparison.pairs for order in pair.orders if order.objective == name]
        counts = [
            f"{words} in {verdicts.count(verdict)}"
            for verdict, words in _AGREEMENT_WORDS.items()
            if verdict in verdicts
        ]
        pairs = plural(len(verdicts), "pair")
        sentences.append(f"{title_of(name).capitalize()}: over {pairs} of runs the orders {', '.join(counts)}.")
    compared = [pair.fronts for pair in comparison.pairs if pair.fronts is not None]
    ahead = sum(found.verdict in ("first", "second") for found in compared)
    sentences.append(
        f"Fronts can be compared in {len(compared)} of {plural(len(comparison.pairs), 'pair')}; "
        f"in {ahead} of these one dominates the other."
    )
    return sentences


def order_sentence(order: Order) -> str:
    """Returns the conclusion about two orders that the interval supports."""
    text = f"{title_of(order.objective).capitalize()}: "
    if order.tau is None:
        return f"{text}the orders cannot be compared, because all patterns are equal in one of the runs."
    text += f"Kendall's tau {order.tau:+.2f} over {plural(len(order.matched), 'pattern')}"
    if order.low is None or order.high is None:
        return f"{text}; fewer than {MIN_PATTERNS}, so not settled."
    text += f" (95 % interval {order.low:+.2f} to {order.high:+.2f}): "
    return (
        text
        + {
            "agree": "the orders agree.",
            "oppose": "the orders are opposed.",
            "not settled": "not settled, because the interval includes zero.",
        }[order.verdict]
    )


def dominance_sentence(found: Dominance, *, first: str, second: str) -> str:
    """Returns whose front dominates, and whether that is settled."""
    named = listed([title_of(name) for name in found.objectives])
    ahead, behind = (first, second) if found.verdict == "first" else (second, first)
    if found.verdict == "equal":
        return f"In {named} the two fronts are equal."
    if found.verdict == "neither":
        return (
            f"In {named} neither front dominates: {first} matches or beats {_share(found.coverage[0])} of the front of "
            f"{second}, {second} {_share(found.coverage[1])} of that of {first}."
        )
    settled = "at all ends of the intervals" if found.settled else "but not at all ends of the intervals: not settled"
    return f"In {named} the front of {ahead} dominates that of {behind}, {settled}."


def _share(frac: float) -> str:
    return f"{100 * frac:.0f} %"


def _labels(stores: Sequence[RunStore]) -> list[str]:
    """Returns the folder's name for each run, or the whole path if two folders have the same name."""
    names = [os.path.basename(store.where) or store.where for store in stores]
    return [name if names.count(name) == 1 else store.where for name, store in zip(names, stores, strict=True)]


def _read(store: RunStore, *, label: str) -> ComparedRun:
    view = RunView.of(store.records(), objectives=store.info.objectives, tolerances=store.info.tolerance_of)
    finished = [record for record in view.records if record.state == "complete"]
    if not finished:
        raise ValueError(f"compare: {store.where} has no complete trial yet: nothing to compare")
    return ComparedRun(
        label=label,
        where=store.where,
        name=store.info.name,
        objectives=store.info.objectives,
        view=view,
        facts=facts_of(view.records),
        num_complete=len(finished),
        seeds=sorted({record.seed for record in finished}),
        tokens=sorted({record.tokens for record in finished}),
        training=range_phrase(language_model_ratios(finished)),
        sizes=sizes_of(view),
    )


def _pair(first: ComparedRun, second: ComparedRun) -> Pair:
    shared = [name for name in first.objectives if name in second.objectives]
    found = [order_of(first.view.averaged, second.view.averaged, objective=name) for name in shared]
    refused = refusals(shared, first=first.facts, second=second.facts)
    left = [name for name in shared if name not in {item.objective for item in refused}]
    why = _why_no_fronts(left, first=first, second=second)
    return Pair(
        first=first.label,
        second=second.label,
        orders=[order for order in found if len(order.matched) >= _MIN_MATCHED],
        unmatched=[order.objective for order in found if len(order.matched) < _MIN_MATCHED],
        fronts=None if why else dominance_of(first.view.records, second.view.records, objectives=left),
        why_no_fronts=why,
        refused=refused,
        notes=_notes(first, second, orders=found),
    )


def _why_no_fronts(objectives: Sequence[str], *, first: ComparedRun, second: ComparedRun) -> str:
    losses = quality_names(objectives)
    if not losses or len(losses) == len(objectives):
        lacking = "quality" if not losses else "cost"
        return f"The fronts are not compared: the runs share no {lacking} that can be compared."
    for run in (first, second):
        if not complete(run.view.records, objectives=objectives):
            return f"The fronts are not compared: no complete trial of {run.label} has all compared objectives."
    return ""


def _notes(first: ComparedRun, second: ComparedRun, *, orders: Sequence[Order]) -> list[str]:
    notes = []
    if first.tokens != second.tokens:
        mine, other = (" or ".join(f"{number:,}" for number in run.tokens) for run in (first, second))
        notes.append(
            f"Trials saw {mine} tokens in {first.label} and {other} in {second.label}, which also changes their losses."
        )
    if first.facts["block"] != second.facts["block"]:
        mine, other = (" or ".join(run.facts["block"]) for run in (first, second))
        notes.append(
            f"Blocks are {mine} in {first.label} and {other} in {second.label}, which also changes losses and costs."
        )
    single = [run.label for run in (first, second) if len(run.seeds) == 1]
    if single:
        notes.append(f"There is one seed in {' and in '.join(single)}: noise between seeds moves tau towards zero.")
    coarse = {order.sameness for order in orders if order.matched} - {"a pattern at one depth and budget"}
    if coarse:
        notes.append(
            f"The sizes differ, so each matched item is {' or '.join(sorted(coarse))}, relative to its own plain."
        )
    return notes


def _pair_values(pair: Pair) -> dict[str, Any]:
    fronts = None
    if pair.fronts is not None:
        fronts = {
            name: list(value) if isinstance(value, tuple) else value for name, value in pair.fronts._asdict().items()
        }
    return {
        "runs": [pair.first, pair.second],
        "orders": [
            {
                "objective": order.objective,
                "matched_by": order.sameness,
                "num_matched": len(order.matched),
                "tau": order.tau,
                "tau_low": order.low,
                "tau_high": order.high,
                "verdict": order.verdict,
                "ratios_to_plain": {
                    item.unit.name if item.unit.budget is None else f"{item.unit.name}, budget {item.unit.budget}": [
                        item.first,
                        item.second,
                    ]
                    for item in order.matched
                },
            }
            for order in pair.orders
        ],
        "unmatched": pair.unmatched,
        "fronts": fronts,
        "why_no_fronts": pair.why_no_fronts,
        "refused": [item._asdict() for item in pair.refused],
        "notes": pair.notes,
    }
