"""Which records of another run are those that this search would write: the facts that a record's values depend on.

A loss depends on the text, the tokenizer, the recipe with its seed, and the architecture. A measured cost depends also
on the machine, the number of threads, and the reference.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import TOKENIZER_FILE, RunStore
from depthweave.search.cluster.nodes import this_node
from depthweave.search.run_folder.resuming import spec_of
from depthweave.search.search_run import SearchRun
from depthweave.search.spec.schema import Spec
from depthweave.search.spec.tagging_spec import TaggingSpec
from depthweave.spaces.architecture import Architecture
from depthweave.trainers import FIRST_RECIPE, Recipe, pick_device
from depthweave.trainers.machine import with_precision

_RECIPE = "recipe."
"""Prefix of the facts of a recipe."""
_UNKNOWN = "unknown here"
"""Differs from every value of a record."""

Facts = Mapping[str, Any]
"""Values by name; equal facts have equal values as JSON."""


@dataclass(frozen=True, kw_only=True)
class Conditions:
    """What the values of a record depend on, besides its architecture."""

    training: Facts
    """Of its loss."""
    measuring: Facts
    """Of its measured costs."""


class RunConditions:
    """The conditions of the trials that a search is about to run; `local` means on this machine."""

    def __init__(self, run: SearchRun, *, local: bool) -> None:
        prepared, spec = run.prepared, run.prepared.spec
        self._rates = run.rates
        self._recipe, self._precision = spec.recipe, _precision(spec, local=local)
        self._text = {
            "corpus": prepared.data.corpus_sha256,
            "tokenizer": [prepared.data.tokenizer, _tokenizer_sha256(run.store)],
            **_task_facts(spec),
        }
        self._measuring = {
            "device": _device_type(spec, local=local),
            "hardware": _hardware(run, local=local),
            "threads": spec.resources.cpus_per_trial,
            "reference": run.store.info.reference_id,
        }

    def of(self, architecture: Architecture) -> Conditions:
        """Returns the conditions of a trial of the architecture."""
        recipe = dataclasses.asdict(self._rates.recipe(self._recipe, architecture))
        training = {**self._text, **_recipe_facts({**recipe, "precision": self._precision})}
        return Conditions(training=training, measuring=self._measuring)


class SourceConditions:
    """The conditions of the records of a source run."""

    def __init__(self, store: RunStore) -> None:
        self._tokenizer_sha256 = _tokenizer_sha256(store)
        self._reference_id = store.info.reference_id
        self._task_facts = _task_facts_of_run(store)

    def of(self, record: Record) -> Conditions:
        """Returns the conditions of a record."""
        recipe = {**dataclasses.asdict(Recipe()), **FIRST_RECIPE, **json.loads(record.recipe), "seed": record.seed}
        return Conditions(
            training={
                "corpus": record.corpus_sha256,
                "tokenizer": [record.tokenizer, self._tokenizer_sha256],
                **self._task_facts,
                **_recipe_facts(recipe),
            },
            measuring={
                "device": record.device,
                "hardware": record.hardware,
                "threads": record.threads,
                "reference": self._reference_id,
            },
        )


def differences(ours: Facts, theirs: Facts) -> list[str]:
    """Returns the names of the facts that are not equal, in the order of `ours`."""
    names = dict.fromkeys([*ours, *theirs])
    return [name for name in names if name not in ours or name not in theirs or ours[name] != theirs[name]]


def described(names: Iterable[str]) -> list[str]:
    """Returns the names of facts for a reader; those of the recipe are one item: "recipe (steps, seed)"."""
    distinct = list(dict.fromkeys(names))
    keys = [name.removeprefix(_RECIPE).replace("_", " ") for name in distinct if name.startswith(_RECIPE)]
    others = [name for name in distinct if not name.startswith(_RECIPE)]
    return [*others, *([f"recipe ({', '.join(keys)})"] if keys else [])]


def _recipe_facts(recipe: Mapping[str, Any]) -> dict[str, Any]:
    # JSON has no tuples.
    return {f"{_RECIPE}{name}": value for name, value in json.loads(json.dumps(recipe)).items()}


def _hardware(run: SearchRun, *, local: bool) -> str:
    """Returns the hardware that trials measure on; a cluster's where an objective depends on it."""
    known = run.prepared.placement.hardware
    return known or (this_node(run.prepared.spec.resources).hardware if local else _UNKNOWN)


def _precision(spec: Spec, *, local: bool) -> str:
    """Returns the precision of the trainings; GPUs of other machines resolve `auto` themselves."""
    if spec.recipe.precision != "auto":
        return spec.recipe.precision
    device = _device_type(spec, local=local)
    if device == "cuda" and not local:
        return _UNKNOWN
    return with_precision(spec.recipe, device=pick_device(device)).precision


def _device_type(spec: Spec, *, local: bool) -> str:
    # A trial sees the GPUs that it asks for and no other.
    if spec.resources.gpus_per_trial:
        return "cuda"
    found = pick_device(spec.resources.device).type if local else "cpu"
    return "cpu" if found == "cuda" else found


def _tokenizer_sha256(store: RunStore) -> str:
    """Returns the hash of a run's tokenizer; empty where a token is a byte."""
    if store.info.tokenizer_sha256 or not store.has_file(TOKENIZER_FILE):
        return store.info.tokenizer_sha256
    # A run of an earlier version, which kept no hash.
    return hashlib.sha256(store.read_bytes(TOKENIZER_FILE)).hexdigest()


def _task_facts_of_run(store: RunStore) -> dict[str, Any]:
    """Returns the facts of a source's task; a spec of another version differs in all of them."""
    try:
        return _task_facts(spec_of(store))
    except ValueError:
        return {"spec": _UNKNOWN}


def _task_facts(spec: Spec) -> dict[str, Any]:
    """Returns what the values depend on besides text, tokenizer and recipe: the draws and the host's training."""
    if not isinstance(spec, TaggingSpec):
        return {}
    return {
        "shots": [spec.shot_unit, *spec.shots],
        "draws": spec.draws,
        "host weights": spec.host.weights,
    }
