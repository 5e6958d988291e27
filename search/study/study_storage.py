"""The storage of a run's studies, with the trials of each state at hand.

Optuna's own goes through all trials of a study whenever it is asked for those of one state: before every trial for one
that waits, at every evaluation for the complete ones. With ten thousand trials each look takes 10 ms and more.
"""

from __future__ import annotations

import copy
from bisect import insort
from collections import defaultdict
from collections.abc import Container
from dataclasses import dataclass, field
from heapq import merge

from optuna.storages import JournalStorage
from optuna.storages.journal import BaseJournalBackend
from optuna.trial import FrozenTrial, TrialState


class StudyStorage(JournalStorage):
    """Optuna's storage over a journal; what it answers is the same."""

    def __init__(self, log_storage: BaseJournalBackend) -> None:
        self._shelves: dict[int, _TrialsByState] = defaultdict(_TrialsByState)
        """By study."""
        super().__init__(log_storage)

    def get_all_trials(
        self, study_id: int, deepcopy: bool = True, states: Container[TrialState] | None = None
    ) -> list[FrozenTrial]:
        with self._thread_lock:
            self._sync_with_backend()
            known = self._replay_result
            shelf = self._shelves[study_id]
            shelf.update([known.get_trial(item) for item in shelf.unseen(known._study_id_to_trial_ids[study_id])])
            found = shelf.all() if states is None else shelf.of(states)
        return copy.deepcopy(found) if deepcopy else found


@dataclass(kw_only=True)
class _TrialsByState:
    """The trials of one study. A trial that has ended never changes, so that only the others are looked at again."""

    trials: list[FrozenTrial] = field(default_factory=list)
    """By number."""
    unfinished: dict[int, int] = field(default_factory=dict)
    """Optuna's ids of the trials that had not ended when they were seen last, by number."""
    ended: dict[TrialState, list[FrozenTrial]] = field(default_factory=lambda: defaultdict(list))
    """By number, for each state."""

    def unseen(self, ids: list[int]) -> list[int]:
        """Optuna's ids of the trials that may have changed or are new, of those of all by number."""
        return [*self.unfinished.values(), *ids[len(self.trials) :]]

    def update(self, trials: list[FrozenTrial]) -> None:
        """These trials are as given, the new ones by number."""
        for item in trials:
            if item.number < len(self.trials):
                self.trials[item.number] = item
            else:
                self.trials.append(item)
            if not item.state.is_finished():
                self.unfinished[item.number] = item._trial_id
            else:
                self.unfinished.pop(item.number, None)
                insort(self.ended[item.state], item, key=_number)

    def all(self) -> list[FrozenTrial]:
        """All by number."""
        return list(self.trials)

    def of(self, states: Container[TrialState]) -> list[FrozenTrial]:
        """Those of these states, by number."""
        groups = [group for state, group in self.ended.items() if state in states]
        groups.append([self.trials[number] for number in self.unfinished if self.trials[number].state in states])
        return list(merge(*groups, key=_number))


def _number(trial: FrozenTrial) -> int:
    return trial.number
