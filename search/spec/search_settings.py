"""The section `search` of a spec: which architecture to try next, which trial to stop, and when to end."""

from __future__ import annotations

from typing import Any, Self

from pydantic import Field, ValidationInfo, field_validator, model_validator

from depthweave.search.pruners import check_pruner, make_pruner
from depthweave.search.samplers import check_sampler, check_sampler_of_sources
from depthweave.search.spec.part import Part, Whole


class SearchSettings(Part):
    """Which architecture to try next, which trial to stop, and when to end."""

    sampler: str = "known-cost"
    pruner: str = "pareto"
    pruner_options: dict[str, Any] = Field(default_factory=dict, validate_default=True)
    """Arguments of the pruner, whose steps are evaluations, counted from 1."""
    trials: Whole = Field(default=24, ge=1)
    """Architectures to try; fewer where the space has fewer."""
    time_budget_s: float | None = Field(default=None, gt=0)
    """Seconds after which the search stops; trials in flight continue with `--resume`."""
    confirm: Whole | None = Field(default=None, ge=2)
    """Number of fresh seeds, besides the search's own, to train the front's distinct members and their baselines
    with at the end; no confirmation where absent. It does not count towards the time budget."""
    retries: Whole = Field(default=1, ge=0)
    """How often a crashed trial is restarted from its last checkpoint before it is recorded as failed."""
    warm_start: tuple[str, ...] = ()
    """Folders of other runs, and Parquet tables of trained architectures: identical records of runs are taken over, and
    the sampler learns from all others."""

    @field_validator("sampler")
    @classmethod
    def _known_sampler(cls, name: str) -> str:
        return check_sampler(name)

    @field_validator("pruner")
    @classmethod
    def _known_pruner(cls, name: str) -> str:
        return check_pruner(name)

    @field_validator("pruner_options")
    @classmethod
    def _valid_options(cls, options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
        if "pruner" in info.data:
            make_pruner(info.data["pruner"], options=options)
        return options

    @field_validator("warm_start")
    @classmethod
    def _names_each_run_once(cls, folders: tuple[str, ...]) -> tuple[str, ...]:
        for folder in folders:
            if not folder.strip():
                raise ValueError("warm_start has an empty entry: give folders of runs or tables")
            if folders.count(folder) > 1:
                raise ValueError(f"warm_start names {folder} twice: name each source once")
        return folders

    @model_validator(mode="after")
    def _sampler_learns_from_runs(self) -> Self:
        if self.warm_start:
            check_sampler_of_sources(self.sampler)
        return self
