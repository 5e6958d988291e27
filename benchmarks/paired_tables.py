"""The tables of `benchmarks.paired`: losses, paired differences to plain and to a strided wiring, and their course."""

from __future__ import annotations

import statistics
from collections.abc import Sequence

import numpy as np

from benchmarks.cache import Run
from depthweave.reports.analysis.intervals import mean_interval

PLAIN = "none"
WIRINGS = ("dwa first:2", "dwa largest 24", "dwa random 24", "dwa 1x1", "x0", "mirror")
"""Wirings that are compared with `STRIDED`."""
STRIDED = "dwa 1x4"
"""The wiring of dilation and period with as many skip connections as the sparse ones: 24."""


def losses(runs: Sequence[Run]) -> str:
    """Returns mean losses and mean paired differences to plain with 95 % intervals, nats a token (byte)."""
    found = _losses(runs)
    times = {run["contender"]: run for run in runs if run["kind"] == "times"}
    parameters = {run["contender"]: run["parameters"] for run in runs if run["kind"] == "run"}
    rows = [
        "| contender | parameters | seeds | loss | difference to plain | 95 % interval | each | forward | step |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name, number in parameters.items():
        pairs = _pairs(found, name, PLAIN)
        if not pairs:
            continue
        loss = statistics.fmean(found[name, seed] for seed in _shared_seeds(found, name, PLAIN))
        cells = " | | |" if name == PLAIN else f"{_difference(pairs)} |"
        beside = [f"{times[name][key]:.2f}" if name in times else "" for key in ("latency", "step_latency")]
        rows.append(f"| {name} | {number:,} | {len(pairs)} | {loss:.4f} | {cells} {' | '.join(beside)} |")
    return "\n".join(rows)


def equal_times(runs: Sequence[Run]) -> str:
    """Returns the paired differences to a plain model that trained for the contender's time, nats a token (byte)."""
    found = _losses(runs)
    steps = {run["contender"]: run["step_latency"] for run in runs if run["kind"] == "times"}
    plain: dict[int, dict[float, float]] = {
        seed: {1.0: loss} for (contender, seed), loss in found.items() if contender == PLAIN
    }
    for run in runs:
        if run["kind"] == "longer" and run["seed"] in plain:
            plain[run["seed"]][run["length"]] = run["loss"]
    rows = [
        "| at equal time | steps of plain | seeds | difference | 95 % interval | each |",
        "|---|---|---|---|---|---|",
    ]
    for name, length in steps.items():
        pairs = []
        for seed in _shared_seeds(found, name, PLAIN) if name != PLAIN else ():
            lengths = sorted(plain[seed])
            if length <= lengths[-1]:
                losses_L = [plain[seed][item] for item in lengths]
                pairs.append(found[name, seed] - float(np.interp(np.log(length), np.log(lengths), losses_L)))
        if pairs:
            rows.append(f"| {name} | {length:.2f} | {len(pairs)} | {_difference(pairs)} |")
    return "\n".join(rows)


def wirings(runs: Sequence[Run]) -> str:
    """Returns the paired differences of wirings to the strided one, nats a token (byte)."""
    found = _losses(runs)
    rows = [f"| wiring | seeds | difference to {STRIDED} | 95 % interval | each |", "|---|---|---|---|---|"]
    for name in WIRINGS:
        if pairs := _pairs(found, name, STRIDED):
            rows.append(f"| {name} | {len(pairs)} | {_difference(pairs)} |")
    return "\n".join(rows)


def courses(runs: Sequence[Run], *, tokens_per_step: int) -> str:
    """Returns the mean difference to plain at each evaluation of the trainings, nats a token (byte)."""
    curves = {(run["contender"], run["seed"]): run["curve"] for run in runs if run["kind"] == "run"}
    num_steps = {tokens // tokens_per_step: None for curve in curves.values() for tokens, _ in curve}
    rows = [
        f"| difference to plain after | seeds | {' | '.join(f'{step:,} steps' for step in num_steps)} |",
        "|---|---|" + "---|" * len(num_steps),
    ]
    for name in dict.fromkeys(contender for contender, _ in curves if contender != PLAIN):
        pairs = [
            [mine - plain for (_, mine), (_, plain) in zip(curve, curves[PLAIN, seed], strict=True)]
            for (contender, seed), curve in curves.items()
            if contender == name and (PLAIN, seed) in curves
        ]
        if pairs:
            means = (statistics.fmean(own) for own in zip(*pairs, strict=True))
            rows.append(f"| {name} | {len(pairs)} | {' | '.join(f'{mean:+.4f}' for mean in means)} |")
    return "\n".join(rows)


def rates(runs: Sequence[Run]) -> str:
    """Returns the loss of each family at each learning rate."""
    found: dict[str, list[tuple[float, float]]] = {}
    for run in runs:
        if run["kind"] == "rate":
            found.setdefault(run["family"], []).append((run["rate"], run["loss"]))
    lines = [
        f"{family}: " + ", ".join(f"{rate:g} {loss:.4f}" for rate, loss in sorted(tried))
        for family, tried in found.items()
    ]
    return "Loss by learning rate, seed 100: " + "; ".join(lines)


def _losses(runs: Sequence[Run]) -> dict[tuple[str, int], float]:
    return {(run["contender"], run["seed"]): run["loss"] for run in runs if run["kind"] == "run"}


def _pairs(found: dict[tuple[str, int], float], name: str, other: str) -> list[float]:
    return [found[name, seed] - found[other, seed] for seed in _shared_seeds(found, name, other)]


def _shared_seeds(found: dict[tuple[str, int], float], name: str, other: str) -> list[int]:
    return sorted(seed for contender, seed in found if contender == name and (other, seed) in found)


def _difference(pairs: Sequence[float]) -> str:
    mean, half_width = mean_interval(pairs).mean, mean_interval(pairs).half_width
    within = "too few seeds" if half_width is None else f"[{mean - half_width:+.4f}, {mean + half_width:+.4f}]"
    return f"{mean:+.4f} | {within} | {' '.join(f'{pair:+.4f}' for pair in pairs)}"
