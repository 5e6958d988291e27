"""When a trial is taken for hung: by its peers' evaluations, on a clock of the test's own."""

from __future__ import annotations

from dataclasses import dataclass

from depthweave.search.tune.hang_detector import HangDetector


@dataclass
class _Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_silence_is_judged_by_the_slowest_evaluation_of_all() -> None:
    clock = _Clock()
    patience = HangDetector(clock=clock)
    for name in ("quick", "hangs"):
        patience.begin(name, forward_flops=100)
    clock.now = 100.0
    patience.hear("quick")
    clock.now = 2000.0
    assert patience.hanging() == {}
    clock.now = 2001.0
    patience.hear("quick")  # 1901 s: the limit grows with it
    clock.now = 20 * 1901.0
    assert patience.hanging() == {}
    patience.end("quick")
    clock.now += 1.0
    assert patience.hanging() == {
        "hangs": "the trial hung: no evaluation for 38021 s (the slowest before took 1901 s); its worker was killed"
    }
    assert patience.hanging() == {}, "told once"


def test_minutes_are_waited_whatever_the_peers_took() -> None:
    clock = _Clock()
    patience = HangDetector(clock=clock)
    patience.begin("quick", forward_flops=100)
    patience.begin("waits", forward_flops=100)
    clock.now = 0.1
    patience.hear("quick")
    patience.end("quick")
    clock.now = 900.0
    assert patience.hanging() == {}
    clock.now = 900.1
    assert list(patience.hanging()) == ["waits"]


def test_larger_trial_is_given_more_time_and_a_smaller_one_no_less() -> None:
    for flops, limit_s in ((10, 2000.0), (100, 2000.0), (1000, 20_000.0)):
        clock = _Clock()
        patience = HangDetector(clock=clock)
        patience.begin("peer", forward_flops=100)
        clock.now = 100.0
        patience.hear("peer")
        patience.end("peer")
        patience.begin("other", forward_flops=flops)
        clock.now += limit_s
        assert patience.hanging() == {}
        clock.now += 0.1
        assert list(patience.hanging()) == ["other"]


def test_before_the_first_evaluation_hours_are_waited() -> None:
    clock = _Clock()
    patience = HangDetector(clock=clock)
    patience.begin("first", forward_flops=100)
    clock.now = 6 * 3600.0
    assert patience.hanging() == {}
    clock.now += 1.0
    assert patience.hanging()["first"].startswith("the trial hung: no evaluation for 21601 s (nor of any other)")
