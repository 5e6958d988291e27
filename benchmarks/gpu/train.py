"""How fast the plain transformer trains, and at what share of the device's rate: the part `train`.

Axes: B batch, T tokens, V vocabulary.

The share is that of a large matrix product in bfloat16 on the same device, measured first: 6 operations a parameter and
token, and 12 x depth x width x context for attention, as the PaLM paper counts (arXiv 2204.02311); recomputed ones do
not count. Rivals are timed in turn with ours, round by round, on the same batches.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from benchmarks.gpu import rivals
from benchmarks.gpu.ledger import Ledger, Values
from benchmarks.gpu.sizes import Shape, Sizes
from benchmarks.gpu.work import compile_by_block, random_tokens
from depthweave.spaces import costs_of
from depthweave.spaces.decoder import Decoder
from depthweave.trainers import Recipe, TrainingState, train
from depthweave.trainers.batches import draw_batch
from depthweave.trainers.optimisation import TrainingStep, make_optimizer
from depthweave.trainers.timing import median_interval, times_in_turn

Take = Callable[[Tensor, Tensor], None]
_CHUNK_TOKENS = 8192
"""Tokens whose logits are in memory at once, in the variant that never holds them all."""
_WHOLE_STEPS = 60
_NEEDS_S = 45.0


def run(ledger: Ledger, *, sizes: Sizes, device: torch.device, out: Path) -> None:
    """Measures the device's rate, ours beside the first rival at every size, then the others and variants of ours."""
    side = 8192 if device.type == "cuda" else 256
    rate = ledger.measure("matrix product", partial(_matrix_rate, side, device))
    for shape in sizes.train:
        _beside_rival(ledger, "nanoGPT", _Ours(shape, device=device), sizes=sizes, rate=rate)
    for shape in sizes.train:
        name, ours = _name(shape), _Ours(shape, device=device)
        work = partial(_whole_training, shape, device=device, rate=rate)
        ledger.measure(f"{name}, ours, whole training", work, needs_s=_NEEDS_S)
        _beside_rival(ledger, "GPT-2", ours, sizes=sizes, rate=rate)
        for other, make in _VARIANTS.items():
            if other == "fused loss" and not hasattr(F, "linear_cross_entropy"):
                print(f"{name}, {other}: skipped, this torch has none", flush=True)
                continue
            work = partial(_beside, ours, partial(make, shape, device), sizes=sizes, rate=rate)
            ledger.measure(f"{name}, ours, {other}", work, needs_s=_NEEDS_S)


class _Ours:
    """Our step of a recipe with `compile`, created on first use."""

    def __init__(self, shape: Shape, *, device: torch.device) -> None:
        # Of two shapes the compiler would make one graph for any, which is slower.
        torch.compiler.reset()
        self.shape, self.device, self.tokens = shape, device, random_tokens(shape, count=40 * shape.tokens)
        self._take: Take | None = None
        self._numbers = count()

    def take(self) -> Take:
        """One step on tokens and targets."""
        if self._take is None:
            model = Decoder(self.shape.architecture()).to(self.device)
            self._take = _stepping(model, _recipe(self.shape, compiled=True))
        return self._take

    def batch(self) -> tuple[Tensor, Tensor]:
        """The next one, as a training draws it."""
        recipe = _recipe(self.shape, compiled=True)
        drawn = draw_batch(self.tokens.train, recipe=recipe, step=next(self._numbers), device=self.device)
        return drawn.tokens_BT, drawn.targets_BT


def _name(shape: Shape) -> str:
    return f"{shape.depth} blocks, D {shape.width}"


def _beside_rival(ledger: Ledger, other: str, ours: _Ours, *, sizes: Sizes, rate: Values | None) -> None:
    key = f"{_name(ours.shape)}, {other}"
    if not rivals.is_there(other):
        print(f"{key}: skipped, it is not there", flush=True)
        return
    make = partial(rivals.make, other, ours.shape, device=ours.device)
    ledger.measure(key, partial(_beside, ours, make, sizes=sizes, rate=rate), needs_s=_NEEDS_S)


def _beside(ours: _Ours, make: Callable[[], Take], *, sizes: Sizes, rate: Values | None) -> Values:
    """Tokens a second of both, and the speed of ours relative to the other with its 95 % interval."""
    mine, theirs = ours.take(), make()
    runs = [lambda: mine(*ours.batch()), lambda: theirs(*ours.batch())]
    times_RC = times_in_turn(runs, device=ours.device, limit_s=sizes.timing_s, min_rounds=6)
    mine_s, theirs_s = np.median(times_RC, axis=0)
    speed = median_interval(times_RC[:, 1] / times_RC[:, 0])
    return {
        "ours_speed": [round(value, 4) for value in speed],
        **{f"ours_{name}": value for name, value in _pace(ours.shape, float(mine_s), rate).items()},
        **_pace(ours.shape, float(theirs_s), rate),
    }


def _whole_training(shape: Shape, *, device: torch.device, rate: Values | None) -> Values:
    """Tokens a second of `train` itself, compiling and evaluating left out."""
    steps = _WHOLE_STEPS if device.type == "cuda" else 4
    recipe = dataclasses.replace(_recipe(shape, compiled=True), steps=steps, num_evaluations=2)
    state = TrainingState.start(shape.architecture(), recipe=recipe, device=device)
    first, last = train(state, random_tokens(shape, count=40 * shape.tokens))
    step_s = (last.train_s - first.train_s) / (last.step - first.step)
    return _pace(shape, step_s, rate)


def _pace(shape: Shape, step_s: float, rate: Values | None) -> Values:
    tokens_per_s = shape.tokens / step_s
    found: Values = {"tokens_per_s": round(tokens_per_s), "step_ms": round(1e3 * step_s, 3)}
    if rate is not None:
        costs = costs_of(shape.architecture())
        parameters = costs.parameters + costs.embedding_parameters
        flops = 6 * parameters + 12 * shape.depth * shape.width * shape.context
        found["share_of_matrix_product"] = round(flops * tokens_per_s / rate["flops_per_s"], 4)
    return found


def _matrix_rate(side: int, device: torch.device) -> Values:
    """Operations a second of a square product in bfloat16, on random values: zeros run faster."""
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    times_RC = times_in_turn([lambda: one @ other], device=device, limit_s=1.0, min_rounds=6)
    return {"flops_per_s": 2 * side**3 / float(np.median(times_RC)), "side": side}


def _stepping(model: Decoder, recipe: Recipe) -> Take:
    step = TrainingStep(model, optimizer=make_optimizer(model, recipe=recipe), recipe=recipe)

    def take(tokens_BT: Tensor, targets_BT: Tensor) -> None:
        step(tokens_BT, targets_BT, learning_rate=1e-4)

    return take


def _eager(shape: Shape, device: torch.device) -> Take:
    return _stepping(Decoder(shape.architecture()).to(device), _recipe(shape, compiled=False))


def _by_block(shape: Shape, device: torch.device) -> Take:
    model = Decoder(shape.architecture()).to(device)
    compile_by_block(model)
    return _stepping(model, _recipe(shape, compiled=False))


def _chunked(shape: Shape, device: torch.device) -> Take:
    """By block, and the loss of some tokens at a time, whose logits are made again for backward."""
    model = Decoder(shape.architecture()).to(device)
    compile_by_block(model)
    part = torch.compile(_summed_loss)

    def loss(tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        hidden_ND, targets_N = model.hidden(tokens_BT).flatten(0, 1), targets_BT.flatten()
        parts = zip(hidden_ND.split(_CHUNK_TOKENS), targets_N.split(_CHUNK_TOKENS), strict=True)
        sums = [
            torch.utils.checkpoint.checkpoint(part, hidden, model.embedding.weight, targets, use_reentrant=False)
            for hidden, targets in parts
        ]
        return torch.stack(sums).sum() / targets_N.numel()

    model.loss = loss  # type: ignore[method-assign]
    return _stepping(model, _recipe(shape, compiled=False))


def _summed_loss(hidden_ND: Tensor, head_VD: Tensor, targets_N: Tensor) -> Tensor:
    return F.cross_entropy(F.linear(hidden_ND, head_VD), targets_N, reduction="sum")


def _fused_loss(shape: Shape, device: torch.device) -> Take:
    """By block, with torch's own fused head and loss."""
    model = Decoder(shape.architecture()).to(device)
    compile_by_block(model)

    def loss(tokens_BT: Tensor, targets_BT: Tensor) -> Tensor:
        hidden_ND = model.hidden(tokens_BT).flatten(0, 1)
        head_VD = model.embedding.weight.to(hidden_ND.dtype)
        value: Tensor = F.linear_cross_entropy(hidden_ND, head_VD, targets_BT.flatten())
        return value

    model.loss = loss  # type: ignore[method-assign]
    return _stepping(model, _recipe(shape, compiled=False))


_VARIANTS: dict[str, Callable[[Shape, torch.device], Take]] = {
    "by block": _by_block,
    "eager": _eager,
    "chunked loss": _chunked,
    "fused loss": _fused_loss,
}


def _recipe(shape: Shape, *, compiled: bool) -> Recipe:
    return Recipe(
        batch=shape.batch, context=shape.context, compile=compiled, evaluation_tokens=shape.tokens, learning_rate=1e-4
    )
