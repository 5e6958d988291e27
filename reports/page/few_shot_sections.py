"""The sections of a search over heads on a host: scores by shots and by steps, layers, and sentences as examples."""

from __future__ import annotations

from collections.abc import Sequence

from depthweave.reports.analysis.intervals import mean_interval
from depthweave.reports.figures.few_shot_scores import (
    Differences,
    draw_score_differences,
    draw_scores,
    score_differences,
    score_lines,
)
from depthweave.reports.figures.layer_weights import draw_layer_map, head_map, type_map
from depthweave.reports.figures.step_scores import draw_step_scores, highest_f1, step_lines
from depthweave.reports.figures.tagged_examples import MAX_EXAMPLES, TaggedExample, example_of, read_examples
from depthweave.reports.figures.tagged_trials import TaggedTrial, best_of_heads, final_f1, tagged_trials
from depthweave.reports.formatting import listed, plural
from depthweave.reports.page.rendering import Figure, figure_of
from depthweave.reports.page.sections import Section
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore


def few_shot_sections(records: Sequence[Record], *, examples: Sequence[TaggedExample]) -> list[Section]:
    """Returns the sections that records with scores of entities have; none for other tasks."""
    best = best_of_heads(tagged_trials(records))
    if not best:
        return []
    return [_scores(best), _courses(best), _layers(best), _examples(examples)]


def examples_of(store: RunStore) -> tuple[list[TaggedExample], list[str]]:
    """Returns the run's sentences with entities, and a line where their file cannot be read."""
    try:
        return read_examples(store), []
    except ValueError as error:
        return [], [str(error)]


def _scores(best: Sequence[TaggedTrial]) -> Section:
    lines = score_lines(best)
    several = any(point.f1.num > 1 for line in lines for point in line.points)
    bars = " Bars are 95 % intervals over draws (Student's t), cut where they leave the plot." if several else ""
    caption = (
        f"F1 of entities on the validation part, for the best architecture of each head.{bars} The search chose these "
        "architectures by the same scores, which favours heads with many patterns."
    )
    figures = [figure_of("few-shot-scores", draw_scores(lines), caption=caption, title="F1 by shots", half=True)]
    differences = score_differences(best)
    if differences is not None:
        caption = (
            f"The same minus {differences.baseline}, draw by draw: all heads learn from the same sentences of a draw. "
            "Above the line is better."
        )
        figure = draw_score_differences(differences)
        title = f"Against {differences.baseline}"
        figures.append(figure_of("few-shot-differences", figure, caption=caption, title=title, half=True))
    return Section("Learning from few sentences", figures, sentences=_sentences(best, differences))


def _sentences(best: Sequence[TaggedTrial], differences: Differences | None) -> list[str]:
    """Returns which head is ahead at the largest size, and which differences are above chance."""
    largest = max(shots for trial in best for shots in trial.scores)
    reached = {
        trial.head: mean_interval(list(final_f1(trial.scores[largest]).values()))
        for trial in best
        if largest in trial.scores
    }
    first = max(reached, key=lambda head: reached[head].mean)
    draws = plural(reached[first].num, "draw")
    sentences = [f"With {largest:,} shots {first} has the highest F1, {100 * reached[first].mean:.1f} % over {draws}."]
    if differences is None:
        return sentences
    ends = {line.head: line.points[-1].f1 for line in differences.lines if line.points[-1].shots == largest}
    ahead = [head for head, it in ends.items() if it.low is not None and it.low > 0]
    behind = [head for head, it in ends.items() if it.high is not None and it.high < 0]
    parts = [
        f"{listed(heads)} {'is' if len(heads) == 1 else 'are'} {word} {differences.baseline}"
        for heads, word in ((ahead, "above"), (behind, "below"))
        if heads
    ]
    if parts:
        sentences.append(f"Paired by draw, {listed(parts)}: the 95 % intervals exclude zero.")
    else:
        sentences.append(f"No 95 % interval of a paired difference to {differences.baseline} excludes zero.")
    return sentences


def _courses(best: Sequence[TaggedTrial]) -> Section:
    sizes = sorted({shots for trial in best for shots in trial.scores})
    highest = highest_f1(best)
    figures = []
    for shots in sizes:
        lines = step_lines(best, shots=shots)
        if lines:
            caption = f"F1 on the validation part during training with {shots:,} shots, mean over draws."
            figure = draw_step_scores(lines, highest=highest)
            figures.append(figure_of(f"steps-{shots}", figure, caption=caption, title=f"{shots:,} shots", half=True))
    return Section("How fast heads learn", figures)


def _layers(best: Sequence[TaggedTrial]) -> Section:
    sizes = sorted({shots for trial in best for shots in trial.weights}, reverse=True)
    figures: list[Figure] = []
    choices = []
    for shots in sizes:
        heads = head_map(best, shots=shots)
        if heads is None:
            continue
        choice = f"{shots:,} shots"
        choices.append(choice)
        caption = (
            "Weight of each layer, mean over draws: learnt weights of mix and dwa, attention of dwatt over all words, "
            "shares of norms of concat. Colours are relative to each row's largest weight. A layer that a head does "
            "not read is empty."
        )
        figures.append(
            figure_of(
                f"layers-{shots}", draw_layer_map(heads, by_row=True), caption=caption, title="By head", choice=choice
            )
        )
        for trial in best:
            types = type_map(trial, shots=shots)
            if types is not None:
                caption = (
                    f"Attention of {trial.head} over layers, mean over the words of each entity type and over draws."
                )
                figure = draw_layer_map(types, by_row=False)
                name = f"types-{trial.head}-{shots}"
                title = f"{trial.head} by entity type"
                figures.append(figure_of(name, figure, caption=caption, title=title, choice=choice))
    return Section("Which layers heads read", figures, choices, choices_title="Size")


def _examples(examples: Sequence[TaggedExample]) -> Section:
    shown = [example_of(it) for it in examples[:MAX_EXAMPLES]]
    sentences = (
        [
            "Sentences of the validation part on which the heads differ most. A solid line is under an entity that is "
            "right, a dashed one under an entity that is wrong in its words or its type."
        ]
        if shown
        else []
    )
    return Section("Example sentences", [], sentences=sentences, examples=shown)
