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
    ("changes", "refused", "message"),
    [
        ({}, set(), ""),
        ({"corpus_sha256": "ab" * 32}, LOSSES, "different corpus (stdlib 9f86d081 and stdlib abababab)"),
        ({"tokenizer": "bpe:4096"}, {"perplexity", "error"}, "different tokenizer (bytes and bpe:4096)"),
        ({"hardware": "another processor"}, CLOCK, "different hardware (a processor and another processor)"),
        ({"threads": 2}, CLOCK, "different threads (1 thread and 2 threads)"),
        ({"device": "cuda"}, CLOCK | MEMORY, "different device (cpu and cuda)"),
        ({"recipe": make_recipe(context=64)}, set(OBJECTIVES) - {"parameters"}, "different context (128 and 64)"),
        ({"recipe": make_recipe(batch=8)}, CLOCK | MEMORY, "different batch (16 and 8)"),
        ({"recipe": make_recipe(precision="bfloat16")}, CLOCK | MEMORY, "different precision (float32 and bfloat16)"),
        ({"recipe": make_recipe(compile=True)}, CLOCK | MEMORY, "different compiled (not compiled and compiled)"),
        ({"recipe": make_recipe(evaluation_tokens=9)}, LOSSES, "different evaluation tokens (4096 and 9)"),
        ({"depth": 12}, CLOCK, "different reference (none, 6 blocks"),
        ({"recipe": make_recipe(steps=9, learning_rate=1.0)}, set(), ""),
    ],
)
def test_objectives_that_a_difference_forbids(changes: dict[str, Any], refused: set[str], message: str) -> None:
    first, second = facts_of(make_run()), facts_of(make_run(**changes))
    found = refusals(list(OBJECTIVES), first=first, second=second)
    assert {item.objective for item in found} == refused
    assert all(message in item.reason for item in found)


def test_facts_that_objectives_are_compared_on_are_all_known() -> None:
    assert {fact for item in OBJECTIVES.values() for fact in item.compared_on} <= facts_of(make_run()).keys()


def test_allocators_of_two_accelerators_are_not_mixed() -> None:
    first, second = (facts_of(make_run(device="cuda", hardware=name)) for name in ("A100", "H100"))
    assert "different allocator (A100 and H100)" in why_not_comparable("memory_bytes", first=first, second=second)
    assert not why_not_comparable("perplexity", first=first, second=second)


def test_run_that_is_mixed_itself_is_refused_even_against_its_like() -> None:
    mixed = facts_of(make_run() + make_run(first_trial=20, hardware="another processor"))
    message = why_not_comparable("latency", first=mixed, second=mixed)
    assert message == "several values of hardware within one run (a processor, another processor)"


def test_sentence_names_the_objective_and_the_reason() -> None:
    first, second = facts_of(make_run()), facts_of(make_run(threads=2))
    (refused, *_) = refusals(["latency"], first=first, second=second)
    assert refusal_sentence(refused) == ("Forward latency is not compared: different threads (1 thread and 2 threads).")
