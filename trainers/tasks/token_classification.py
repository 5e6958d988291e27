"""Token classification: heads on a pretrained host learn from few sentences, and are judged by the F1 of entities."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

import torch

from depthweave.spaces.architecture import Architecture
from depthweave.trainers.device_lock import DeviceLock, GiveWay, NoDeviceLock
from depthweave.trainers.evaluation import Evaluation, HeldOutLoss
from depthweave.trainers.measure import Kind, Measurement, measure_in_turn
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.few_shot_data import FewShotData, RawText, encode_text, host_of
from depthweave.trainers.tagging.few_shot_spec import FewShot, read_tagged_text
from depthweave.trainers.tagging.few_shot_state import FewShotState
from depthweave.trainers.tagging.few_shot_training import train_few_shot
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.tagger_speed import TaggerKit
from depthweave.trainers.tasks.task import DataRequest, Quality, Schedule, Task


@dataclass(frozen=True)
class TokenClassification(Task[RawText, FewShotData, FewShotState]):
    """The error is 1 - F1 on the validation part, the mean over all sizes and draws.

    The task of a search has the host and the draws of its spec; the one in `TASKS` has none and only names the quality.
    """

    few_shot: FewShot | None = None

    quality: ClassVar[Quality] = Quality(
        column="error",
        title="mean error of entities (1 - F1)",
        usual_costs=("latency", "parameters"),
        unmeasured=("decode_latency",),
        is_paired=True,
        max_loss=1.0,
    )

    def read(self, request: DataRequest) -> RawText:
        return RawText(text=read_tagged_text(request.corpus))

    def encode(self, raw: RawText, request: DataRequest, *, say: Callable[[str], None]) -> FewShotData:
        return encode_text(raw.text, self._few_shot, recipe=request.recipe, device=request.device, say=say)

    def classes(self, data: FewShotData) -> tuple[str, ...]:
        return data.data.classes

    def schedule(self, recipe: Recipe) -> Schedule:
        few_shot = self._few_shot
        return Schedule(recipe.steps * few_shot.num_trainings, few_shot.draws)

    def start(self, architecture: Architecture, *, recipe: Recipe, device: str) -> FewShotState:
        return FewShotState.start(architecture, recipe=recipe, device=device)

    def load_state(self, path: Path, *, device: str) -> FewShotState:
        return FewShotState.load(path, device=device)

    def train(self, state: FewShotState, data: FewShotData, *, give_way: GiveWay) -> Iterator[Evaluation]:
        few_shot = self._few_shot
        host = None if few_shot.host.weights == "frozen" else self._host(state.architecture)
        return train_few_shot(state, data, few_shot=few_shot, host=host, give_way=give_way)

    def test(self, state: FewShotState, data: FewShotData) -> HeldOutLoss | None:
        return HeldOutLoss(1.0 - fmean(state.test_f1)) if state.test_f1 else None

    def save_weights(self, state: FewShotState, path: Path) -> None:
        state.save_weights(path)

    def measure(
        self,
        architectures: Sequence[Architecture],
        *,
        reference: Architecture,
        recipe: Recipe,
        device: torch.device,
        time_limit_s: float,
        lock: DeviceLock | NoDeviceLock,
        kinds: Sequence[Kind],
    ) -> list[Measurement]:
        return measure_in_turn(
            architectures,
            reference=reference,
            recipe=recipe,
            device=device,
            time_limit_s=time_limit_s,
            lock=lock,
            kinds=kinds,
            kit=TaggerKit(self._host(reference)),
        )

    def record_values(self, evaluation: Evaluation) -> Mapping[str, Any]:
        return {"error": evaluation.loss, **evaluation.columns}

    def test_values(self, test: HeldOutLoss) -> Mapping[str, float]:
        return {"test_error": test.loss, "test_f1": 1.0 - test.loss}

    @property
    def _few_shot(self) -> FewShot:
        if self.few_shot is None:
            raise ValueError("host.path is missing: the task token_classification needs a host; give its folder")
        return self.few_shot

    def _host(self, architecture: Architecture) -> Host:
        """Returns the host on this machine. Raises a one-line `ValueError` where it is not the search's."""
        host = _loaded(self._few_shot)
        wanted = getattr(getattr(architecture, "host", None), "sha256", "")
        if host.sha256 != wanted:
            raise ValueError(
                f"host {self._few_shot.host.path} has other weights here than the search's host: every machine needs "
                "the same folder at the same path"
            )
        return host


@lru_cache(maxsize=1)
def _loaded(few_shot: FewShot) -> Host:
    """Returns the host, read once in each process."""
    return host_of(few_shot)
