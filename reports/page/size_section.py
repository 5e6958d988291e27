"""The section on the sizes of a run: how each pattern's difference to plain changes with the budget."""

from __future__ import annotations

from depthweave.reports.analysis.size_text import RULE_TEXT, sizes_sentences
from depthweave.reports.analysis.sizes import Sizes
from depthweave.reports.figures.sizes import (
    MAX_ROWS,
    draw_size_lines,
    draw_size_ranks,
    ranks_grid,
    size_lines,
    sizes_grid,
)
from depthweave.reports.page.rendering import figure_of
from depthweave.reports.page.sections import Section

_RANKS_TEXT = (
    " Rank agreement compares the order of patterns at two sizes. Its 95 % interval is over the patterns and leaves "
    "out noise between seeds, which moves tau towards zero; the orders agree if it is above zero."
)


def size_section(sizes: Sizes | None, *, prefix: str = "") -> Section:
    """Returns the section, empty for a run with one size. `prefix` makes the figures' names unique on a page."""
    title = "Across sizes"
    if sizes is None:
        return Section(title, [])
    note = RULE_TEXT + (_RANKS_TEXT if sizes.ranks else "")
    if len(sizes.patterns) > MAX_ROWS:
        note += f" Patterns that are not shown: {len(sizes.patterns) - MAX_ROWS}; depthweave compare --json has all."
    figures, lines = [], size_lines(sizes)
    for number, data in enumerate(lines):
        caption = (
            "Each line is a pattern. Below the broken line it is better than plain. Strong lines with 95 % intervals "
            "are settled."
        )
        figure = draw_size_lines(data)
        figures.append(figure_of(f"{prefix}sizes-{number}", figure, caption=caption, choice=data.choice))
        caption = "The largest size against the smallest. On the broken line a difference is the same at both."
        figure = draw_size_ranks(data)
        figures.append(figure_of(f"{prefix}size-ranks-{number}", figure, caption=caption, choice=data.choice))
    return Section(
        title,
        figures,
        [it.choice for it in lines],
        choices_title="Depth",
        sentences=sizes_sentences(sizes),
        tables=[it for it in (sizes_grid(sizes), ranks_grid(sizes)) if it is not None],
        tables_caption=note if sizes.patterns else "",
    )
