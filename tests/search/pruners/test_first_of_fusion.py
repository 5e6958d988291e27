"""One trial of each fusion is trained to its end: which one, and that it is not asked for twice."""

from __future__ import annotations

from typing import Literal

from depthweave.search.pruners.chooser import TrialSnapshot
from depthweave.search.pruners.first_of_fusion import TRIALS_A_FUSION, first_of_its_fusion
from depthweave.search.pruners.pareto import ParetoChooser

State = Literal["running", "paused", "complete", "stopped"]


def snapshot(number: int, fusion: str, state: State, *losses: float) -> TrialSnapshot:
    return TrialSnapshot(number, f"id{number}", {"latency": 1.0 + number}, losses, state, fusion)


def filled(*wanted: TrialSnapshot) -> list[TrialSnapshot]:
    """The wanted ones, and so many complete trials that the rule holds."""
    num = TRIALS_A_FUSION * len({"none", *(item.fusion for item in wanted)}) - len(wanted)
    return [*(snapshot(100 + number, "none", "complete", 3.0, 2.5, 2.0, 1.9) for number in range(num)), *wanted]


def test_furthest_then_best_trial_of_the_first_fusion_without_a_complete_one() -> None:
    late = [snapshot(1, "mudd", "paused", 2.9), snapshot(2, "mudd", "paused", 3.5, 3.4)]
    others = [snapshot(3, "dwa", "paused", 2.8), snapshot(4, "dwa", "paused", 2.7), snapshot(5, "none", "paused", 1.0)]
    assert first_of_its_fusion(filled(*late, *others)) == 2
    assert first_of_its_fusion(filled(*others)) == 4
    assert first_of_its_fusion(filled(others[2])) is None


def test_first_each_fusion_has_eight_trials_in_the_mean() -> None:
    trials = filled(snapshot(1, "mudd", "paused", 2.9))
    assert first_of_its_fusion(trials) == 1
    assert first_of_its_fusion(trials[1:]) is None


def test_fusion_with_a_resumed_trial_waits_for_it() -> None:
    resumed, waiting = snapshot(0, "dwa", "running", 3.0, 2.5), snapshot(1, "dwa", "paused", 2.0)
    assert first_of_its_fusion(filled(resumed, waiting)) is None
    # One that has just begun may pause.
    assert first_of_its_fusion(filled(resumed._replace(losses=()), waiting)) == 1


def test_trials_of_unknown_fusions_are_left_to_the_surrogate() -> None:
    assert first_of_its_fusion([snapshot(number, "", "paused", 2.0) for number in range(20)]) is None


def test_chooser_completes_a_fusion_that_begins_badly() -> None:
    known = [snapshot(number, "dwa", "complete", 3.0, 2.5, 2.2, 2.0 - 0.01 * number) for number in range(16)]
    bad = snapshot(20, "mhc2", "paused", 9.0)
    chooser = ParetoChooser(num_evaluations=4)
    assert chooser.choose([*known, bad], may_start=True) == 20
    done = bad._replace(state="complete", losses=(9.0, 8.9, 8.8, 8.7))
    again = snapshot(21, "mhc2", "paused", 9.0, 9.0)
    assert chooser.choose([*known, done, again], may_start=False) is None
