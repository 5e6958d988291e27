"""Runs that a run began with, in words: which records were taken over, and how well the others predicted."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from depthweave.reports.formatting import listed, plural
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import trial_name
from depthweave.reports.store.warm_start import SourceRun

MIN_RECORDS = 4
"""Fewer complete records of a run do not say how well a source predicts."""


def trained_here(records: Iterable[Record]) -> list[Record]:
    """Returns the records that the run trained, without those taken over from other runs."""
    return [record for record in records if record.taken_from is None]


def origin_text(run_id: str, trial: int) -> str:
    """Returns the value of `Record.taken_from` for a trial of another run."""
    return f"{run_id}/{trial_name(trial)}"


def origin_run(record: Record) -> str:
    """Returns the id of the run that trained a record; its own, where it was not taken over."""
    return record.run_id if record.taken_from is None else record.taken_from.rpartition("/")[0] or record.taken_from


def origin_trial(record: Record) -> str:
    """Returns the number of the trial in the run that trained it, as text."""
    if record.taken_from is None:
        return str(record.trial)
    number = record.taken_from.rpartition("/")[2].removeprefix("trial-")
    return str(int(number)) if number.isascii() and number.isdigit() else number


def taken_phrase(record: Record) -> str:
    """Returns "taken over from RUN"; empty for a record that the run trained."""
    return "" if record.taken_from is None else f"taken over from {origin_run(record)}"


def taken_caption(records: Sequence[Record]) -> list[str]:
    """Returns a line for each run that records were taken over from, with their architectures."""
    by_run: dict[str, list[str]] = {}
    for record in records:
        if record.taken_from is not None:
            by_run.setdefault(origin_run(record), []).append(record.architecture_id)
    return [f"taken over from {run}: {', '.join(ids)}" for run, ids in by_run.items()]


def taken_sentence(records: Sequence[Record]) -> str:
    """Returns how many of the records were taken over; empty where none was."""
    taken = [record for record in records if record.taken_from is not None]
    if not taken:
        return ""
    runs = list(dict.fromkeys(origin_run(record) for record in taken))
    verb = "was" if len(taken) == 1 else "were"
    return f" {plural(len(taken), 'record')} {verb} taken over from {listed(runs)} and not trained again."


def start_line(source: SourceRun) -> str:
    """Returns a line on what a search takes over from a source run and what it learns from."""
    taken, learned = len(source.taken_over), len(source.losses)
    parts = [f"{plural(taken, 'record')} taken over"] if taken or not learned else []
    if learned:
        parts.append(f"{plural(learned, 'architecture')} to learn from")
    why = f" (different: {listed(source.differs)})" if source.differs else ""
    kind = "table" if source.is_table else "run"
    return f"{kind} {source.name}: {', '.join(parts)}{why}"


def outcome_sentence(source: SourceRun) -> str:
    """Returns a sentence on a source run: what was taken over and learned from, and how well it predicted."""
    return f"{start_line(source)}{_prediction(source)}."


def _prediction(source: SourceRun) -> str:
    outcome = source.outcome
    if outcome is None or not source.losses:
        return ""
    if outcome.num_records < MIN_RECORDS:
        few = plural(outcome.num_records, "complete trial")
        return f"; how well it predicts is not known yet ({few} of this run, {MIN_RECORDS} are needed)"
    if outcome.tau is None:
        return f"; it does not tell the {outcome.num_records} complete trials of this run apart"
    trials, tau = plural(outcome.num_records, "complete trial"), f"{outcome.tau:+.2f}"
    useless = ", no better than chance" if outcome.tau <= 0 else ""
    return f"; its order of {trials} of this run agrees with the final losses at Kendall's tau {tau}{useless}"
