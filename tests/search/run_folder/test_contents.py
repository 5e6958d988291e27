"""A resumed run has the tokenizer that it began with, and says so if an earlier version wrote no checksums."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from depthweave.reports.store.run_info import to_json
from depthweave.reports.store.run_store import RunStore
from depthweave.search.preparation import create_run
from depthweave.search.run_folder.contents import check_files
from depthweave.spaces.checksums import verified_values
from depthweave.trainers import TokenSet
from tests.reports.synthetic import make_info
from tests.search.ledger_runs import TOKENS
from tests.search.search_runs import prepared_search


@pytest.fixture
def tokens() -> TokenSet:
    return dataclasses.replace(TOKENS, tokenizer_json='{"a": 1}')


@pytest.fixture
def store(tmp_path: Path, tokens: TokenSet) -> RunStore:
    return RunStore.create(tmp_path / "run", info=make_info(), spec_yaml="", tokenizer_json=tokens.tokenizer_json)


def _as_of_an_earlier_version(store: RunStore) -> RunStore:
    values = verified_values(json.loads(to_json(store.info)))
    del values["tokenizer_sha256"]
    store.write_bytes("run.json", json.dumps(values).encode())
    return RunStore.open(store.where)


def test_resume_deletes_nothing_behind_a_link(
    small_spec: dict[str, Any], fault: Callable[..., str], tmp_path: Path
) -> None:
    store = create_run(prepared_search(small_spec), out=tmp_path / "real")
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "state.pt").write_text("mine")
    (tmp_path / "real" / "checkpoints").mkdir()
    link = Path(store.checkpoint_dir(2))
    link.symlink_to(mine, target_is_directory=True)
    message = fault("search", "--resume", "--out", store.where)
    assert message.startswith(f"{link}: is a link, and none is followed inside a run or an export")
    assert (mine / "state.pt").read_text() == "mine"


def test_whole_run_has_nothing_to_say(store: RunStore, tokens: TokenSet) -> None:
    assert list(check_files(store, tokens)) == []


@pytest.mark.parametrize("content", [None, "{}"])
def test_lost_or_changed_tokenizer_is_made_again_and_said(
    store: RunStore, tokens: TokenSet, content: str | None
) -> None:
    path = Path(store.where) / "tokenizer.json"
    if content is None:
        path.unlink()
    else:
        path.write_text(content)
    (line,) = check_files(store, tokens)
    assert line == f"{path}: was {'missing' if content is None else 'changed'}; recreated from the text"
    assert path.read_text() == tokens.tokenizer_json


def test_text_that_gives_another_tokenizer_is_refused(store: RunStore, tokens: TokenSet) -> None:
    other = dataclasses.replace(tokens, tokenizer_json='{"a": 2}')
    with pytest.raises(ValueError, match="the text gives another tokenizer here than when the run began") as caught:
        list(check_files(store, other))
    assert len(str(caught.value).splitlines()) == 1
    old = _as_of_an_earlier_version(store)
    with pytest.raises(ValueError, match=r"tokenizer\.json: is not the tokenizer that the run's text gives here"):
        list(check_files(old, other))


def test_run_of_an_earlier_version_goes_on_and_says_that_it_has_no_checksums(store: RunStore, tokens: TokenSet) -> None:
    old = _as_of_an_earlier_version(store)
    (line,) = check_files(old, tokens)
    assert line == f"{store.where}: begun by an earlier version without checksums: its files are not checked"
