"""Training a decoder on text, as a generator of evaluations that is independent of its caller.

Axes: B batch, T tokens.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch

from depthweave.spaces.decoder import ConnectionWeight
from depthweave.spaces.perplexity import perplexity_of
from depthweave.trainers.batches import ValidationSet, draw_batch, held_out_set, validation_set
from depthweave.trainers.checkpoint import TrainingState
from depthweave.trainers.device_lock import UNSHARED, GiveWay
from depthweave.trainers.evaluation import Evaluation, HeldOutLoss
from depthweave.trainers.machine import synchronize
from depthweave.trainers.optimisation import TrainingStep
from depthweave.trainers.ranks import SINGLE, Ranks, check_shares
from depthweave.trainers.states import state_profile
from depthweave.trainers.tokens import TokenSet, check_fits

__all__ = ["Evaluation", "HeldOutLoss", "TrainingState", "held_out_loss", "train"]

_ACCELERATOR_CHECK_STEPS = 50
"""Steps between two checks of the loss on an accelerator, where a check has to wait; a CPU checks at every step."""
_WEIGHT_TOKENS = 1024
"""Validation tokens over which dynamic connection weights are averaged."""
_MAX_PARTS = 64
"""Parts of the validation text whose losses are kept one by one."""


def train(
    state: TrainingState,
    tokens: TokenSet,
    *,
    until_step: int | None = None,
    ranks: Ranks = SINGLE,
    give_way: GiveWay = UNSHARED.give_way,
) -> Iterator[Evaluation]:
    """Trains from `state.step` on, in place, and yields an evaluation at every fixed token count.

    The state can be saved between two yields and after the end. Closing the generator ends the training. `until_step`
    ends it early, without an evaluation of its own. A loss that is not finite gives a last evaluation with `diverged`.
    `ranks` is this process among those that share the training: each has its own state, and all yield the same losses.
    `give_way` is called after every step, and its time does not count as training time. Raises `ValueError` where
    tokens, recipe, architecture and ranks do not fit.
    """
    recipe = state.recipe
    check_shares(recipe, count=ranks.count)
    check_fits(tokens, recipe=recipe)
    if tokens.vocabulary > state.architecture.vocabulary:
        raise ValueError(
            f"architecture.vocabulary is {state.architecture.vocabulary}; the tokenizer {tokens.tokenizer} needs "
            f"{tokens.vocabulary}"
        )
    last_step = recipe.steps if until_step is None else min(until_step, recipe.steps)
    return _train(state, tokens, last_step=last_step, ranks=ranks, give_way=give_way)


def held_out_loss(state: TrainingState, tokens: TokenSet) -> HeldOutLoss | None:
    """Returns the loss on the test part, evaluated like the validation loss; `None` where there is no test part.

    It is for models that were chosen already. No search may call it.
    """
    test_set = held_out_set(tokens, recipe=state.recipe, device=state.device)
    if test_set is None:
        return None
    # One pass only: compiling would take longer.
    recipe = dataclasses.replace(state.recipe, compile=False)
    take_step = TrainingStep(state.model, optimizer=state.optimizer, recipe=recipe, ranks=SINGLE)
    found = _validate(take_step, test_set, batch=state.recipe.batch, ranks=SINGLE, by_part=False)
    return HeldOutLoss(found.loss, found.bits_per_byte)


def _train(
    state: TrainingState, tokens: TokenSet, *, last_step: int, ranks: Ranks, give_way: GiveWay
) -> Iterator[Evaluation]:
    recipe, device = state.recipe, state.device
    index_at = {step: index for index, step in enumerate(recipe.evaluation_steps())}
    take_step = TrainingStep(state.model, optimizer=state.optimizer, recipe=recipe, ranks=ranks)
    validation = validation_set(tokens, recipe=recipe, device=device)
    check_steps = 1 if device.type == "cpu" else _ACCELERATOR_CHECK_STEPS
    started = time.perf_counter()
    while state.step < last_step and not state.diverged:
        batch = draw_batch(tokens.train, recipe=recipe, step=state.step, device=device, ranks=ranks)
        loss = take_step(*batch, learning_rate=recipe.learning_rate_at(state.step))
        state.loss_sum += loss
        state.num_losses += 1
        state.step += 1
        state.train_s -= give_way()
        is_due = state.step in index_at
        if is_due or state.step % check_steps == 0:
            state.diverged = not math.isfinite(state.loss_sum.item())
        if not is_due and not state.diverged:
            continue
        state.train_s += time.perf_counter() - started
        index = sum(step < state.step for step in index_at)
        yield _evaluate(state, take_step, validation, index=index, ranks=ranks)
        started = time.perf_counter()
    synchronize(device)
    state.train_s += time.perf_counter() - started


class _Validation(NamedTuple):
    loss: float
    bits_per_byte: float
    text_losses: tuple[float, ...] = ()


def _evaluate(
    state: TrainingState, take_step: TrainingStep, validation: ValidationSet, *, index: int, ranks: Ranks
) -> Evaluation:
    """Evaluates the model and resets the state's sum of training losses."""
    started = time.perf_counter()
    found = _Validation(math.inf, math.inf)
    is_last = state.step == state.recipe.steps
    if not state.diverged:
        found = _validate(take_step, validation, batch=state.recipe.batch, ranks=ranks, by_part=is_last)
        state.diverged = not math.isfinite(found.loss)
    weights: tuple[ConnectionWeight, ...] = ()
    states = None
    if not state.diverged:
        sequences = max(1, _WEIGHT_TOKENS // state.recipe.context)
        # Evenly spaced, so that they cover the whole validation part.
        every = max(1, len(validation.tokens_BT) // sequences)
        with take_step.autocast():
            sample_BT = validation.tokens_BT[::every][:sequences]
            weights = tuple(state.model.connection_weights(sample_BT))
            if is_last:
                states = state_profile(state.model, sample_BT)
    train_loss = state.loss_sum.item() / state.num_losses
    state.loss_sum.zero_()
    state.num_losses = 0
    state.evaluation_s += time.perf_counter() - started
    loss = math.inf if state.diverged else found.loss
    return Evaluation(
        index=index,
        step=state.step,
        tokens=state.step * state.recipe.tokens_per_step,
        loss=loss,
        train_loss=train_loss,
        perplexity=perplexity_of(loss),
        bits_per_byte=math.inf if state.diverged else found.bits_per_byte,
        train_s=state.train_s,
        evaluation_s=state.evaluation_s,
        diverged=state.diverged,
        weights=weights,
        states=states,
        text_losses=() if state.diverged else found.text_losses,
    )


@torch.no_grad()
def _validate(
    take_step: TrainingStep, validation: ValidationSet, *, batch: int, ranks: Ranks, by_part: bool
) -> _Validation:
    """Returns the loss, and with `by_part` that of each part of the text, for which processes have to communicate."""
    losses, sizes = [], []
    batches = list(zip(validation.tokens_BT.split(batch), validation.targets_BT.split(batch), strict=True))
    for tokens_BT, targets_BT in batches[ranks.rank :: ranks.count]:
        losses.append(take_step.loss(tokens_BT, targets_BT))
        sizes.append(targets_BT.numel())
    values = torch.stack(losses).tolist() if losses else []
    nats = [loss * size for loss, size in zip(values, sizes, strict=True)]
    total = ranks.total(sum(nats))
    text_losses: tuple[float, ...] = ()
    if by_part:
        own = dict(zip(range(ranks.rank, len(batches), ranks.count), nats, strict=True))
        all_sizes = [targets_BT.numel() for _, targets_BT in batches]
        text_losses = tuple(
            ranks.total(sum(own.get(place, 0.0) for place in part)) / sum(all_sizes[place] for place in part)
            for part in _parts(len(batches))
        )
    bits = total / (max(1, validation.target_bytes) * math.log(2.0))
    return _Validation(total / validation.targets_BT.numel(), bits, text_losses)


def _parts(num_batches: int) -> list[range]:
    """Returns ranges of neighbouring batches: at most `_MAX_PARTS` parts of about the same size."""
    num = min(_MAX_PARTS, num_batches)
    ends = [num_batches * place // num for place in range(num + 1)]
    return [range(first, last) for first, last in itertools.pairwise(ends)]
