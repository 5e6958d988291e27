"""The rows of a trial that ended."""

from __future__ import annotations

import dataclasses
import json
import math
from datetime import UTC, datetime

import pytest

from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.bounds import valid_rows
from depthweave.reports.store.records import EvaluationRow, Record, WeightRow
from depthweave.search.trials.live_trial import LiveTrial
from depthweave.search.trials.recording import Outcome, outcome_of
from depthweave.spaces.costs import costs_of
from depthweave.spaces.decoder import ConnectionWeight
from depthweave.trainers import Evaluation, HeldOutLoss
from depthweave.trainers.recipe import Precision
from tests.search.ledger_runs import (
    MAKER,
    RECIPE,
    REFERENCE,
    SPACE,
    make_evaluation,
    make_measurement,
    make_report,
)

_DWA = next(item for item in SPACE if item.architecture.fusion == "dwa")


def make_live(
    *losses: float, stop_reason: str | None = None, error: str | None = None, weights: tuple[ConnectionWeight, ...] = ()
) -> LiveTrial:
    """A trial of the first `dwa` architecture whose worker reported these losses."""
    live = LiveTrial(number=4, candidate=_DWA, started_at=datetime(2026, 3, 1, tzinfo=UTC))
    evaluations = [make_evaluation(index, loss=loss, weights=weights) for index, loss in enumerate(losses)]
    if evaluations:
        live.add_report(make_report(*evaluations, measurement=make_measurement(latency=1.5, memory_bytes=2000)))
    live.stop_reason, live.error = stop_reason, error
    return live


_NEVER_ENDED = "the trial ended after step 20 of 40"


@pytest.mark.parametrize(
    ("live", "crashed", "expected"),
    [
        (make_live(3.0, 2.0, 1.5, 1.0), False, Outcome("complete", None)),
        (make_live(3.0, 2.0), False, Outcome("failed", _NEVER_ENDED)),
        (make_live(), False, Outcome("failed", "the trial ended without an evaluation")),
        (make_live(), True, Outcome("failed", "the worker ended without a message")),
        (make_live(3.0, error="OSError: disk full"), True, Outcome("failed", "OSError: disk full")),
        (make_live(3.0, 2.0, 1.5, 1.0, error="late"), True, Outcome("failed", "late")),
        (make_live(3.0, stop_reason="hopeless"), False, Outcome("pruned", "hopeless")),
        (make_live(3.0, 2.0, 1.5, 1.0, stop_reason="hopeless"), False, Outcome("pruned", "hopeless")),
        (make_live(3.0, math.inf), False, Outcome("diverged", "the loss was not finite at step 20")),
        (make_live(3.0, math.nan), False, Outcome("diverged", "the loss was not finite at step 20")),
        (make_live(3.0, 2.0, 1.5, 231.0), False, Outcome("diverged", "the loss was above 230 at step 40")),
        (make_live(math.inf, stop_reason="x"), False, Outcome("diverged", "the loss was not finite at step 10")),
    ],
)
def test_outcome(live: LiveTrial, crashed: bool, expected: Outcome) -> None:
    assert outcome_of(live, crashed=crashed, steps=RECIPE.steps, max_loss=MAKER.task.quality.max_loss) == expected


def test_complete_record_has_every_column_that_is_known() -> None:
    live = make_live(3.0, 2.0, 1.5, 1.25)
    record = MAKER.rows(live, outcome=Outcome("complete", None)).record
    architecture, costs = _DWA.architecture, costs_of(_DWA.architecture)
    assert _DWA.rule is not None
    assert _DWA.rule.stride is not None
    expected = {
        "trial": 4,
        "architecture_id": architecture.id,
        "seed": RECIPE.seed,
        "state": "complete",
        "reason": None,
        "reference": False,
        "fusion": "dwa",
        "rule": _DWA.rule.text,
        "dilation": _DWA.rule.stride.dilation,
        "period": _DWA.rule.stride.period,
        "depth": architecture.depth,
        "budget": 20_000,
        "parameters": costs.parameters,
        "embedding_parameters": costs.embedding_parameters,
        "forward_flops": costs.forward_flops,
        "kept_states": costs.kept_states,
        "perplexity": pytest.approx(math.exp(1.25)),
        "loss": 1.25,
        "bits_per_byte": pytest.approx(1.25 / math.log(2)),
        "last_loss": 1.25,
        "steps": RECIPE.steps,
        "tokens": RECIPE.tokens,
        "latency": 1.5,
        "latency_s": 0.03,
        "step_latency_low": 1.49,
        "step_latency_high": 1.51,
        "text_losses": "[1.234568, 1.25]",
        "reference_latency_s": 0.02,
        "memory_bytes": 2000,
        "trial_latency": None,
        "train_s": 2.0,
        "tokens_per_s": RECIPE.tokens / 2.0,
        "wall_s": 3.0,
        "corpus": "zeros",
        "hardware": "a processor",
        "host": "node-1",
    }
    assert {name: getattr(record, name) for name in expected} == expected
    assert json.loads(record.wiring) == [[site.block, list(site.sources)] for site in architecture.wiring]
    assert json.loads(record.recipe)["steps"] == RECIPE.steps
    assert (record.state_norms, record.input_cosines) == ("[1.0, 2.1235]", "[1.0]")
    assert record.finished_at >= record.started_at
    absent = [name for name in Record.__slots__ if getattr(record, name) is None]
    held_out = ["test_loss", "test_perplexity", "test_bits_per_byte"]
    decoding = [f"decode_latency{end}" for end in ("", "_low", "_high", "_s")] + ["reference_decode_latency_s"]
    tagging = ["test_error", "test_f1", "entity_scores", "type_scores", "layer_weights"]
    assert absent == ["reason", "taken_from", "head", "error", "f1", *held_out, *tagging, *decoding, "trial_latency"]
    assert to_table([record], row_class=Record).num_rows == 1


def test_test_loss_is_recorded_of_a_complete_training_alone() -> None:
    live = make_live(3.0, 1.25)
    assert live.last_report is not None
    live.last_report = dataclasses.replace(live.last_report, test=HeldOutLoss(1.5, 2.25))
    record = MAKER.rows(live, outcome=Outcome("complete", None)).record
    assert (record.test_loss, record.test_bits_per_byte) == (1.5, 2.25)
    assert record.test_perplexity == pytest.approx(math.exp(1.5))
    stopped = MAKER.rows(live, outcome=Outcome("pruned", "hopeless")).record
    assert (stopped.test_loss, stopped.test_perplexity, stopped.test_bits_per_byte) == (None, None, None)


def test_reference_is_marked_and_has_no_pattern() -> None:
    live = make_live(1.0)
    live.candidate = REFERENCE
    record = MAKER.rows(live, outcome=Outcome("pruned", "x")).record
    assert record.reference
    assert (record.fusion, record.dilation, record.period, record.wiring) == ("none", None, None, "[]")


@pytest.mark.parametrize("state", ["pruned", "diverged", "failed"])
def test_early_loss_of_an_unfinished_trial_is_no_result(state: str) -> None:
    live = make_live(3.0, 2.0)
    record = MAKER.rows(live, outcome=Outcome(state, "why")).record  # type: ignore[arg-type]
    assert (record.perplexity, record.loss, record.bits_per_byte) == (None, None, None)
    assert (record.last_loss, record.steps, record.state, record.reason) == (2.0, 20, state, "why")


@pytest.mark.parametrize(
    ("asked", "had", "recorded"),
    [
        ("auto", "bfloat16", "bfloat16"),
        ("auto", "float32", "float32"),
        ("auto", None, "auto"),
        ("float32", None, "float32"),
    ],
)
def test_record_names_the_precision_that_the_training_had(
    asked: Precision, had: Precision | None, recorded: str
) -> None:
    live = make_live(1.0)
    assert live.last_report is not None
    live.last_report = dataclasses.replace(live.last_report, precision=had)
    maker = dataclasses.replace(MAKER, recipe=dataclasses.replace(RECIPE, precision=asked))
    record = maker.rows(live, outcome=Outcome("pruned", "x")).record
    assert json.loads(record.recipe)["precision"] == recorded


def test_trial_that_never_reported_still_has_a_record() -> None:
    record = MAKER.rows(make_live(), outcome=Outcome("failed", "no word")).record
    assert (record.steps, record.tokens, record.attempts, record.device) == (0, 0, 1, "cpu")
    assert (record.latency, record.memory_bytes, record.last_loss, record.tokens_per_s) == (None,) * 4
    assert to_table([record], row_class=Record).num_rows == 1


def test_evaluations_and_weights_carry_the_trials_key() -> None:
    weights = (ConnectionWeight(1, 0, 0.25), ConnectionWeight(1, 1, 0.75))
    live = make_live(3.0, 2.0, weights=weights)
    rows = MAKER.rows(live, outcome=Outcome("pruned", "x"))
    assert [(item.index, item.step, item.loss) for item in rows.evaluations] == [(0, 10, 3.0), (1, 20, 2.0)]
    tokens = [item.tokens for item in live.evaluations]
    assert [(item.tokens, item.site, item.source, item.value) for item in rows.weights] == [
        (count, site, source, value) for count in tokens for site, source, value in weights
    ]
    kept: list[EvaluationRow | WeightRow] = [*rows.evaluations, *rows.weights]
    keys = {(item.run_id, item.trial, item.architecture_id, item.seed) for item in kept}
    assert keys == {(MAKER.run_id, 4, _DWA.architecture.id, RECIPE.seed)}


def test_live_trial_returns_new_evaluations_only() -> None:
    live = make_live()
    first, second = make_evaluation(0, loss=2.0), make_evaluation(1, loss=1.0)

    def add(*evaluations: Evaluation) -> list[Evaluation]:
        return live.add_report(make_report(*evaluations))

    assert [add(first), add(first, second), add(second)] == [[first], [second], []]
    assert live.evaluations == [first, second]


def test_every_row_that_is_made_is_one_that_a_reader_takes() -> None:
    weights = tuple(ConnectionWeight(site=1, source=0, value=value) for value in (0.5, math.nan, math.inf))
    for losses, latency in (((3.0, 2.0, 1.5, 1.0), math.nan), ((3.0, math.nan), 1.0), ((), 1.0)):
        live = make_live(*losses, weights=weights)
        if losses:
            report = make_report(*live.evaluations, measurement=make_measurement(latency=latency))
            live.add_report(report)
        outcome = outcome_of(live, crashed=False, steps=RECIPE.steps, max_loss=MAKER.task.quality.max_loss)
        rows = MAKER.rows(live, outcome=outcome)
        assert [row.value for row in rows.weights] == [0.5] * len(losses)
        for row_class, held in ((Record, [rows.record]), (EvaluationRow, rows.evaluations), (WeightRow, rows.weights)):
            table = to_table(held, row_class=row_class)
            required = {item.name for item in table.schema if not item.nullable}
            assert valid_rows(table, row_class=row_class, required=required).left_out == ""
