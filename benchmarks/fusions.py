"""What the fusions cost: extra time over the plain transformer, beside the obvious implementations.

    python -m benchmarks.fusions              # all tables, about ten minutes on one core
    python -m benchmarks.fusions --part depth # one of: depth, decoder, deep

`depth`: depth averages alone, 48 blocks of one matrix, D 256, 2048 tokens: our panels, a list with a loop (`y += a[j] *
x[j]`, plain autograd), and a stack with an einsum. The figure is the extra time over the same blocks without averages.
`decoder`: whole models of 12 blocks, context 128, batch 16, D 64 and 256: forward and training step relative to plain.
`deep`: the forward pass of whole models of 48 blocks, D 256, 2048 tokens.
Whole models run with freed memory kept, as in a measurement; `depth` runs like plain code.
One thread, processor time. All contenders of a table run in turn, in alternating order. Medians of the ratios by round
and their 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
import platform
import time
from collections.abc import Callable
from functools import partial

import torch
from torch import Tensor, nn

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, Fusion
from depthweave.spaces.wiring import Wiring, strided_wiring
from depthweave.trainers import Recipe
from depthweave.trainers.heap import retained_heap
from depthweave.trainers.optimisation import TrainingStep, make_optimizer
from depthweave.trainers.timing import Interval, median_interval

ROUNDS = 20
Runs = dict[str, Callable[[], object]]
Times = dict[str, list[float]]

PATTERNS = {"1x1": (1, 1), "4x1": (4, 1), "1x4": (1, 4), "4x5": (4, 5)}


def main() -> None:
    """Run the tables that are asked for."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="this one alone; repeatable")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each table, at least 6")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found = {}
    for part in asked.part or PARTS:
        found |= PARTS[part](asked.rounds)
    print(json.dumps({"benchmark": "fusions", "processor": platform.processor(), "torch": torch.__version__, **found}))


def in_turn(runs: Runs, *, rounds: int) -> Times:
    """Returns the seconds of each run in each round, after one that warms up."""
    times: Times = {name: [] for name in runs}
    for index in range(-1, rounds):
        for name in sorted(runs, reverse=index % 2 == 1):
            # One thread: its processor time is the run's, whatever else uses the core in between.
            started = time.thread_time()
            runs[name]()
            if index >= 0:
                times[name].append(time.thread_time() - started)
    return times


def depth(rounds: int, *, blocks: int = 48, width: int = 256, tokens: int = 2048) -> dict[str, object]:
    """Extra time of depth averages over one-matrix blocks, and its ratio to the two plain ways."""
    model = _Blocks(blocks, width)
    x_BTD = torch.randn(1, tokens, width, generator=torch.Generator().manual_seed(0))
    found: dict[str, object] = {}
    rows = ["\n| averages of 48 blocks, 1x1 | forward, ms | forward + backward, ms |", "|---|---|---|"]
    kinds = ("plain", "panels", "list loop", "stack + einsum")
    extra: dict[str, dict[str, list[float]]] = {}
    for what in ("forward", "forward + backward"):
        call = _forward if what == "forward" else _backward
        times = in_turn({kind: partial(call, model, x_BTD, kind) for kind in kinds}, rounds=rounds)
        extra[what] = {
            kind: [own - plain for own, plain in zip(times[kind], times["plain"], strict=True)] for kind in kinds[1:]
        }
    for kind in kinds[1:]:
        intervals = [median_interval(extra[what][kind]) for what in extra]
        rows.append(f"| {kind} | {' | '.join(_cell_text(item, scale=1e3, digits=0) for item in intervals)} |")
    for kind in kinds[2:]:
        ratios = {
            what: median_interval([a / b for a, b in zip(times["panels"], times[kind], strict=True)])
            for what, times in extra.items()
        }
        rows.append(f"| panels / {kind} | {' | '.join(_cell_text(item, digits=2) for item in ratios.values())} |")
        found[f"depth, panels / {kind}"] = {what: round(item.median, 3) for what, item in ratios.items()}
    print("\n".join(rows))
    return found


def decoder(rounds: int, *, blocks: int = 12) -> dict[str, object]:
    """Whole models of 12 blocks relative to plain."""
    found: dict[str, object] = {}
    print("\n| 12 blocks, context 128, batch 16 | forward / plain | training step / plain |\n|---|---|---|")
    for width in (64, 256):
        recipe = Recipe(batch=16, context=128)
        models = {name: _model(name, blocks=blocks, width=width, context=128) for name in ("plain", *MODELS)}
        tokens_BT = torch.randint(256, (16, 129), generator=torch.Generator().manual_seed(0))
        steps = {name: _step(model, tokens_BT, recipe=recipe) for name, model in models.items()}
        forwards = {name: partial(_logits, model, tokens_BT[:, :-1]) for name, model in models.items()}
        with retained_heap():
            ratios = [_ratios(in_turn(runs, rounds=rounds)) for runs in (forwards, steps)]
        for name in MODELS:
            print(f"| D {width}, {name} | {' | '.join(_cell_text(item[name], digits=3) for item in ratios)} |")
            found[f"D {width}, {name}"] = [round(item[name].median, 4) for item in ratios]
    return found


def deep(rounds: int) -> dict[str, object]:
    """Forward passes of whole models of 48 blocks relative to plain."""
    models = {
        name: _model(name, blocks=48, width=256, context=256) for name in ("plain", "dwa 1x1", "dwa 4x1", "dwa 4x5")
    }
    tokens_BT = torch.randint(256, (8, 256), generator=torch.Generator().manual_seed(0))
    with retained_heap():
        times = in_turn({name: partial(_logits, item, tokens_BT) for name, item in models.items()}, rounds=rounds)
    ratios = _ratios(times)
    print("\n| 48 blocks, D 256, 2048 tokens | forward / plain |\n|---|---|")
    for name, ratio in ratios.items():
        print(f"| {name} | {_cell_text(ratio, digits=3)} |")
    return {f"48 blocks, {name}": round(item.median, 4) for name, item in ratios.items()}


PARTS: dict[str, Callable[[int], dict[str, object]]] = {"depth": depth, "decoder": decoder, "deep": deep}
STREAMS = ("hc2", "hc4", "dhc2", "dhc4", "mhc2", "mhc4", "gated2", "gated4")
MODELS = (
    *(f"dwa {name}" for name in PATTERNS),
    "dwatt at the end",
    "concat at the end",
    *(f"{name} 1x1" for name in ("mudd", "mudd2", "mudd4", "mudd4_norm")),
    *("attnres 1x1", "attnres 1x4", "attnres_full 1x1", "attnres3 1x1"),
    *STREAMS,
    "value_residual 1x1",
)


class _Blocks(nn.Module):
    """Residual blocks of one matrix, with depth averages after each, written in several ways."""

    def __init__(self, blocks: int, width: int) -> None:
        super().__init__()
        self.matrices = nn.ParameterList(nn.Parameter(torch.randn(width, width) * 0.1 / width) for _ in range(blocks))
        self.panels: Fusion = FUSIONS["dwa"](strided_wiring(blocks), width)
        self.panels.reset_parameters(torch.Generator())
        self.weights = [dict(self.panels.named_parameters())[f"weights.{block}"] for block in range(1, blocks + 1)]

    def forward(self, x_BTD: Tensor, kind: str) -> Tensor:
        reader = self.panels.open() if kind == "panels" else None
        if reader is not None:
            x_BTD = reader.advance(0, x_BTD)
        states = [x_BTD]
        for block, (matrix_DD, weights_S) in enumerate(zip(self.matrices, self.weights, strict=True), start=1):
            x_BTD = x_BTD + x_BTD @ matrix_DD
            if reader is not None:
                x_BTD = reader.advance(block, x_BTD)
            elif kind != "plain":
                states.append(x_BTD)
                if kind == "list loop":
                    x_BTD = states[0] * weights_S[0]
                    for place in range(1, len(states)):
                        x_BTD = x_BTD + weights_S[place] * states[place]
                else:
                    x_BTD = torch.einsum("s,sbtd->btd", weights_S, torch.stack(states))
        return x_BTD


@torch.no_grad()
def _forward(model: _Blocks, x_BTD: Tensor, kind: str) -> None:
    model(x_BTD, kind)


def _backward(model: _Blocks, x_BTD: Tensor, kind: str) -> None:
    model(x_BTD, kind).sum().backward()
    model.zero_grad(set_to_none=True)


def _model(name: str, *, blocks: int, width: int, context: int) -> Decoder:
    fusion, _, pattern = name.partition(" ")
    wiring = Wiring(blocks)
    if fusion != "plain":
        dilation, period = PATTERNS.get(pattern, (1, blocks))
        wiring = strided_wiring(blocks, dilation=dilation, period=period)
    return Decoder(
        Architecture(
            fusion="none" if fusion == "plain" else fusion,
            wiring=wiring,
            width=width,
            heads=width // 32,
            feed_forward=4 * width,
            vocabulary=256,
            context=context,
        )
    )


@torch.no_grad()
def _logits(model: Decoder, tokens_BT: Tensor) -> None:
    model(tokens_BT)


def _step(model: Decoder, tokens_BT: Tensor, *, recipe: Recipe) -> Callable[[], object]:
    step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)
    return lambda: step(tokens_BT[:, :-1], tokens_BT[:, 1:], learning_rate=0.0)


def _ratios(times: Times) -> dict[str, Interval]:
    plain = times["plain"]
    return {
        name: median_interval([own / other for own, other in zip(values, plain, strict=True)])
        for name, values in times.items()
        if name != "plain"
    }


def _cell_text(found: Interval, *, digits: int, scale: float = 1.0) -> str:
    median, low, high = (f"{scale * value:.{digits}f}" for value in found)
    return f"{median} [{low}, {high}]"


if __name__ == "__main__":
    main()
