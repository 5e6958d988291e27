"""Trains a head of a search: every draw at every size, one training after the other.

An evaluation follows each draw, with the mean error over all draws and sizes so far. All heads of a search see the same
draws in the same order, so that their evaluations are compared on the same sentences, and every further draw makes the
mean more certain.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from statistics import fmean

from depthweave.spaces.decoder import ConnectionWeight
from depthweave.trainers.device_lock import GiveWay
from depthweave.trainers.evaluation import Evaluation
from depthweave.trainers.tagging.entity_score import EntityScore, TypeScore
from depthweave.trainers.tagging.few_shot_data import FewShotData
from depthweave.trainers.tagging.few_shot_spec import FewShot, training_seed
from depthweave.trainers.tagging.few_shot_state import FewShotState
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.layer_weights import layer_weights
from depthweave.trainers.tagging.shots import draw_shots
from depthweave.trainers.tagging.tag_evaluation import TagEvaluation
from depthweave.trainers.tagging.tag_training import held_out_tags, train_tags
from depthweave.trainers.tagging.tagging_state import TaggingState, head_recipe

LAYER_WEIGHT_TOKENS = 16_384
"""Tokens of the validation part that weights of layers are means over."""


def train_few_shot(
    state: FewShotState, data: FewShotData, *, few_shot: FewShot, host: Host | None, give_way: GiveWay
) -> Iterator[Evaluation]:
    """Trains the draws that are left, in place, and yields an evaluation after each.

    `host` is needed unless it is frozen. A training that diverges is the last.
    """
    while state.num_draws < few_shot.draws and not state.diverged:
        draw = state.num_draws
        for shots in few_shot.shots:
            _train_one(state, data, few_shot=few_shot, host=host, shots=shots, draw=draw, give_way=give_way)
            if state.diverged:
                break
        state.num_draws += 1
        yield _evaluation(state, num_sizes=len(few_shot.shots))


def mean_f1(state: FewShotState) -> float:
    """Returns the mean validation F1 at the end of every training so far."""
    last = {(row["shots"], row["draw"]): row["f1"] for row in state.entity_scores}
    return fmean(last.values())


def _train_one(
    state: FewShotState,
    data: FewShotData,
    *,
    few_shot: FewShot,
    host: Host | None,
    shots: int,
    draw: int,
    give_way: GiveWay,
) -> None:
    """Trains one head on one draw of one size, and adds its results to the state."""
    seed = training_seed(state.recipe.seed, draw)
    tags = data.data
    drawn = tags.with_shots(draw_shots(tags.train.sentences, shots, unit=few_shot.unit, seed=seed))
    shape, weights = state.architecture.head, few_shot.host.weights
    head = TaggingState.start(
        shape,
        recipe=head_recipe(dataclasses.replace(state.recipe, seed=seed), kind=shape.kind, weights=weights),
        host_sha256=tags.host_sha256,
        weights=weights,
        host=host,
        device=state.device,
    )
    key = {"shots": shots, "draw": draw}
    last: TagEvaluation | None = None
    for last in train_tags(head, drawn, give_way=give_way):
        if last.score is not None:
            state.entity_scores.append({**key, "step": last.step, **_of(last.score)})
    assert last is not None, "a recipe has at least one evaluation"
    state.step += last.step
    state.train_s += last.train_s
    state.evaluation_s += last.evaluation_s
    state.train_losses.append(last.train_loss)
    if last.score is None:
        state.diverged = True
        return
    state.type_scores += [
        {**key, "type": name, **_of(found), "support": found.support} for name, found in last.score.by_type.items()
    ]
    state.text_errors.append(list(last.part_errors))
    state.layer_weights += [
        {**key, **found._asdict()}
        for found in layer_weights(head, tags.valid, classes=tags.classes, max_tokens=LAYER_WEIGHT_TOKENS)
    ]
    state.offer(head, shots=shots, draw=draw, f1=last.score.f1)
    # Confirmations alone have a test part.
    test = held_out_tags(head, tags) if len(tags.test.rows) else None
    if test is not None:
        state.test_f1.append(test.score.f1)


def _of(found: EntityScore | TypeScore) -> dict[str, float]:
    return {name: getattr(found, name) for name in ("precision", "recall", "f1")}


def _evaluation(state: FewShotState, *, num_sizes: int) -> Evaluation:
    f1 = 0.0 if state.diverged else mean_f1(state)
    return Evaluation(
        index=state.num_draws - 1,
        step=state.step,
        tokens=state.step * state.recipe.tokens_per_step,
        loss=math.inf if state.diverged else 1.0 - f1,
        train_loss=math.inf if state.diverged else fmean(state.train_losses[-num_sizes:]),
        train_s=state.train_s,
        evaluation_s=state.evaluation_s,
        diverged=state.diverged,
        weights=_connection_weights(state),
        text_losses=_text_errors(state),
        columns={}
        if state.diverged
        else {
            "f1": f1,
            "entity_scores": list(state.entity_scores),
            "type_scores": list(state.type_scores),
            "layer_weights": list(state.layer_weights),
        },
    )


def _text_errors(state: FewShotState) -> tuple[float, ...]:
    """Returns the mean error of all trainings on each part of the validation text; empty where one has no parts."""
    if state.diverged or not all(state.text_errors):
        return ()
    return tuple(fmean(column) for column in zip(*state.text_errors, strict=True))


def _connection_weights(state: FewShotState) -> tuple[ConnectionWeight, ...]:
    """Returns the mean weight of each layer over all tokens, over the draws of the largest size."""
    if state.diverged or not state.layer_weights:
        return ()
    largest = max(row["shots"] for row in state.layer_weights)
    found: dict[int, list[float]] = {}
    for row in state.layer_weights:
        if (row["shots"], row["type"]) == (largest, ""):
            found.setdefault(row["layer"], []).append(row["weight"])
    site = state.architecture.depth
    return tuple(ConnectionWeight(site, layer, fmean(values)) for layer, values in sorted(found.items()))
