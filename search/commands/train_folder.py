"""The output folder of `depthweave train`: what an interrupted training left in it, and whether the model is there."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from pathlib import Path

from depthweave.reports.export import read_training
from depthweave.reports.export.card import CurvePoint
from depthweave.reports.export.training import TRAINING_FILE
from depthweave.search.commands.recipe import recorded_recipe
from depthweave.search.commands.train_lock import LOCK_FILE
from depthweave.search.commands.train_plan import TrainPlan
from depthweave.spaces import load
from depthweave.spaces.checksums import CHECKSUM_SUFFIX, ChangedError, add_checksum, check_listed, verified_values
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.spaces.regular import read_regular_text
from depthweave.trainers import Recipe, TrainingState
from depthweave.trainers.checkpoint import STATE_FILE

_CURVE_FILE = "curve.json"
"""The evaluations of a training that has not ended."""
TEMPORARY_FILES = (STATE_FILE, f"{STATE_FILE}{CHECKSUM_SUFFIX}", _CURVE_FILE)
"""Files that only a running or interrupted training needs."""


def open_state(plan: TrainPlan, *, out: Path, weights_from: Path | None) -> TrainingState:
    """Returns the state that an interrupted training saved in `out`, otherwise a new one.

    `weights_from` is an export whose weights a new training starts with. Raises `ValueError` where the folder holds
    something else.
    """
    repeats_on_cpu = plan.repeats and plan.recorded is not None and plan.recorded.device == "cpu"
    device = "cpu" if repeats_on_cpu else "auto"
    if (out / TRAINING_FILE).exists() and (out / MODEL_FILE).exists():
        raise ValueError(f"--out {out}: holds a training of another architecture, recipe or text; name another folder")
    if (out / STATE_FILE).exists():
        try:
            state = TrainingState.load(out / STATE_FILE, device=device)
        except ChangedError as error:
            raise ValueError(f"{error}; remove both, and the training starts from the beginning") from None
        if (state.architecture, state.recipe) != (plan.architecture, _with_precision_of(state.recipe, plan.recipe)):
            raise ValueError(f"--out {out}: holds a training of another architecture or recipe; name another folder")
        return state
    if any(path.name != LOCK_FILE for path in out.iterdir()):
        raise ValueError(f"--out {out}: the folder is not empty; name a new one")
    model = None if weights_from is None else load(weights_from).train()
    return TrainingState.start(plan.architecture, recipe=plan.recipe, model=model, device=device)


def is_finished(out: Path, plan: TrainPlan) -> bool:
    """Returns whether the folder holds the planned model, trained to its end; the model is written last."""
    training = read_training(out) if (out / MODEL_FILE).exists() else None
    if training is None:
        return False
    check_listed(out, MODEL_FILE)
    recipe = recorded_recipe(training)
    return (training.architecture_id, recipe, training.corpus_sha256) == (
        plan.architecture.id,
        _with_precision_of(recipe, plan.recipe),
        plan.tokens.corpus_sha256,
    )


def save_curve(out: Path, curve: Sequence[CurvePoint]) -> None:
    """Saves the evaluations so far."""
    (out / _CURVE_FILE).write_text(json.dumps(add_checksum({"curve": curve})), encoding="utf-8")


def read_curve(out: Path, *, max_tokens: int) -> list[CurvePoint]:
    """Returns the evaluations of an interrupted training up to its saved state, at `max_tokens`."""
    path = out / _CURVE_FILE
    try:
        rows = json.loads(read_regular_text(path)) if path.exists() else []
        # Earlier versions wrote the bare list.
        rows = verified_values(rows)["curve"] if isinstance(rows, dict) else rows
        return [CurvePoint(int(tokens), float(loss)) for tokens, loss in rows if tokens <= max_tokens]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise ValueError(f"{path}: is damaged: remove it (the card then lacks its points)") from None


def remove_temporary_files(out: Path) -> None:
    """Removes the files that a finished training no longer needs."""
    for name in TEMPORARY_FILES:
        (out / name).unlink(missing_ok=True)


def _with_precision_of(saved: Recipe, planned: Recipe) -> Recipe:
    """Returns the planned recipe; where its precision is `auto`, with the precision that was saved."""
    return dataclasses.replace(planned, precision=saved.precision) if planned.precision == "auto" else planned
