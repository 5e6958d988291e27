"""How a model is trained: one frozen dataclass that JSON can hold, and the schedules that follow from it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from depthweave.spaces import Initialisation

Precision = Literal["auto", "float32", "bfloat16"]

FIRST_RECIPE = {"initialisation": "by_shape"}
"""Values of keys that recipes of earlier versions lack, where the defaults have changed since."""
_MAX_WHOLE = 10**12
"""A larger number is a typing error."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a model is trained. `dataclasses.asdict` gives JSON; `Recipe(**that)` is equal again."""

    seed: int = 0
    """Seed of the data order and, unless a model is given, of the first weights."""
    initialisation: Initialisation = "nested"
    """`nested`: a narrower feed-forward layer starts as a part of a wider one. `by_shape` is the rule of recipes of
    earlier versions, which lack the key."""
    steps: int = 500
    """Optimiser steps."""
    batch: int = 16
    """Sequences in a step."""
    context: int = 128
    """Tokens in a sequence."""
    learning_rate: float = 4e-3
    """Highest learning rate of AdamW, at the end of the warm-up. It suits widths around 64 and is too high for
    hundreds."""
    min_lr_frac: float = 0.1
    """Learning rate of the last step as a share of the highest."""
    warmup_frac: float = 0.05
    """Share of the steps over which the learning rate rises linearly from zero."""
    betas: tuple[float, float] = (0.9, 0.95)
    """Decay rates of AdamW's two moments, from the DenseFormer paper."""
    weight_decay: float = 0.1
    """Decoupled weight decay of matrices alone: gains, biases and connection weights do not decay."""
    connection_lr_factor: float = 1.0
    """Factor on the learning rate for connection weights."""
    grad_clip: float | None = 1.0
    """Largest norm of all gradients together; None does not clip."""
    precision: Precision = "auto"
    """`bfloat16` is autocast: weights, gradients and moments stay float32. `auto` is bfloat16 on CUDA devices that
    compute in it and float32 elsewhere; records and exports hold the resolved value."""
    compile: bool = False
    """Whether `torch.compile` builds the forward and backward pass; worth it for minutes of training."""
    num_evaluations: int = 10
    """Evaluations, evenly spaced; the last one is after the last step."""
    evaluation_tokens: int = 32_768
    """Validation tokens of an evaluation, in evenly spaced sequences; rounded down to whole ones."""

    def __post_init__(self) -> None:
        # YAML and JSON have no tuples.
        object.__setattr__(self, "betas", tuple(self.betas))
        for name in ("steps", "batch", "context", "num_evaluations", "evaluation_tokens"):
            if getattr(self, name) < 1:
                raise ValueError(f"recipe.{name} is {getattr(self, name)}; it must be at least 1")
            if getattr(self, name) > _MAX_WHOLE:
                raise ValueError(f"recipe.{name} is {getattr(self, name)}; it must be at most {_MAX_WHOLE:,}")
        if self.seed < 0:
            raise ValueError(f"recipe.seed is {self.seed}; it must be 0 or more")
        if self.num_evaluations > self.steps:
            given, most = self.num_evaluations, self.steps
            raise ValueError(f"recipe.num_evaluations is {given}; it must be at most recipe.steps, {most}")
        if self.evaluation_tokens < self.context:
            raise ValueError(
                f"recipe.evaluation_tokens is {self.evaluation_tokens}; it must be at least recipe.context, "
                f"{self.context}"
            )
        for name, kind in (("precision", Precision), ("initialisation", Initialisation)):
            if getattr(self, name) not in get_args(kind):
                known = " or ".join(get_args(kind))
                raise ValueError(f"recipe.{name} is {getattr(self, name)!r}; it can be {known}")
        _check_range("learning_rate", self.learning_rate, low=0.0, high=math.inf, open_low=True)
        _check_range("min_lr_frac", self.min_lr_frac, low=0.0, high=1.0)
        _check_range("warmup_frac", self.warmup_frac, low=0.0, high=1.0)
        _check_range("weight_decay", self.weight_decay, low=0.0, high=math.inf)
        _check_range("connection_lr_factor", self.connection_lr_factor, low=0.0, high=math.inf)
        if self.grad_clip is not None:
            _check_range("grad_clip", self.grad_clip, low=0.0, high=math.inf, open_low=True)
        if len(self.betas) != 2 or not all(0.0 <= beta < 1.0 for beta in self.betas):
            raise ValueError(f"recipe.betas is {self.betas}; it must be two numbers of at least 0 and below 1")

    @property
    def tokens_per_step(self) -> int:
        """Tokens of one optimiser step."""
        return self.batch * self.context

    @property
    def tokens(self) -> int:
        """Tokens of the whole training."""
        return self.steps * self.tokens_per_step

    def evaluation_steps(self) -> tuple[int, ...]:
        """Returns the numbers of steps after which the model is evaluated, ascending; the last is `steps`."""
        return tuple(self.steps * number // self.num_evaluations for number in range(1, self.num_evaluations + 1))

    def learning_rate_at(self, step: int) -> float:
        """Returns the learning rate of step number `step`, from 0: linear warm-up, then half a cosine."""
        warmup = math.ceil(self.warmup_frac * self.steps)
        if step < warmup:
            return self.learning_rate * (step + 1) / warmup
        # The last step, number `steps - 1`, has the lowest rate.
        progress = (step - warmup) / max(1, self.steps - 1 - warmup)
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(1.0, progress)))
        return self.learning_rate * (self.min_lr_frac + (1.0 - self.min_lr_frac) * cosine)


def _check_range(name: str, value: float, *, low: float, high: float, open_low: bool = False) -> None:
    above = value > low if open_low else value >= low
    if above and value <= high and math.isfinite(value):
        return
    rule = f"{'above' if open_low else 'at least'} {low:g}"
    rule += f" and at most {high:g}" if math.isfinite(high) else " and finite"
    raise ValueError(f"recipe.{name} is {value}; it must be {rule}")
