"""A run without Ray: a space, studies, a store and a ledger on disk, and trials whose reports are made by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_info import RunInfo
from depthweave.reports.store.run_store import RunStore
from depthweave.search.parameters import Parameters
from depthweave.search.pruners import make_pruner
from depthweave.search.pruners.chooser import Chooser
from depthweave.search.samplers import make_sampler
from depthweave.search.study.studies import Studies
from depthweave.search.trial_ledger import TrialLedger
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.recording import RecordMaker
from depthweave.search.trials.trial import TrialReport
from depthweave.spaces.checksums import CHECKSUM_FIELD
from depthweave.spaces.decoder import ConnectionWeight
from depthweave.spaces.space import Axes, SearchSpace, enumerate_space
from depthweave.trainers import Evaluation, Measurement, Recipe, TokenSet
from depthweave.trainers.states import StateProfile
from depthweave.trainers.tasks import task_of

OBJECTIVES = ("perplexity", "latency", "memory_bytes")
RECIPE = Recipe(steps=40, batch=2, context=16, num_evaluations=4, evaluation_tokens=64, seed=3)
SPACE = enumerate_space(
    Axes(
        fusions=("none", "dwa"),
        dilations=(1, 2),
        periods=(1, 2, "depth"),
        depths=(2, 4),
        budgets=(20_000,),
        vocabulary=256,
        context=16,
        head_width=8,
    )
)
"""Ten architectures."""
REFERENCE = SPACE.plain()


def open_studies(folder: Path, *, sampler: str = "tpe", pruner: str = "none", **options: Any) -> Studies:
    """Opens the studies of a run folder as a new driver does."""
    parameters = Parameters(SPACE)
    made = make_sampler(sampler, parameters=parameters, objectives=OBJECTIVES, seed=1)
    return Studies(
        folder / "study.journal",
        objectives=OBJECTIVES,
        sampler=made.sampler,
        use_curves=made.use_curves,
        pruner=make_pruner(pruner, options=options),
        parameters=parameters,
    )


def make_evaluation(index: int, *, loss: float, weights: tuple[ConnectionWeight, ...] = ()) -> Evaluation:
    """Returns evaluation `index`, from 0, of `RECIPE`."""
    step = RECIPE.evaluation_steps()[index]
    return Evaluation(
        index=index,
        step=step,
        tokens=step * RECIPE.tokens_per_step,
        loss=loss,
        train_loss=loss - 0.1,
        perplexity=math.exp(loss) if math.isfinite(loss) else math.inf,
        bits_per_byte=loss / math.log(2),
        train_s=0.5 * (index + 1),
        evaluation_s=0.1 * (index + 1),
        diverged=not math.isfinite(loss),
        weights=weights,
        states=StateProfile((1.0, 2.123456789), (1.0,)) if step == RECIPE.steps else None,
        text_losses=(1.23456789, 1.25) if step == RECIPE.steps else (),
    )


def make_measurement(*, latency: float = 1.0, memory_bytes: int = 1000) -> Measurement:
    return Measurement(
        latency=latency,
        latency_low=latency - 0.01,
        latency_high=latency + 0.01,
        latency_s=0.02 * latency,
        reference_latency_s=0.02,
        step_latency=latency,
        step_latency_low=latency - 0.01,
        step_latency_high=latency + 0.01,
        step_latency_s=0.06 * latency,
        reference_step_latency_s=0.06,
        memory_bytes=memory_bytes,
        forward_memory_bytes=memory_bytes // 4,
        rounds=10,
        noise_frac=0.02,
        measure_s=0.7,
        waited_s=0.0,
    )


def make_report(*evaluations: Evaluation, measurement: Measurement | None = None, attempts: int = 1) -> TrialReport:
    return TrialReport(
        measurement=make_measurement() if measurement is None else measurement,
        evaluations=evaluations,
        wall_s=3.0,
        attempts=attempts,
        device="cpu",
        hardware="a processor",
        threads=1,
        host="node-1",
    )


TOKENS = TokenSet(
    train=np.zeros(1000, dtype=np.uint16),
    valid=np.zeros(100, dtype=np.uint16),
    token_bytes=np.ones(256, dtype=np.uint16),
    vocabulary=256,
    tokenizer="bytes",
    tokenizer_json=None,
    corpus="zeros",
    corpus_sha256="00" * 32,
)
MAKER = RecordMaker(
    run_id="run-0001",
    reference_id=REFERENCE.architecture.id,
    recipe=RECIPE,
    task=task_of("language_modelling"),
    data=TOKENS,
    software="of a test",
    device="cpu",
)


@dataclass(kw_only=True)
class RecordingListener:
    """A listener that keeps all its events."""

    started: list[LiveTrial] = field(default_factory=list)
    paused: list[int] = field(default_factory=list)
    evaluated: list[int] = field(default_factory=list)
    finished: list[Record] = field(default_factory=list)

    def on_start(self, live: LiveTrial) -> None:
        self.started.append(live)

    def on_pause(self, live: LiveTrial) -> None:
        self.paused.append(live.number)

    def on_evaluation(self, live: LiveTrial) -> None:
        self.evaluated.append(live.number)

    def on_finish(self, record: Record) -> None:
        self.finished.append(record)


class Run:
    """A run folder with an open ledger. A second one on the same folder is the resumed run."""

    def __init__(
        self,
        folder: Path,
        *,
        sampler: str = "grid",
        pruner: str = "none",
        options: dict[str, Any] | None = None,
        max_trials: int = 100,
        max_concurrent: int = 4,
        retries: int = 0,
        chooser: Chooser | None = None,
    ) -> None:
        self.folder = folder
        self.space: SearchSpace = SPACE
        self.listener = RecordingListener()
        if (folder / "run.json").exists():
            self.store = RunStore.open(folder)
        else:
            self.store = RunStore.create(folder, info=_info(), spec_yaml="name: test\n")
        self.studies = open_studies(folder, sampler=sampler, pruner=pruner, **(options or {}))
        if not self.studies.trials:
            self.studies.enqueue([REFERENCE.architecture.id])
        self.ledger = TrialLedger(
            store=self.store,
            studies=self.studies,
            space=SPACE,
            maker=MAKER,
            checkpoints=Checkpoints(folder / "checkpoints"),
            max_trials=max_trials,
            max_concurrent=max_concurrent,
            retries=retries,
            listener=self.listener,
            chooser=chooser,
        )

    def start(self, name: str) -> LiveTrial:
        live = self.ledger.next(name)
        assert live is not None
        return live

    def train(self, name: str, *, last_loss: float = 1.0, latency: float = 1.0, memory_bytes: int = 1000) -> None:
        """Reports all evaluations of a trial, which ends by itself."""
        measurement = make_measurement(latency=latency, memory_bytes=memory_bytes)
        for index in range(RECIPE.num_evaluations):
            loss = last_loss + (RECIPE.num_evaluations - 1 - index) / 10
            self.ledger.report(name, make_report(make_evaluation(index, loss=loss), measurement=measurement))
        self.ledger.finish(name, crashed=False)


def as_earlier_version(folder: Path, *, without: Sequence[str] = ("spec",), without_keys: Sequence[str] = ()) -> None:
    """Makes the run one of an earlier version: removes keys of `run.json`, its checksum, and keys of `spec.yaml`."""
    values = json.loads((folder / "run.json").read_text(encoding="utf-8"))
    for name in (*without, CHECKSUM_FIELD):
        del values[name]
    (folder / "run.json").write_text(json.dumps(values), encoding="utf-8")
    spec = yaml.safe_load((folder / "spec.yaml").read_text(encoding="utf-8"))
    for path in without_keys:
        section, key = path.split(".")
        del spec[section][key]
    (folder / "spec.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")


def _info() -> RunInfo:
    return RunInfo(
        run_id=MAKER.run_id,
        name="test",
        created_at=datetime(2026, 3, 1, tzinfo=UTC),
        objectives=OBJECTIVES,
        reference_id=MAKER.reference_id,
        corpus=TOKENS.corpus,
        combinations=SPACE.num_combinations,
        distinct=len(SPACE),
    )
