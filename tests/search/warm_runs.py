"""Runs that a search starts from, made without Ray, and the search that starts from them."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from depthweave.reports.store.run_store import RunStore, checkpoint_name
from depthweave.search.cluster.placement import Placement
from depthweave.search.learning_rates import chosen_rates
from depthweave.search.preparation import PreparedSearch, create_run, prepare, software
from depthweave.search.search_run import SearchRun, open_run
from depthweave.search.spec.loading import make_spec
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.recording import Outcome, RecordMaker
from depthweave.spaces.checksums import checksum_path, sha256_of
from depthweave.spaces.decoder import ConnectionWeight
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.trainers import Evaluation, Recipe
from tests.search.ledger_runs import make_report
from tests.search.search_runs import RecordingProgress

HARDWARE = "a processor"
"""Of `make_report`."""
SOURCE_WEIGHTS = b"the weights of a trial"


def prepared_of(values: dict[str, Any], *, sources: Sequence[Path] = (), **changes: Any) -> PreparedSearch:
    """Prepares the search of a spec that starts from these runs; `changes` are overrides, with `__` for a dot."""
    overrides = [f"{name.replace('__', '.')}={value}" for name, value in changes.items()]
    if sources:
        overrides.append(f"search.warm_start={[str(item) for item in sources]}")
    return prepare(make_spec(values, overrides=overrides))


def evaluation_of(recipe: Recipe, index: int, *, loss: float) -> Evaluation:
    """Returns evaluation `index`, from 0, of a training that ends at `loss`."""
    step, last = recipe.evaluation_steps()[index], recipe.num_evaluations - 1
    loss += (last - index) / 10
    return Evaluation(
        index=index,
        step=step,
        tokens=step * recipe.tokens_per_step,
        loss=loss,
        train_loss=loss,
        perplexity=math.exp(loss),
        bits_per_byte=loss / math.log(2),
        train_s=1.0,
        evaluation_s=0.1,
        diverged=False,
        weights=(ConnectionWeight(1, 0, loss),),
    )


def source_run(
    prepared: PreparedSearch, folder: Path, *, losses: Sequence[float], weights: bool = False, seed: int | None = None
) -> RunStore:
    """Makes a run whose first trials are the space's first architectures, with these final losses."""
    store = create_run(prepared, out=folder)
    add_records(store, prepared, losses=losses, seed=seed)
    if weights:
        for trial in range(len(losses)):
            path = folder / checkpoint_name(trial) / MODEL_FILE
            path.parent.mkdir(parents=True)
            path.write_bytes(SOURCE_WEIGHTS + str(trial).encode())
            checksum_path(path).write_text(f"{sha256_of(path)}  {MODEL_FILE}\n")
    return store


def add_records(
    store: RunStore, prepared: PreparedSearch, *, losses: Sequence[float], first: int = 0, seed: int | None = None
) -> None:
    """Adds complete trials of the space's first architectures, numbered from `first`."""
    recipe = prepared.spec.recipe if seed is None else dataclasses.replace(prepared.spec.recipe, seed=seed)
    maker = RecordMaker(
        rates=chosen_rates(store, spec=prepared.spec),
        run_id=store.info.run_id,
        reference_id=store.info.reference_id,
        recipe=recipe,
        task=prepared.task,
        data=prepared.data,
        software=software(),
        device="cpu",
    )
    for place, (candidate, loss) in enumerate(zip(prepared.space, losses, strict=False)):
        live = LiveTrial(number=first + place, candidate=candidate, started_at=datetime.now(UTC))
        report = make_report(*(evaluation_of(recipe, index, loss=loss) for index in range(recipe.num_evaluations)))
        live.add_report(dataclasses.replace(report, precision="float32"))
        rows = maker.rows(live, outcome=Outcome("complete", None))
        store.append(rows.record, evaluations=rows.evaluations, weights=rows.weights)


@contextmanager
def opened(
    prepared: PreparedSearch, store: RunStore, *, hardware: str = HARDWARE, progress: RecordingProgress | None = None
) -> Iterator[SearchRun]:
    """Yields the run as the driver has it, on a machine with that hardware."""
    with open_run(prepared, store, progress=progress or RecordingProgress()) as run:
        yield run.placed(Placement(hardware=hardware))
