"""The spec of a search: the space, the text, how to train, what to minimise, and the resources.

A spec is a frozen tree whose parts check themselves. `loading` reads it, and the resolved spec is what a run keeps.
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Self

import yaml
from pydantic import (
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from depthweave.reports.store.objectives import OBJECTIVES, objective
from depthweave.reports.store.tolerance import tolerances_of
from depthweave.search.samplers import check_sparse_sampler
from depthweave.search.spec.logger_names import check_logger
from depthweave.search.spec.objective_entries import names_and_tolerances
from depthweave.search.spec.part import SHOWN_CHARACTERS, Part, Whole
from depthweave.search.spec.rate_list import AUTO, given_rate
from depthweave.search.spec.search_settings import SearchSettings
from depthweave.search.spec.sources import text_sentence
from depthweave.search.spec.space_spec import SpaceSpec
from depthweave.search.spec.task_objectives import DEFAULT_TASK, check_objectives, default_objectives
from depthweave.spaces.block_style import block_style_of
from depthweave.spaces.space import Axes
from depthweave.trainers import CorpusSpec, Recipe, TokenizerSpec
from depthweave.trainers.tasks import AnyTask, TaskData, task_of

FREE = (
    *("name", "loggers", "search.trials", "search.time_budget_s", "search.retries", "search.confirm"),
    *("resources.max_concurrent", "resources.memory_gb_per_trial", "resources.measure_limit_s"),
    *("corpus.kind", "corpus.paths", "corpus.dataset"),
    *("corpus.train", "corpus.validation", "corpus.test", "corpus.dataset.name", "host.path"),
)
"""Keys that a resumed search may change: its end, its loggers, how many trials run at once, how long they measure.

The path of the text may change too, as the text is checked by its hash. The device and the number of threads may not:
they would mix two kinds of measurements on one front.
"""


class ReferenceSpec(Part):
    """The plain architecture that relative speeds are measured against."""

    depth: Whole | None = None
    """The deepest in the space where absent."""
    budget: Whole | None = None
    """The largest in the space where absent."""


class Resources(Part):
    """The resources of a trial, and how many trials run at once."""

    device: str = "auto"
    cpus_per_trial: Whole = Field(default=1, ge=1)
    """Also the number of torch threads of a trial."""
    gpus_per_trial: float = Field(default=0.0, ge=0.0, le=1024.0)
    """GPUs of a trial, a share of one or a whole number; with 0 it sees none, and `device: auto` is the CPU."""
    memory_gb_per_trial: float | None = Field(default=None, gt=0, le=1e6)
    """Main memory of a trial in 10^9 bytes, which limits the trials on a node; no limit where absent."""
    hardware: str | None = None
    """Model of the processor or accelerator to measure on, if the cluster has several; other nodes run no trials."""
    max_concurrent: Whole | None = Field(default=None, ge=1)
    """Most trials at once; as many as fit where absent."""
    measure_limit_s: float = Field(default=2.0, gt=0)
    """Longest time to measure the latency of one architecture, in seconds."""

    @model_validator(mode="after")
    def _sees_its_device(self) -> Resources:
        if self.device.startswith("cuda") and not self.gpus_per_trial:
            raise ValueError(
                f"device is {self.device} but gpus_per_trial is 0, so a trial sees no GPU: give a share, such as 0.5"
            )
        return self

    @field_validator("gpus_per_trial")
    @classmethod
    def _share_or_whole(cls, number: float) -> float:
        if number > 1 and number != int(number):
            raise ValueError(f"{number:g} GPUs are not possible: give a share of one, such as 0.5, or a whole number")
        return number


class Spec(Part):
    """One search."""

    places: ClassVar[tuple[str, ...]] = ("corpus",)
    """Sections that say where data is: a resumed run may find it elsewhere."""

    name: str = "search"
    """Name of the run and, without `--out`, of its folder."""
    seed: Whole = Field(default=0, ge=0, lt=2**32)
    """Seed of the sampler, of every model's first weights and of the data order, so that trials can be compared."""
    task: str = DEFAULT_TASK
    """What the models are trained for."""
    corpus: CorpusSpec = CorpusSpec()
    tokenizer: str = "bytes"
    """`bytes`, or `bpe:N` for N merged tokens."""
    space: SpaceSpec = SpaceSpec()
    reference: ReferenceSpec = ReferenceSpec()
    recipe: Recipe = Recipe()
    learning_rates: tuple[float, ...] = Field(default=(), exclude=True)
    """Rates to choose from for each fusion and depth; in a file the list is `recipe.learning_rate`. None with one."""
    rate_by_width: bool = Field(default=False, exclude=True)
    """Whether each architecture's rate follows from its width; in a file `recipe.learning_rate` is then `auto`."""
    objectives: tuple[str, ...] = default_objectives()
    """In a file a name, or `{name: latency, tolerance: 0.02}`: values closer than this share count as equal."""
    tolerances: dict[str, float] = Field(default_factory=dict, exclude=True)
    """Tolerance of every objective; in a file it is given beside the objective's name."""
    search: SearchSettings = SearchSettings()
    resources: Resources = Resources()
    loggers: tuple[str, ...] = ()
    """Programs that get every evaluation: `tensorboard`, `mlflow`, `wandb`; each needs the extra of that name."""

    @field_validator("name")
    @classmethod
    def _names_a_folder(cls, name: str) -> str:
        if not re.fullmatch(r"\w[\w .+-]{0,99}", name):
            raise ValueError(
                f"{name!r:.{SHOWN_CHARACTERS}} cannot name a folder: begin with a letter or digit, then also space "
                ". _ + -, at most 100 characters"
            )
        return name

    @field_validator("task")
    @classmethod
    def _known_task(cls, name: str) -> str:
        task_of(name)
        return name

    @field_validator("objectives")
    @classmethod
    def _known_objectives(cls, names: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for name in names:
            objective(name)
        if not names:
            raise ValueError("no objective: give at least one, for example perplexity and latency")
        if len(set(names)) < len(names):
            raise ValueError(f"{list(names)} names an objective twice: list each once")
        # Absent where the task itself is refused.
        if "task" in info.data:
            check_objectives(names, task=info.data["task"])
        return names

    @model_validator(mode="before")
    @classmethod
    def _tolerances_beside_names(cls, values: Any) -> Any:
        if not isinstance(values, dict) or not isinstance(values.get("objectives", ()), (list, tuple)):
            return values
        task = values.get("task", DEFAULT_TASK)
        names, given = names_and_tolerances(values.get("objectives", default_objectives(task)))
        if values.get("tolerances"):
            raise ValueError("tolerances: give each beside its objective, such as {name: latency, tolerance: 0.02}")
        known = [name for name in names if isinstance(name, str) and name in OBJECTIVES]
        return {**values, "objectives": names, "tolerances": tolerances_of(known, given)}

    @field_validator("loggers")
    @classmethod
    def _known_loggers(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(check_logger(name) for name in dict.fromkeys(names))

    @model_validator(mode="after")
    def _can_have_sparse_graphs(self) -> Self:
        if self.space.sparse is not None:
            self.space.sparse.check(fusions=self.space.fusions, depths=self.space.depths)
            check_sparse_sampler(self.search.sampler)
        return self

    @field_validator("tokenizer")
    @classmethod
    def _known_tokenizer(cls, name: str) -> str:
        return TokenizerSpec.parse(name).name

    @model_validator(mode="before")
    @classmethod
    def _one_seed(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        recipe, seed = values.get("recipe", {}), values.get("seed", 0)
        if isinstance(recipe, Recipe):
            # As in a file: the spec's seed is the only one.
            recipe = {item.name: getattr(recipe, item.name) for item in dataclasses.fields(Recipe)}
        if not isinstance(recipe, dict):
            return values
        task = values.get("task", cls.model_fields["task"].default)
        given = given_rate(recipe.get("learning_rate"), task=task)
        recipe = {name: value for name, value in recipe.items() if name != "learning_rate"} | {"seed": seed}
        if given.one is not None:
            recipe["learning_rate"] = given.one
        return {**values, "recipe": recipe, "learning_rates": given.several, "rate_by_width": given.by_width}

    def make_task(self) -> AnyTask:
        """Returns the task, with what the spec says about it."""
        return task_of(self.task)

    def axes(self, data: TaskData) -> Axes:
        """Returns the axes of the space for models of this data."""
        return self._axes(vocabulary=data.vocabulary)

    def axes_before_data(self) -> Axes:
        """Returns the same without reading the text where that is not needed."""
        return self._axes(vocabulary=TokenizerSpec.parse(self.tokenizer).vocabulary)

    def _axes(self, *, vocabulary: int) -> Axes:
        return Axes(
            **{name: getattr(self.space, name) for name in type(self.space).model_fields if name != "block"},
            block=block_style_of(self.space.block),
            vocabulary=vocabulary,
            context=self.recipe.context,
        )

    def text_sentence(self, *, named_by: str) -> str:
        """Returns a line that names what is about to be read, and what named it."""
        return text_sentence(self.corpus, named_by=named_by)

    def kept_rules(self) -> dict[str, dict[str, Any]]:
        """Returns values by section and key that a resumed run keeps where its spec names none."""
        return {
            "space": {"sizing": self.space.sizing},
            "corpus": {"division": self.corpus.division},
            "recipe": {
                "initialisation": self.recipe.initialisation,
                "learning_rate": to_dict(self)["recipe"]["learning_rate"],
            },
        }

    def values(self) -> dict[str, Any]:
        """Returns plain values as in a file; the recipe's seed is the spec's and is not repeated."""
        return to_dict(self)

    def to_yaml(self) -> str:
        """Returns the resolved spec as YAML with every default; `load_spec` reads an equal spec back."""
        return yaml.safe_dump(self.values(), sort_keys=False, default_flow_style=None, width=110)


def to_dict(spec: Spec) -> dict[str, Any]:
    """Returns plain values as in a file; the recipe's seed is the spec's and is not repeated."""
    values = spec.model_dump(mode="json")
    del values["recipe"]["seed"]
    # Earlier versions know no tasks, and read the spec of the default one.
    if spec.task == DEFAULT_TASK:
        del values["task"]
    # They know no sparse graphs either.
    if spec.space.sparse is None:
        del values["space"]["sparse"]
    if not spec.search.warm_start:
        del values["search"]["warm_start"]
    if spec.learning_rates:
        values["recipe"]["learning_rate"] = list(spec.learning_rates)
    if spec.rate_by_width:
        values["recipe"]["learning_rate"] = AUTO
    # Objectives with the default tolerance as plain names, as earlier versions wrote them.
    values["objectives"] = [
        name if spec.tolerances[name] == OBJECTIVES[name].tolerance else {"name": name, "tolerance": own}
        for name, own in spec.tolerances.items()
    ]
    return values


def differences(ours: Spec, theirs: Spec, *, free: Sequence[str] = FREE) -> list[str]:
    """Returns the keys in which two specs differ, with both values, except the `free` ones."""
    left, right = dict(_flat(ours.values())), dict(_flat(theirs.values()))
    return [
        f"{key} is {left.get(key)!r}, was {right.get(key)!r}"
        for key in sorted(left.keys() | right.keys())
        if left.get(key) != right.get(key) and key not in free
    ]


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
