"""The tiny text and its tokenizers, and the folder of WNUT-17."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from depthweave.trainers.tagging.sentences import TaggedText
from tests.import_reader import ROOT
from tests.trainers.tagging.tiny_text import tiny_text, word_piece_json


@pytest.fixture(scope="session")
def tiny() -> TaggedText:
    return tiny_text()


@pytest.fixture(scope="session")
def word_piece() -> str:
    return word_piece_json()


@pytest.fixture(scope="session")
def wnut17() -> Path:
    """Returns the folder of WNUT-17 inside the folder of shared data; skips where there is none."""
    folder = Path(os.environ.get("DEPTHWEAVE_DATA", ROOT.parent / "shared" / "data")) / "wnut17"
    if not folder.is_dir():
        pytest.skip(f"{folder} is not there; DEPTHWEAVE_DATA names the folder that has wnut17")
    return folder
