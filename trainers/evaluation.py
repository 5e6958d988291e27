"""What a training reports: an evaluation at each fixed step, and the loss on the test part."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from depthweave.spaces.decoder import ConnectionWeight
from depthweave.trainers.states import StateProfile


@dataclass(frozen=True, kw_only=True, slots=True)
class Evaluation:
    """A model's validation loss at a token count."""

    index: int
    """Number of the evaluation in its training, from 0."""
    step: int
    """Optimiser steps taken."""
    tokens: int
    """Tokens trained on."""
    loss: float
    """What sampler and pruner compare, less is better: the validation loss in nats a token for a language model, the
    error for a task that is judged by one; infinite where the training diverged."""
    train_loss: float
    """Mean training loss since the last evaluation, in the same unit; not finite where the training diverged."""
    perplexity: float = math.nan
    """exp of `loss`; not a number where the task has none."""
    bits_per_byte: float = math.nan
    """Validation loss in bits for each byte of text; not a number where the task has none."""
    train_s: float
    """Time spent in optimiser steps so far."""
    evaluation_s: float
    """Time spent evaluating so far."""
    diverged: bool
    """Whether a training or validation loss was not finite; then this is the last evaluation."""
    weights: tuple[ConnectionWeight, ...]
    """Every connection weight, or its mean over validation tokens where it is dynamic; empty where diverged."""
    states: StateProfile | None = None
    """Norms and cosines of the states by depth, at the last evaluation of a whole training."""
    text_losses: tuple[float, ...] = ()
    """The validation loss of each of at most 64 parts of the text, in its order, at the last evaluation of a whole
    training. They show how much a comparison depends on the choice of the text."""
    columns: Mapping[str, Any] = field(default_factory=dict)
    """Further columns of the record that do not follow from the loss: numbers, or lists of mappings."""


class HeldOutLoss(NamedTuple):
    """A model's loss on the test part."""

    loss: float
    """In the unit of `Evaluation.loss`."""
    bits_per_byte: float = math.nan
    """Not a number where the task has none."""
