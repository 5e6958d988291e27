"""The two Optuna studies of a run, in one journal: the objectives of every trial, and the loss curves.

Optuna refuses intermediate values and pruning in a study with several objectives, so the curves are kept in a second
study with one objective. Both open in optuna-dashboard. A stopped trial is recorded as pruned, a crashed or diverged
one as failed. An interrupted trial waits, and is the first to be asked for when the run continues.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import optuna
from optuna.exceptions import ExperimentalWarning
from optuna.pruners import BasePruner
from optuna.samplers import BaseSampler
from optuna.storages.journal import JournalFileOpenLock
from optuna.storages.journal._file import LOCK_FILE_SUFFIX
from optuna.trial import FrozenTrial, Trial, TrialState

from depthweave.reports.store.objectives import OBJECTIVES, column_value
from depthweave.reports.store.records import Record
from depthweave.search.parameters import SPARSE_WIRING, Parameters
from depthweave.search.pruners.peers import COSTS, should_stop
from depthweave.search.samplers.distinct import FIXED_PARAMS, Untried, params_of, started_params_of
from depthweave.search.samplers.known_cost import CurveSource
from depthweave.search.study.checksummed_journal import ChecksummedJournal
from depthweave.search.study.journal import ARCHITECTURE, OBJECTIVES_STUDY
from depthweave.search.study.study_storage import StudyStorage

CURVES_STUDY = "curves"
TRIAL = "trial"
"""User attribute of a curve: the number of its trial in the objectives study."""
REASON = "reason"
"""User attribute: why a trial was stopped or failed."""
CONCLUSION = "conclusion"
"""User attribute of the curves study: a `Conclusion`."""


class AskedTrial(NamedTuple):
    """A trial to run."""

    number: int
    architecture_id: str


class StartedTrial(NamedTuple):
    """A trial that started before the run was interrupted, and waits to be resumed."""

    number: int
    architecture_id: str
    num_reported: int
    """Evaluations that it has reported."""


class Conclusion(NamedTuple):
    """The end of pausing: from now on only the audited trials are resumed."""

    max_trials: int
    """Of the concluded search. A search with a larger value continues."""
    audits: tuple[int, ...]
    """Trials that are trained to their end as an audit of the pruner, including those of earlier conclusions."""


class Studies:
    """Asks Optuna for trials, reports their losses and tells how they ended. A journal has one driver."""

    def __init__(
        self,
        journal: Path,
        *,
        objectives: Sequence[str],
        sampler: BaseSampler,
        pruner: BasePruner,
        parameters: Parameters,
        use_curves: Callable[[CurveSource], None] | None = None,
        persist: Callable[[], None] = lambda: None,
    ) -> None:
        """`use_curves` receives a function that returns the losses of all trials.

        `persist` is called after every write that cannot be reconstructed from the records.
        """
        path = str(journal)
        _drop_torn_line(journal)
        # A driver that was killed while writing leaves its lock behind. Optuna would wait half a minute for it.
        Path(path + LOCK_FILE_SUFFIX).unlink(missing_ok=True)
        storage = StudyStorage(ChecksummedJournal(path, lock_obj=JournalFileOpenLock(path)))
        self._parameters, self._pruner = parameters, pruner
        self.objectives = optuna.create_study(
            study_name=OBJECTIVES_STUDY,
            storage=storage,
            sampler=sampler,
            directions=[OBJECTIVES[name].direction for name in objectives],
            load_if_exists=True,
        )
        if self.objectives.metric_names is None:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ExperimentalWarning)
                self.objectives.set_metric_names(list(objectives))
        self.curves = optuna.create_study(
            study_name=CURVES_STUDY, storage=storage, sampler=sampler, direction="minimize", load_if_exists=True
        )
        self._storage, self._persist = storage, persist
        self._untried = Untried(self.objectives, parameters=parameters)
        if use_curves is not None:
            use_curves(self.losses)
        self._curve_ids = {
            item.user_attrs[TRIAL]: item._trial_id
            for item in self.curves.get_trials(deepcopy=False)
            if TRIAL in item.user_attrs
        }

    @property
    def trials(self) -> list[FrozenTrial]:
        """All trials of the objectives study, by number."""
        return self.objectives.get_trials(deepcopy=False)

    def architecture_id(self, trial: FrozenTrial) -> str | None:
        """Returns the architecture of a trial; `None` before its parameters are known."""
        return self._parameters.architecture_id(started_params_of(trial))

    def enqueue(self, architecture_ids: Iterable[str]) -> None:
        """Enqueues the untried ones among these architectures: they are tried in this order, before any proposal."""
        for item in architecture_ids:
            if item in self._untried.ids():
                self.objectives.enqueue_trial(self._parameters.spelling(item))

    @property
    def exhausted(self) -> bool:
        """Whether no trial waits and every architecture has been tried. Sparse graphs never run out."""
        if self._parameters.has_sparse:
            return False
        return not self._untried.ids() and not any(item.state == TrialState.WAITING for item in self.trials)

    def ask(self) -> AskedTrial | None:
        """Returns the next trial, a waiting one before a proposal; `None` when the space is exhausted."""
        if self.exhausted:
            return None
        trial = self.objectives.ask()
        known = self._trial(trial.number)
        if not params_of(known):
            # Optuna writes one line per parameter. All parameters are written in one line first, so that a kill in
            # between leaves a trial whose architecture is known.
            self._storage.set_trial_system_attr(known._trial_id, FIXED_PARAMS, trial.relative_params)
            trial = Trial(self.objectives, known._trial_id)
        params = params_of(self._trial(trial.number))
        for name, distribution in self._parameters.distributions.items():
            # A sparse graph has no dilation and no period.
            if SPARSE_WIRING not in params or name in params:
                trial.suggest_categorical(name, distribution.choices)
        architecture_id = self._parameters.architecture_id(started_params_of(self._trial(trial.number)))
        assert architecture_id is not None
        if ARCHITECTURE not in trial.user_attrs:
            trial.set_user_attr(ARCHITECTURE, architecture_id)
        if SPARSE_WIRING in params:
            trial.set_user_attr(SPARSE_WIRING, params[SPARSE_WIRING])
        self._open_curve(trial.number)
        self._persist()
        return AskedTrial(trial.number, architecture_id)

    def restore(self, number: int, architecture_id: str | None) -> None:
        """Creates the trial with the next number as running; as failed where its architecture is unknown."""
        params = {} if architecture_id is None else self._parameters.spelling(architecture_id)
        known = {name: value for name, value in params.items() if name != SPARSE_WIRING}
        trial = optuna.create_trial(
            state=TrialState.RUNNING,
            params=known,
            distributions={name: self._parameters.distributions[name] for name in known},
            user_attrs={} if architecture_id is None else {ARCHITECTURE: architecture_id},
            system_attrs={FIXED_PARAMS: params} if SPARSE_WIRING in params else None,
        )
        trial_id = self._storage.create_new_trial(self.objectives._study_id, template_trial=trial)
        assert self._storage.get_trial(trial_id).number == number
        self._open_curve(number)
        if architecture_id is None:
            self.fail(number, reason="its journal was damaged, and it had neither record nor checkpoint")

    def set_costs(self, number: int, costs: Mapping[str, float]) -> None:
        """Stores a trial's costs, which are known before it trains."""
        # In both studies: samplers read the objectives study, pruners the curves study.
        for trial_id in (self._trial_id(number), self._curve_ids[number]):
            self._storage.set_trial_user_attr(trial_id, COSTS, dict(costs))

    def report(self, number: int, *, evaluation: int, loss: float) -> None:
        """Reports an intermediate loss of a running trial; `evaluation` counts from 1."""
        self._storage.set_trial_intermediate_value(self._curve_ids[number], evaluation, loss)

    def losses(self) -> dict[int, tuple[float, ...]]:
        """Returns the losses after evaluation 1, 2, ... of every trial that has reported one, by trial number."""
        return {
            item.user_attrs[TRIAL]: tuple(item.intermediate_values[step] for step in sorted(item.intermediate_values))
            for item in self.curves.get_trials(deepcopy=False)
            if TRIAL in item.user_attrs and item.intermediate_values
        }

    def should_stop(self, number: int) -> bool:
        """Returns whether the pruner stops a running trial, compared with its fair peers only."""
        curve = self._storage.get_trial(self._curve_ids[number])
        return should_stop(self._pruner, study=self.curves, trial=curve)

    def complete(self, number: int, *, values: Sequence[float], loss: float) -> None:
        """Ends a trial that was trained to its end."""
        self._finish(number, TrialState.COMPLETE, values=values, loss=loss, reason=None)

    def stop(self, number: int, *, reason: str) -> None:
        """Ends a trial that was stopped. It has no values: its last loss is not a final one."""
        self._finish(number, TrialState.PRUNED, values=None, loss=None, reason=reason)

    def fail(self, number: int, *, reason: str) -> None:
        """Ends a trial that crashed or whose loss was not finite."""
        self._finish(number, TrialState.FAIL, values=None, loss=None, reason=reason)

    def running(self) -> list[int]:
        """Returns the numbers of the trials that run, or that ran when their driver died."""
        return [item.number for item in self.trials if item.state == TrialState.RUNNING]

    def interrupted(self) -> list[StartedTrial]:
        """Returns the waiting trials that have started before, by number; without those that were only enqueued."""
        found = []
        for item in self.trials:
            # An enqueued trial has its parameters as a system attribute only. They become its own when it is asked for.
            architecture_id = self._parameters.architecture_id(started_params_of(item))
            if item.state == TrialState.WAITING and architecture_id is not None:
                curve_id = self._curve_ids.get(item.number)
                reported = {} if curve_id is None else self._storage.get_trial(curve_id).intermediate_values
                found.append(StartedTrial(item.number, architecture_id, len(reported)))
        return found

    def resume(self, number: int) -> None:
        """Sets an interrupted trial to running. `ask` does not return it."""
        trial = self._trial(number)
        self._storage.set_trial_state_values(trial._trial_id, TrialState.RUNNING)
        architecture_id = self._parameters.architecture_id(started_params_of(trial))
        if ARCHITECTURE not in trial.user_attrs:
            self._storage.set_trial_user_attr(trial._trial_id, ARCHITECTURE, architecture_id)
        self._open_curve(number)

    @property
    def conclusion(self) -> Conclusion | None:
        """The last conclusion; `None` before the first."""
        values = self.curves.user_attrs.get(CONCLUSION)
        return None if values is None else Conclusion(values["max_trials"], tuple(values["audits"]))

    def conclude(self, conclusion: Conclusion) -> None:
        """Stores the conclusion in one line of the journal, so that it is never stored in part."""
        self.curves.set_user_attr(CONCLUSION, conclusion._asdict())
        self._persist()

    def release(self) -> None:
        """Sets every running trial to waiting, so that a later driver resumes it."""
        for item in self.trials:
            if item.state == TrialState.RUNNING:
                # A trial without parameters is asked for again, under its number. Earlier versions may have left a
                # trial with some of its parameters: its architecture cannot be known.
                known = self._parameters.architecture_id(params_of(item)) is not None or not params_of(item)
                self._storage.set_trial_state_values(item._trial_id, TrialState.WAITING if known else TrialState.FAIL)
                curve_id = self._curve_ids.get(item.number)
                if known and curve_id is not None and self._storage.get_trial(curve_id).state == TrialState.RUNNING:
                    self._storage.set_trial_state_values(curve_id, TrialState.WAITING)

    def _trial(self, number: int) -> FrozenTrial:
        return self._storage.get_trial(self._trial_id(number))

    def _trial_id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self.objectives._study_id, number)

    def _open_curve(self, number: int) -> None:
        """Creates the curve of a trial that starts, or sets it to running for a trial that resumes."""
        if number in self._curve_ids:
            curve_id = self._curve_ids[number]
            if self._storage.get_trial(curve_id).state == TrialState.WAITING:
                self._storage.set_trial_state_values(curve_id, TrialState.RUNNING)
            return
        parent = self._trial(number)
        curve = optuna.create_trial(
            state=TrialState.RUNNING,
            params=parent.params,
            distributions=parent.distributions,
            user_attrs={TRIAL: number, **parent.user_attrs},
        )
        self._curve_ids[number] = self._storage.create_new_trial(self.curves._study_id, template_trial=curve)

    def _finish(
        self, number: int, state: TrialState, *, values: Sequence[float] | None, loss: float | None, reason: str | None
    ) -> None:
        self._open_curve(number)
        curve_id = self._curve_ids[number]
        trial_id = self._trial_id(number)
        # After a crash between the two writes the curve has already ended, and Optuna refuses to end it again.
        if not self._storage.get_trial(curve_id).state.is_finished():
            if reason is not None:
                self._storage.set_trial_user_attr(curve_id, REASON, reason)
            self._storage.set_trial_state_values(curve_id, state, None if loss is None else [loss])
        if reason is not None:
            self._storage.set_trial_user_attr(trial_id, REASON, reason)
        self.objectives.tell(number, values=values, state=state)
        self._persist()


def tell(studies: Studies, record: Record, *, number: int, objectives: Sequence[str]) -> None:
    """Tells Optuna how a running trial ended, from its record."""
    values = [column_value(record, name) for name in objectives]
    if record.state == "pruned":
        studies.stop(number, reason=record.reason or "")
    elif record.state == "complete" and all(value is not None and math.isfinite(value) for value in values):
        assert record.loss is not None
        studies.complete(number, values=values, loss=record.loss)
    else:
        studies.fail(number, reason=record.reason or "an objective is missing")


def _drop_torn_line(journal: Path) -> None:
    """Removes a last line without a line break, which a crash leaves: the next line would be appended to it."""
    if not journal.exists():
        return
    with journal.open("rb+") as file:
        text = file.read()
        if text and not text.endswith(b"\n"):
            file.truncate(text.rfind(b"\n") + 1)
