"""Tokens a parameter: how long a model was trained for its size, and when its ranking may still change.

The parameters are all that are trained, the embedding included, as in the source. The budget of a search leaves the
embedding out.

Source: Hoffmann et al., "Training compute-optimal large language models", 2022, arXiv 2203.15556: about 20 tokens for
each parameter use a given compute best.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from depthweave.reports.store.records import Record

OPTIMAL = 20
"""Tokens for each parameter that use compute best."""
UNDERTRAINED = 10
"""Below half of that, rankings are called uncertain."""
UNDERTRAINED_TEXT = "undertrained: rankings may change"


def tokens_per_parameter(record: Record) -> float:
    """Returns the tokens that the trial trained on for each of its parameters, the embedding included."""
    return ratio_of(record.tokens, parameters=record.parameters + record.embedding_parameters)


def ratio_of(tokens: int, *, parameters: int) -> float:
    """Returns tokens for each parameter."""
    return tokens / max(1, parameters)


def ratio_text(ratio: float) -> str:
    """Returns a ratio as text: "0.09", "1.0", "20"."""
    if ratio >= UNDERTRAINED:
        return f"{ratio:,.0f}"
    # Rounded down, so that what is undertrained never reads as enough.
    digits = 1 if ratio >= 0.1 else 2
    return f"{math.floor(10**digits * ratio) / 10**digits:.{digits}f}"


def ratio_phrase(ratio: float) -> str:
    """Returns "20 tokens a parameter", or "1.1 tokens a parameter (undertrained: rankings may change)"."""
    note = f" ({UNDERTRAINED_TEXT})" if ratio < UNDERTRAINED else ""
    return f"{ratio_text(ratio)} tokens a parameter{note}"


def range_phrase(ratios: Sequence[float]) -> str:
    """Returns the same for several ratios, "1.1 to 2.2 tokens a parameter (...)", by the lowest; empty without any."""
    if not ratios:
        return ""
    low, high = ratio_text(min(ratios)), ratio_text(max(ratios))
    phrase = ratio_phrase(min(ratios))
    return phrase if low == high else f"{low} to {high}{phrase.removeprefix(low)}"


def ratio_cell(record: Record) -> str:
    """Returns the ratio of a complete language model as text, and "-" for any other record."""
    return ratio_text(tokens_per_parameter(record)) if _is_language_model(record) else "-"


def language_model_ratios(records: Iterable[Record]) -> list[float]:
    """Returns the tokens a parameter of the complete language models: heads on a pretrained host have none."""
    return [tokens_per_parameter(it) for it in records if _is_language_model(it)]


def training_sentence(records: Iterable[Record]) -> str:
    """Returns how long the complete records' models were trained, to follow other sentences; empty without any."""
    ratios = language_model_ratios(records)
    return f" Complete trainings saw {range_phrase(ratios)}." if ratios else ""


def _is_language_model(record: Record) -> bool:
    return record.state == "complete" and record.perplexity is not None
