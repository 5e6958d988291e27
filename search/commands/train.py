"""`depthweave train`: train an exported architecture again, further, or at another size, and keep it as an export.

What is not given is as the export says: without an option the recorded training is done again, and on the CPU, threads
and versions that it was done with it comes to the same loss, bit for bit.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from depthweave.reports.export import Training, read_training
from depthweave.reports.export.card import CurvePoint
from depthweave.reports.export.training import TRAINING_FILE, without_paths
from depthweave.reports.store.storage import Storage
from depthweave.search.cluster.ray_session import check_address, cluster
from depthweave.search.commands.corpus import corpus_spec, tokens_for
from depthweave.search.commands.recipe import RecipeOptions, recipe_for, recorded_recipe
from depthweave.search.commands.train_lock import LOCK_FILE, locked_folder
from depthweave.search.commands.train_output import write_trained
from depthweave.search.console import Terminal
from depthweave.search.preparation import software
from depthweave.search.spec.schema import Resources
from depthweave.search.spec.sources import text_sentence
from depthweave.spaces import Pattern, load, read_architecture, read_pattern, resize
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.checksums import SUM_SUFFIX, ChangedError, check_listed, check_seal, seal
from depthweave.spaces.files import MODEL_FILE, architecture_file
from depthweave.spaces.regular import read_regular_text
from depthweave.trainers import (
    ALONE,
    CorpusSpec,
    Evaluation,
    Ranks,
    Recipe,
    TokenSet,
    TrainingState,
    check_shares,
    hardware,
    held_out_loss,
    train,
)
from depthweave.trainers.allowance import usable_cpus
from depthweave.trainers.language_model import perplexity_of
from depthweave.trainers.machine import with_precision

STATE_FILE = "state.pt"
CURVE_FILE = "curve.json"
"""Evaluations of a training that has not ended."""
_PASSING = (STATE_FILE, f"{STATE_FILE}{SUM_SUFFIX}", CURVE_FILE)
"""What only a training needs."""


@dataclass(frozen=True, kw_only=True)
class _Plan:
    """A training that can start."""

    architecture: Architecture
    pattern: Pattern | None
    recipe: Recipe
    tokens: TokenSet
    corpus_spec: CorpusSpec
    recorded: Training | None
    """Of the export that the architecture comes from."""
    how: str
    """What this is to that."""
    again: bool
    """Whether it is the recorded training, done again."""


def train_architecture(
    path: Path,
    *,
    out: Path,
    corpus: str | None,
    tokens: str | None,
    further: bool,
    width: int | None,
    depth: int | None,
    threads: int | None,
    overrides: Sequence[str],
    workers: int = 1,
    address: str | None = None,
    ship: bool = False,
) -> None:
    """Train and write the model; an interrupted training in the same folder goes on from its last evaluation.

    With several workers, or on a Ray cluster, the workers share every batch, and the result is the same.
    """
    console = Terminal(outlasts=True)
    check_address(address, ship=ship)
    file = architecture_file(path)
    plan = _plan(
        file,
        corpus=corpus,
        tokens=tokens,
        further=further,
        width=width,
        depth=depth,
        overrides=overrides,
        say=console.say,
    )
    if threads is None and plan.again and plan.recorded is not None:
        threads = plan.recorded.threads
    # Torch looks at the affinity, and not at the quota of a control group.
    torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()) if threads is None else threads)
    alone = workers == 1 and address is None
    if not alone:
        check_shares(plan.recipe, count=workers)
    with locked_folder(out):
        if _is_done(out, plan):
            console.say(_ended(out))
        else:
            state = _state(plan, out=out, source=file.parent if further else None)
            if alone:
                lines = _kept(plan, state, out=out)
            else:
                lines = _shared(plan, state, out=out, workers=workers, address=address, ship=ship)
            for line in chain(_announced(plan, state), lines):
                console.say(line)
        _tidy(out)


def _kept(plan: _Plan, state: TrainingState, *, out: Path, ranks: Ranks = ALONE) -> Iterator[str]:
    """Trains to the end and says each evaluation; what it says is kept before, by the first process alone."""
    if state.step == plan.recipe.steps:
        # A worker was lost after its last state was kept and before it could say so.
        yield _ended(out)
    curve = _read_curve(out, upto=state.step * plan.recipe.tokens_per_step)
    for item in train(state, plan.tokens, ranks=ranks):
        if item.diverged:
            raise ValueError(
                f"the loss was not finite at step {item.step}: name another --out and a lower rate with "
                f"--set learning_rate={plan.recipe.learning_rate / 4:g}"
            )
        curve.append(CurvePoint(item.tokens, item.loss))
        ended = item.step == plan.recipe.steps
        test = held_out_loss(state, plan.tokens) if ended and ranks.rank == 0 else None
        if ranks.rank == 0:
            if ended:
                # Before the state that says it has ended: an interruption in the midst of it is then made good.
                write_trained(
                    out,
                    state,
                    curve,
                    last=item,
                    test=test,
                    training=_training(plan, state, item),
                    pattern=plan.pattern,
                    tokenizer_json=plan.tokens.tokenizer_json,
                    passing=_PASSING,
                )
            else:
                (out / CURVE_FILE).write_text(json.dumps(seal({"curve": curve})), encoding="utf-8")
            state.save(out / STATE_FILE)
        yield _line(item)
        if ended:
            on_test = "" if test is None else f" ({perplexity_of(test.loss):.3f} on the test part)"
            yield f"{out}: perplexity {item.perplexity:.3f}{on_test}{_compared(plan, item)}"


def _shared(
    plan: _Plan, state: TrainingState, *, out: Path, workers: int, address: str | None, ship: bool
) -> Iterator[str]:
    """As `_kept`, by several processes."""
    # Ray Train is slow to import, and most trainings have one process.
    from depthweave.search.cluster.distributed import share_work, stay_on_loopback
    from depthweave.search.cluster.nodes import alive_nodes, inspect_nodes

    if address is None:
        stay_on_loopback()
    # They all begin with what stands here, the first time and after every loss.
    state.save(out / STATE_FILE)
    # The text goes its own way, to each node once.
    nothing = plan.tokens.train[:0]
    sent = dataclasses.replace(
        plan, tokens=dataclasses.replace(plan.tokens, train=nothing, valid=nothing, test=nothing)
    )
    with cluster(address, ship=ship):
        if address is not None:
            inspect_nodes(Resources(), storage=Storage(out) if len(alive_nodes()) > 1 else None)
        work = partial(_from_file, plan=sent, out=out.absolute())
        yield from share_work(work, plan.tokens, workers=workers, scratch=out.absolute())


def _from_file(ranks: Ranks, tokens: TokenSet, *, plan: _Plan, out: Path) -> Iterator[str]:
    state = TrainingState.load(out / STATE_FILE, device="auto")
    return _kept(dataclasses.replace(plan, tokens=tokens), state, out=out, ranks=ranks)


def _plan(
    file: Path,
    *,
    corpus: str | None,
    tokens: str | None,
    further: bool,
    width: int | None,
    depth: int | None,
    overrides: Sequence[str],
    say: Callable[[str], None],
) -> _Plan:
    """`say` hears whose text is read before it is."""
    original, pattern = read_architecture(file), read_pattern(file)
    resized = resize(original, pattern=pattern, width=width, depth=depth)
    architecture = resized.architecture
    if further and architecture != original:
        raise ValueError("--further goes on with the weights that are there: leave out --width and --depth")
    recorded = read_training(file.parent)
    asked = RecipeOptions(num_tokens=None if tokens is None else _count(tokens), overrides=overrides, further=further)
    recipe = recipe_for(architecture, asked=asked, recorded=recorded, recorded_width=original.width)
    spec = corpus_spec(corpus, recorded=recorded)
    say(text_sentence(spec, named_by="--corpus"))
    token_set = tokens_for(spec, architecture=architecture, folder=file.parent, recorded=recorded, say=say)
    again = (
        recorded is not None
        and not (further or recorded.from_weights)
        and recipe == recorded_recipe(recorded)
        and (architecture.id, token_set.corpus_sha256) == (recorded.architecture_id, recorded.corpus_sha256)
    )
    how = "further from" if further else "resized from" if architecture != original else "anew from"
    return _Plan(
        architecture=architecture,
        pattern=resized.pattern,
        recipe=recipe,
        tokens=token_set,
        corpus_spec=spec,
        recorded=recorded,
        how="again as" if again else how,
        again=again,
    )


def _state(plan: _Plan, *, out: Path, source: Path | None) -> TrainingState:
    on_cpu = plan.again and plan.recorded is not None and plan.recorded.device == "cpu"
    device = "cpu" if on_cpu else "auto"
    if (out / TRAINING_FILE).exists() and (out / MODEL_FILE).exists():
        raise ValueError(f"--out {out}: holds a training of another architecture, recipe or text; name another folder")
    if (out / STATE_FILE).exists():
        try:
            state = TrainingState.load(out / STATE_FILE, device=device)
        except ChangedError as error:
            raise ValueError(f"{error}; remove both, and the training begins again") from None
        if (state.architecture, state.recipe) != (plan.architecture, _as_begun(plan.recipe, state.recipe)):
            raise ValueError(f"--out {out}: holds a training of another architecture or recipe; name another folder")
        return state
    if any(path.name != LOCK_FILE for path in out.iterdir()):
        raise ValueError(f"--out {out}: the folder is not empty; name a new one")
    model = None if source is None else load(source).train()
    return TrainingState.start(plan.architecture, recipe=plan.recipe, model=model, device=device)


def _is_done(out: Path, plan: _Plan) -> bool:
    """Whether the folder holds the very model that is asked for; it is written last, whole or not at all."""
    done = read_training(out) if (out / MODEL_FILE).exists() else None
    if done is None:
        return False
    check_listed(out, MODEL_FILE)
    recipe = recorded_recipe(done)
    return (done.architecture_id, recipe, done.corpus_sha256) == (
        plan.architecture.id,
        _as_begun(plan.recipe, recipe),
        plan.tokens.corpus_sha256,
    )


def _as_begun(wanted: Recipe, begun: Recipe) -> Recipe:
    """A training whose recipe named a precision has it, as all had that earlier versions began."""
    return dataclasses.replace(wanted, precision=begun.precision) if wanted.precision == "auto" else wanted


def _ended(out: Path) -> str:
    return f"{out}: is already trained to its end"


def _tidy(out: Path) -> None:
    """What only a training needs is gone: the model says that it has ended."""
    for name in _PASSING:
        (out / name).unlink(missing_ok=True)


def _announced(plan: _Plan, state: TrainingState) -> list[str]:
    """What is about to be trained, and what it is to the export."""
    a, recipe, recorded = plan.architecture, plan.recipe, plan.recorded
    lines = [
        f"{a.fusion}, {a.depth} blocks, width {a.width} on {plan.tokens.corpus}: {recipe.steps} steps of "
        f"{recipe.tokens_per_step} tokens, learning rate {recipe.learning_rate:g}, from step {state.step}"
    ]
    if plan.again:
        lines.append("the recorded training again: same architecture, recipe, seed and text")
    elif recorded is not None and plan.tokens.corpus_sha256 != recorded.corpus_sha256:
        lines.append(
            f"not the text of the export: that was {recorded.corpus} {recorded.corpus_sha256[:12]}, this is "
            f"{plan.tokens.corpus} {plan.tokens.corpus_sha256[:12]}"
        )
    return lines


def _compared(plan: _Plan, last: Evaluation) -> str:
    """How the loss stands to the recorded one, where the training was the same."""
    if not plan.again or plan.recorded is None:
        return ""
    if last.loss == plan.recorded.loss:
        return ", the recorded loss bit for bit"
    return (
        f"; the loss is {last.loss!r}, recorded was {plan.recorded.loss!r} on {plan.recorded.hardware} "
        f"({plan.recorded.software})"
    )


def _read_curve(out: Path, *, upto: int) -> list[CurvePoint]:
    """The evaluations of an interrupted training that its saved state has behind it."""
    path = out / CURVE_FILE
    try:
        rows = json.loads(read_regular_text(path)) if path.exists() else []
        # Earlier versions wrote the bare list.
        rows = check_seal(rows)["curve"] if isinstance(rows, dict) else rows
        return [CurvePoint(int(tokens), float(loss)) for tokens, loss in rows if tokens <= upto]
    except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
        raise ValueError(f"{path}: is damaged: remove it (the card then lacks its points)") from None


def _training(plan: _Plan, state: TrainingState, last: Evaluation) -> Training:
    recorded, spec = plan.recorded, plan.corpus_spec
    recipe = with_precision(state.recipe, device=state.device)
    return Training(
        architecture_id=plan.architecture.id,
        origin="depthweave train",
        recipe=dataclasses.asdict(recipe) | {"betas": list(recipe.betas)},
        tokens=last.tokens,
        loss=last.loss,
        corpus=plan.tokens.corpus,
        corpus_sha256=plan.tokens.corpus_sha256,
        corpus_options=without_paths(dataclasses.asdict(spec)),
        tokenizer=plan.tokens.tokenizer,
        device=state.device.type,
        threads=torch.get_num_threads(),
        hardware=hardware(state.device),
        software=software(),
        from_weights=plan.how == "further from",
        parent=None
        if recorded is None
        else {
            "architecture_id": recorded.architecture_id,
            "origin": recorded.origin,
            "loss": recorded.loss,
            "how": plan.how,
        },
    )


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
    except (ValueError, OverflowError):
        raise ValueError(f"--tokens {text}: give a number, such as 500k or 20M") from None
    if found < 1:
        raise ValueError(f"--tokens {text}: give at least one token")
    return found
