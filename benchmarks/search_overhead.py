"""What a long search adds to its trials: seconds a trial, the driver's memory, the store, the report.

    python -m benchmarks.search_overhead                 # 2,000 trials, one worker, random sampler, median pruner
    python -m benchmarks.search_overhead --trials 10000 --workers 16      # a quarter of an hour on a quiet machine
    python -m benchmarks.search_overhead --trials 200 --profile search.prof

The trials do nothing: each reports at once two made-up evaluations, and the pruner stops half of them after the first.
All else is real: Ray, journal and store on disk, ledger, progress, report. One worker runs them one after another, so
that a trial's whole time is added by the search. With more workers Ray counts as many logical CPUs, whatever the
machine has. At the end the run is read as `--resume` reads it, and the report is written again.
"""

from __future__ import annotations

import argparse
import cProfile
import json
import os
import platform
import sys
import tempfile
import time
from contextlib import nullcontext
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np
import optuna
from ray import cloudpickle
from ray.tune import Trainable
from rich.console import Console

from depthweave.reports.page.page import write_report
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.search.driver import SearchResult, run_search
from depthweave.search.parameters import Parameters
from depthweave.search.preparation import PreparedSearch, create_run, prepare, software
from depthweave.search.progress import PlainProgress
from depthweave.search.pruners import make_pruner
from depthweave.search.samplers import DistinctSampler
from depthweave.search.spec.loading import make_spec
from depthweave.search.study.studies import Studies
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.trial import REPORT, TrialPlan, TrialReport
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import ConnectionWeight
from depthweave.trainers import Evaluation, Measurement, Recipe
from depthweave.trainers.tasks import TaskData

TARGET_S = 0.2
"""A trial adds at most this."""
TARGET_BYTES = 300 * 10**6
"""The driver's memory grows by at most this from the hundredth trial to the last."""
MARKS = (100, 500, 1000, 2000, 5000, 10_000)
"""Numbers of ended trials at which time and memory are read."""
WINDOW = 100
"""Trials before a mark over which the seconds of one are averaged."""
_TRIALS = 2000
_SPACE = 2000
"""Architectures of one budget in the space, at least."""


@dataclass(kw_only=True)
class Course:
    """A progress that shows nothing and records time and memory at every trial's end."""

    shown: PlainProgress
    """The real progress, with its output discarded."""
    ended_s: list[float] = field(default_factory=list)
    """Seconds from the first trial's start to the end of each."""
    processor_s: list[float] = field(default_factory=list)
    """Processor seconds of the driver until then: steady on a busy machine, unlike wall time."""
    rss_bytes: list[int] = field(default_factory=list)
    """The driver's resident memory then."""
    _began: float = 0.0

    def on_begin(self, *, records: list[Record], max_trials: int, workers: int) -> None:
        self._began = time.perf_counter()
        self.shown.on_begin(records=records, max_trials=max_trials, workers=workers)

    def on_start(self, live: LiveTrial) -> None:
        self.shown.on_start(live)

    def on_pause(self, live: LiveTrial) -> None:
        pass

    def on_evaluation(self, live: LiveTrial) -> None:
        self.shown.on_evaluation(live)

    def on_finish(self, record: Record) -> None:
        self.shown.on_finish(record)
        self.ended_s.append(time.perf_counter() - self._began)
        self.processor_s.append(time.process_time())
        self.rss_bytes.append(resident_bytes())

    def on_tick(self) -> None:
        self.shown.on_tick()

    def on_phase(self, text: str) -> None:
        self.shown.on_phase(text)

    def on_note(self, text: str) -> None:
        self.shown.on_note(text)


def per_trial_s(times_s: list[float], *, mark: int) -> float:
    """Returns the mean seconds of the last `WINDOW` trials before the mark, or of fewer at the start."""
    first = max(0, mark - 1 - WINDOW)
    return (times_s[mark - 1] - times_s[first]) / (mark - 1 - first)


def main() -> None:
    """Search, open the run again, then print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--trials", type=int, default=_TRIALS, help="trials of the search, at least 2")
    parser.add_argument("--workers", type=int, default=1, help="trials at once")
    parser.add_argument("--sampler", default="random", help="name of the sampler")
    parser.add_argument("--pruner", default="median", help="name of the pruner")
    parser.add_argument("--profile", type=Path, help="write a cProfile of the driver here (and be slower)")
    asked = parser.parse_args()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    profile = cProfile.Profile() if asked.profile else None
    # More than the machine has: trials that do nothing need no processor.
    os.environ.setdefault("RAY_OVERRIDE_RESOURCES", json.dumps({"CPU": max(asked.workers, os.cpu_count() or 1)}))
    with tempfile.TemporaryDirectory(prefix="depthweave-") as folder:
        prepared = instant_setting(
            Path(folder), trials=asked.trials, workers=asked.workers, sampler=asked.sampler, pruner=asked.pruner
        )
        started = time.perf_counter()
        with profile or nullcontext():
            course, result = instant_search(prepared, create_run(prepared, out=Path(folder) / "run"))
        whole_s, concluded_bytes = time.perf_counter() - started, resident_bytes()
        resume_s = reading_s(prepared, Path(folder) / "run")
        kept = kept_bytes(Path(folder) / "run")
        started = time.perf_counter()
        page = Path(write_report(RunStore.open(Path(folder) / "run")))
        report_s, page_bytes = time.perf_counter() - started, page.stat().st_size
    if profile is not None:
        profile.dump_stats(asked.profile)
    marks = [mark for mark in MARKS if mark < asked.trials] + [len(course.ended_s)]
    print(table(course, marks=marks))
    ended = len(course.ended_s)
    at_hundred = course.rss_bytes[min(100, ended) - 1]
    facts = {
        "trials": ended,
        "pruned": sum(item.state == "pruned" for item in result.records),
        "workers": asked.workers,
        "sampler": asked.sampler,
        "pruner": asked.pruner,
        "trial_s": {str(mark): round(per_trial_s(course.ended_s, mark=mark), 4) for mark in marks},
        "processor_s": {str(mark): round(per_trial_s(course.processor_s, mark=mark), 4) for mark in marks},
        "mean_trial_s": round(course.ended_s[-1] / ended, 4),
        "target_s": TARGET_S,
        "growth_bytes": course.rss_bytes[-1] - at_hundred,
        # With tables merged and the report written, which takes memory once and not a trial.
        "concluded_growth_bytes": concluded_bytes - at_hundred,
        "whole_s": round(whole_s, 1),
        "target_bytes": TARGET_BYTES,
        "resume_s": round(resume_s, 2),
        "report_s": round(report_s, 2),
        "page_bytes": page_bytes,
        "kept_bytes": kept,
        "processor": platform.processor() or platform.machine(),
        "software": software(),
    }
    print(json.dumps({"benchmark": "search_overhead", **facts}))


def table(course: Course, *, marks: list[int]) -> str:
    """Seconds a trial and memory at each mark."""
    rows = ["| trials ended | seconds a trial | of the driver's processor | driver's memory, MB |", "|---|---|---|---|"]
    for mark in marks:
        trial_s, processor_s = (per_trial_s(item, mark=mark) for item in (course.ended_s, course.processor_s))
        rows.append(f"| {mark} | {trial_s:.3f} | {processor_s:.3f} | {course.rss_bytes[mark - 1] / 1e6:.0f} |")
    return "\n".join(rows)


def instant_setting(folder: Path, *, trials: int, workers: int, sampler: str, pruner: str) -> PreparedSearch:
    """A search of a space of 2,078 architectures for each budget; its text is written into the folder."""
    text = folder / "text"
    text.mkdir()
    for number in range(8):
        (text / f"{number}.txt").write_text(f"text {number}. " * 200, encoding="utf-8")
    values: dict[str, Any] = {
        "name": "search-overhead",
        "corpus": {"kind": "files", "paths": [str(text)], "validation_frac": 0.3},
        "space": {
            "fusions": ["none", "dwa", "dwatt", "concat"],
            "dilations": list(range(1, 7)),
            "periods": list(range(1, 7)),
            "depths": list(range(4, 25)),
            "budgets": [20_000_000 + 1_000_000 * number for number in range(-(-trials // _SPACE))],
        },
        "recipe": {"steps": 2, "batch": 2, "context": 64, "num_evaluations": 2, "evaluation_tokens": 128},
        # Without latency: at the end of a search the front's is measured, with real models.
        "objectives": ["perplexity", "memory_bytes", "parameters"],
        "search": {"trials": trials, "sampler": sampler, "pruner": pruner},
        "resources": {"device": "cpu", "max_concurrent": workers},
    }
    return prepare(make_spec(values))


def instant_search(prepared: PreparedSearch, store: RunStore) -> tuple[Course, SearchResult]:
    """The whole search, with trials that answer at once."""
    console = Console(file=StringIO())
    course = Course(shown=PlainProgress(console, objectives=prepared.spec.objectives))
    with patch("depthweave.search.tune.loop.ArchitectureTrial", instant_trial()):
        return course, run_search(prepared, store, address=None, progress=course)


def reading_s(prepared: PreparedSearch, run: Path) -> float:
    """Returns the seconds to read what a resumed run reads: the journal, the records and the evaluations."""
    started = time.perf_counter()
    parameters = Parameters(prepared.space)
    Studies(
        run / "study.journal",
        objectives=prepared.spec.objectives,
        sampler=DistinctSampler(parameters, make=None, seed=0),
        pruner=make_pruner("none", options={}),
        parameters=parameters,
    )
    store = RunStore.open(run)
    store.records()
    store.evaluations()
    return time.perf_counter() - started


def kept_bytes(run: Path) -> dict[str, int]:
    """Bytes of each part of a run folder."""
    return {
        path.name: sum(item.stat().st_size for item in [path, *path.rglob("*")] if item.is_file())
        for path in sorted(run.iterdir())
    }


def instant_trial() -> type[Trainable]:
    """A trial of two made-up evaluations."""
    # The workers do not import this module: they get the class with all that it uses.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])

    class InstantTrial(Trainable):
        def setup(self, config: dict[str, Any], *, data: TaskData, plan: TrialPlan) -> None:
            self._recipe = plan.recipe
            self.reset_config(config)

        def reset_config(self, new_config: dict[str, Any]) -> bool:
            self._index = 0
            generator = np.random.default_rng(new_config["trial"])
            self._loss = float(generator.uniform(2.0, 4.0))
            wiring = Architecture.from_dict(new_config["architecture"]).wiring
            self._weights = tuple(
                ConnectionWeight(site.block, source, 1.0) for site in wiring for source in site.sources
            )
            self._memory_bytes = int(generator.integers(10**6, 10**7))
            return True

        def step(self) -> dict[str, Any]:
            report = made_up_report(
                self._recipe,
                index=self._index,
                loss=self._loss,
                memory_bytes=self._memory_bytes,
                weights=self._weights,
            )
            self._index += 1
            return {REPORT: report, "done": self._index == self._recipe.num_evaluations}

    return InstantTrial


def resident_bytes() -> int:
    """This process's resident memory, as Linux counts it."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def made_up_report(
    recipe: Recipe, *, index: int, loss: float, memory_bytes: int, weights: tuple[ConnectionWeight, ...]
) -> TrialReport:
    """What a trial reports at the evaluation of that index, from 0."""
    step = recipe.evaluation_steps()[index]
    evaluation = Evaluation(
        index=index,
        step=step,
        tokens=step * recipe.tokens_per_step,
        loss=loss + 1 / step,
        train_loss=loss,
        perplexity=float(np.exp(loss + 1 / step)),
        bits_per_byte=loss / float(np.log(2)),
        train_s=0.0,
        evaluation_s=0.0,
        diverged=False,
        weights=weights,
    )
    ratios = ("latency", "latency_low", "latency_high", "step_latency", "step_latency_low", "step_latency_high")
    seconds = ("latency_s", "reference_latency_s", "step_latency_s", "reference_step_latency_s")
    measurement = Measurement(
        **dict.fromkeys((*ratios, *seconds), 1.0),
        memory_bytes=memory_bytes,
        forward_memory_bytes=memory_bytes // 2,
        rounds=1,
        noise_frac=0.0,
        measure_s=0.0,
        waited_s=0.0,
    )
    return TrialReport(
        measurement=measurement,
        evaluations=(evaluation,),
        wall_s=0.0,
        attempts=1,
        device="cpu",
        hardware="none",
        threads=1,
        host=platform.node(),
    )


if __name__ == "__main__":
    main()
