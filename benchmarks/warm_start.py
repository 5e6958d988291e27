"""Warm starts: a search that learns from another run, beside the same search without it and with a useless source.

    python -m benchmarks.warm_start                    # runs what is missing, then prints the tables
    python -m benchmarks.warm_start --table            # prints the tables of what is there
    python -m benchmarks.warm_start --seeds 100-104    # choose settings on these, report 0-19

The source is a part of the connectivity table (connectivity_problems.py) that the target leaves out. Of the first
edition:

- `larger`: budget 300,000, from the records of 150,000; `smaller`: the other way.
- `deeper`: 12 blocks, from the records of 6; `shallower`: the other way.

Of the second, once it is there (`--case`): `wide larger`: 200,000 parameters from 100,000; `wide deeper`, `wide
shallower` as above; `other text`: English from Python.

Source and target have the same seed of the table, so a source is a single run. There are two sets of objectives, with 1
and with 4 workers. Measurements are charged, the tokens of the source are not. `cold` has no source; `shuffled` has the
source's losses in a random order, and in `turned` what is good in the source is bad. Rivals are `tpe`, which has no
source, and `meta-tpe`, which has the whole one (meta_tpe_peer.py; skipped where it is not installed), both with the
median pruner of connectivity_table.py.

Searches are replayed as in connectivity_table.py. The table shows the tokens until 99 % of the hypervolume as a share
of the target's tokens: the median and its interval, the searches that never arrive, the lowest end; first the tokens
of a search that knows all losses but measures and starts as any other. Against `cold`, search by search: the median
ratio of tokens, the worst one, and how many searches are over 10 % worse.
"""

from __future__ import annotations

import argparse
import json
import math
import statistics
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import replace
from importlib.util import find_spec
from itertools import product
from typing import NamedTuple

import numpy as np
import optuna

from benchmarks.arms import ARMS
from benchmarks.cache import Cache, Run, rounded, seed_range
from benchmarks.connectivity_problems import EDITIONS, CurveProblem, connectivity, restricted
from benchmarks.connectivity_table import COSTS, WORKERS, hindsight, identity, run, spent_until
from benchmarks.connectivity_table import SEEDS as TABLE_SEEDS
from benchmarks.meta_tpe_peer import meta_tpe
from benchmarks.replay import Proposer
from benchmarks.yardstick import Yardstick, median_interval
from depthweave.search.samplers.known_cost import STARTUP
from depthweave.search.surrogate.transfer import SourceLosses, SourceModels
from depthweave.search.survey import survey_size
from depthweave.spaces import Architecture

CACHE = Cache("warm_start")
SOURCES = ("cold", "warm", "shuffled", "turned")
RIVALS = ("tpe", "meta-tpe")
_RIVAL_ARM = "tpe + median"
SHARE = 0.99
_LONGER = 1.1
"""A search that spends so many times the tokens of the cold one counts as worse."""


class Share(NamedTuple):
    """Some rows of an edition."""

    edition: str
    depth: int | None = None
    budget: int | None = None

    def of(self, *, seed: int, costs: tuple[str, ...]) -> CurveProblem:
        """Returns them as a problem."""
        edition = EDITIONS[self.edition]

        def is_wanted(name: str) -> bool:
            item = edition.space[name]
            return self.depth in (None, item.architecture.depth) and self.budget in (None, item.budget)

        return restricted(connectivity(edition, seed=seed, costs=costs), to=is_wanted)

    def architectures(self, ids: Sequence[str]) -> list[Architecture]:
        """Returns the architectures of rows."""
        return [EDITIONS[self.edition].space[name].architecture for name in ids]


class Case(NamedTuple):
    """Which rows are the target, and which the source."""

    name: str
    target: Share
    source: Share

    def problems(self) -> Iterator[tuple[CurveProblem, CurveProblem]]:
        """Yields target and source with each seed and set of objectives."""
        for seed, costs in product(TABLE_SEEDS, COSTS):
            yield self.target.of(seed=seed, costs=costs), self.source.of(seed=seed, costs=costs)

    def losses(self, source: CurveProblem) -> SourceLosses:
        """Returns what the source knows."""
        return SourceLosses(
            name=f"not {self.name}",
            architectures=tuple(self.source.architectures(source.curves.ids)),
            losses_S=source.curves.losses_NE[:, -1],
        )


CASES = {
    case.name: case
    for case in (
        Case("larger", Share("first", budget=300_000), Share("first", budget=150_000)),
        Case("smaller", Share("first", budget=150_000), Share("first", budget=300_000)),
        Case("deeper", Share("first", depth=12), Share("first", depth=6)),
        Case("shallower", Share("first", depth=6), Share("first", depth=12)),
        Case("wide larger", Share("large"), Share("small")),
        Case("wide deeper", Share("small", depth=12), Share("small", depth=6)),
        Case("wide shallower", Share("small", depth=6), Share("small", depth=12)),
        Case("other text", Share("english"), Share("small")),
    )
}
FIRST_EDITION = ("larger", "smaller", "deeper", "shallower")


def main() -> None:
    """Runs what is missing and prints the tables."""
    wanted = _arguments()
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    targets = {CASES[name]: list(CASES[name].problems()) for name in wanted.case or FIRST_EDITION}
    sources = list(wanted.source or (*SOURCES, *RIVALS))
    if "meta-tpe" in sources and find_spec("optunahub") is None:
        print("skipped: meta-tpe needs optunahub")
        sources.remove("meta-tpe")
    if wanted.again:
        CACHE.forget(lambda kept: kept["source"] in sources and kept["seed"] in wanted.seeds)
    if not wanted.table:
        known = {_key(item) for item in CACHE.runs()}
        for seed, (case, found) in product(wanted.seeds, targets.items()):
            for (target, origin), workers, source in product(found, WORKERS, sources):
                if (case.name, source, identity(target), workers, seed) not in known:
                    search = _search(case, source, origin=origin, target=target, workers=workers, seed=seed)
                    CACHE.keep({"case": case.name, "source": source, **search})
    runs = [item for item in CACHE.runs() if item["seed"] in wanted.seeds]
    for case, found in targets.items():
        print("\n".join(table(case, runs=runs, problems=[target for target, _ in found])))


def with_source(target: CurveProblem, *, architectures: Sequence[Architecture], source: SourceLosses) -> CurveProblem:
    """Returns the target as a search with this source sees it; `architectures` are those of its rows."""
    logs_NK = SourceModels([source]).log_losses(architectures)
    candidates = replace(target.problem.candidates, source_logs_NK=logs_NK)
    return replace(target, problem=replace(target.problem, candidates=candidates))


class _Setting(NamedTuple):
    """Searches of one target with one number of workers."""

    name: str
    workers: int
    spent: dict[str, dict[int, float]]
    """Tokens until `SHARE` as a share of the target's, by source and seed; infinite where never reached."""
    ends: dict[str, list[float]]
    """Final hypervolume of each search, by source."""
    least: float
    """Tokens that a search needs even if it knows all losses: survey, first evaluations, the front's trainings."""

    def ratios(self, source: str) -> list[float]:
        """Returns the tokens of each search with this source over those of the same search without one."""
        cold = self.spent["cold"]
        return [value / cold[seed] for seed, value in self.spent[source].items() if seed in cold]


def table(case: Case, *, runs: Sequence[Run], problems: Sequence[CurveProblem]) -> Iterator[str]:
    """Yields the lines of a case's table, and all its searches together as JSON."""
    yield f"\n{case.name}: tokens until {SHARE:.0%} of the hypervolume\n"
    yield "| target | workers | source | searches | tokens | never | lowest end | of cold | worst | over 10 % worse |"
    yield "|---" * 10 + "|"
    pooled: dict[str, list[float]] = defaultdict(list)
    for target, workers in product(problems, WORKERS):
        setting = _setting(case, runs=runs, target=target, workers=workers)
        yield f"| {setting.name} | {workers} | all known | | {setting.least:.1%} | | | | | |"
        for source in (item for item in setting.spent if setting.spent[item]):
            pooled[source] += setting.ratios(source)
            yield _row(setting, source)
    found = {source: _summary(values) for source, values in pooled.items() if values and source != "cold"}
    yield json.dumps({"benchmark": "warm_start", "case": case.name, "tokens_of_cold": found})


def _setting(case: Case, *, runs: Sequence[Run], target: CurveProblem, workers: int) -> _Setting:
    yardstick, size = Yardstick(target.problem.points_NO), target.curves.losses_NE.size
    setting = _Setting(
        name=target.problem.name.removeprefix("connectivity, "),
        workers=workers,
        spent={item: {} for item in (*SOURCES, *RIVALS)},
        ends=defaultdict(list),
        least=_least(target) / size,
    )
    for item in runs:
        if (item["case"], item["table"], item["workers"]) == (case.name, identity(target), workers):
            spent = spent_until(SHARE, search=item, yardstick=yardstick) / size
            setting.spent[item["source"]][item["seed"]] = spent
            setting.ends[item["source"]].append(yardstick.ratio([row for _, row in item["growth"]]))
    return setting


def _least(target: CurveProblem) -> float:
    """Returns the evaluations of survey, start and the trainings that 99 % need in hindsight."""
    assert target.curves.measuring is not None
    num_measured = survey_size(len(target.curves.ids), trials=len(target.curves.ids), steps=target.steps)
    # One evaluation of a startup trial is part of its training, if it is one of the front.
    return num_measured * target.curves.measuring.evaluations + STARTUP + hindsight(SHARE, problem=target)


def _row(setting: _Setting, source: str) -> str:
    spent = list(setting.spent[source].values())
    found = median_interval(spent)
    interval = "" if found.low is None or found.high is None else f" [{_share(found.low)}, {_share(found.high)}]"
    against = "| | | |"
    ratios = setting.ratios(source)
    if source != "cold" and ratios:
        values = _summary(ratios)
        against = f"| {_factor(values['median'])} | {_factor(values['worst'])} | {values['worse']} |"
    return (
        f"| {setting.name} | {setting.workers} | {source} | {len(spent)} "
        f"| {_share(found.median)}{interval} "
        f"| {sum(map(math.isinf, spent))} | {min(setting.ends[source]):.4f} {against}"
    )


def _share(tokens: float) -> str:
    return "never" if math.isinf(tokens) else f"{tokens:.1%}"


def _factor(ratio: float | None) -> str:
    return "never" if ratio is None else f"{ratio:.2f}"


def _summary(ratios: Sequence[float]) -> dict[str, float | None]:
    """Returns the median and the worst ratio, null where the search never arrives, and how many are worse."""
    median, worst = rounded(statistics.median(ratios), max(ratios))
    return {
        "median": median,
        "worst": worst,
        "worse": sum(item > _LONGER for item in ratios),
        "searches": len(ratios),
    }


def _search(case: Case, source: str, *, origin: CurveProblem, target: CurveProblem, workers: int, seed: int) -> Run:
    arm, seen, losses = ARMS["known-cost + pareto"], target, case.losses(origin)
    if source == "shuffled":
        losses = replace(losses, losses_S=np.random.default_rng(seed).permutation(losses.losses_S))
    if source == "turned":
        losses = replace(losses, losses_S=losses.losses_S.max() + losses.losses_S.min() - losses.losses_S)
    if source in ("warm", "shuffled", "turned"):
        seen = with_source(target, architectures=case.target.architectures(target.curves.ids), source=losses)
    if source == "tpe":
        arm = ARMS[_RIVAL_ARM]
    if source == "meta-tpe":

        def propose(problem: CurveProblem, seed: int) -> Proposer:
            return meta_tpe(problem, source=origin, seed=seed)

        arm = replace(ARMS[_RIVAL_ARM], proposer=propose)
    return run(arm, problem=seen, workers=workers, seed=seed)


def _key(item: Run) -> tuple[str, str, str, int, int]:
    return item["case"], item["source"], item["table"], item["workers"], item["seed"]


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--table", action="store_true", help="print the tables of what is there, run nothing")
    parser.add_argument("--case", action="append", choices=CASES, help="only this; repeatable")
    parser.add_argument("--source", action="append", choices=(*SOURCES, *RIVALS), help="only this; repeatable")
    parser.add_argument("--seeds", type=seed_range, default=list(range(20)), help="first-last, both included")
    parser.add_argument("--again", action="store_true", help="repeat the chosen searches")
    return parser.parse_args()


if __name__ == "__main__":
    main()
