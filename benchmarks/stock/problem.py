"""The quick search's space, text, recipe and number of trials, and what every method returns at its end."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from depthweave.search.preparation import PreparedSearch, prepare
from depthweave.search.spec.loading import load_spec
from depthweave.search.spec.schema import Spec, to_dict
from depthweave.trainers import TrainingState

QUICK = Path(__file__).parent / "quick.yaml"
WORKERS = 2
"""Trials at once, of one thread each."""
FINISHED_FILE = "finished.json"
"""File of the `Finished` trials in a method's folder."""
_LATER_DEFAULTS = (("block", "gpt"), ("wirings", []))


@dataclass(frozen=True, kw_only=True, slots=True)
class Finished:
    """One trial of a method as the method itself reports it at its end."""

    architecture_id: str | None
    """`None` if its combination cannot be built."""
    tokens: int
    """Tokens of training."""
    is_whole: bool
    """Whether it was trained to the recipe's end."""
    is_reported_complete: bool
    """Whether the sampler got it as complete."""
    is_on_front: bool
    """Whether the method's own front of perplexity, latency and memory holds it."""
    perplexity: float | None = None
    """The last reported one, complete or not."""


def settings_of(overrides: Sequence[str], *, seed: int) -> list[str]:
    """The overrides of every method: two workers, that seed, and the text divided by the rule of the existing truth."""
    return [*overrides, "corpus.division=documents", f"resources.max_concurrent={WORKERS}", f"seed={seed}"]


def spec_of(overrides: Sequence[str], *, seed: int) -> Spec:
    """The quick search with the settings of every method."""
    return load_spec(QUICK, overrides=settings_of(overrides, seed=seed))


def prepared_of(overrides: Sequence[str], *, seed: int) -> PreparedSearch:
    """Returns text, space and reference of that spec."""
    return prepare(spec_of(overrides, seed=seed))


def search_key(prepared: PreparedSearch) -> str:
    """Returns the conditions that two runs of methods must share to be in one table, whatever their seeds."""
    values = {name: value for name, value in _values(prepared).items() if name not in ("seed", "name")}
    return _key({**values, "training": training_key(prepared)})


def training_key(prepared: PreparedSearch) -> str:
    """Returns the conditions that all trainings of one truth share, whatever their seeds."""
    values = _values(prepared)
    spec = {name: values[name] for name in ("corpus", "tokenizer", "space", "reference", "recipe")}
    return _key({**spec, "text": prepared.data.corpus_sha256, "start": _start(prepared)})


def _values(prepared: PreparedSearch) -> dict[str, Any]:
    """Returns those of the spec, without keys that did not exist when the first trainings were kept."""
    values = to_dict(prepared.spec)
    corpus = {name: value for name, value in values["corpus"].items() if name not in ("division", "test_frac")}
    space = {name: value for name, value in values["space"].items() if (name, value) not in _LATER_DEFAULTS}
    return {**values, "corpus": corpus, "space": space}


def _start(prepared: PreparedSearch) -> list[str]:
    """Returns sums of the reference's first weights, which change if models are initialised differently."""
    recipe = replace(prepared.spec.recipe, seed=0)
    model = TrainingState.start(prepared.reference.architecture, recipe=recipe, device="cpu").model
    # Four digits: the last ones may differ between processors.
    return [f"{name} {float(weights.double().sum()):.4f}" for name, weights in model.state_dict().items()]


def _key(values: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def write_finished(finished: Sequence[Finished], *, folder: Path) -> None:
    """Writes a method's trials into its folder."""
    text = json.dumps([asdict(item) for item in finished], indent=1)
    (folder / FINISHED_FILE).write_text(text, encoding="utf-8")


def read_finished(folder: Path) -> list[Finished]:
    """Reads what `write_finished` wrote."""
    return [Finished(**item) for item in json.loads((folder / FINISHED_FILE).read_text(encoding="utf-8"))]
