"""A small corpus with structure to learn, its tokens, and a small architecture and recipe."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from depthweave.spaces.architecture import Architecture
from depthweave.spaces.wiring import strided_wiring
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.splitting import Corpus, split_documents
from depthweave.trainers.tokens import TokenSet, tokenise

_WORDS = ("the", "weave", "of", "depth", "ünder", "blocks", "reads", "every", "state", "😀", "again", "\r\n")


@pytest.fixture(scope="session")
def corpus() -> Corpus:
    generator = np.random.default_rng(0)
    documents = [" ".join(generator.choice(_WORDS, size=60)) for _ in range(60)]
    return split_documents(documents, name="words", validation_frac=0.2)


@pytest.fixture(scope="session")
def tokens(corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> TokenSet:
    return tokenise(corpus, cache=tmp_path_factory.mktemp("cache"))


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def recipe() -> Recipe:
    return Recipe(steps=12, batch=4, context=16, num_evaluations=3, evaluation_tokens=128, learning_rate=5e-3, seed=3)


def small_architecture(fusion: str = "dwa", *, depth: int = 3, period: int = 1, width: int = 16) -> Architecture:
    return Architecture(
        fusion=fusion,
        wiring=strided_wiring(depth, period=period),
        width=width,
        heads=2,
        feed_forward=2 * width,
        vocabulary=256,
        context=16,
    )


@pytest.fixture
def architecture() -> Architecture:
    return small_architecture()
