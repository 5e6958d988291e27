"""When a trial is taken for hanging, judged by the evaluations of all trials on a simulated clock."""

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
    detector = HangDetector(clock=clock)
    for name in ("quick", "hangs"):
        detector.begin(name, forward_flops=100)
    clock.now = 100.0
    detector.add_report("quick")
    clock.now = 2000.0
    assert detector.hanging() == {}
    clock.now = 2001.0
    detector.add_report("quick")  # 1901 s: the limit grows with it
    clock.now = 20 * 1901.0
    assert detector.hanging() == {}
    detector.end("quick")
    clock.now += 1.0
    assert detector.hanging() == {
        "hangs": "the trial hung: no evaluation for 38021 s (the slowest so far took 1901 s); its worker was killed"
    }
    assert detector.hanging() == {}, "returned once"


def test_limit_is_15_minutes_at_least() -> None:
    clock = _Clock()
    detector = HangDetector(clock=clock)
    detector.begin("quick", forward_flops=100)
    detector.begin("waits", forward_flops=100)
    clock.now = 0.1
    detector.add_report("quick")
    detector.end("quick")
    clock.now = 900.0
    assert detector.hanging() == {}
    clock.now = 900.1
    assert list(detector.hanging()) == ["waits"]


def test_limit_grows_with_the_size_of_a_trial_and_does_not_shrink() -> None:
    for flops, limit_s in ((10, 2000.0), (100, 2000.0), (1000, 20_000.0)):
        clock = _Clock()
        detector = HangDetector(clock=clock)
        detector.begin("peer", forward_flops=100)
        clock.now = 100.0
        detector.add_report("peer")
        detector.end("peer")
        detector.begin("other", forward_flops=flops)
        clock.now += limit_s
        assert detector.hanging() == {}
        clock.now += 0.1
        assert list(detector.hanging()) == ["other"]


def test_limit_is_six_hours_before_the_first_evaluation() -> None:
    clock = _Clock()
    detector = HangDetector(clock=clock)
    detector.begin("first", forward_flops=100)
    clock.now = 6 * 3600.0
    assert detector.hanging() == {}
    clock.now += 1.0
    assert detector.hanging()["first"].startswith("the trial hung: no evaluation for 21601 s (no other trial had one)")
