"""A run as its page, card, tables and comparison see it: what they derive from the records, each computed once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import pyarrow as pa

from depthweave.reports.analysis.device_kinds import comparable
from depthweave.reports.analysis.distinct import Group, grouped
from depthweave.reports.analysis.front import non_dominated, with_all
from depthweave.reports.analysis.seeds import averaged, estimated_ids
from depthweave.reports.analysis.verdicts import Verdict, verdicts_of
from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.records import EvaluationRow, Record
from depthweave.reports.store.run_store import RunStore


@dataclass(frozen=True, kw_only=True)
class RunView:
    """The records of a run at one moment. What follows from them is computed at its first use."""

    records: Sequence[Record]
    """All records, the seeds of a confirmation apart."""
    objectives: tuple[str, ...]
    tolerances: Mapping[str, float] | None = None
    evaluations: pa.Table = field(default_factory=lambda: to_table([], row_class=EvaluationRow), repr=False)
    """Of all trials; empty where the view was made of records alone."""

    @classmethod
    def of(
        cls, records: Sequence[Record], *, objectives: Sequence[str], tolerances: Mapping[str, float] | None = None
    ) -> RunView:
        """Returns the view of these records, without evaluations."""
        return cls(records=records, objectives=tuple(objectives), tolerances=tolerances)

    @classmethod
    def read(cls, store: RunStore) -> RunView:
        """Returns the view of what the store holds now."""
        return cls(
            records=store.records(),
            objectives=store.info.objectives,
            tolerances=store.info.tolerance_of,
            evaluations=store.evaluations(),
        )

    @cached_property
    def averaged(self) -> list[Record]:
        """One complete record for each architecture, at the mean of its fresh seeds (`seeds.averaged`)."""
        return averaged(self.records)

    @cached_property
    def estimated(self) -> set[str]:
        """The architectures whose loss is an estimate for the fresh seeds, which they lack (`seeds.estimated_ids`)."""
        return estimated_ids(self.records)

    @cached_property
    def comparable(self) -> list[Record]:
        """The same of the records that may be on one front (`device_kinds.comparable`)."""
        return averaged(comparable(self.records, objectives=self.objectives))

    @cached_property
    def candidates(self) -> list[Record]:
        """The records that can be on the front: complete, with every objective, one for each architecture."""
        return with_all(self.comparable, objectives=self.objectives)

    @cached_property
    def front(self) -> list[Record]:
        """The members of the front of all objectives."""
        return non_dominated(self.candidates, objectives=self.objectives)

    @cached_property
    def verdicts(self) -> dict[str, Verdict]:
        """Architecture id to verdict; empty before a confirmation."""
        return verdicts_of(self.records, objectives=self.objectives, tolerances=self.tolerances)

    @cached_property
    def settled_ids(self) -> set[str]:
        """The architectures whose place on the front is settled."""
        return {key for key, verdict in self.verdicts.items() if verdict.settled}

    @cached_property
    def groups(self) -> list[Group]:
        """The distinct members of the front with their twins."""
        return grouped(self.front, objectives=self.objectives, tolerances=self.tolerances, settled=self.settled_ids)
