"""The page of a comparison of runs, in the style of the report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from depthweave.reports.comparison.agreement_figure import agreement_data, draw_agreement
from depthweave.reports.comparison.comparability import refusal_sentence, why_not_comparable
from depthweave.reports.comparison.comparison import (
    ComparedRun,
    Comparison,
    answer_sentence,
    dominance_sentence,
    order_sentence,
)
from depthweave.reports.figures.fronts import draw_fronts, fronts_data
from depthweave.reports.figures.key import KeyEntry, key_of
from depthweave.reports.figures.palette import FRONT_LINE
from depthweave.reports.filled_columns import filled_columns
from depthweave.reports.formatting import listed, plural, title_of
from depthweave.reports.page.rendering import Figure, figure_of, render_page
from depthweave.reports.page.sections import Section
from depthweave.reports.page.size_section import size_section
from depthweave.reports.store.objectives import cost_names, quality_names


class PairSection(NamedTuple):
    """The section about two runs."""

    title: str
    sentences: list[str]
    figures: list[Figure]
    refused: list[str]
    notes: list[str]


class ComparisonPage(NamedTuple):
    """Everything that the template prints. All values are text, except the JSON of the figures."""

    title: str
    answer: list[str]
    facts: list[str]
    runs: list[tuple[str, str, list[str]]]
    """Label, path, and values in the order of `facts`."""
    key: list[list[KeyEntry]]
    fronts: list[Figure]
    pairs: list[PairSection]
    sizes: list[tuple[str, Section]]
    """Label and section of each run with several budgets."""


_CIRCLE_CROSS = "M8 2.5a5.5 5.5 0 1 0 0 11a5.5 5.5 0 1 0 0-11zM2.5 8h11M8 2.5v11"
_FACTS = ("corpus", "tokenizer", "context", "evaluation tokens", "batch", "device", "hardware", "threads", "reference")


def comparison_page_of(comparison: Comparison) -> ComparisonPage:
    """Returns the content of the page."""
    facts, values = filled_columns(
        ("complete", "seeds", "tokens", "training", *_FACTS), [_facts(run) for run in comparison.runs]
    )
    return ComparisonPage(
        title=listed([run.label for run in comparison.runs]),
        answer=answer_sentence(comparison),
        facts=facts,
        runs=[(run.label, run.where, own) for run, own in zip(comparison.runs, values, strict=True)],
        key=_key(comparison),
        fronts=_fronts(comparison.runs),
        pairs=_pairs(comparison),
        sizes=[
            (run.label, size_section(run.sizes, prefix=f"run-{number}-"))
            for number, run in enumerate(comparison.runs)
            if run.sizes is not None
        ],
    )


def render_comparison(page: ComparisonPage) -> str:
    """Returns the page as HTML. All text from records and specs is escaped."""
    drawn = [page.fronts, *(pair.figures for pair in page.pairs), *(section.figures for _, section in page.sizes)]
    return render_page("comparison.html.j2", page=page, scripts=("report.js",), has_figures=any(drawn))


def comparable_groups(runs: Sequence[ComparedRun], *, objectives: Sequence[str]) -> list[list[ComparedRun]]:
    """Returns groups of at least two runs within which all these objectives can be compared."""
    groups: list[list[ComparedRun]] = []
    for run in runs:
        if not set(objectives) <= set(run.objectives):
            continue
        for group in groups:
            # Comparable runs have equal facts, so one member of a group is enough to check.
            if not any(why_not_comparable(it, first=group[0].facts, second=run.facts) for it in objectives):
                group.append(run)
                break
        else:
            groups.append([run])
    return [group for group in groups if len(group) > 1]


def _fronts(runs: Sequence[ComparedRun]) -> list[Figure]:
    names = list(dict.fromkeys(name for run in runs for name in run.objectives))
    figures: list[Figure] = []
    for quality in quality_names(names):
        for cost in cost_names(names):
            for group in comparable_groups(runs, objectives=(quality, cost)):
                data = fronts_data({run.label: run.view.records for run in group}, quality=quality, cost=cost)
                caption = (
                    f"The fronts of {listed([run.label for run in group])} in {title_of(quality)} and "
                    f"{title_of(cost)}, without other objectives. Lower left is better. The colour is the fusion, the "
                    "symbol the run."
                )
                figures.append(figure_of(f"fronts-{len(figures)}", draw_fronts(data), caption=caption, half=True))
    return figures


def _pairs(comparison: Comparison) -> list[PairSection]:
    sections = []
    for number, pair in enumerate(comparison.pairs):
        figures: list[Figure] = []
        for order in pair.orders:
            caption = f"Each marker is {order.sameness} that both runs trained to the end: its difference to plain."
            figure = draw_agreement(agreement_data(order, first=pair.first, second=pair.second))
            figures.append(figure_of(f"order-{number}-{order.objective}", figure, caption=caption, half=True))
        sentences = [order_sentence(order) for order in pair.orders]
        sentences += [
            f"{title_of(name).capitalize()}: too few patterns are in both runs to compare their orders."
            for name in pair.unmatched
        ]
        if pair.fronts is not None:
            sentences.append(dominance_sentence(pair.fronts, first=pair.first, second=pair.second))
            mine, other = (f"{share:.3f}" for share in pair.fronts.hypervolume)
            sentences.append(
                f"Hypervolume as a share of the box of both runs: {mine} ({pair.first}) and {other} ({pair.second})."
            )
        else:
            sentences.append(pair.why_no_fronts)
        sections.append(
            PairSection(
                title=f"{pair.first} and {pair.second}",
                sentences=sentences,
                figures=figures,
                refused=[refusal_sentence(item) for item in pair.refused],
                notes=pair.notes,
            )
        )
    return sections


def _facts(run: ComparedRun) -> list[str]:
    return [
        plural(run.num_complete, "trial"),
        ", ".join(map(str, run.seeds)),
        " or ".join(f"{number:,}" for number in run.tokens),
        run.training,
        *("; ".join(run.facts[fact]) for fact in _FACTS),
    ]


def _key(comparison: Comparison) -> list[list[KeyEntry]]:
    """Returns the key of fusions and periods, the only symbols that this page has."""
    fusions, periods = key_of([record for run in comparison.runs for record in run.view.records])[:2]
    return [fusions, [*periods, KeyEntry("period equal to the depth", _CIRCLE_CROSS, FRONT_LINE, False, False)]]
