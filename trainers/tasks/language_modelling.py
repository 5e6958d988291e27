"""Language modelling: a decoder predicts the next token of a text, and is judged by its perplexity."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import torch

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.files import save_model
from depthweave.spaces.perplexity import perplexity_of
from depthweave.trainers.checkpoint import TrainingState
from depthweave.trainers.corpora import load_corpus
from depthweave.trainers.device_lock import DeviceLock, GiveWay, NoDeviceLock
from depthweave.trainers.evaluation import Evaluation, HeldOutLoss
from depthweave.trainers.language_model import held_out_loss, train
from depthweave.trainers.measure import Kind, Measurement, measure_in_turn
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.splitting import Corpus
from depthweave.trainers.tasks.task import DataRequest, Quality, Schedule, Task
from depthweave.trainers.tokens import TokenSet, check_fits, tokenise


class LanguageModelling(Task[Corpus, TokenSet, TrainingState]):
    """The loss is the mean negative log-likelihood of the next token, in nats; perplexity is exp of that."""

    quality = Quality(
        column="perplexity",
        title="validation perplexity",
        other_columns=("bits_per_byte",),
        is_likelihood=True,
        # Nats a token; the perplexity has a hundred digits there, and no column takes it.
        max_loss=230.0,
    )

    def read(self, request: DataRequest) -> Corpus:
        return load_corpus(request.corpus)

    def encode(self, raw: Corpus, request: DataRequest, *, say: Callable[[str], None]) -> TokenSet:
        known = None if request.tokenizer == "bytes" else request.tokenizer_json
        tokens = tokenise(raw, tokenizer=request.tokenizer, tokenizer_json=known, say=say)
        check_fits(tokens, recipe=request.recipe)
        context = request.recipe.context
        if 0 < len(tokens.test) <= context:
            say(
                f"the test part has {len(tokens.test)} tokens, and a context of {context} needs {context + 1}: "
                "there will be no test perplexity; give more text, or a larger corpus.test_frac"
            )
        return tokens

    def schedule(self, recipe: Recipe) -> Schedule:
        return Schedule(recipe.steps, recipe.num_evaluations)

    def start(self, architecture: Architecture, *, recipe: Recipe, device: str) -> TrainingState:
        return TrainingState.start(architecture, recipe=recipe, device=device)

    def load_state(self, path: Path, *, device: str) -> TrainingState:
        return TrainingState.load(path, device=device)

    def train(self, state: TrainingState, data: TokenSet, *, give_way: GiveWay) -> Iterator[Evaluation]:
        return train(state, data, give_way=give_way)

    def test(self, state: TrainingState, data: TokenSet) -> HeldOutLoss | None:
        return held_out_loss(state, data)

    def save_weights(self, state: TrainingState, path: Path) -> None:
        save_model(path, state.model, with_checksum=True)

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
        )

    def record_values(self, evaluation: Evaluation) -> Mapping[str, float]:
        return {"perplexity": evaluation.perplexity, "bits_per_byte": evaluation.bits_per_byte}

    def test_values(self, test: HeldOutLoss) -> Mapping[str, float]:
        return {
            "test_loss": test.loss,
            "test_perplexity": perplexity_of(test.loss),
            "test_bits_per_byte": test.bits_per_byte,
        }
