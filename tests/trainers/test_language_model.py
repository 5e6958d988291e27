"""Training: resumed equals uninterrupted bit for bit, all architectures see the same data, divergence is reported."""

from __future__ import annotations

import dataclasses
import math
import shutil
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.trainers import language_model
from depthweave.trainers.batches import draw_batch
from depthweave.trainers.language_model import Evaluation, TrainingState, train
from depthweave.trainers.recipe import Precision, Recipe
from depthweave.trainers.tokens import TokenSet
from tests.trainers.conftest import small_architecture

AUTO_AND_FLOAT32: tuple[Precision, ...] = ("auto", "float32")


def _start(architecture: Architecture, recipe: Recipe) -> TrainingState:
    return TrainingState.start(architecture, recipe=recipe, device="cpu")


def _timeless(evaluations: list[Evaluation]) -> list[Evaluation]:
    return [dataclasses.replace(one, train_s=0.0, evaluation_s=0.0) for one in evaluations]


def _assert_same_state(first: TrainingState, second: TrainingState) -> None:
    assert first.step == second.step
    for one, other in (
        (first.model.state_dict(), second.model.state_dict()),
        *zip(
            first.optimizer.state_dict()["state"].values(), second.optimizer.state_dict()["state"].values(), strict=True
        ),
    ):
        assert one.keys() == other.keys()
        assert all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize("fusion", ["none", "dwa", "dwatt", "concat"])
@pytest.mark.parametrize("stop", [4, 6], ids=["at an evaluation", "between two"])
def test_train_interrupted_and_resumed_equals_uninterrupted(
    tokens: TokenSet, recipe: Recipe, tmp_path: Path, fusion: str, stop: int
) -> None:
    architecture = small_architecture(fusion, period=1 if fusion == "dwa" else 3)
    whole = _start(architecture, recipe)
    expected = list(train(whole, tokens))

    broken = _start(architecture, recipe)
    found = list(train(broken, tokens, until_step=stop))
    assert broken.step == stop
    broken.save(tmp_path / "state.pt")
    del broken
    resumed = TrainingState.load(tmp_path / "state.pt", device="cpu")
    found += list(train(resumed, tokens))

    assert _timeless(found) == _timeless(expected)
    assert [one.step for one in expected] == [4, 8, 12]
    _assert_same_state(resumed, whole)


def test_train_saved_between_yields_resumes_exactly(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture, tmp_path: Path
) -> None:
    state = _start(architecture, recipe)
    found = []
    for evaluation in train(state, tokens):
        state.save(tmp_path / f"{evaluation.step}.pt")
        found.append(evaluation)
    resumed = TrainingState.load(tmp_path / "8.pt", device="cpu")
    assert _timeless(list(train(resumed, tokens))) == _timeless(found[2:])
    assert list(train(TrainingState.load(tmp_path / "12.pt", device="cpu"), tokens)) == []
    assert resumed.train_s > found[1].train_s


def test_train_closed_early_ends_and_leaves_a_whole_state(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture, tmp_path: Path
) -> None:
    state = _start(architecture, recipe)
    training = train(state, tokens)
    first = next(training)
    training.close()  # type: ignore[attr-defined]
    assert state.step == first.step == 4
    expected = list(train(_start(architecture, recipe), tokens))
    assert _timeless([first, *train(state, tokens)]) == _timeless(expected)


def test_train_matches_a_plain_loop(tokens: TokenSet, recipe: Recipe) -> None:
    recipe = dataclasses.replace(recipe, connection_lr_factor=3.0, weight_decay=0.3, grad_clip=0.05)
    architecture = small_architecture("dwa")
    state = _start(architecture, recipe)
    found = list(train(state, tokens))

    model = Decoder(architecture, seed=recipe.seed)
    groups = model.parameter_groups()
    optimizers = [
        torch.optim.AdamW(parameters, betas=recipe.betas, weight_decay=decay, foreach=False)
        for parameters, decay in ((groups.matrices, 0.3), (groups.vectors, 0.0), (groups.connections, 0.0))
    ]
    losses = []
    for step in range(recipe.steps):
        batch = draw_batch(tokens.train, recipe=recipe, step=step, device=torch.device("cpu"))
        loss = F.cross_entropy(model(batch.tokens_BT).flatten(0, 1), batch.targets_BT.flatten())
        for optimizer in optimizers:
            optimizer.zero_grad()
        loss.backward()
        norm = sum(float(p.grad.norm()) ** 2 for p in model.parameters() if p.grad is not None) ** 0.5
        assert norm > 0.05  # Otherwise nothing is clipped.
        for optimizer, factor in zip(optimizers, (1.0, 1.0, 3.0), strict=True):
            optimizer.param_groups[0]["lr"] = factor * recipe.learning_rate_at(step)
            for parameter in optimizer.param_groups[0]["params"]:
                parameter.grad *= 0.05 / norm
            optimizer.step()
        losses.append(loss.item())
    # The same float32 sums in another order.
    for name, parameter in model.named_parameters():
        torch.testing.assert_close(state.model.state_dict()[name], parameter.detach(), rtol=1e-4, atol=1e-5)
    assert found[1].train_loss == pytest.approx(np.mean(losses[4:8]), rel=1e-5)


def test_train_evaluations_agree_with_a_plain_pass_over_validation(tokens: TokenSet, recipe: Recipe) -> None:
    recipe = dataclasses.replace(recipe, evaluation_tokens=10**6, batch=5)
    state = _start(small_architecture("dwa"), recipe)
    *_, last = train(state, tokens)
    num = (len(tokens.valid) - 1) // 16
    starts = np.linspace(0, len(tokens.valid) - 17, num).astype(int)
    nats, text_bytes = 0.0, 0
    with torch.no_grad():
        for start in starts:
            window = torch.from_numpy(tokens.valid[start : start + 17].astype(np.int64))[None]
            nats += float(state.model.loss(window[:, :-1], window[:, 1:])) * 16
            text_bytes += int((window[:, 1:] != 255).sum())
    assert last.loss == pytest.approx(nats / (num * 16), rel=1e-5)
    assert last.bits_per_byte == pytest.approx(nats / text_bytes / math.log(2), rel=1e-5)
    assert last.perplexity == pytest.approx(math.exp(last.loss))
    # Parts of about as many batches of five sequences each.
    assert len(last.text_losses) == min(64, math.ceil(num / 5))
    assert np.mean(last.text_losses) == pytest.approx(last.loss, rel=0.02)
    assert (last.index, last.step, last.tokens) == (2, 12, 12 * 5 * 16)
    assert last.weights == tuple(state.model.connection_weights(window[:, :-1]))
    assert {(weight.site, weight.source) for weight in last.weights} >= {(1, 0), (1, 1), (3, 2)}


def test_train_keeps_the_losses_by_part_of_the_text_at_the_end_alone(tokens: TokenSet, recipe: Recipe) -> None:
    recipe = dataclasses.replace(recipe, evaluation_tokens=16 * 10, batch=5)
    first, *_, last = train(_start(small_architecture("dwa"), recipe), tokens)
    assert first.text_losses == ()
    # Two batches of the same size: two parts.
    assert len(last.text_losses) == 2
    assert np.mean(last.text_losses) == pytest.approx(last.loss)
    assert last.text_losses[0] != last.text_losses[1]


def test_train_learns_the_text(tokens: TokenSet, architecture: Architecture) -> None:
    recipe = Recipe(steps=150, batch=8, context=16, num_evaluations=2, evaluation_tokens=512, learning_rate=1e-2)
    first, last = train(_start(architecture, recipe), tokens)
    assert last.loss < first.loss < math.log(256)
    assert last.loss < 1.2
    assert not last.diverged
    assert 0 < first.train_s < last.train_s
    assert 0 < first.evaluation_s < last.evaluation_s


def test_train_reads_the_same_data_for_every_architecture(
    tokens: TokenSet, recipe: Recipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[int]] = []

    def spy(*args: object, **kwargs: object) -> object:
        batch = draw_batch(*args, **kwargs)  # type: ignore[arg-type]
        seen.append(batch.tokens_BT.flatten().tolist())
        return batch

    monkeypatch.setattr(language_model, "draw_batch", spy)
    list(train(_start(small_architecture("none"), recipe), tokens))
    list(train(_start(small_architecture("dwa", depth=4, width=8), recipe), tokens))
    assert seen[:12] == seen[12:]
    assert seen[0] != seen[1]


def test_train_with_the_same_seed_repeats_and_ignores_the_global_state(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture
) -> None:
    torch.manual_seed(1)
    first = list(train(_start(architecture, recipe), tokens))
    torch.manual_seed(2)
    assert _timeless(list(train(_start(architecture, recipe), tokens))) == _timeless(first)
    other = list(train(_start(architecture, dataclasses.replace(recipe, seed=4)), tokens))
    assert other[-1].loss != first[-1].loss


@pytest.mark.parametrize("poison", ["training", "validation"])
def test_train_that_diverges_reports_it_and_ends(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture, tmp_path: Path, poison: str
) -> None:
    state = _start(architecture, recipe)
    training = train(state, tokens)
    if poison == "validation":
        assert not next(training).diverged
        stuck = dataclasses.replace(recipe, learning_rate=1e-30)
        state = TrainingState.start(architecture, recipe=stuck, device="cpu", model=state.model)
        state.step = 7
        # A token of the validation part that step 7 does not read: only the evaluation meets it.
        unread = set(tokens.valid.tolist()) - set(
            draw_batch(tokens.train, recipe=recipe, step=7, device=torch.device("cpu")).tokens_BT.flatten().tolist()
        )
        with torch.no_grad():
            state.model.embedding.weight[sorted(unread)] = math.inf
        training = train(state, tokens)
    else:
        with torch.no_grad():
            dict(state.model.named_parameters())["blocks.0.feed_forward.out.weight"][0, 0] = math.nan
    (evaluation,) = training
    assert evaluation.diverged
    assert evaluation.loss == evaluation.perplexity == evaluation.bits_per_byte == math.inf
    assert evaluation.weights == ()
    assert evaluation.step == (8 if poison == "validation" else 1)
    state.save(tmp_path / "diverged.pt")
    assert list(train(TrainingState.load(tmp_path / "diverged.pt", device="cpu"), tokens)) == []


def test_train_with_an_absurd_learning_rate_ends_without_an_exception(tokens: TokenSet, recipe: Recipe) -> None:
    recipe = dataclasses.replace(recipe, learning_rate=1e25, grad_clip=None, warmup_frac=0.0)
    *_, last = train(_start(small_architecture("none"), recipe), tokens)
    assert last.diverged
    assert last.step < recipe.steps


def test_train_in_bfloat16_learns_nearly_alike_and_keeps_float32_weights(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture
) -> None:
    (*_, plain) = train(_start(architecture, recipe), tokens)
    state = _start(architecture, dataclasses.replace(recipe, precision="bfloat16"))
    (*_, half) = train(state, tokens)
    assert half.loss != plain.loss
    # bfloat16 keeps 8 bits: a loss of 5 nats agrees to about 2 %.
    assert half.loss == pytest.approx(plain.loss, rel=0.02)
    assert {parameter.dtype for parameter in state.model.parameters()} == {torch.float32}


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler on a CPU")
@pytest.mark.filterwarnings("default")
def test_train_compiled_learns_alike(tokens: TokenSet, recipe: Recipe, architecture: Architecture) -> None:
    (*_, plain) = train(_start(architecture, recipe), tokens)
    (*_, compiled) = train(_start(architecture, dataclasses.replace(recipe, compile=True)), tokens)
    assert compiled.loss == pytest.approx(plain.loss, rel=1e-3)


def test_train_where_sizes_do_not_fit_names_them(tokens: TokenSet, recipe: Recipe, architecture: Architecture) -> None:
    small = dataclasses.replace(architecture, vocabulary=100)
    with pytest.raises(ValueError, match=r"architecture\.vocabulary is 100; the tokenizer bytes needs 256"):
        train(_start(small, recipe), tokens)
    with pytest.raises(ValueError, match=r"recipe\.context is 32; it must be at most the architecture's, 16"):
        _start(architecture, dataclasses.replace(recipe, context=32))
    with pytest.raises(ValueError, match="training tokens; one batch"):
        train(_start(architecture, dataclasses.replace(recipe, batch=10**6)), tokens)


def test_train_further_from_a_model_goes_on_from_its_weights(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture
) -> None:
    first = _start(architecture, recipe)
    *_, trained = train(first, tokens)
    again = TrainingState.start(architecture, recipe=recipe, device="cpu", model=first.model)
    assert next(train(again, tokens)).loss < trained.loss
    with pytest.raises(ValueError, match="give one like it"):
        TrainingState.start(small_architecture("none"), recipe=recipe, device="cpu", model=first.model)


def test_train_yields_lazily(tokens: TokenSet, recipe: Recipe, architecture: Architecture) -> None:
    state = _start(architecture, recipe)
    list(islice(train(state, tokens), 0))
    assert state.step == 0


def test_train_gives_way_after_every_step_and_the_wait_is_not_training_time(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture
) -> None:
    state, waits = _start(architecture, recipe), []

    def give_way() -> float:
        waits.append(state.step)
        # If the hour counted, the training time would be hugely negative.
        return 0.0 if state.step > 2 else 3600.0

    evaluations = list(train(state, tokens, give_way=give_way))
    assert waits == list(range(1, recipe.steps + 1))
    assert evaluations[-1].train_s < -7000.0
    assert _timeless(evaluations) == _timeless(list(train(_start(architecture, recipe), tokens)))


def test_train_by_precision_auto_is_float32_on_a_cpu(
    tokens: TokenSet, recipe: Recipe, architecture: Architecture
) -> None:
    found = [
        _timeless(list(train(_start(architecture, dataclasses.replace(recipe, precision=precision)), tokens)))
        for precision in AUTO_AND_FLOAT32
    ]
    assert found[0] == found[1]
