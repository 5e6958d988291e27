"""Sums of states with weights of each token: `DynamicSums` beside a plain autograd loop and a stack with an einsum.

    python -m benchmarks.dynamic_sums

The sites of 12 blocks at once, 1x1, 2048 tokens; forward, and forward with backward. A layer norm reads each sum, as in
a block. One thread, processor time, all contenders in turn, in alternating order. Medians of the ratios by round and
their 95 % intervals.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.fusions import in_turn
from depthweave.spaces.fusions.dynamic_sum import dynamic_sums, traced_sums
from depthweave.trainers.heap import retained_heap
from depthweave.trainers.timing import median_interval

BLOCKS, TOKENS = 12, 2048
Sums = Callable[[Tensor, Sequence[Tensor]], Sequence[Tensor]]


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=12, help="at least 6")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    found: dict[str, float] = {}
    print("| sums of 12 sites | forward | forward + backward |\n|---|---|---|")
    for width in (64, 256):
        for ways in (1, 2, 4):
            times = {}
            for what, run in (("forward", _forward), ("both", _both)):
                runs = {name: partial(run, sums, _sites(width, ways)) for name, sums in CONTENDERS.items()}
                with retained_heap():
                    times[what] = in_turn(runs, rounds=rounds)
            for name in list(CONTENDERS)[1:]:
                cells = []
                for what, seconds in times.items():
                    ratio = median_interval([a / b for a, b in zip(seconds["ours"], seconds[name], strict=True)])
                    cells.append(f"{ratio.median:.2f} [{ratio.low:.2f}, {ratio.high:.2f}]")
                    found[f"D {width}, {ways} ways, ours / {name}, {what}"] = round(ratio.median, 3)
                print(f"| D {width}, {ways} ways, ours / {name} | {' | '.join(cells)} |", flush=True)
    print(json.dumps({"benchmark": "dynamic_sums", "torch": torch.__version__, **found}))


def _ours(weights_BTCS: Tensor, states: Sequence[Tensor]) -> Sequence[Tensor]:
    return dynamic_sums(weights_BTCS, states)


def _einsum(weights_BTCS: Tensor, states: Sequence[Tensor]) -> Sequence[Tensor]:
    return torch.einsum("btcs,sbtd->cbtd", weights_BTCS, torch.stack(list(states))).unbind()


CONTENDERS: dict[str, Sums] = {"ours": _ours, "list loop": traced_sums, "stack + einsum": _einsum}


def _sites(width: int, ways: int) -> list[tuple[Tensor, list[Tensor]]]:
    """Returns the weights and states of each site."""
    generator = torch.Generator().manual_seed(0)
    shape = (1, TOKENS, width)
    states = [torch.randn(shape, generator=generator).requires_grad_() for _ in range(BLOCKS + 1)]
    sources = range(2, BLOCKS + 2)
    return [
        (torch.randn(1, TOKENS, ways, number, generator=generator).requires_grad_(), states[:number])
        for number in sources
    ]


@torch.no_grad()
def _forward(sums: Sums, sites: list[tuple[Tensor, list[Tensor]]]) -> None:
    for weights_BTCS, states in sites:
        _normed(sums(weights_BTCS, states))


def _normed(sums: Sequence[Tensor]) -> list[Tensor]:
    return [F.layer_norm(item, item.shape[-1:]) for item in sums]


def _both(sums: Sums, sites: list[tuple[Tensor, list[Tensor]]]) -> None:
    found = [item.square().sum() for weights_BTCS, states in sites for item in _normed(sums(weights_BTCS, states))]
    torch.stack(found).sum().backward()


if __name__ == "__main__":
    main()
