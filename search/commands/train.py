"""`depthweave train`: trains an exported architecture again, further, or at another size, and writes an export.

Whatever an option does not change is as in the export: without options the recorded training is repeated. On the same
CPU, threads and versions it reaches the same loss, bit for bit.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from functools import partial
from itertools import chain
from pathlib import Path

import torch

from depthweave.reports.export import Training
from depthweave.reports.export.card import CurvePoint
from depthweave.reports.export.training import without_paths
from depthweave.reports.store.storage import Storage
from depthweave.search.cluster.ray_joining import check_address
from depthweave.search.cluster.ray_session import cluster
from depthweave.search.commands.train_folder import (
    TEMPORARY_FILES,
    is_finished,
    open_state,
    read_curve,
    remove_temporary_files,
    save_curve,
)
from depthweave.search.commands.train_lock import locked_folder
from depthweave.search.commands.train_output import write_trained
from depthweave.search.commands.train_plan import TrainOptions, TrainPlan, loss_comparison, plan_lines, plan_training
from depthweave.search.console import Terminal
from depthweave.search.preparation import software
from depthweave.search.spec.schema import Resources
from depthweave.spaces.files import architecture_file
from depthweave.spaces.perplexity import perplexity_of
from depthweave.trainers import (
    SINGLE,
    Evaluation,
    Ranks,
    TokenSet,
    TrainingState,
    check_shares,
    hardware,
    held_out_loss,
    train,
)
from depthweave.trainers.allowance import usable_cpus
from depthweave.trainers.checkpoint import STATE_FILE
from depthweave.trainers.machine import with_precision


def train_architecture(
    path: Path,
    *,
    out: Path,
    options: TrainOptions,
    threads: int | None,
    workers: int = 1,
    address: str | None = None,
    ship: bool = False,
) -> None:
    """Trains and writes the model; an interrupted training in the same folder continues from its last evaluation.

    Several workers, or those of a Ray cluster, share every batch; the result is the same.
    """
    console = Terminal(ignore_closed=True)
    check_address(address, ship=ship)
    file = architecture_file(path)
    plan = plan_training(file, options=options, say=console.say)
    if threads is None and plan.repeats and plan.recorded is not None:
        threads = plan.recorded.threads
    # Torch sees the CPU affinity but not the quota of a control group.
    torch.set_num_threads(min(torch.get_num_threads(), usable_cpus()) if threads is None else threads)
    in_this_process = workers == 1 and address is None
    if not in_this_process:
        check_shares(plan.recipe, count=workers)
    with locked_folder(out):
        if is_finished(out, plan):
            console.say(_finished_sentence(out))
        else:
            state = open_state(plan, out=out, weights_from=file.parent if options.further else None)
            if in_this_process:
                lines = _train_and_save(plan, state, out=out, shown=out)
            else:
                lines = _train_in_workers(plan, state, out=out, workers=workers, address=address, ship=ship)
            for line in chain(plan_lines(plan, state), lines):
                console.say(line)
        remove_temporary_files(out)


def _train_and_save(
    plan: TrainPlan, state: TrainingState, *, out: Path, shown: Path, ranks: Ranks = SINGLE
) -> Iterator[str]:
    """Trains to the end and yields a line after each evaluation, once it is saved; only the first process saves.

    `shown` is the folder as it was given.
    """
    if state.step == plan.recipe.steps:
        # A worker was lost after it saved its last state and before it yielded its last line.
        yield _finished_sentence(shown)
    curve = read_curve(out, max_tokens=state.step * plan.recipe.tokens_per_step)
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
                # Before the final state is saved: a training interrupted here then repeats this step.
                write_trained(
                    out,
                    state,
                    curve,
                    last=item,
                    test=test,
                    training=_training_of(plan, state, item),
                    rule=plan.rule,
                    tokenizer_json=plan.tokens.tokenizer_json,
                    temporary_files=TEMPORARY_FILES,
                )
            else:
                save_curve(out, curve)
            state.save(out / STATE_FILE)
        yield _evaluation_sentence(item)
        if ended:
            on_test = "" if test is None else f" ({perplexity_of(test.loss):.3f} on the test part)"
            yield f"{shown}: perplexity {item.perplexity:.3f}{on_test}{loss_comparison(plan, item)}"


def _train_in_workers(
    plan: TrainPlan, state: TrainingState, *, out: Path, workers: int, address: str | None, ship: bool
) -> Iterator[str]:
    """Trains as `_train_and_save` does, in several processes."""
    # Imported here: Ray Train is slow to import, and most trainings need one process only.
    from depthweave.search.cluster.distributed import share_work, stay_on_loopback
    from depthweave.search.cluster.nodes import alive_nodes, inspect_nodes

    if address is None:
        stay_on_loopback()
    # All workers start from this file, at first and after every loss of a worker.
    state.save(out / STATE_FILE)
    # The plan goes to each worker without the text, which goes to each node once.
    nothing = plan.tokens.train[:0]
    plan_without_text = dataclasses.replace(
        plan, tokens=dataclasses.replace(plan.tokens, train=nothing, valid=nothing, test=nothing)
    )
    with cluster(address, ship=ship):
        if address is not None:
            inspect_nodes(Resources(), storage=Storage(out) if len(alive_nodes()) > 1 else None)
        work = partial(_train_from_file, plan=plan_without_text, out=out.absolute(), shown=out)
        yield from share_work(work, plan.tokens, workers=workers, scratch=out.absolute())


def _train_from_file(ranks: Ranks, tokens: TokenSet, *, plan: TrainPlan, out: Path, shown: Path) -> Iterator[str]:
    state = TrainingState.load(out / STATE_FILE, device="auto")
    return _train_and_save(dataclasses.replace(plan, tokens=tokens), state, out=out, shown=shown, ranks=ranks)


def _training_of(plan: TrainPlan, state: TrainingState, last: Evaluation) -> Training:
    recorded, spec = plan.recorded, plan.corpus_spec
    recipe = with_precision(state.recipe, device=state.device)
    parent = None
    if recorded is not None:
        parent = {
            "architecture_id": recorded.architecture_id,
            "origin": recorded.origin,
            "loss": recorded.loss,
            "how": plan.how,
        }
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
        parent=parent,
    )


def _finished_sentence(out: Path) -> str:
    return f"{out}: is already trained to its end"


def _evaluation_sentence(item: Evaluation) -> str:
    return (
        f"step {item.step}: {item.tokens:,} tokens, loss {item.loss:.4f}, perplexity {item.perplexity:.3f}, "
        f"{item.bits_per_byte:.3f} bits a byte"
    )
