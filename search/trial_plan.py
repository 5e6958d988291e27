"""What all trials of a run have in common: how they are trained, and how they are recorded."""

from __future__ import annotations

from depthweave.reports.store.run_store import CHECKPOINTS
from depthweave.search.isolated_measurement import kinds_of, locks_of
from depthweave.search.preparation import software
from depthweave.search.search_run import SearchRun
from depthweave.search.survey import measuring_limit_s, read_survey
from depthweave.search.trials.recording import RecordMaker
from depthweave.search.trials.trial import TrialPlan


def maker_of(run: SearchRun) -> RecordMaker:
    """Returns what makes the records of the run's trials."""
    prepared, info = run.prepared, run.store.info
    return RecordMaker(
        run_id=info.run_id,
        reference_id=info.reference_id,
        recipe=prepared.spec.recipe,
        rates=run.rates,
        task=prepared.task,
        data=prepared.data,
        software=software(),
        device=prepared.spec.resources.device,
    )


def plan_of(run: SearchRun) -> TrialPlan:
    """Returns what every trial of the run gets."""
    prepared, survey = run.prepared, read_survey(run.store)
    resources = prepared.spec.resources
    return TrialPlan(
        task=prepared.task,
        reference=prepared.reference.architecture,
        recipe=prepared.spec.recipe,
        rates=run.rates,
        device=resources.device,
        threads=resources.cpus_per_trial,
        measure_limit_s=measuring_limit_s(prepared, survey),
        # As in the survey. At the end the front is measured with its training steps.
        kinds=kinds_of(prepared.spec.objectives, step=not survey.measurements),
        measured=survey.measurements,
        measured_on=survey.hardware,
        locks=locks_of(run.store),
        checkpoints=run.store.storage.address(CHECKPOINTS),
        placement=prepared.placement,
        run_id=run.store.info.run_id,
    )
