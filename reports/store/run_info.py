"""What a run is: its name, its search space, its objectives and its data, kept as `run.json`."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from depthweave.reports.store.bounds import json_value
from depthweave.reports.store.objectives import objective
from depthweave.reports.store.tolerance import check_tolerance, tolerances_of
from depthweave.spaces.checksums import add_checksum, verified_values

FORMAT = 1
"""Version of the layout of a run folder; raised by one when older code can no longer read it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RunInfo:
    """One search, as written before its first trial starts."""

    run_id: str
    """Unique name; every record of the run carries it."""
    name: str
    """Title for readers; any text."""
    created_at: datetime
    """Has a time zone."""
    objectives: tuple[str, ...]
    """Names of the objectives that the search minimises, in the spec's order."""
    tolerances: tuple[float, ...] = ()
    """Tolerances of these objectives, in the same order. Empty in runs of earlier versions, which have the defaults."""
    reference_id: str
    """Architecture id of the reference."""
    corpus: str
    """Name of the corpus."""
    combinations: int
    """Combinations in the search space as written."""
    distinct: int
    """Architectures left after infeasible ones and equal graphs are dropped."""
    infeasible: tuple[str, ...] = ()
    """The reason for each infeasible combination, one line each."""
    corpus_sha256: str = ""
    """Hash of the corpus's documents."""
    corpus_bytes: tuple[int, ...] = ()
    """Sizes of its training, validation and test part; empty in runs of earlier versions."""
    tokenizer_sha256: str = ""
    """Hash of `tokenizer.json`; empty where a token is a byte, and in runs of earlier versions."""
    task: str = "language_modelling"
    """The task that the models were trained for. Earlier versions had only this one."""
    classes: tuple[str, ...] = ()
    """The tags of the text in the order of a head's classes; empty for language models."""
    quality: str = ""
    """The title of the task's quality; empty in runs of earlier versions."""
    software: str = ""
    """Versions of depthweave, torch, ray, optuna and Python."""
    spec: str = ""
    """The resolved spec that the run began with, YAML; empty in runs of earlier versions."""

    def __post_init__(self) -> None:
        for item in dataclasses.fields(self):
            self._check_kind(item.name)
        if not self.run_id:
            raise ValueError("RunInfo.run_id is empty: give the run an identifier")
        if self.created_at.tzinfo is None:
            raise ValueError(f"RunInfo.created_at {self.created_at} has no time zone: give it in UTC")
        if len(set(self.objectives)) != len(self.objectives) or not self.objectives:
            raise ValueError(f"RunInfo.objectives {self.objectives}: at least one, and none of them twice")
        for name in self.objectives:
            objective(name)
        if self.combinations < 0 or self.distinct < 0:
            raise ValueError(f"RunInfo.combinations {self.combinations}, distinct {self.distinct}: at least 0 each")
        if self.tolerances and len(self.tolerances) != len(self.objectives):
            raise ValueError(f"RunInfo.tolerances {self.tolerances}: one for each of {self.objectives}, or none")
        if len(self.corpus_bytes) not in (0, 3) or min(self.corpus_bytes, default=0) < 0:
            raise ValueError(f"RunInfo.corpus_bytes is {self.corpus_bytes}: three sizes, none below 0, or nothing")
        for name, value in self.tolerance_of.items():
            check_tolerance(name, value)

    @property
    def tolerance_of(self) -> dict[str, float]:
        """Objective to its tolerance."""
        return tolerances_of(self.objectives, dict(zip(self.objectives, self.tolerances, strict=False)))

    def _check_kind(self, name: str) -> None:
        """Raises `ValueError` for a value of the wrong type: a file may hold anything."""
        value = getattr(self, name)
        kind = {
            "created_at": datetime,
            "combinations": int,
            "distinct": int,
            "tolerances": float,
            "corpus_bytes": int,
        }.get(name, str)
        is_list = name in ("objectives", "infeasible", "classes", "tolerances", "corpus_bytes")
        parts = value if is_list else (value,)
        if not isinstance(parts, tuple) or any(type(part) is not kind for part in parts):
            wanted = f"a list of {kind.__name__}" if is_list else kind.__name__
            raise ValueError(f"RunInfo.{name} is {value!r:.60}: it must be {wanted}")


def to_json(info: RunInfo) -> str:
    """Returns the text of `run.json`."""
    values: dict[str, Any] = {"format": FORMAT, **dataclasses.asdict(info)}
    values["created_at"] = info.created_at.isoformat()
    return json.dumps(add_checksum(values), indent=2, ensure_ascii=False) + "\n"


def from_json(text: str, *, where: str) -> RunInfo:
    """Returns the run that `run.json` describes; raises `ValueError`, one line, for a damaged one or a later format."""
    try:
        values = verified_values(json_value(text))
        version = int(values.pop("format"))
        known = {item.name for item in dataclasses.fields(RunInfo)}
        kept = {name: value for name, value in values.items() if name in known}
        kept["created_at"] = datetime.fromisoformat(kept["created_at"])
        kept["objectives"] = tuple(kept["objectives"])
        for name in ("infeasible", "classes"):
            kept[name] = tuple(kept.get(name, ()))
        kept["tolerances"] = tuple(float(value) for value in kept.get("tolerances", ()))
        kept["corpus_bytes"] = tuple(kept.get("corpus_bytes", ()))
        info = RunInfo(**kept)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ValueError(f"{where}: not readable as a run ({reason}): restore it, or start a new search") from None
    if version > FORMAT:
        raise ValueError(f"{where}: run format {version}, this Depthweave reads up to {FORMAT}: upgrade it")
    return info
