"""What a search shows: the numbers, one plain line an event, and the live table."""

from __future__ import annotations

import io
import math
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from depthweave.reports.analysis.front import complete, front, hypervolume_frac, points_of, reference_point
from depthweave.reports.store.records import Record
from depthweave.search.progress import LiveProgress, PlainProgress, label_of
from depthweave.search.tally import Tally
from depthweave.search.trials.live_trial import LiveTrial
from tests.reports.synthetic import make_record
from tests.search.ledger_runs import REFERENCE, SPACE, make_evaluation, make_measurement, make_report

_OBJECTIVES = ("perplexity", "latency")


def make_live(number: int, *losses: float) -> LiveTrial:
    live = LiveTrial(number=number, candidate=list(SPACE)[number], started_at=datetime(2026, 3, 1, tzinfo=UTC))
    if losses:
        evaluations = [make_evaluation(index, loss=loss) for index, loss in enumerate(losses)]
        live.add_report(make_report(*evaluations, measurement=make_measurement(latency=1.5)))
    return live


def ended(trial: int, state: str = "complete", *, perplexity: float = 4.0, latency: float = 1.0) -> Record:
    reason = None if state == "complete" else "[why] it ended"
    found = perplexity if state == "complete" else None
    return make_record(trial, state=state, reason=reason, perplexity=found, latency=latency, tokens=1000)


@pytest.fixture
def now(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that a test turns: its one item is the time."""
    clock = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: clock[0])
    return clock


def test_label_names_fusion_pattern_and_depth() -> None:
    assert label_of(REFERENCE) == "none, 4 blocks"
    assert "dwa 2x1, 4 blocks" in {label_of(item) for item in SPACE}


def test_tally_counts_states_front_and_best() -> None:
    records = [
        ended(0, perplexity=4.0, latency=1.0),
        ended(1, perplexity=3.0, latency=2.0),
        ended(2, perplexity=4.0, latency=3.0),
        ended(3, "pruned", latency=0.1),
        ended(4, "failed", latency=0.1),
    ]
    tally = Tally(objectives=_OBJECTIVES, records=records)
    assert [tally.count(state) for state in ("complete", "pruned", "failed", "diverged")] == [3, 1, 1, 0]
    assert tally.front_size == 2
    assert tally.best == ("perplexity", 3.0)
    # In units of the spread from best to worst the box is 1.1 by 1.1 and the front is at (1, 0) and (0, 0.5).
    assert tally.hypervolume_frac == pytest.approx((1.1 * 0.6 + 0.1 * 0.5) / 1.1**2)


_VALUE = st.floats(0.5, 9.0) | st.sampled_from([1.0, 2.0])
_ENDED = st.tuples(st.sampled_from(["complete", "complete", "pruned", "failed"]), _VALUE, _VALUE | st.just(math.inf))


@given(ends=st.lists(_ENDED, max_size=20), known=st.integers(0, 20))
def test_tally_of_trials_one_by_one_is_that_of_all_at_once(ends: list[tuple[str, float, float]], known: int) -> None:
    records = [
        ended(number, state, perplexity=perplexity, latency=latency)
        for number, (state, perplexity, latency) in enumerate(ends)
    ]
    tally = Tally(objectives=_OBJECTIVES, records=records[:known])
    for record in records[known:]:
        tally.add(record)
    assert tally.records == records
    assert tally.front_size == len(front(records, objectives=_OBJECTIVES))
    points = points_of(complete(records, objectives=_OBJECTIVES), objectives=_OBJECTIVES)
    if len(points):
        whole = hypervolume_frac(points, ideal=points.min(axis=0), reference=reference_point(points))
        # Rounding: the sum runs over fewer points.
        assert tally.hypervolume_frac == pytest.approx(whole, abs=1e-12)


def test_empty_tally_has_no_best_no_front_and_no_time_left() -> None:
    tally = Tally(objectives=_OBJECTIVES)
    assert (tally.front_size, tally.hypervolume_frac, tally.best, tally.remaining_s) == (0, 0.0, None, None)


def test_tally_rates_count_this_part_of_the_run_alone(now: list[float]) -> None:
    records = [ended(number) for number in range(4)]
    live = make_live(0, 3.0, 2.0)
    tally = Tally(objectives=_OBJECTIVES, records=records, before=2, started=90.0, max_trials=10, running={9: live})
    now[0] = 100.0
    assert tally.tokens_per_s == pytest.approx((2 * 1000 + live.evaluations[-1].tokens) / 10)
    assert tally.remaining_s == pytest.approx(6 * 10 / 2)


def plain_lines(progress: PlainProgress, console: Console) -> list[str]:
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().splitlines()


def test_plain_progress_prints_one_line_an_event() -> None:
    # Narrow: a line must not be wrapped, nor a name in brackets be taken for markup.
    console = Console(file=io.StringIO(), width=40)
    progress = PlainProgress(console, objectives=_OBJECTIVES)
    progress.on_phase("starting [Ray]")
    progress.on_begin(records=[ended(7)], max_trials=5, workers=2)
    live = make_live(1)
    progress.on_start(live)
    progress.on_evaluation(make_live(1, 3.0))
    progress.on_tick()
    progress.on_start(make_live(2))
    progress.on_finish(ended(1, perplexity=3.25, latency=1.5))
    progress.on_finish(ended(2, "pruned"))
    progress.on_finish(ended(3, "failed"))
    lines = plain_lines(progress, console)
    assert lines[:3] == [
        "starting [Ray]",
        "search: up to 5 trials, 1 known, 2 at once",
        f"trial 1 starts: {label_of(live.candidate)} ({live.candidate.architecture.id})",
    ]
    assert len(lines) == 7
    assert lines[4].startswith("trial 1 complete: perplexity 3.250, latency 1.50x; 2/5 trials, 1 running, 0 stopped")
    assert lines[5].startswith("trial 2 pruned: [why] it ended; 3/5 trials, 0 running, 1 stopped early, front 2")
    assert "1 failed, front 2 (hypervolume " in lines[6]
    assert "best perplexity 3.250" in lines[6]


def test_plain_progress_tells_pauses_and_counts_them(now: list[float]) -> None:
    console = Console(file=io.StringIO(), width=40)
    progress = PlainProgress(console, objectives=_OBJECTIVES)
    progress.on_begin(records=[], max_trials=5, workers=1)
    first, second = make_live(1, 3.0, 2.0), make_live(2, 3.0)
    for live in (first, second):
        progress.on_start(live)
        progress.on_pause(live)
    progress.on_start(first)
    now[0] += 10.0
    progress.on_finish(ended(1))
    progress.on_finish(ended(2, "pruned"))
    lines = plain_lines(progress, console)
    assert lines[2] == "trial 1 pauses after evaluation 2"
    assert lines[5] == f"trial 1 continues after evaluation 2: {label_of(first.candidate)} ({_id(first)})"
    assert "; 1/5 trials, 0 running, 1 paused, 0 stopped early, front 1 " in lines[6]
    # What a paused trial was trained on counts.
    assert lines[6].endswith(f", {(1000 + second.evaluations[-1].tokens) / 10:,.0f} tokens/s")
    assert "; 2/5 trials, 0 running, 1 stopped early, front 1 " in lines[7]


def _id(live: LiveTrial) -> str:
    return live.candidate.architecture.id


def drawn(progress: LiveProgress) -> str:
    """What the terminal shows now."""
    console = Console(file=io.StringIO(), width=100)
    with console.capture() as captured:
        console.print(progress._live.get_renderable())
    return captured.get()


def test_live_progress_draws_trials_and_numbers_in_place() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, height=30, color_system=None)
    with LiveProgress(console, name="my search", objectives=_OBJECTIVES) as progress:
        progress.on_phase("starting Ray")
        progress.on_begin(records=[], max_trials=5, workers=2)
        progress.on_start(make_live(1))
        running = make_live(2, 3.0, 2.5)
        progress.on_start(running)
        progress.on_evaluation(running)
        progress.on_finish(ended(0, perplexity=3.25))
        table = drawn(progress)
    assert "my search  training" in table
    assert "1/5 trials, 2 running, 0 stopped early, front 1" in table
    assert "best perplexity 3.250" in table
    (measuring,) = (line for line in table.splitlines() if "measuring" in line)
    assert measuring.split()[0] == "1"
    (trained,) = (line for line in table.splitlines() if label_of(running.candidate) in line)
    assert trained.split()[-3:] == [f"{running.evaluations[-1].tokens:,}", "2.500", "1.50x"]


def test_live_progress_names_the_phase_and_drops_running_trials_after_training() -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    with LiveProgress(console, name="x", objectives=_OBJECTIVES) as progress:
        progress.on_begin(records=[], max_trials=5, workers=2)
        progress.on_start(make_live(1))
        assert label_of(make_live(1).candidate) in drawn(progress)
        progress.on_phase("writing the report")
        assert "writing the report" in drawn(progress)
        assert label_of(make_live(1).candidate) not in drawn(progress)


def test_live_progress_is_not_drawn_more_often_than_needed(monkeypatch: pytest.MonkeyPatch) -> None:
    console = Console(file=io.StringIO(), force_terminal=True, width=100, color_system=None)
    draws = []
    with LiveProgress(console, name="x", objectives=_OBJECTIVES) as progress:
        monkeypatch.setattr(progress._live, "update", lambda *_, **__: draws.append(time.monotonic()))
        progress.on_begin(records=[], max_trials=5, workers=2)
        for _ in range(50):
            progress.on_tick()
            progress.on_evaluation(make_live(1, 2.0))
    assert 1 <= len(draws) <= 5
