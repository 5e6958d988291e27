"""What a search keeps: records, evaluations and connection weights, a row class each.

A row class is the only source of its schema (`arrow_rows.py`). Every field states its unit, its meaning and its bounds.
"""

from __future__ import annotations

import typing
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from depthweave.reports.store.columns import (
    AMOUNT,
    BLOCKS,
    COUNT,
    KEY,
    LOSS,
    LOSS_AT_END,
    NUMBER,
    POSITIVE,
    Bounds,
    column,
)
from depthweave.reports.store.score_rows import EntityScore, LayerWeight, TypeScore
from depthweave.spaces.block_style import BLOCK_KINDS

SCHEMA_VERSION = 10
"""Raised by one with every change of a schema. In an older file the missing columns are read as null.

2: `Record.audit`. 3: `Record.decode_latency` and its seconds, `Record.latency_noise`.
4: `Record.state_norms`, `Record.input_cosines`. 5: `Record.text_losses`, the intervals of `Record.step_latency` and
`Record.decode_latency`. 6: `Record.test_loss` and what follows from it. 7: `Record.error`.
8: `Record.rule`, `Record.block`, `Record.heads_per_kv`, `Record.qk_norm`. 9: `Record.f1`, `Record.test_error`,
`Record.test_f1`, `Record.head`, `Record.entity_scores`, `Record.type_scores`, `Record.layer_weights`. 10:
`Record.taken_from`.
"""

State = Literal["complete", "pruned", "diverged", "failed"]
STATES: tuple[State, ...] = typing.get_args(State)


@dataclass(frozen=True, kw_only=True, slots=True)
class Record:
    """What is kept of one trial. An absent value is `None`; `perplexity` is set only where `state` is `complete`."""

    # Identity
    run_id: str = column("", "identifier of the run this record belongs to")
    trial: int = column("", "number of the trial in its run; below 1,000,000, in its Optuna study too", bounds=KEY)
    architecture_id: str = column("", "stable hash of fusion, wiring and sizes")
    seed: int = column("", "seed of the weights and of the data order", bounds=COUNT)
    state: str = column("", "how it ended: complete, pruned, diverged or failed", bounds=Bounds(one_of=STATES))
    reason: str | None = column("", "why it was pruned, diverged or failed")
    reference: bool = column("", "true for the plain architecture that relative speeds are measured against")
    audit: bool = column("", "true where it ran on only to show what the pruner's stop would have lost", default=False)
    taken_from: str | None = column("", "RUN/trial-00007 that trained it, if taken over from another run", default=None)

    # What was built
    fusion: str = column("", "how a site combines its sources")
    rule: str | None = column("", "text of the rule that made the wiring, such as 4x5 or first:2", default=None)
    dilation: int | None = column("blocks", "dilation k, where the rule is k x p", bounds=BLOCKS)
    period: int | None = column("blocks", "period p, where the rule is k x p", bounds=BLOCKS)
    depth: int = column("blocks", "number of transformer blocks", bounds=BLOCKS)
    width: int = column("", "size of a state", bounds=POSITIVE)
    heads: int = column("", "attention heads of a block", bounds=POSITIVE)
    feed_forward: int = column("", "inner width of the feed-forward layers", bounds=POSITIVE)
    block: str = column("", "layers of a block: gpt or llama", default="gpt", bounds=Bounds(one_of=BLOCK_KINDS))
    heads_per_kv: int = column("", "heads that share a key and a value", default=1, bounds=POSITIVE)
    qk_norm: bool = column("", "whether queries and keys are normed", default=False)
    vocabulary: int = column("tokens", "size of the vocabulary", bounds=POSITIVE)
    context: int = column("tokens", "longest sequence", bounds=POSITIVE)
    wiring: str = column(
        "", "JSON list of [block, [sources]], source 0 being the embedding", bounds=Bounds(form="wiring")
    )
    head: str | None = column(
        "", "JSON of a head's shape and of its host's, for a head on a host", default=None, bounds=Bounds(form="object")
    )
    budget: int | None = column(
        "parameters", "wanted number of parameters without the token embedding", bounds=POSITIVE
    )
    parameters: int = column(
        "parameters", "parameters without the token embedding; of a head on a host those that it adds", bounds=COUNT
    )
    embedding_parameters: int = column(
        "parameters", "parameters of the embedding, shared with the head; for a head on a host the host's", bounds=COUNT
    )
    forward_flops: int = column("flop/token", "floating-point operations of a forward pass", bounds=COUNT)
    kept_states: int = column(
        "states", "most states held at once for later sites, the current one included", bounds=COUNT
    )

    # How well it predicts
    perplexity: float | None = column(
        "",
        "validation perplexity at the end of a complete training",
        bounds=Bounds(least=1.0, most=1e100, complete_only=True),
    )
    loss: float | None = column("nat/token", "validation loss at the end of a complete training", bounds=LOSS_AT_END)
    bits_per_byte: float | None = column(
        "bit/byte", "validation bits per byte, of a complete training", bounds=LOSS_AT_END
    )
    error: float | None = column(
        "",
        "validation error at the end of a complete training, of a task that is judged by one",
        default=None,
        bounds=Bounds(least=0.0, most=1e15, complete_only=True),
    )
    f1: float | None = column(
        "",
        "mean validation F1 of entities at the end of all trainings of a complete trial, of a task that has entities",
        default=None,
        bounds=Bounds(least=0.0, most=1.0, complete_only=True),
    )
    last_loss: float | None = column("nat/token", "validation loss at the last evaluation, any state", bounds=LOSS)
    last_train_loss: float | None = column("nat/token", "training loss at the last evaluation", bounds=LOSS)
    steps: int = column("steps", "optimiser steps taken", bounds=COUNT)
    tokens: int = column("tokens", "tokens trained on", bounds=COUNT)
    text_losses: str | None = column(
        "",
        "JSON list of `loss` by part of the validation text, of a complete training",
        default=None,
        bounds=Bounds(form="numbers"),
    )
    test_loss: float | None = column(
        "nat/token", "loss on the test part, of a confirmation's complete training", default=None, bounds=LOSS_AT_END
    )
    test_perplexity: float | None = column(
        "", "perplexity on the test part, likewise", default=None, bounds=Bounds(least=1.0, most=1e100)
    )
    test_bits_per_byte: float | None = column(
        "bit/byte", "bits per byte of the test part, likewise", default=None, bounds=LOSS_AT_END
    )
    test_error: float | None = column(
        "", "error on the test part, of a task that is judged by one, likewise", default=None, bounds=LOSS_AT_END
    )
    test_f1: float | None = column(
        "", "mean F1 of entities on the test part, likewise", default=None, bounds=Bounds(least=0.0, most=1.0)
    )
    entity_scores: tuple[EntityScore, ...] | None = column(
        "", "scores of every evaluation of every training of a complete trial over few sentences", default=None
    )
    type_scores: tuple[TypeScore, ...] | None = column(
        "", "scores of each entity type at the end of every such training", default=None
    )
    layer_weights: tuple[LayerWeight, ...] | None = column(
        "", "weights of the host's layers at the end of every such training, of heads that weigh layers", default=None
    )

    # Its states at the end of a complete training
    state_norms: str | None = column(
        "",
        "JSON list of each state's mean norm over validation tokens, the embedding first",
        default=None,
        bounds=Bounds(form="numbers"),
    )
    input_cosines: str | None = column(
        "",
        "JSON list of each block's input's mean cosine with the embedding",
        default=None,
        bounds=Bounds(form="numbers"),
    )

    # Costs
    latency: float | None = column(
        "", "forward latency relative to the reference, interleaved median ratio", bounds=AMOUNT
    )
    latency_low: float | None = column("", "lower end of the 95 % interval of `latency`", bounds=AMOUNT)
    latency_high: float | None = column("", "upper end of the 95 % interval of `latency`", bounds=AMOUNT)
    latency_s: float | None = column("s", "median forward latency of one batch", bounds=AMOUNT)
    reference_latency_s: float | None = column("s", "the reference's, measured in turn with it", bounds=AMOUNT)
    step_latency: float | None = column("", "training-step latency relative to the reference", bounds=AMOUNT)
    step_latency_low: float | None = column(
        "", "lower end of its interval: 95 %, or what fewer than 6 rounds have seen", default=None, bounds=AMOUNT
    )
    step_latency_high: float | None = column("", "upper end of its interval, likewise", default=None, bounds=AMOUNT)
    step_latency_s: float | None = column("s", "median training-step latency of one batch", bounds=AMOUNT)
    reference_step_latency_s: float | None = column("s", "the reference's, measured in turn with it", bounds=AMOUNT)
    decode_latency: float | None = column(
        "", "latency of a token from a full cache, relative to the reference", default=None, bounds=AMOUNT
    )
    decode_latency_low: float | None = column("", "lower end of its 95 % interval", default=None, bounds=AMOUNT)
    decode_latency_high: float | None = column("", "upper end of its 95 % interval", default=None, bounds=AMOUNT)
    decode_latency_s: float | None = column(
        "s", "median latency of such a token, one a sequence", default=None, bounds=AMOUNT
    )
    reference_decode_latency_s: float | None = column(
        "s", "the reference's, measured in turn with it", default=None, bounds=AMOUNT
    )
    latency_noise: float | None = column(
        "", "interquartile range of the reference's latencies over median", default=None, bounds=AMOUNT
    )
    memory_bytes: int | None = column("byte", "peak memory of a training step", bounds=COUNT)
    forward_memory_bytes: int | None = column("byte", "peak memory of a forward pass without gradients", bounds=COUNT)
    tokens_per_s: float | None = column("token/s", "training speed seen in this trial, others beside it", bounds=AMOUNT)
    trial_latency: float | None = column(
        "", "`latency` as the trial saw it, where it was measured again alone", bounds=AMOUNT
    )

    # Where the time went
    started_at: datetime = column("UTC", "start of the trial")  # noqa: RUF009
    finished_at: datetime = column("UTC", "end of the trial")  # noqa: RUF009
    measure_s: float = column("s", "time spent measuring", bounds=AMOUNT)
    train_s: float = column("s", "time spent in optimiser steps", bounds=AMOUNT)
    evaluation_s: float = column("s", "time spent evaluating", bounds=AMOUNT)
    wall_s: float = column("s", "whole time of the trial on its worker", bounds=AMOUNT)
    attempts: int = column("", "times the trial was started, retries included", bounds=COUNT)

    # Data and machine
    recipe: str = column("", "JSON of the recipe", bounds=Bounds(form="object"))
    corpus: str = column("", "name of the corpus")
    corpus_sha256: str = column("", "hash of the corpus's documents")
    tokenizer: str = column("", "bytes, or bpe with its vocabulary size")
    device: str = column("", "device kind the trial ran on")
    hardware: str = column("", "processor or accelerator model")
    threads: int = column("", "torch threads of the trial", bounds=Bounds(least=0, least_complete=1))
    host: str = column("", "name of the machine")
    software: str = column("", "versions of depthweave, torch, ray, optuna and Python")


@dataclass(frozen=True, kw_only=True, slots=True)
class EvaluationRow:
    """One evaluation of one trial."""

    run_id: str = column("", "identifier of the run")
    trial: int = column("", "number of the trial", bounds=KEY)
    architecture_id: str = column("", "stable hash of the architecture")
    seed: int = column("", "seed of the trial", bounds=COUNT)
    index: int = column("", "number of the evaluation in its trial, from 0", bounds=KEY)
    step: int = column("steps", "optimiser steps taken", bounds=COUNT)
    tokens: int = column("tokens", "tokens trained on", bounds=COUNT)
    loss: float = column("nat/token", "validation loss; not finite where the training diverged", bounds=LOSS)
    train_loss: float | None = column("nat/token", "mean training loss since the last evaluation", bounds=LOSS)
    bits_per_byte: float = column("bit/byte", "validation loss in bits per byte of text", bounds=LOSS)
    train_s: float = column("s", "time spent in optimiser steps so far", bounds=AMOUNT)
    evaluation_s: float = column("s", "time spent evaluating so far", bounds=AMOUNT)


@dataclass(frozen=True, kw_only=True, slots=True)
class WeightRow:
    """One connection weight of one trial at one evaluation."""

    run_id: str = column("", "identifier of the run")
    trial: int = column("", "number of the trial", bounds=NUMBER)
    architecture_id: str = column("", "stable hash of the architecture")
    seed: int = column("", "seed of the trial", bounds=COUNT)
    tokens: int = column("tokens", "tokens trained on", bounds=COUNT)
    site: int = column("", "block after which the fusion reads", bounds=Bounds(least=0, most=10**5))
    source: int = column("", "block whose state is read, 0 for the embedding", bounds=Bounds(least=0, most=10**5))
    value: float = column("", "the weight, or its mean over validation tokens where it is dynamic")
