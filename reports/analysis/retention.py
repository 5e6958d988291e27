"""Which weights a run keeps once its front is measured, and why those of another trial are absent."""

from __future__ import annotations

from collections.abc import Sequence

from depthweave.reports.analysis.front import front, may_be_on_front
from depthweave.reports.analysis.front_file import front_objectives
from depthweave.reports.analysis.source_runs import taken_phrase
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.spaces.plain_names import is_plain_name


def retained_ids(records: Sequence[Record], *, objectives: Sequence[str]) -> set[str]:
    """Returns the architectures whose weights stay: members of a front, possible members, and plain ones."""
    wanted = {item.architecture_id for item in records if is_plain_name(item.fusion)}
    wanted |= {item.architecture_id for item in may_be_on_front(records, objectives=objectives)}
    for names in front_objectives(objectives):
        wanted |= {item.architecture_id for item in front(records, objectives=names)}
    return wanted


def why_absent(store: RunStore, record: Record) -> str:
    """Returns why a complete record's weights are absent, as a continuation of "the weights of ..."."""
    if record.architecture_id not in retained_ids(store.records(), objectives=store.info.objectives):
        return "were not kept, because it is not on the front"
    if record.taken_from is not None:
        return f"are absent: its record was {taken_phrase(record)}, and they did not come along"
    what = "a plain baseline" if is_plain_name(record.fusion) else "on the front"
    return f"are gone: the run keeps them, because it is {what}, so something else has deleted them"
