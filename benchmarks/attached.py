"""What an attached fusion costs in a model of transformers: times relative to the plain host, and parameters added.

    python -m benchmarks.attached             # about five minutes on one core; needs transformers

Hosts with random weights: a GPT-2 of 12 layers, D 256, 8 texts of 128 tokens, and a BERT of the shape of MiniLM-L6 (6
layers, D 384), 16 texts of 32 tokens. `none` is the attachment alone, whose sites change nothing. One thread, processor
time; all contenders run in turn, in alternating order. Medians of the ratios by round and their 95 % intervals.
"""

from __future__ import annotations

import argparse
import copy
import json
import platform
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.fusions import ROUNDS, in_turn
from depthweave.spaces import attach
from depthweave.trainers.heap import retained_heap
from depthweave.trainers.timing import median_interval

CONTENDERS = {
    "none": ("none", "1x1"),
    "dwa 4x5": ("dwa", "4x5"),
    "dwa 1x1": ("dwa", "1x1"),
    "mudd 4x5": ("mudd", "4x5"),
    "dwatt, last layer": ("dwatt", "1xdepth"),
    "concat, last layer": ("concat", "1xdepth"),
}


def main() -> None:
    """Print a table for each host, and all figures as JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=ROUNDS, help="of each table, at least 6")
    rounds = parser.parse_args().rounds
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name, (host, tokens_BT) in _hosts().items():
        models = {"plain": host}
        parameters = {}
        for contender, (fusion, wiring) in CONTENDERS.items():
            models[contender] = copy.deepcopy(host)
            made = attach(models[contender], fusion, wiring)
            parameters[contender] = sum(item.numel() for item in made.parameters())
        with retained_heap():
            forward = in_turn({key: partial(_forward, it, tokens_BT) for key, it in models.items()}, rounds=rounds)
            step = in_turn({key: partial(_backward, it, tokens_BT) for key, it in models.items()}, rounds=rounds)
        print(f"\n| {name} | parameters added | forward / plain | forward and backward / plain |\n|---|---|---|---|")
        for contender, number in parameters.items():
            ratios = [
                median_interval([own / plain for own, plain in zip(times[contender], times["plain"], strict=True)])
                for times in (forward, step)
            ]
            cells = [f"{item.median:.3f} [{item.low:.3f}, {item.high:.3f}]" for item in ratios]
            print(f"| {contender} | {number:,} | {' | '.join(cells)} |")
            found[f"{name}, {contender}"] = [number, *(round(item.median, 4) for item in ratios)]
    print(json.dumps({"benchmark": "attached", "processor": platform.processor(), "torch": torch.__version__, **found}))


def _hosts() -> dict[str, tuple[Any, Tensor]]:
    from transformers import BertConfig, BertModel, GPT2Config, GPT2Model

    generator = torch.Generator().manual_seed(0)
    of_gpt2 = {"n_positions": 128, "n_embd": 256, "n_layer": 12, "n_head": 4, "bos_token_id": 0, "eos_token_id": 0}
    gpt2 = GPT2Model(GPT2Config(vocab_size=1000, use_cache=False, **of_gpt2))
    sizes = {"hidden_size": 384, "num_hidden_layers": 6, "num_attention_heads": 12, "intermediate_size": 1536}
    bert = BertModel(BertConfig(vocab_size=1000, **sizes))
    return {
        "GPT-2": (gpt2.eval(), torch.randint(1000, (8, 128), generator=generator)),
        "BERT": (bert.eval(), torch.randint(1000, (16, 32), generator=generator)),
    }


@torch.no_grad()
def _forward(model: Any, tokens_BT: Tensor) -> None:
    model(tokens_BT)


def _backward(model: Any, tokens_BT: Tensor) -> None:
    model(tokens_BT).last_hidden_state.sum().backward()
    model.zero_grad(set_to_none=True)


if __name__ == "__main__":
    main()
