"""A second task in one file: a decoder learns the mean of the numbers that it reads.

The classes are made inside a function: cloudpickle then sends them to the workers by value, and they need no tests.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.files import save_model
from depthweave.trainers import Evaluation, HeldOutLoss, Recipe, TrainingState, measure_in_turn
from depthweave.trainers.device_lock import GiveWay
from depthweave.trainers.tasks import AnyTask, DataRequest, Quality, Schedule, Task


def make_regression() -> AnyTask:
    """The task, with numbers from 0 to 7 and a squared error."""

    class Numbers(NamedTuple):
        name: str
        num_bytes: tuple[int, int, int]
        notes: tuple[str, ...]

    @dataclass(frozen=True)
    class Points:
        train: np.ndarray[Any, np.dtype[np.int64]]
        valid: np.ndarray[Any, np.dtype[np.int64]]
        corpus: str = "numbers"
        corpus_sha256: str = "5" * 64
        vocabulary: int = 8
        tokenizer: str = ""
        tokenizer_json: str | None = None

        def without_test(self) -> Points:
            return self

        def renamed(self, corpus: str) -> Points:
            return dataclasses.replace(self, corpus=corpus)

    class Regression(Task[Numbers, Points, TrainingState]):
        quality = Quality(column="error", title="mean squared error")

        def read(self, request: DataRequest) -> Numbers:
            return Numbers("numbers", (800, 200, 0), ())

        def encode(self, raw: Numbers, request: DataRequest, *, say: Callable[[str], None]) -> Points:
            points = np.random.default_rng(5).integers(0, 8, size=(100, request.recipe.context))
            return Points(points[:80], points[80:])

        def schedule(self, recipe: Recipe) -> Schedule:
            return Schedule(recipe.steps, recipe.num_evaluations)

        def start(self, architecture: Architecture, *, recipe: Recipe, device: str) -> TrainingState:
            return TrainingState.start(architecture, recipe=recipe, device=device)

        def load_state(self, path: Path, *, device: str) -> TrainingState:
            return TrainingState.load(path, device=device)

        def train(self, state: TrainingState, data: Points, *, give_way: GiveWay) -> Iterator[Evaluation]:
            for index, end in enumerate(state.recipe.evaluation_steps()):
                while state.step < end:
                    rows = np.random.default_rng([state.recipe.seed, state.step]).integers(80, size=state.recipe.batch)
                    loss = self._loss(state, data.train[rows])
                    loss.backward()
                    state.optimizer.step()
                    state.optimizer.zero_grad()
                    state.step += 1
                    give_way()
                    if state.step == end:
                        yield self._evaluation(state, data, index=index, train_loss=loss.item())

        def test(self, state: TrainingState, data: Points) -> HeldOutLoss | None:
            return None

        def save_weights(self, state: TrainingState, path: Path) -> None:
            save_model(path, state.model, with_checksum=True)

        def measure(self, architectures: Sequence[Architecture], **options: Any) -> Any:
            return measure_in_turn(architectures, **options)

        def record_values(self, evaluation: Evaluation) -> Mapping[str, float]:
            return {"error": evaluation.loss}

        def test_values(self, test: HeldOutLoss) -> Mapping[str, float]:
            return {"test_loss": test.loss}

        @staticmethod
        def _loss(state: TrainingState, points: np.ndarray[Any, np.dtype[np.int64]]) -> torch.Tensor:
            points_BT = torch.from_numpy(points)
            guesses_B = state.model.hidden(points_BT)[..., 0].mean(dim=1)
            return (guesses_B - points_BT.float().mean(dim=1)).square().mean()

        def _evaluation(self, state: TrainingState, data: Points, *, index: int, train_loss: float) -> Evaluation:
            with torch.no_grad():
                loss = self._loss(state, data.valid).item()
                weights = tuple(state.model.connection_weights(torch.from_numpy(data.valid[:2])))
            return Evaluation(
                index=index,
                step=state.step,
                tokens=state.step * state.recipe.tokens_per_step,
                loss=loss,
                train_loss=train_loss,
                train_s=0.1 * state.step,
                evaluation_s=0.0,
                diverged=not math.isfinite(loss),
                weights=weights,
            )

    return Regression()
