"""The result of `depthweave train`: an export folder whose card cites where the architecture comes from."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

from depthweave.reports.export import Card, Contents, Training, metrics_json, model_card, write_contents
from depthweave.reports.export.card import RECIPE_LIMIT, CurvePoint, Metric, general_limits, pattern_text
from depthweave.reports.formatting import blocks_text, show
from depthweave.reports.wirings import rule_name
from depthweave.spaces import WiringRule, costs_of, save_model
from depthweave.spaces.block_style import BlockStyle
from depthweave.spaces.checksums import write_checksums
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.spaces.perplexity import perplexity_of
from depthweave.trainers import Evaluation, HeldOutLoss, TrainingState


def write_trained(
    out: Path,
    state: TrainingState,
    curve: Sequence[CurvePoint],
    *,
    last: Evaluation,
    test: HeldOutLoss | None,
    training: Training,
    rule: WiringRule | None,
    tokenizer_json: str | None,
    temporary_files: Collection[str],
) -> None:
    """Writes the model, its metrics and its card into the folder.

    The weights are written last: a folder with weights is complete. `temporary_files` are removed later, and are not
    listed in `SHA256SUMS`.
    """
    values = _values(state, last=last, test=test, training=training, rule=rule)
    architecture = state.architecture
    contents = Contents(
        architecture=architecture,
        rule=rule,
        tokenizer_json=tokenizer_json,
        training=training,
        metrics=metrics_json(values),
        card=_card(out, values, curve, rule=rule, training=training, style=architecture.block),
    )
    write_contents(out, contents)
    scratch = out / f".{MODEL_FILE}.done"
    save_model(scratch, state.model)
    write_checksums(out, coming={MODEL_FILE: scratch}, without=temporary_files)
    scratch.replace(out / MODEL_FILE)


def _values(
    state: TrainingState, *, last: Evaluation, test: HeldOutLoss | None, training: Training, rule: WiringRule | None
) -> dict[str, Any]:
    """Returns the values of the model, named like a record's."""
    architecture, costs = state.architecture, costs_of(state.architecture)
    stride = None if rule is None else rule.stride
    return {
        "architecture_id": architecture.id,
        "seed": training.recipe["seed"],
        "state": "complete",
        "fusion": architecture.fusion,
        "rule": None if rule is None else rule.text,
        "dilation": None if stride is None else stride.dilation,
        "period": None if stride is None else stride.period,
        **{name: getattr(architecture, name) for name in ("depth", "width", "heads", "feed_forward")},
        "block": architecture.block.kind,
        **{name: getattr(architecture.block, name) for name in ("heads_per_kv", "qk_norm")},
        **{name: getattr(architecture, name) for name in ("vocabulary", "context")},
        "wiring": json.dumps([[site.block, list(site.sources)] for site in architecture.wiring]),
        **{name: getattr(costs, name) for name in ("parameters", "embedding_parameters", "forward_flops")},
        "kept_states": costs.kept_states,
        **{name: getattr(last, name) for name in ("perplexity", "loss", "bits_per_byte")},
        "last_loss": last.loss,
        "test_loss": None if test is None else test.loss,
        "test_perplexity": None if test is None else perplexity_of(test.loss),
        "test_bits_per_byte": None if test is None else test.bits_per_byte,
        "last_train_loss": last.train_loss,
        "steps": last.step,
        "tokens": last.tokens,
        "train_s": last.train_s,
        "evaluation_s": last.evaluation_s,
        "recipe": json.dumps(training.recipe),
        **{name: getattr(training, name) for name in ("corpus", "corpus_sha256", "tokenizer", "device")},
        **{name: getattr(training, name) for name in ("hardware", "threads", "software")},
    }


def _card(
    out: Path,
    values: dict[str, Any],
    curve: Sequence[CurvePoint],
    *,
    rule: WiringRule | None,
    training: Training,
    style: BlockStyle,
) -> str:
    fusion, depth = values["fusion"], values["depth"]
    test = values["test_perplexity"]
    metrics = [
        Metric("validation perplexity, per token", show("perplexity", values["perplexity"])),
        Metric("validation bits per byte of text", show("bits_per_byte", values["bits_per_byte"])),
        *([] if test is None else [Metric("perplexity on the test part, per token", show("perplexity", test))]),
        Metric("parameters without the token embedding", show("parameters", values["parameters"])),
        Metric("operations of a forward pass", show("forward_flops", values["forward_flops"])),
    ]
    first, *others = general_limits(training, parameters=values["parameters"] + values["embedding_parameters"])
    limits = [first, "One seed, and neither latency nor memory was measured: `depthweave measure` does.", *others]
    if training.parent is not None:
        limits.append(RECIPE_LIMIT)
    return model_card(
        Card(
            title=f"{fusion} {rule_name(rule)}".strip() + f", {blocks_text(depth, style)}",
            pattern=pattern_text(fusion, rule, depth=depth, width=values["width"], style=style),
            training=training,
            metrics=metrics,
            limits=limits,
            folder=str(out),
            context=values["context"],
            curve=curve,
        )
    )
