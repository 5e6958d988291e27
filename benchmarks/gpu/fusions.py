"""What fusions cost at the DenseFormer paper's size, in time, memory and compile seconds: the part `fusions`.

Every contender is timed in turn with the plain transformer of the same mode, round by round. The paper's figures, for
its own module on its GPU: 1x1 runs at 0.78 of the plain model's inference speed, 4x1 at 0.89, 4x5 at 0.96.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.averages import Replace, has_official, loop, official
from benchmarks.gpu.ledger import Ledger, Values
from benchmarks.gpu.sizes import PATTERNS, Shape, Sizes, architecture_of
from benchmarks.gpu.triton_panels import has_triton, triton_panels
from benchmarks.gpu.work import Mode, Work
from depthweave.trainers.timing import median_interval, times_in_turn

TARGETS = {"dwa 1x1": (0.92, 0.90), "dwa 4x5": (0.99, 0.98)}
"""Least speeds relative to plain, of the forward pass and of the training step."""
_NEEDS_S: dict[Mode, float] = {"eager": 20.0, "by block": 30.0, "whole": 90.0}
_NAMES = ("dwa 1x1", "dwa 4x5", "dwa 4x1", "dwatt", "concat")
_RIVALS = ("dwa 1x1, loop", "dwa 1x1, triton")
_MIN_ROUNDS = 6


def run(ledger: Ledger, *, sizes: Sizes, device: torch.device, out: Path) -> None:
    """Modes one after the other, the cheap ones first; of each the contenders that matter most first."""
    order: list[tuple[Mode, tuple[str, ...]]] = [
        ("eager", ("dwa 1x1", "dwa 1x1, official", "dwa 4x5", *_RIVALS, *_NAMES[2:], "dwa 4x5, official")),
        ("by block", ("dwa 1x1", "dwa 1x1, triton", *_NAMES[1:], "dwa 1x1, loop")),
        ("whole", ("dwa 1x1", "dwa 4x5", "dwa 4x1", "dwa 1x1, loop", "dwa 1x1, official")),
    ]
    for mode, names in order:
        torch.compiler.reset()
        plain = _Plain(sizes.fusions, device=device, mode=mode)
        for name in names[: sizes.contenders]:
            lacks = _lacks(name.rpartition(", ")[2], device=device)
            if lacks:
                print(f"{name}, {mode}: skipped, {lacks}", flush=True)
                continue
            key = f"{name}, {mode}"
            ledger.measure(key, partial(_beside, name, plain, sizes=sizes), needs_s=_NEEDS_S[mode])


def _lacks(how: str, *, device: torch.device) -> str:
    """Why a way to average cannot be had here; empty where it can."""
    if how == "official" and not has_official():
        return "the package denseformer is not there"
    if how == "triton" and (device.type != "cuda" or not has_triton()):
        return "Triton needs a GPU"
    return ""


class _Plain:
    """The plain transformer of a mode, made when it is first wanted and kept for all contenders."""

    def __init__(self, shape: Shape, *, device: torch.device, mode: Mode) -> None:
        self.shape, self.device, self.mode = shape, device, mode
        self._work: Work | None = None

    def work(self) -> Work:
        """The model with its optimiser."""
        if self._work is None:
            self._work = Work(architecture_of("plain", self.shape), self.shape, device=self.device, mode=self.mode)
        return self._work


def _beside(name: str, plain: _Plain, *, sizes: Sizes) -> Values:
    """A contender beside plain: speeds relative to it with 95 % intervals, milliseconds, gigabytes."""
    shape, device = plain.shape, plain.device
    fusion, _, how = name.partition(", ")
    replaced: dict[str, Replace] = {"loop": loop, "triton": triton_panels}
    if how == "official":
        dilation, period = PATTERNS[fusion.removeprefix("dwa ")]
        replaced["official"] = official(dilation, min(period, shape.depth))
    base = plain.work()
    own = Work(architecture_of(fusion, shape), shape, device=device, mode=plain.mode, replace=replaced.get(how))
    found: Values = {"first_s": round(own.first_s, 2), "plain_first_s": round(base.first_s, 2)}
    for what in ("forward", "step"):
        times_RC = times_in_turn(
            [getattr(base, what), getattr(own, what)], device=device, limit_s=sizes.timing_s, min_rounds=_MIN_ROUNDS
        )
        speed = median_interval(times_RC[:, 0] / times_RC[:, 1])
        plain_s, own_s = torch.from_numpy(times_RC).median(dim=0).values.tolist()
        found |= {
            f"{what}_speed": [round(value, 4) for value in speed],
            f"{what}_ms": round(1e3 * own_s, 3),
            f"plain_{what}_ms": round(1e3 * plain_s, 3),
            f"{what}_gb": round(getattr(own.peak, f"{what}_bytes") / 1e9, 3),
            f"plain_{what}_gb": round(getattr(base.peak, f"{what}_bytes") / 1e9, 3),
        }
    return found
