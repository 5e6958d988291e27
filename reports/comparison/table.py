"""A comparison of runs in the terminal: the runs, and for each pair what agrees and what is not compared."""

from __future__ import annotations

from collections.abc import Sequence

from rich import box
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from depthweave.reports.analysis.size_text import sizes_sentences
from depthweave.reports.comparison.comparability import refusal_sentence
from depthweave.reports.comparison.comparison import ComparedRun, Comparison, Pair, dominance_sentence
from depthweave.reports.comparison.size_table import sizes_view
from depthweave.reports.filled_columns import filled_columns
from depthweave.reports.formatting import title_of

_FACTS = ("corpus", "tokenizer", "context", "hardware")


def comparison_view(comparison: Comparison) -> RenderableType:
    """Returns a table of the runs, then for each pair a table of orders and sentences on fronts and refusals.

    The sizes of runs with several budgets follow, in full where there is one run.
    """
    shown: list[RenderableType] = [_runs_table(comparison.runs)]
    shown += [Text(f"{run.label}: {run.training}") for run in comparison.runs if run.training]
    for pair in comparison.pairs:
        shown += ["", Text(f"{pair.first} and {pair.second}", style="bold"), *_pair_view(pair)]
    for run in comparison.runs:
        if run.sizes is not None and comparison.pairs:
            shown += ["", Text(f"sizes of {run.label}", style="bold")]
            shown += [Padding(Text(sentence), (0, 0, 0, 2)) for sentence in sizes_sentences(run.sizes)]
        elif run.sizes is not None:
            shown += ["", *sizes_view(run.sizes)]
    return Group(*shown)


def _runs_table(runs: Sequence[ComparedRun]) -> Table:
    heads, rows = filled_columns(
        ("complete", "seeds", "tokens", *_FACTS),
        [
            [
                str(run.num_complete),
                str(len(run.seeds)),
                "/".join(f"{number:,}" for number in run.tokens),
                *("/".join(run.facts[fact]) for fact in _FACTS),
            ]
            for run in runs
        ],
    )
    table = _table()
    table.add_column("run")
    for head in heads:
        table.add_column(head, justify="right" if head in ("complete", "seeds", "tokens", "context") else "left")
    for run, row in zip(runs, rows, strict=True):
        table.add_row(run.label, *row)
    return table


def _pair_view(pair: Pair) -> list[RenderableType]:
    heads, rows = filled_columns(
        ("patterns", "tau", "95 % interval", ""),
        [
            [
                str(len(order.matched)),
                "-" if order.tau is None else f"{order.tau:+.2f}",
                "-" if order.low is None else f"{order.low:+.2f} to {order.high:+.2f}",
                order.verdict,
            ]
            for order in pair.orders
        ],
    )
    table = _table()
    table.add_column("order of patterns by", no_wrap=True)
    for head in heads:
        table.add_column(head, justify="right" if head else "left", no_wrap=True)
    for order, row in zip(pair.orders, rows, strict=True):
        table.add_row(title_of(order.objective), *row)
    lines = [f"{title_of(name).capitalize()}: too few patterns are in both runs." for name in pair.unmatched]
    if pair.fronts is not None:
        lines.append(dominance_sentence(pair.fronts, first=pair.first, second=pair.second))
        mine, other = (f"{share:.3f}" for share in pair.fronts.hypervolume)
        lines.append(f"Hypervolume in the box of both: {mine} ({pair.first}), {other} ({pair.second}).")
    else:
        lines.append(pair.why_no_fronts)
    lines += [refusal_sentence(item) for item in pair.refused] + pair.notes
    return [table, *(Padding(Text(line), (0, 0, 0, 2)) for line in lines)]


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False, show_edge=False)
