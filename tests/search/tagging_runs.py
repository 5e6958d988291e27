"""A tiny host and a made-up text as files, with a spec of a search over them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from depthweave.trainers.tagging.sentences import Sentence
from tests.trainers.tagging.tiny_host import write_bert
from tests.trainers.tagging.tiny_text import tiny_text


def write_ner_files(folder: Path) -> dict[str, Any]:
    """Writes host and text, and returns the values of a spec whose trials take a fraction of a second."""
    host = write_bert(folder / "tiny-bert")
    text = tiny_text()
    parts: dict[str, Sequence[Sentence]] = {"train": text.train, "validation": text.valid, "test": text.test}
    for name, sentences in parts.items():
        (folder / f"{name}.conll").write_text(_conll(sentences), encoding="utf-8")
    return {
        "name": "ner",
        "task": "token_classification",
        "host": {"path": str(host)},
        "corpus": {name: str(folder / f"{name}.conll") for name in parts},
        "space": {"dilations": [1, 2], "periods": [1], "budgets": [6000]},
        "shots": [10, 30],
        "draws": 2,
        "recipe": {"steps": 12, "batch": 4, "context": 32, "evaluation_tokens": 4096, "learning_rate": 0.01},
        "search": {"trials": 4},
        "resources": {"measure_limit_s": 0.05},
    }


def _conll(sentences: Sequence[Sentence]) -> str:
    blocks = ["\n".join(f"{word}\t{tag}" for word, tag in zip(it.words, it.tags, strict=True)) for it in sentences]
    return "\n\n".join(blocks) + "\n"
