"""What the trials of a run are trained and recorded with, the same for all."""

from __future__ import annotations

from depthweave.reports.store.run_store import CHECKPOINTS, RunStore
from depthweave.search.isolated_measurement import kinds_of, locks_of
from depthweave.search.preparation import PreparedSearch, software
from depthweave.search.survey import measuring_limit_s, read_survey
from depthweave.search.trials.recording import RecordMaker
from depthweave.search.trials.trial import TrialPlan


def maker_of(prepared: PreparedSearch, store: RunStore) -> RecordMaker:
    """What makes the records of the run's trials."""
    return RecordMaker(
        run_id=store.info.run_id,
        reference_id=store.info.reference_id,
        recipe=prepared.spec.recipe,
        task=prepared.task,
        data=prepared.data,
        software=software(),
        device=prepared.spec.resources.device,
    )


def plan_of(prepared: PreparedSearch, store: RunStore) -> TrialPlan:
    """Returns what every trial of the run gets."""
    resources, survey = prepared.spec.resources, read_survey(store)
    return TrialPlan(
        task=prepared.task,
        reference=prepared.reference.architecture,
        recipe=prepared.spec.recipe,
        device=resources.device,
        threads=resources.cpus_per_trial,
        measure_limit_s=measuring_limit_s(prepared, survey),
        # As the survey did; the front is measured with its training steps at the end.
        kinds=kinds_of(prepared.spec.objectives, step=not survey.measurements),
        measured=survey.measurements,
        measured_on=survey.hardware,
        locks=locks_of(store),
        checkpoints=store.storage.address(CHECKPOINTS),
        placement=prepared.placement,
        run_id=store.info.run_id,
    )
