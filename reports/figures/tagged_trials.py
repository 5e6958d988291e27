"""Trials of heads on a host: their scores over draws, and the best architecture of each head.

A training is one draw of one size (`shots`). The same seed and number give all heads the same sentences, so that heads
are compared draw by draw.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from depthweave.reports.analysis.seeds import FIRST_CONFIRMATION
from depthweave.reports.formatting import full_name
from depthweave.reports.store.records import Record
from depthweave.spaces.plain_names import DEEPER_HEAD, PLAIN_HEAD

HEADS = (PLAIN_HEAD, DEEPER_HEAD, "mix", "dwa", "concat", "dwatt")
"""In this order in every figure, others after them: first those that read the last layer alone."""
REFERENCES = (DEEPER_HEAD, PLAIN_HEAD)
"""The first of them that was trained is what other heads are compared with."""


class Draw(NamedTuple):
    """One draw, the same sentences for every head."""

    seed: int
    """Of the trial."""
    number: int


class TaggedTrial(NamedTuple):
    """A complete trial of a head, or several of one architecture with different seeds."""

    head: str
    name: str
    """For a reader."""
    scores: Mapping[int, Mapping[Draw, Mapping[int, float]]]
    """F1 by size, draw and step."""
    weights: Mapping[int, Mapping[str, Mapping[int, Sequence[float]]]]
    """The weights of all draws by size, entity type and layer; empty for heads that do not weigh layers."""
    is_fresh: bool
    """Whether the seeds are those of a confirmation."""

    @property
    def f1(self) -> float:
        """The mean F1 over draws and sizes at the end of the trainings."""
        ends = [value for own in self.scores.values() for value in final_f1(own).values()]
        return sum(ends) / len(ends)


def final_f1(by_draw: Mapping[Draw, Mapping[int, float]]) -> dict[Draw, float]:
    """Returns the F1 at the last step of each draw."""
    return {draw: by_step[max(by_step)] for draw, by_step in by_draw.items()}


def tagged_trials(records: Iterable[Record]) -> list[TaggedTrial]:
    """Returns the complete trials with scores of entities, one an architecture.

    Where a confirmation has trained an architecture again, the search's own seed does not count: it chose it.
    """
    own: dict[str, list[Record]] = defaultdict(list)
    for record in records:
        if record.state == "complete" and record.entity_scores:
            own[record.architecture_id].append(record)
    found = []
    for several in own.values():
        fresh = [it for it in several if it.trial >= FIRST_CONFIRMATION]
        found.append(_trial(fresh or several, is_fresh=bool(fresh)))
    return found


def best_of_heads(trials: Sequence[TaggedTrial]) -> list[TaggedTrial]:
    """Returns the trial of each head with the highest F1, in the order of `HEADS`; confirmed ones come first."""
    best: dict[str, TaggedTrial] = {}
    for trial in trials:
        held = best.get(trial.head)
        if held is None or (trial.is_fresh, trial.f1) > (held.is_fresh, held.f1):
            best[trial.head] = trial
    return sorted(best.values(), key=lambda it: (HEADS.index(it.head) if it.head in HEADS else len(HEADS), it.head))


def _trial(records: Sequence[Record], *, is_fresh: bool) -> TaggedTrial:
    scores: dict[int, dict[Draw, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))
    weights: dict[int, dict[str, dict[int, list[float]]]] = defaultdict(lambda: defaultdict(lambda: defaultdict(list)))
    for record in records:
        for score in record.entity_scores or ():
            scores[score.shots][Draw(record.seed, score.draw)][score.step] = score.f1
        for weight in record.layer_weights or ():
            weights[weight.shots][weight.type][weight.layer].append(weight.weight)
    return TaggedTrial(records[0].fusion, full_name(records[0]), scores, weights, is_fresh)
