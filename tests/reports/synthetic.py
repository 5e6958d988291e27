"""A run as a search would leave it, made of formulas: 32 trials of five fusion patterns, curves and weights."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime, timedelta
from typing import Any, NamedTuple

import numpy as np

from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_info import RunInfo
from depthweave.spaces.wiring import Wiring, strided_wiring

RUN_ID = "run-0001"
BEGIN = datetime(2026, 3, 1, 9, 0, tzinfo=UTC)
OBJECTIVES = ("perplexity", "latency", "memory_bytes")
STEP_TOKENS = 50_000
NUM_EVALUATIONS = 8


class Trial(NamedTuple):
    """The three parts of a trial."""

    record: Record
    evaluations: list[EvaluationRow]
    weights: list[WeightRow]


def make_record(trial: int = 0, **changes: Any) -> Record:
    """A complete record with plausible values; `changes` replace columns."""
    wiring = strided_wiring(changes.get("depth", 12), dilation=4, period=5)
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "trial": trial,
        "architecture_id": f"{trial:04x}aabbccdd",
        "seed": 0,
        "state": "complete",
        "reason": None,
        "reference": False,
        "fusion": "dwa",
        "dilation": 4,
        "period": 5,
        "depth": 12,
        "width": 64,
        "heads": 4,
        "feed_forward": 256,
        "vocabulary": 256,
        "context": 128,
        "wiring": json.dumps([[site.block, list(site.sources)] for site in wiring]),
        "budget": 600_000,
        "parameters": 600_123,
        "embedding_parameters": 16_384,
        "forward_flops": 1_400_000,
        "kept_states": 4,
        "perplexity": 4.0,
        "loss": math.log(4.0),
        "bits_per_byte": 2.0,
        "last_loss": math.log(4.0),
        "last_train_loss": 1.35,
        "steps": 200,
        "tokens": 400_000,
        "latency": 1.1,
        "latency_low": 1.08,
        "latency_high": 1.12,
        "latency_s": 0.022,
        "reference_latency_s": 0.02,
        "step_latency": 1.12,
        "step_latency_s": 0.066,
        "reference_step_latency_s": 0.06,
        "memory_bytes": 52 * 2**20,
        "forward_memory_bytes": 9 * 2**20,
        "tokens_per_s": 21_000.0,
        "trial_latency": None,
        "started_at": BEGIN + timedelta(seconds=10 * trial),
        "finished_at": BEGIN + timedelta(seconds=10 * trial + 19),
        "measure_s": 1.0,
        "train_s": 16.0,
        "evaluation_s": 1.6,
        "wall_s": 19.0,
        "attempts": 1,
        "recipe": json.dumps({"steps": 200, "batch": 16, "learning_rate": 0.001, "seed": 0}),
        "corpus": "stdlib",
        "corpus_sha256": "9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "tokenizer": "bytes",
        "device": "cpu",
        "hardware": "a processor",
        "threads": 1,
        "host": "node-1",
        "software": "depthweave 0.1.0, torch 2.13, ray 2.60, optuna 5.0, Python 3.11",
    }
    assert set(changes) <= {item.name for item in dataclasses.fields(Record)}
    return Record(**{**values, **changes})


def make_info(**changes: Any) -> RunInfo:
    """The run that `make_record`'s records belong to."""
    values: dict[str, Any] = {
        "run_id": RUN_ID,
        "name": "quick",
        "created_at": BEGIN,
        "objectives": OBJECTIVES,
        "reference_id": "0000aabbccdd",
        "corpus": "stdlib",
        "combinations": 48,
        "distinct": 32,
        "infeasible": ("dwatt 1×1, 12 blocks: the fusion alone needs 1.2 M parameters, the budget is 600 k",),
        "software": "depthweave 0.1.0",
    }
    return RunInfo(**{**values, **changes})


def _yet_to_fall(index: int) -> float:
    """How far above its end a whole training's loss is at an evaluation."""
    left = (NUM_EVALUATIONS - 1 - index) / NUM_EVALUATIONS
    return 1.6 * left**4 + 0.2 * left


def make_evaluations(record: Record, *, count: int = NUM_EVALUATIONS) -> list[EvaluationRow]:
    """A falling curve that ends at the record's last loss."""
    last = record.last_loss if record.last_loss is not None else 1.5
    rows = []
    for index in range(count):
        loss = last + _yet_to_fall(index) - _yet_to_fall(count - 1)
        if record.state == "diverged" and index == count - 1:
            loss = math.nan
        rows.append(
            EvaluationRow(
                run_id=record.run_id,
                trial=record.trial,
                architecture_id=record.architecture_id,
                seed=record.seed,
                index=index,
                step=25 * (index + 1),
                tokens=STEP_TOKENS * (index + 1),
                loss=loss,
                train_loss=loss - 0.04,
                bits_per_byte=loss / math.log(2),
                train_s=2.0 * (index + 1),
                evaluation_s=0.2 * (index + 1),
            )
        )
    return rows


def make_weights(record: Record, *, count: int = NUM_EVALUATIONS) -> list[WeightRow]:
    """Weights as the DenseFormer paper draws them: a strong diagonal, an embedding column that changes sign."""
    draw = np.random.default_rng(record.trial)
    rows = []
    for block, sources in json.loads(record.wiring):
        for source in sources:
            goal = 0.9 if source == block else draw.normal(0.0, 0.04)
            if source == 0:
                goal = 0.12 - 0.03 * block
            for index in range(count):
                settled = 1 - math.exp(-(index + 1) / 2)
                begin = 1.0 if source == block else 0.0
                rows.append(
                    WeightRow(
                        run_id=record.run_id,
                        trial=record.trial,
                        architecture_id=record.architecture_id,
                        seed=record.seed,
                        tokens=STEP_TOKENS * (index + 1),
                        site=block,
                        source=source,
                        value=begin + (goal - begin) * settled,
                    )
                )
    return rows


def make_trial(record: Record) -> Trial:
    """The record with curves as long as its training."""
    count = max(1, record.tokens // STEP_TOKENS) if record.state != "failed" else 0
    weights = make_weights(record, count=count) if record.fusion != "none" else []
    return Trial(record, make_evaluations(record, count=count), weights)


_PATTERNS = (
    ("none", None, None, 0.0, 0.0),
    ("dwa", 1, 1, -0.045, 0.26),
    ("dwa", 2, 1, -0.038, 0.17),
    ("dwa", 4, 1, -0.024, 0.09),
    ("dwa", 4, 5, -0.020, 0.035),
    ("dwa", 1, 4, -0.030, 0.06),
    ("dwatt", 1, 12, -0.012, 0.11),
    ("concat", 1, 12, -0.008, 0.07),
)


def synthetic_trials() -> list[Trial]:
    """32 trials: eight patterns at two depths and two budgets. Some are stopped, diverge or fail."""
    draw = np.random.default_rng(7)
    trials = []
    for number in range(32):
        fusion, dilation, period, gain, cost = _PATTERNS[number % 8]
        depth = 12 if (number // 8) % 2 == 0 else 8
        budget = 600_000 if number < 16 else 300_000
        if period == 12:
            period = depth
        loss = 1.40 + gain * depth / 12 + 0.05 * (12 - depth) / 4 + (0.09 if budget < 500_000 else 0.0)
        loss += float(draw.normal(0, 0.006))
        speed = (1 + cost) * depth / 12 * (1.0 if budget > 500_000 else 0.83) + float(draw.normal(0, 0.004))
        memory = int((34 + 14 * depth / 12 * (1 + cost) + (6 if budget > 500_000 else 0)) * 2**20)
        state = {5: "pruned", 14: "pruned", 15: "pruned", 22: "pruned", 23: "pruned", 30: "pruned"}.get(
            number, "complete"
        )
        state = {27: "diverged", 31: "failed"}.get(number, state)
        wiring = (
            Wiring(depth)
            if dilation is None or period is None
            else strided_wiring(depth, dilation=dilation, period=period)
        )
        tokens = 400_000 if state == "complete" else STEP_TOKENS * (3 + number % 4)
        last = loss if state == "complete" else loss + 0.01 + _yet_to_fall(tokens // STEP_TOKENS - 1)
        reasons = {
            "pruned": "above the median of 6 no costlier trials at 150,000 tokens",
            "diverged": "validation loss not finite after 75 steps",
            "failed": "RuntimeError: worker died <out of memory> & was retried twice",
        }
        record = make_record(
            number,
            architecture_id=f"{number:04x}aabbccdd",
            reference=number == 0,
            fusion=fusion,
            dilation=dilation,
            period=period,
            depth=depth,
            wiring=json.dumps([[site.block, list(site.sources)] for site in wiring]),
            kept_states=wiring.max_kept_states,
            budget=budget,
            parameters=budget + 100 * number,
            forward_flops=int(2.3 * budget),
            state=state,
            reason=reasons.get(state),
            perplexity=math.exp(loss) if state == "complete" else None,
            loss=loss if state == "complete" else None,
            bits_per_byte=loss / math.log(2) if state == "complete" else None,
            last_loss=None if state == "failed" else last,
            latency=speed if number else 1.0,
            latency_low=speed - 0.012,
            latency_high=speed + 0.015,
            memory_bytes=memory,
            tokens=0 if state == "failed" else tokens,
            attempts=3 if state == "failed" else 1,
            state_norms=json.dumps([1.0 + block for block in range(depth + 1)]) if state == "complete" else None,
            input_cosines=json.dumps([0.9**block for block in range(depth)]) if state == "complete" else None,
        )
        trials.append(make_trial(record))
    return trials
