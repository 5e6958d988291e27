"""Training a head on a host, frozen or not, as a generator of evaluations that is independent of its caller."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch

from depthweave.trainers.device_lock import UNSHARED, GiveWay
from depthweave.trainers.machine import synchronize, with_precision
from depthweave.trainers.optimisation import OptimizerStep, autocast_for
from depthweave.trainers.tagging.sentence_batches import training_rows
from depthweave.trainers.tagging.tag_data import TagData, TagPart
from depthweave.trainers.tagging.tag_evaluation import TagEvaluation, TagResult, evaluate_tags, logits_of
from depthweave.trainers.tagging.tagging_state import TaggingState

__all__ = ["TagEvaluation", "TagResult", "TaggingState", "held_out_tags", "train_tags"]

_ACCELERATOR_CHECK_STEPS = 50
"""Steps between two checks of the loss on an accelerator, where a check has to wait; a CPU checks at every step."""


def train_tags(
    state: TaggingState, data: TagData, *, until_step: int | None = None, give_way: GiveWay = UNSHARED.give_way
) -> Iterator[TagEvaluation]:
    """Trains from `state.step` on, in place, and yields an evaluation at each evaluation step of the recipe.

    The state can be saved between two yields and after the end. Closing the generator ends the training. `until_step`
    ends it early, without an evaluation of its own. A loss that is not finite gives a last evaluation with `diverged`.
    `give_way` is called after every step, and its time does not count as training time. Raises a one-line `ValueError`
    where state and data do not fit.
    """
    check_tags_fit(state, data)
    last_step = state.recipe.steps if until_step is None else min(until_step, state.recipe.steps)
    return _train(state, data, last_step=last_step, give_way=give_way)


def held_out_tags(state: TaggingState, data: TagData) -> TagResult | None:
    """Returns loss, score and tags on the whole test part; `None` where there is none.

    It is for heads that were chosen already. No search may call it.
    """
    check_tags_fit(state, data)
    if not len(data.test.rows):
        return None
    with autocast_for(state.recipe, device=state.device):
        return evaluate_tags(state, data.test, classes=data.classes)


def check_tags_fit(state: TaggingState, data: TagData) -> None:
    """Raises a one-line `ValueError` where the head, the host and the data do not fit."""
    shape = state.shape
    if state.host_sha256 != data.host_sha256:
        raise ValueError(f"the data {data.name} was encoded for another host than that of the head; encode it again")
    if shape.classes != len(data.classes):
        raise ValueError(f"the head has {shape.classes} classes; the tags of {data.name} have {len(data.classes)}")
    if state.recipe.context < data.max_tokens:
        raise ValueError(
            f"recipe.context is {state.recipe.context}; the data {data.name} was encoded with {data.max_tokens} tokens "
            "a sentence"
        )
    if not len(data.train.trainable_rows):
        raise ValueError(f"the data {data.name} has no training sentence with a tag; give more, or a longer context")
    if state.weights == "frozen":
        _check_states(state, data.train, name=data.name)


def _check_states(state: TaggingState, part: TagPart, *, name: str) -> None:
    if part.states is None:
        raise ValueError(f"the data {name} holds no states, which a head on a frozen host reads; make them first")
    num_states, _, width = part.states.states_LND.shape
    if (state.shape.depth, state.shape.width) != (num_states - 1, width):
        raise ValueError(
            f"the head is for {state.shape.depth} layers of width {state.shape.width}; the states of {name} have "
            f"{num_states - 1} of width {width}"
        )


def _train(state: TaggingState, data: TagData, *, last_step: int, give_way: GiveWay) -> Iterator[TagEvaluation]:
    device = state.device
    # `auto` is resolved once: on a GPU it asks the driver.
    recipe = with_precision(state.recipe, device=device)
    index_at = {step: index for index, step in enumerate(recipe.evaluation_steps())}
    take_step = OptimizerStep(state.parameters(), optimizer=state.optimizer, recipe=recipe)
    rows = data.train.trainable_rows
    check_steps = 1 if device.type == "cpu" else _ACCELERATOR_CHECK_STEPS
    state.head.train()
    if state.host_model is not None:
        state.host_model.train()
    started = time.perf_counter()
    while state.step < last_step and not state.diverged:
        batch = training_rows(rows, recipe=recipe, step=state.step)
        with _flushed_denormals():
            with _dropout(state), autocast_for(recipe, device=device):
                loss = logits_of(state, data.train, batch).loss()
            take_step(loss, learning_rate=recipe.learning_rate_at(state.step))
        state.loss_sum += loss.detach()
        state.num_losses += 1
        state.step += 1
        state.train_s -= give_way()
        is_due = state.step in index_at
        if is_due or state.step % check_steps == 0:
            state.diverged = not math.isfinite(state.loss_sum.item())
        if not is_due and not state.diverged:
            continue
        state.train_s += time.perf_counter() - started
        yield _evaluate(state, data, index=sum(step < state.step for step in index_at))
        started = time.perf_counter()
    synchronize(device)
    state.train_s += time.perf_counter() - started


def _evaluate(state: TaggingState, data: TagData, *, index: int) -> TagEvaluation:
    """Evaluates the head and resets the state's sum of training losses."""
    started = time.perf_counter()
    found: TagResult | None = None
    if not state.diverged:
        with autocast_for(state.recipe, device=state.device):
            found = evaluate_tags(state, data.valid, classes=data.classes, max_tokens=state.recipe.evaluation_tokens)
        state.diverged = not math.isfinite(found.loss)
    train_loss = state.loss_sum.item() / state.num_losses
    state.loss_sum.zero_()
    state.num_losses = 0
    state.evaluation_s += time.perf_counter() - started
    return TagEvaluation(
        index=index,
        step=state.step,
        loss=math.inf if found is None or state.diverged else found.loss,
        train_loss=train_loss,
        score=None if found is None or state.diverged else found.score,
        train_s=state.train_s,
        evaluation_s=state.evaluation_s,
        diverged=state.diverged,
        part_errors=() if found is None or state.diverged else found.part_errors,
    )


@contextmanager
def _flushed_denormals() -> Iterator[None]:
    """Rounds numbers to zero that are too small for a full mantissa, on a CPU.

    Attention over layers that has settled on one of them has weights so small, and processors are slow with them: a
    training of `dwatt` took ten times as long, and ended with the same score.
    """
    torch.set_flush_denormal(True)
    try:
        yield
    finally:
        torch.set_flush_denormal(False)


@contextmanager
def _dropout(state: TaggingState) -> Iterator[None]:
    """Draws the dropout of a host that is trained from the recipe's seed and the step, and restores the generators."""
    if state.host_model is None:
        yield
        return
    seed = int(np.random.SeedSequence([state.recipe.seed, state.step]).generate_state(1, np.uint64)[0] >> np.uint64(1))
    devices = [state.device] if state.device.type == "cuda" else []
    with torch.random.fork_rng(devices):
        torch.manual_seed(seed)
        yield
