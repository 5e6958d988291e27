"""Prepares a search: reads the data, enumerates the space, chooses the reference, makes the run folder.

Every fault of a spec is found here, before any training.
"""

from __future__ import annotations

import hashlib
import platform
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from depthweave.reports.formatting import parts_text
from depthweave.reports.store.run_info import RunInfo
from depthweave.reports.store.run_store import TOKENIZER_FILE, RunStore
from depthweave.search.cluster.placement import ANYWHERE, Placement
from depthweave.search.spec.logger_names import check_installed
from depthweave.search.spec.schema import Spec
from depthweave.search.spec.task_objectives import check_confirms
from depthweave.spaces.space import Axes, Candidate, SearchSpace, enumerate_space
from depthweave.trainers import check_can, pick_device
from depthweave.trainers.machine import check_room_for
from depthweave.trainers.tasks import AnyTask, DataRequest, TaskData

_PROGRESS_INTERVAL_S = 2.0
"""Time between two lines about an enumeration."""

_PACKAGES = ("depthweave", "torch", "ray", "optuna")


@dataclass(frozen=True, kw_only=True)
class PreparedSearch:
    """A search that can start."""

    spec: Spec
    data: TaskData
    space: SearchSpace
    reference: Candidate
    corpus_bytes: tuple[int, ...] = ()
    """Bytes of the training, validation and test part of the text."""
    placement: Placement = ANYWHERE
    """Where trials may run; known once Ray is started."""

    @property
    def task(self) -> AnyTask:
        """What the models are trained for."""
        return self.spec.make_task()


def prepare(
    spec: Spec, *, local: bool = True, tokenizer_json: str | None = None, say: Callable[[str], None] = lambda line: None
) -> PreparedSearch:
    """Reads the text, enumerates the space and chooses the reference; raises `ValueError`, one line, on any fault.

    With `local`, trials run on this machine, and its device must support the recipe. `tokenizer_json` is the tokenizer
    of a resumed run. `say` gets a line about the text's parts, before each long step, and during a long enumeration.
    """
    check_installed(spec.loggers)
    if local:
        check_can(pick_device(spec.resources.device), recipe=spec.recipe)
    task = spec.make_task()
    if spec.search.confirm is not None:
        check_confirms(spec.task)
    request = DataRequest(
        corpus=spec.corpus,
        tokenizer=spec.tokenizer,
        tokenizer_json=tokenizer_json,
        recipe=spec.recipe,
        # Trials may run on other machines than this one.
        device=str(pick_device(spec.resources.device)) if local else "cpu",
    )
    raw = task.read(request)
    num_bytes = raw.num_bytes
    for line in (f"text of {raw.name}: {parts_text(num_bytes)}", *raw.notes):
        say(line)
    data = task.encode(raw, request, say=say)
    del raw
    space = space_of(spec.axes(data), say=say)
    if local and space.axes.head is None:
        _check_room(space)
    reference = space.plain(depth=spec.reference.depth, budget=spec.reference.budget)
    return PreparedSearch(spec=spec, data=data, space=space, reference=reference, corpus_bytes=num_bytes)


def _check_room(space: SearchSpace) -> None:
    """Raises `ValueError`, one line, where this machine has no memory for the weights of the largest budget."""
    largest = max(space.axes.budgets)
    candidate = next((item for item in space if item.budget == largest), None)
    if candidate is not None:
        check_room_for(candidate.architecture)


def space_of(axes: Axes, *, say: Callable[[str], None] = lambda line: None) -> SearchSpace:
    """Returns the space of the axes; `say` gets a progress line every two seconds."""
    last_line_s = time.monotonic()

    def on_progress(done: int, total: int) -> None:
        nonlocal last_line_s
        if time.monotonic() - last_line_s >= _PROGRESS_INTERVAL_S:
            last_line_s = time.monotonic()
            say(f"enumerating the space: {done:,} of {total:,} combinations")

    return enumerate_space(axes, on_progress=on_progress)


def create_run(prepared: PreparedSearch, *, out: str | Path) -> RunStore:
    """Makes the folder of a new run with its resolved spec; raises `ValueError` where it already holds a run."""
    spec, space = prepared.spec, prepared.space
    info = RunInfo(
        run_id=f"{spec.name}-{datetime.now(UTC):%Y%m%dT%H%M%S}-{uuid.uuid4().hex[:6]}",
        name=spec.name,
        created_at=datetime.now(UTC),
        task=spec.task,
        classes=prepared.task.classes(prepared.data),
        quality=prepared.task.quality.title,
        objectives=spec.objectives,
        tolerances=tuple(spec.tolerances[name] for name in spec.objectives),
        reference_id=prepared.reference.architecture.id,
        corpus=prepared.data.corpus,
        corpus_sha256=prepared.data.corpus_sha256,
        corpus_bytes=prepared.corpus_bytes,
        combinations=space.num_combinations,
        distinct=len(space),
        infeasible=tuple(item.reason for item in space.infeasible),
        software=software(),
        spec=spec.to_yaml(),
    )
    tokenizer_json = prepared.data.tokenizer_json
    return RunStore.create(out, info=info, spec_yaml=spec.to_yaml(), tokenizer_json=tokenizer_json)


def tokenizer_of(store: RunStore) -> str | None:
    """Returns the content of a run's `tokenizer.json`; `None` where it is missing or changed."""
    data = store.read_bytes(TOKENIZER_FILE) if store.has_file(TOKENIZER_FILE) else b""
    is_own = store.info.tokenizer_sha256 in ("", hashlib.sha256(data).hexdigest())
    return store.read_text(TOKENIZER_FILE) if data and is_own else None


def software() -> str:
    """Returns the versions of the software that the results depend on."""
    return ", ".join([*(f"{name} {version(name)}" for name in _PACKAGES), f"Python {platform.python_version()}"])
