"""Token sets: the cache returns complete entries to any number of processes."""

from __future__ import annotations

import dataclasses
import multiprocessing
import pickle
from pathlib import Path

import numpy as np
import pytest

from depthweave.trainers import tokens as tokens_module
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.splitting import Corpus
from depthweave.trainers.tokens import TokenSet, check_fits, default_cache, tokenise


@pytest.mark.parametrize("tokenizer", ["bytes", "bpe:280"])
def test_tokenise_decodes_to_the_documents_of_each_part(corpus: Corpus, cache: Path, tokenizer: str) -> None:
    tokens = tokenise(corpus, tokenizer=tokenizer, cache=cache)
    coder = tokens.make_tokenizer()
    for part, documents in ((tokens.train, corpus.train), (tokens.valid, corpus.validation)):
        assert coder.decode(part.tolist()) == "".join(documents)
        assert (part == coder.end_of_document).sum() == len(documents)
        assert tokens.token_bytes[part].sum() == sum(len(text.encode()) for text in documents)
        assert part.dtype == np.uint16
        assert not part.flags.writeable
    assert tokens.vocabulary == coder.vocabulary == len(tokens.token_bytes)
    assert (tokens.tokenizer, tokens.corpus, tokens.corpus_sha256) == (tokenizer, corpus.name, corpus.sha256)


def test_tokenise_again_reads_the_cache(corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = tokenise(corpus, tokenizer="bpe:280", cache=cache)
    monkeypatch.delattr(tokens_module, "train_tokenizer")
    again = tokenise(corpus, tokenizer="bpe:280", cache=cache)
    assert again.tokenizer_json == first.tokenizer_json
    assert np.array_equal(again.train, first.train)
    with pytest.raises(NameError):
        tokenise(dataclasses.replace(corpus, sha256="other"), tokenizer="bpe:280", cache=cache)
    with pytest.raises(NameError):
        tokenise(corpus, tokenizer="bpe:290", cache=cache)


def test_tokenise_after_a_failure_leaves_no_entry(corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(tokens_module, "_FACTS", ("no_such_field",))
        with pytest.raises(AttributeError):
            tokenise(corpus, cache=cache)
    assert [path.name for path in (cache / "tokens").iterdir() if path.is_dir()] == []
    assert tokenise(corpus, cache=cache).vocabulary == 256


def test_tokenise_in_racing_processes_agrees(corpus: Corpus, cache: Path) -> None:
    context = multiprocessing.get_context("spawn")
    with context.Pool(2) as pool:
        found = pool.starmap(_tokenise_bpe, [(corpus, cache)] * 4)
    assert len(set(found)) == 1
    assert len([path for path in (cache / "tokens").iterdir() if path.is_dir()]) == 1


def _tokenise_bpe(corpus: Corpus, cache: Path) -> bytes:
    return tokenise(corpus, tokenizer="bpe:270", cache=cache).train.tobytes()


def test_token_set_pickles_out_of_band_without_a_copy(tokens: TokenSet) -> None:
    buffers: list[pickle.PickleBuffer] = []
    body = pickle.dumps(tokens, protocol=5, buffer_callback=buffers.append)
    assert len(body) < 2000
    again = pickle.loads(body, buffers=buffers)
    assert np.shares_memory(again.train, tokens.train)
    assert np.array_equal(again.valid, tokens.valid)


def test_tokenise_of_a_damaged_entry_names_it(corpus: Corpus, cache: Path) -> None:
    tokenise(corpus, cache=cache)
    (array,) = (cache / "tokens").glob("*/train.npy")
    array.write_bytes(b"")
    with pytest.raises(ValueError, match=r"damaged.*delete that folder"):
        tokenise(corpus, cache=cache)


def test_tokenise_where_the_cache_cannot_be_written_is_one_line(corpus: Corpus, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match="cannot be written"):
        tokenise(corpus, cache=tmp_path / "file")


def test_default_cache_follows_xdg(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert default_cache() == tmp_path / "depthweave"


def test_check_fits_less_than_one_batch_or_sequence_names_both_sizes(tokens: TokenSet) -> None:
    context, batch = 16, (len(tokens.train) - 1) // 16
    check_fits(tokens, recipe=Recipe(batch=batch, context=context))
    with pytest.raises(ValueError, match=f"{len(tokens.train)} training tokens; one batch of {batch + 1} x 16"):
        check_fits(tokens, recipe=Recipe(batch=batch + 1, context=context))
    with pytest.raises(ValueError, match="validation tokens; a context of"):
        check_fits(tokens, recipe=Recipe(batch=1, context=len(tokens.valid), evaluation_tokens=10**6))
