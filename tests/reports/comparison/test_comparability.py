"""What may not be compared is refused, and the reason names both values."""

from __future__ import annotations

from typing import Any

import pytest

from depthweave.reports.comparison.comparability import facts_of, refusal_sentence, refusals, why_not_comparable
from depthweave.reports.store.objectives import OBJECTIVES
from tests.reports.comparing import make_recipe, make_run

CLOCK = {"latency", "step_latency", "decode_latency"}
MEMORY = {"memory_bytes", "forward_memory_bytes"}
LOSSES = {"perplexity", "bits_per_byte", "error"}


@pytest.mark.parametrize(
    ("changes", "refused", "told"),
    [
        ({}, set(), ""),
        ({"corpus_sha256": "ab" * 32}, LOSSES, "other corpus (stdlib 9f86d081 against stdlib abababab)"),
        ({"tokenizer": "bpe:4096"}, {"perplexity", "error"}, "other tokenizer (bytes against bpe:4096)"),
        ({"hardware": "another processor"}, CLOCK, "other hardware (a processor against another processor)"),
        ({"threads": 2}, CLOCK, "other threads (1 thread against 2 threads)"),
        ({"device": "cuda"}, CLOCK | MEMORY, "other device (cpu against cuda)"),
        ({"recipe": make_recipe(context=64)}, set(OBJECTIVES) - {"parameters"}, "other context (128 against 64)"),
        ({"recipe": make_recipe(batch=8)}, CLOCK | MEMORY, "other batch (16 against 8)"),
        ({"recipe": make_recipe(precision="bfloat16")}, CLOCK | MEMORY, "other precision (float32 against bfloat16)"),
        ({"recipe": make_recipe(compile=True)}, CLOCK | MEMORY, "other compiled (not compiled against compiled)"),
        ({"recipe": make_recipe(evaluation_tokens=9)}, LOSSES, "other evaluation tokens (4096 against 9)"),
        ({"depth": 12}, CLOCK, "other reference (none, 6 blocks"),
        ({"recipe": make_recipe(steps=9, learning_rate=1.0)}, set(), ""),
    ],
)
def test_objectives_that_a_difference_forbids(changes: dict[str, Any], refused: set[str], told: str) -> None:
    first, second = facts_of(make_run()), facts_of(make_run(**changes))
    found = refusals(list(OBJECTIVES), first=first, second=second)
    assert {item.objective for item in found} == refused
    assert all(told in item.reason for item in found)


def test_allocators_of_two_accelerators_are_not_mixed() -> None:
    first, second = (facts_of(make_run(device="cuda", hardware=name)) for name in ("A100", "H100"))
    assert "other allocator (A100 against H100)" in why_not_comparable("memory_bytes", first=first, second=second)
    assert not why_not_comparable("perplexity", first=first, second=second)


def test_run_that_is_mixed_itself_is_refused_even_against_its_like() -> None:
    mixed = facts_of(make_run() + make_run(first_trial=20, hardware="another processor"))
    told = why_not_comparable("latency", first=mixed, second=mixed)
    assert told == "several kinds of hardware within one run (a processor, another processor)"


def test_sentence_names_the_objective_and_the_reason() -> None:
    first, second = facts_of(make_run()), facts_of(make_run(threads=2))
    (refused, *_) = refusals(["latency"], first=first, second=second)
    assert refusal_sentence(refused) == ("Forward latency is not compared: other threads (1 thread against 2 threads).")
