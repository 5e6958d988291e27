"""The tiny text, its tokenizers and hosts, and the folder of WNUT-17."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.host import Host, load_host
from depthweave.trainers.tagging.sentences import TaggedText
from depthweave.trainers.tagging.tag_data import TagData, tag_data
from tests.import_reader import ROOT
from tests.trainers.tagging.tiny_host import write_bert
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


@pytest.fixture(scope="session")
def bert_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bert(tmp_path_factory.mktemp("hosts") / "tiny-bert")


@pytest.fixture(scope="session")
def host(bert_folder: Path) -> Host:
    return load_host(bert_folder)


@pytest.fixture(scope="session")
def data(tiny: TaggedText, host: Host, tmp_path_factory: pytest.TempPathFactory) -> TagData:
    """The tiny text with the states of the frozen host."""
    return tag_data(tiny, host, max_tokens=32, cache=tmp_path_factory.mktemp("states"))


@pytest.fixture(scope="session")
def full_data(tiny: TaggedText, host: Host) -> TagData:
    """The tiny text for a host that is trained."""
    return tag_data(tiny, host, max_tokens=32, weights="full")


@pytest.fixture
def tag_recipe() -> Recipe:
    return Recipe(steps=12, batch=4, context=32, num_evaluations=3, evaluation_tokens=4096, learning_rate=1e-2, seed=3)
