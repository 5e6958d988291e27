"""Our implementation beside others': do depth averages agree, and is the plain decoder as fast?

    PYTHONPATH=FOLDERS python -m benchmarks.peers

Missing packages are skipped by name. FOLDERS hold those that are not installed: the DenseFormer authors' package
`denseformer`, lucidrains' `x_transformers`, Hugging Face's `transformers`, and karpathy/nanoGPT's `model.py`.
Agreement: depth averages with random weights in float64, outputs and gradients, against the authors' module for
dilations and periods from 1 to 5, and against DynamicLIMe's linear router with weights that do not depend on the input.
Speed: a training step (forward, backward, AdamW as each comes with) of 12 blocks, context 128, batch 16, on one thread,
all in turn; ratios by round with their 95 % intervals. The others have learned positions, ours rotary ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from benchmarks.fusions import Runs, in_turn
from depthweave.spaces import Architecture, Wiring, strided_wiring
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.fusions import FUSIONS, Fusion
from depthweave.trainers import Recipe
from depthweave.trainers.optimisation import TrainingStep, make_optimizer
from depthweave.trainers.timing import median_interval

DEPTH, BATCH, CONTEXT, VOCABULARY = 12, 16, 128, 256
TOLERANCE = 1e-10


def main() -> None:
    """Everything that can be imported."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rounds", type=int, default=20, help="of the timing, at least 6")
    parser.add_argument("--width", type=int, action="append", help="64 and 256 where absent")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    found: dict[str, Any] = {}
    for name, check in (("denseformer", authors_differ), ("x_transformers", lime_differs)):
        if find_spec(name) is None:
            print(f"skipped: {name} is not there")
            continue
        found[f"{name}, largest difference"] = worst = check()
        print(f"{name}: outputs and gradients differ by at most {worst:.1e}")
        if worst > TOLERANCE:
            raise SystemExit(f"{name}: more than {TOLERANCE:g}")
    for width in asked.width or (64, 256):
        found |= speed(width, rounds=asked.rounds)
    print(json.dumps({"benchmark": "peers", "torch": torch.__version__, **found}))


def authors_differ() -> float:
    """Largest difference to the DenseFormer authors' module."""
    from denseformer import DWAModules

    # Its buffers are of the default type.
    torch.set_default_dtype(torch.float64)
    worst = 0.0
    for dilation, period in itertools.product(range(1, 6), repeat=2):
        wiring = strided_wiring(DEPTH, dilation=dilation, period=period)
        ours = random_weights(FUSIONS["dwa"](wiring, 8).double())
        theirs = DWAModules(DEPTH, dilation=dilation, period=period).double()
        for block, _ in wiring:
            theirs.alphas[block - 1].weight.data[0] = ours.get_parameter(f"weights.{block}").data

        def run_theirs(x_BTD: Tensor, blocks: list[Tensor], theirs: Any = theirs) -> Tensor:
            theirs.init_accumulators(x_BTD)
            for number, matrix_DD in enumerate(blocks):
                x_BTD = theirs(x_BTD + torch.tanh(x_BTD @ matrix_DD), block_idx=number)
            return x_BTD

        weights = [(ours.get_parameter(f"weights.{block}"), theirs.alphas[block - 1].weight) for block, _ in wiring]
        worst = max(worst, difference(lambda x, blocks, ours=ours: run_ours(ours, x, blocks), run_theirs, weights))
    torch.set_default_dtype(torch.float32)
    return worst


def lime_differs() -> float:
    """Largest difference to DynamicLIMe whose router ignores its input; its weights cannot be negative."""
    from x_transformers.x_transformers import DynamicLIMe

    wiring = strided_wiring(DEPTH)
    ours = random_weights(FUSIONS["dwa"](wiring, 8).double())
    routers, weights = [], []
    for block, sources in wiring:
        mine = ours.get_parameter(f"weights.{block}")
        mine.data.abs_()
        router = DynamicLIMe(8, num_layers=len(sources), norm=False, use_softmax=False).double()
        linear = next(item for item in router.modules() if isinstance(item, torch.nn.Linear))
        linear.weight.data.zero_()
        linear.bias.data.copy_(mine.data)
        routers.append(router)
        weights.append((mine, linear.bias))

    def run_theirs(x_BTD: Tensor, blocks: list[Tensor]) -> Tensor:
        states = [x_BTD]
        for matrix_DD, router in zip(blocks, routers, strict=True):
            states.append(x_BTD + torch.tanh(x_BTD @ matrix_DD))
            x_BTD = router(states[-1], states)
        return x_BTD

    return difference(lambda x, blocks: run_ours(ours, x, blocks), run_theirs, weights)


def random_weights(fusion: Fusion) -> Fusion:
    """Weights about those of an average: sums neither vanish nor explode."""
    generator = torch.Generator().manual_seed(0)
    for parameter in fusion.parameters():
        parameter.data.normal_(std=len(parameter) ** -0.5, generator=generator)
    return fusion


def run_ours(fusion: Fusion, x_BTD: Tensor, blocks: list[Tensor]) -> Tensor:
    """Small blocks with the fusion after each."""
    reader = fusion.open()
    x_BTD = reader.advance(0, x_BTD)
    for block, matrix_DD in enumerate(blocks, start=1):
        x_BTD = reader.advance(block, x_BTD + torch.tanh(x_BTD @ matrix_DD))
    return x_BTD


def difference(
    ours: Callable[[Tensor, list[Tensor]], Tensor],
    theirs: Callable[[Tensor, list[Tensor]], Tensor],
    weights: list[tuple[Tensor, Tensor]],
) -> float:
    """Largest difference in outputs and in the gradients of the input, the blocks and the weights."""
    answers = []
    for side, run in enumerate((ours, theirs)):
        generator = torch.Generator().manual_seed(1)
        x_BTD = torch.randn(2, 3, 8, dtype=torch.float64, generator=generator, requires_grad=True)
        blocks = [torch.randn(8, 8, dtype=torch.float64, generator=generator, requires_grad=True) for _ in range(DEPTH)]
        out_BTD = run(x_BTD, blocks)
        own = [pair[side] for pair in weights]
        found = torch.autograd.grad(out_BTD.square().sum(), [x_BTD, *blocks, *own], allow_unused=True)
        zeros = [torch.zeros_like(item) for item in (x_BTD, *blocks, *own)]
        gradients = [zero if item is None else item for item, zero in zip(found, zeros, strict=True)]
        answers.append([out_BTD.detach(), *(item.flatten() for item in gradients)])
    return max(float((one - other).abs().max()) for one, other in zip(*answers, strict=True))


def speed(width: int, *, rounds: int) -> dict[str, Any]:
    """Training steps of the plain decoder and of its peers, relative to the peers."""
    tokens_BT = torch.randint(VOCABULARY, (BATCH, CONTEXT + 1), generator=torch.Generator().manual_seed(0))
    batch = tokens_BT[:, :-1].contiguous(), tokens_BT[:, 1:].contiguous()
    runs: Runs = {"ours": _ours(width, batch)}
    for name, module, make in (("nanoGPT", "model", _nanogpt), ("GPT-2", "transformers", _gpt2)):
        if find_spec(module) is None:
            print(f"skipped: {name} is not there")
        else:
            runs[name] = make(width, batch)
    times = in_turn(runs, rounds=rounds)
    found = {}
    for name in runs:
        if name != "ours":
            ratio = median_interval([own / other for own, other in zip(times["ours"], times[name], strict=True)])
            print(f"D {width}: ours / {name}: {ratio.median:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")
            found[f"D {width}, ours / {name}"] = round(ratio.median, 3)
    return found


def _ours(width: int, batch: tuple[Tensor, Tensor]) -> Callable[[], object]:
    sizes = {"width": width, "heads": width // 32, "feed_forward": 4 * width}
    model = Decoder(Architecture(fusion="none", wiring=Wiring(DEPTH), vocabulary=VOCABULARY, context=CONTEXT, **sizes))
    recipe = Recipe(batch=BATCH, context=CONTEXT)
    step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)
    return lambda: step(*batch, learning_rate=1e-4)


def _nanogpt(width: int, batch: tuple[Tensor, Tensor]) -> Callable[[], object]:
    from model import GPT, GPTConfig

    sizes = {"n_layer": DEPTH, "n_head": width // 32, "n_embd": width}
    model = GPT(GPTConfig(block_size=CONTEXT, vocab_size=VOCABULARY, bias=False, **sizes))
    optimizer = model.configure_optimizers(0.1, 1e-4, (0.9, 0.95), "cpu")
    return _stepping(model, optimizer, lambda: model(*batch)[1])


def _gpt2(width: int, batch: tuple[Tensor, Tensor]) -> Callable[[], object]:
    from transformers import GPT2Config, GPT2LMHeadModel

    sizes = {"n_layer": DEPTH, "n_head": width // 32, "n_embd": width}
    off = {"attn_pdrop": 0.0, "embd_pdrop": 0.0, "resid_pdrop": 0.0, "use_cache": False}
    model = GPT2LMHeadModel(GPT2Config(vocab_size=VOCABULARY, n_positions=CONTEXT, **sizes, **off))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4, weight_decay=0.1)
    return _stepping(model, optimizer, lambda: model(batch[0], labels=batch[0]).loss)


def _stepping(
    model: torch.nn.Module, optimizer: torch.optim.Optimizer, loss: Callable[[], Tensor]
) -> Callable[[], object]:
    def step() -> None:
        loss().backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return step


if __name__ == "__main__":
    main()
