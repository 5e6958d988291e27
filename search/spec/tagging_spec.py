"""The spec of a search over heads: the task `token_classification`."""

from __future__ import annotations

import dataclasses
import os
from typing import Any, ClassVar

from pydantic import field_validator, model_validator

from depthweave.search.console import one_line
from depthweave.search.spec.part import SHOWN_CHARACTERS, Whole
from depthweave.search.spec.schema import Spec, to_dict
from depthweave.search.spec.space_spec import PeriodEntry, SpaceSpec
from depthweave.spaces.head_space import HeadAxes
from depthweave.spaces.heads.registry import HEADS, head_class
from depthweave.spaces.space import Axes
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.few_shot_data import FewShotData, head_axes, host_of
from depthweave.trainers.tagging.few_shot_spec import FewShot, HostSpec, TagCorpus, read_tagged_text
from depthweave.trainers.tagging.host_path import absolute_host_path
from depthweave.trainers.tagging.shots import ShotUnit
from depthweave.trainers.tagging.tagging_state import TAG_RECIPES
from depthweave.trainers.tasks import AnyTask, TaskData
from depthweave.trainers.tasks.token_classification import TokenClassification

TASK = "token_classification"
_NOT_HERE = {
    "tokenizer": "the host brings its own",
    "space.depths": "the host has its own depth",
    "space.head_width": "the host has its own width",
    "space.width": "the host has its own width",
    "space.sizing": "the host has its own sizes",
    "space.block": "the host has its own layers",
    "space.sparse": "a head has one site, whose wirings are all listed",
    "reference.depth": "the host has its own depth",
}
"""Keys of other tasks, and why this one has no use for them."""
_NO_KEYS = ("depths", "head_width", "width", "sizing", "block", "sparse")


class HeadSpaceSpec(SpaceSpec):
    """The axes of a space of heads: the host gives the other sizes."""

    fusions: tuple[str, ...] = tuple(HEADS)
    """The heads."""
    dilations: tuple[Whole, ...] = (1, 2, 3)
    periods: tuple[PeriodEntry, ...] = (1, 2, "depth")
    budgets: tuple[Whole, ...] = (1_200_000,)
    """Parameters that a head adds."""

    @field_validator("fusions")
    @classmethod
    def _known_fusions(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        for name in names:
            head_class(name)
        return names


class TaggingSpec(Spec):
    """One search over heads on a pretrained host."""

    places: ClassVar[tuple[str, ...]] = ("corpus", "host")

    task: str = TASK
    corpus: TagCorpus  # type: ignore[assignment]
    host: HostSpec = HostSpec()
    shots: tuple[Whole, ...] = (50, 100, 400)
    """Sizes of the draws, ascending."""
    shot_unit: ShotUnit = "sentences"
    """What a size counts: `sentences`, or `entities` of each type."""
    draws: Whole = 3
    """Draws of each size, whose mean error is the value of a trial."""
    space: HeadSpaceSpec = HeadSpaceSpec()
    recipe: Recipe = TAG_RECIPES["frozen"]
    objectives: tuple[str, ...] = ("error", "latency", "parameters")

    @model_validator(mode="before")
    @classmethod
    def _keys_of_the_task(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        for key, reason in _NOT_HERE.items():
            section, _, name = key.rpartition(".")
            own = values.get(section, {}) if section else values
            if isinstance(own, dict) and own.get(name) is not None:
                raise ValueError(f"{key} is {own[name]!r:.{SHOWN_CHARACTERS}}: {reason}; leave the key out")
        if "corpus" not in values:
            raise ValueError("corpus is missing: give {train: FILE, validation: FILE, test: FILE}, or {dataset: ...}")
        recipe, host = values.get("recipe", {}), values.get("host", {})
        weights = host.get("weights", "frozen") if isinstance(host, dict) else "frozen"
        known = [made for name, made in TAG_RECIPES.items() if name == weights]
        if not isinstance(recipe, dict) or not known:
            return values
        defaults = dataclasses.asdict(known[0])
        return {**values, "recipe": {**defaults, **recipe}}

    @model_validator(mode="after")
    def _has_draws(self) -> TaggingSpec:
        self.few_shot()
        return self

    def few_shot(self) -> FewShot:
        """Returns what a trial trains on. Raises `ValueError` for sizes or draws that cannot be."""
        return FewShot(host=self.host, shots=self.shots, unit=self.shot_unit, draws=self.draws)

    def make_task(self) -> AnyTask:
        few_shot, path = self.few_shot(), self.host.path
        # Workers have another working folder.
        place = None if path is None else absolute_host_path(path)
        return TokenClassification(dataclasses.replace(few_shot, host=dataclasses.replace(self.host, path=place)))

    def axes(self, data: TaskData) -> Axes:
        assert isinstance(data, FewShotData)
        return self._head_axes(data.head_axes)

    def axes_before_data(self) -> Axes:
        text, few_shot = read_tagged_text(self.corpus), self.few_shot()
        return self._head_axes(head_axes(host_of(few_shot), text, weights=self.host.weights))

    def _head_axes(self, head: HeadAxes) -> Axes:
        space = self.space
        return Axes(
            fusions=space.fusions,
            dilations=space.dilations,
            periods=space.periods,
            wirings=space.wirings,
            depths=(head.host.depth,),
            budgets=space.budgets,
            vocabulary=head.host.vocabulary,
            context=self.recipe.context,
            head=head,
        )

    def text_sentence(self, *, named_by: str) -> str:
        corpus = self.corpus
        if corpus.dataset is not None:
            names = [f"the dataset {corpus.dataset.name}"]
        else:
            files = (corpus.train, corpus.validation, corpus.test)
            names = [os.path.abspath(os.path.expanduser(path)) for path in files if path is not None]
        host = "" if self.host.path is None else f", and the host {absolute_host_path(self.host.path)}"
        return one_line(f"reading the text: {', '.join(names)}{host}, named by {named_by}")

    def values(self) -> dict[str, Any]:
        values = to_dict(self)
        del values["tokenizer"], values["reference"]["depth"]
        if self.corpus.dataset is None:
            del values["corpus"]["dataset"]
        for name in _NO_KEYS:
            values["space"].pop(name, None)
        return values

    def kept_rules(self) -> dict[str, dict[str, Any]]:
        return {}
