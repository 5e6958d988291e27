"""`depthweave train`: train an exported architecture anew or further, and keep it as an export keeps it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from depthweave.search.cluster import check_address, cluster
from depthweave.search.spec import Resources
from depthweave.search.spec_file import validated
from depthweave.spaces import load, read_architecture, save_model, write_architecture
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.files import ARCHITECTURE_FILE, MODEL_FILE
from depthweave.trainers import (
    ALONE,
    CorpusSpec,
    Evaluation,
    Ranks,
    Recipe,
    TokenSet,
    TrainingState,
    check_shares,
    load_corpus,
    tokenise,
    tokenise_with,
    train,
)

STATE_FILE = "state.pt"
TOKENIZER_FILE = "tokenizer.json"
METRICS_FILE = "metrics.json"


def train_architecture(
    path: Path,
    *,
    out: Path,
    corpus: str,
    tokens: str,
    further: bool,
    overrides: Sequence[str],
    workers: int = 1,
    address: str | None = None,
    ship: bool = False,
) -> None:
    """Train and write the model; an interrupted training in the same folder goes on from its last evaluation.

    With several workers, or on a Ray cluster, the workers share every batch, and the result is the same.
    """
    console = Console()
    check_address(address, ship=ship)
    architecture = read_architecture(path)
    source = path.parent
    token_set = _tokens(corpus, architecture=architecture, tokenizer=source / TOKENIZER_FILE)
    beside = _recipe_beside(source / METRICS_FILE)
    seed = beside.pop("seed", 0)
    if further:
        # The next seed: the same one would draw the batches that the model has seen already, in their order.
        beside["seed"] = seed + 1
    recipe = _recipe(architecture, num_tokens=_count(tokens), beside=beside, overrides=overrides)
    state = _state(architecture, recipe, out=out, source=source if further else None)
    console.print(
        f"{architecture.fusion}, {architecture.depth} blocks, width {architecture.width} on {token_set.corpus}: "
        f"{recipe.steps} steps of {recipe.tokens_per_step} tokens, from step {state.step}",
        highlight=False,
        soft_wrap=True,
    )
    out.mkdir(parents=True, exist_ok=True)
    if state.step == recipe.steps:
        lines: Iterator[str] = iter(())
    elif workers == 1 and address is None:
        lines = _kept(state, token_set, out=out)
    else:
        check_shares(recipe, count=workers)
        lines = _shared(state, token_set, out=out, workers=workers, address=address, ship=ship)
    is_new = False
    for line in lines:
        is_new = True
        console.print(line, markup=False, highlight=False, soft_wrap=True)
    perplexity = json.loads((out / METRICS_FILE).read_text(encoding="utf-8"))["perplexity"]
    said = f"perplexity {perplexity:.3f}" if is_new else "is already trained to its end"
    console.print(f"{out}: {said}", markup=False, highlight=False, soft_wrap=True)


def _kept(state: TrainingState, tokens: TokenSet, *, out: Path, ranks: Ranks = ALONE) -> Iterator[str]:
    """Trains to the end and says each evaluation; what it says is kept before, by the first process alone."""
    recipe = state.recipe
    for last in train(state, tokens, ranks=ranks):
        if last.diverged:
            raise ValueError(
                f"the loss was not finite at step {last.step}: name another --out and a lower rate with "
                f"--set learning_rate={recipe.learning_rate / 4:g}"
            )
        if ranks.rank == 0:
            if last.step == recipe.steps:
                # Before the state that says it has ended: an interruption in between is then made good.
                _write(out, state, last, tokens=tokens)
            state.save(out / STATE_FILE)
        yield _line(last)


def _shared(
    state: TrainingState, tokens: TokenSet, *, out: Path, workers: int, address: str | None, ship: bool
) -> Iterator[str]:
    """As `_kept`, by several processes."""
    # Ray Train is slow to import, and most trainings have one process.
    from depthweave.search.distributed import share_work, stay_on_loopback
    from depthweave.search.nodes import alive, look_around

    if address is None:
        stay_on_loopback()
    # They all begin with what stands here, the first time and after every loss.
    state.save(out / STATE_FILE)
    with cluster(address, ship=ship):
        if address is not None:
            look_around(Resources(), folder=out if len(alive()) > 1 else None)
        yield from share_work(partial(_from_file, out=out.absolute()), tokens, workers=workers, scratch=out.absolute())


def _from_file(ranks: Ranks, tokens: TokenSet, *, out: Path) -> Iterator[str]:
    return _kept(TrainingState.load(out / STATE_FILE, device="auto"), tokens, out=out, ranks=ranks)


def _tokens(corpus: str, *, architecture: Architecture, tokenizer: Path) -> TokenSet:
    if corpus == "stdlib":
        spec = CorpusSpec()
    elif corpus.startswith("hub:"):
        spec = CorpusSpec(kind="hub", dataset=corpus.removeprefix("hub:"))
    else:
        spec = CorpusSpec(kind="files", paths=tuple(item.strip() for item in corpus.split(",")))
    text = load_corpus(spec)
    beside = tokenizer.exists()
    found = tokenise_with(text, tokenizer_json=tokenizer.read_text(encoding="utf-8")) if beside else tokenise(text)
    if found.vocabulary != architecture.vocabulary:
        raise ValueError(
            f"the architecture has {architecture.vocabulary} tokens, {tokenizer if beside else 'bytes have'} "
            f"{found.vocabulary}: put the tokenizer.json of its export beside architecture.yaml"
        )
    return found


def _recipe_beside(metrics: Path) -> dict[str, Any]:
    """What the exported model was trained with, as defaults; the length of a training is given anew."""
    if not metrics.exists():
        return {}
    try:
        found = json.loads(metrics.read_text(encoding="utf-8"))["recipe"]
        # An export keeps a record's columns, each with its unit; a training keeps its recipe as it is.
        values: dict[str, Any] = json.loads(found["value"]) if "value" in found else found
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError(f"{metrics}: holds no recipe ({error}); restore the file, or remove it") from None
    return {key: value for key, value in values.items() if key not in ("steps", "num_evaluations")}


def _recipe(
    architecture: Architecture, *, num_tokens: int, beside: Mapping[str, Any], overrides: Sequence[str]
) -> Recipe:
    known = [item.name for item in dataclasses.fields(Recipe)]
    values: dict[str, Any] = {"context": architecture.context, **beside}
    for text in overrides:
        key, equals, value = text.partition("=")
        if key not in known or not equals:
            near = get_close_matches(key, known, n=1, cutoff=0.0)
            raise ValueError(f"--set {text}: write KEY=VALUE with a key of the recipe; did you mean {near[0]}?")
        try:
            values[key] = yaml.safe_load(value)
        except yaml.YAMLError:
            raise ValueError(f"--set {text}: the value cannot be read as YAML") from None
    # Twice: the number of steps follows from the sizes, and bounds the number of evaluations.
    sizes = {key: value for key, value in values.items() if key not in ("steps", "num_evaluations")}
    first = validated(sizes, kind=Recipe, where="--set")
    steps = {"steps": max(1, round(num_tokens / first.tokens_per_step)), **values}["steps"]
    few = {"num_evaluations": min(first.num_evaluations, steps)} if isinstance(steps, int) else {}
    return validated({**few, **values, "steps": steps}, kind=Recipe, where="--set")


def _state(architecture: Architecture, recipe: Recipe, *, out: Path, source: Path | None) -> TrainingState:
    if (out / STATE_FILE).exists():
        state = TrainingState.load(out / STATE_FILE, device="auto")
        if (state.architecture, state.recipe) != (architecture, recipe):
            raise ValueError(f"--out {out}: holds a training of another architecture or recipe; name another folder")
        return state
    if out.exists() and any(out.iterdir()):
        raise ValueError(f"--out {out}: the folder is not empty; name a new one")
    model = None if source is None else load(source).train()
    return TrainingState.start(architecture, recipe=recipe, model=model)


def _write(out: Path, state: TrainingState, last: Evaluation, *, tokens: TokenSet) -> None:
    write_architecture(out / ARCHITECTURE_FILE, state.architecture)
    save_model(out / MODEL_FILE, state.model)
    if tokens.tokenizer_json is not None:
        (out / TOKENIZER_FILE).write_text(tokens.tokenizer_json, encoding="utf-8")
    metrics = {name: getattr(last, name) for name in ("step", "tokens", "loss", "perplexity", "bits_per_byte")}
    metrics |= {"corpus": tokens.corpus, "corpus_sha256": tokens.corpus_sha256}
    metrics |= {"recipe": dataclasses.asdict(state.recipe)}
    (out / METRICS_FILE).write_text(json.dumps(metrics, indent=2) + "\n", encoding="utf-8")


def _line(item: Evaluation) -> str:
    return (
        f"step {item.step}: {item.tokens:,} tokens, loss {item.loss:.4f}, perplexity {item.perplexity:.3f}, "
        f"{item.bits_per_byte:.3f} bits a byte"
    )


def _count(text: str) -> int:
    units = {"k": 10**3, "m": 10**6, "g": 10**9, "b": 10**9}
    number, unit = (text[:-1], units[text[-1].lower()]) if text[-1:].lower() in units else (text, 1)
    try:
        found = round(float(number) * unit)
    except ValueError:
        raise ValueError(f"--tokens {text}: give a number, such as 500k or 20M") from None
    if found < 1:
        raise ValueError(f"--tokens {text}: give at least one token")
    return found
