"""A corpus as numbers: read-only arrays that many processes share without copying.

Arrays are cached by content in the user's cache folder and memory-mapped on load. A cache entry is a folder that is
renamed into place when it is complete. Processes that want the same entry at once wait for the first.

Axes: N tokens of a part, V vocabulary.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from depthweave.spaces.locks import LockTimeoutError, acquire_soon, file_lock
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.splitting import Corpus
from depthweave.trainers.tokenizer import Tokenizer, TokenizerSpec, make_tokenizer, train_tokenizer

_CACHE_VERSION = 2
"""Incremented with every change of a cache entry's content; older entries are then not found."""

_LOCK_LIMIT_S = 6 * 3600.0
"""Longest wait for another process that makes the same entry."""
_SCRATCH = "new-"

UIntArray: TypeAlias = np.ndarray[Any, np.dtype[np.unsignedinteger[Any]]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TokenSet:
    """A tokenised corpus. It holds plain arrays, so pickling out of band (as Ray does) copies nothing."""

    train: UIntArray
    """[N] training tokens, each document followed by its end; uint16 or uint32, read-only."""
    valid: UIntArray
    """[N] validation tokens, in the same form."""
    token_bytes: UIntArray
    """[V] bytes of text of each token, 0 for the end of a document; bits per byte are computed from them."""
    vocabulary: int
    """Number of tokens V."""
    tokenizer: str
    """`bytes`, or `bpe:` and the wanted size of the vocabulary."""
    tokenizer_json: str | None
    """Content of `tokenizer.json`; None for bytes."""
    corpus: str
    """Name of the corpus."""
    corpus_sha256: str
    """Hash of its documents and of the part of each."""
    test: UIntArray = field(default_factory=lambda: np.zeros(0, dtype=np.uint16))
    """[N] test tokens, in the same form; empty where there is no test part, and in every search."""

    def without_test(self) -> TokenSet:
        """Returns the tokens without the test part: what a search trains and evaluates on."""
        return replace(self, test=self.valid[:0])

    def renamed(self, corpus: str) -> TokenSet:
        """Returns the same tokens under another corpus name."""
        return replace(self, corpus=corpus)

    def make_tokenizer(self) -> Tokenizer:
        """Returns the tokenizer that encodes and decodes these tokens."""
        return make_tokenizer(self.tokenizer_json)


def default_cache() -> Path:
    """Returns the user's cache folder for this package on this platform; does not create it."""
    if given := os.environ.get("XDG_CACHE_HOME"):
        return Path(given) / "depthweave"
    if sys.platform == "win32":
        local = os.environ.get("LOCALAPPDATA")
        return (Path(local) if local else Path.home() / "AppData" / "Local") / "depthweave" / "Cache"
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "depthweave"
    return Path.home() / ".cache" / "depthweave"


def tokenise(
    corpus: Corpus,
    *,
    tokenizer: TokenizerSpec | str = "bytes",
    tokenizer_json: str | None = None,
    cache: Path | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> TokenSet:
    """Returns the corpus as tokens, from the cache or newly made and cached.

    `tokenizer_json` is an existing BPE tokenizer, that of a run; without it one is learnt. `cache` is the folder of
    entries; the default is the user's own. `say` gets a line before what takes long. Raises a one-line `ValueError`
    where the cache cannot be written.
    """
    spec = TokenizerSpec.parse(tokenizer) if isinstance(tokenizer, str) else tokenizer
    folder = (default_cache() if cache is None else cache) / "tokens" / _cache_key(corpus, spec, tokenizer_json)
    if not folder.is_dir():
        try:
            folder.parent.mkdir(parents=True, exist_ok=True)
            with _entry_lock(folder):
                if not folder.is_dir():  # Another process may have made it while this one waited.
                    _write_entry(_tokenise_now(corpus, spec, tokenizer_json, say=say), folder=folder)
        except LockTimeoutError:
            raise
        except OSError as error:
            raise ValueError(
                f"cache folder {folder.parent} cannot be written ({error.strerror}); "
                "set XDG_CACHE_HOME to a folder that can"
            ) from error
    return _read_entry(folder)


@contextmanager
def _entry_lock(folder: Path) -> Iterator[None]:
    """Keeps other processes from making this entry, and removes what a killed process left of it."""
    lock = file_lock(folder.with_suffix(".lock"))
    acquire_soon(lock, limit_s=_LOCK_LIMIT_S)
    try:
        for leftover in folder.parent.glob(f"{folder.name}.{_SCRATCH}*"):
            shutil.rmtree(leftover, ignore_errors=True)
        yield
    finally:
        lock.release()


def tokenise_with(corpus: Corpus, *, tokenizer_json: str) -> TokenSet:
    """Returns the corpus as tokens of an existing tokenizer, such as an exported one; not cached."""
    tokenizer = make_tokenizer(tokenizer_json)
    return _encoded(corpus, tokenizer, name=f"bpe:{tokenizer.vocabulary}")


def check_fits(tokens: TokenSet, *, recipe: Recipe) -> None:
    """Raises a one-line `ValueError` where the corpus has less than one batch or one validation sequence."""
    wanted = recipe.batch * recipe.context + 1
    if len(tokens.train) < wanted:
        raise ValueError(
            f"corpus {tokens.corpus} has {len(tokens.train)} training tokens; one batch of {recipe.batch} x "
            f"{recipe.context} needs {wanted}: give more text, or a smaller recipe.batch or recipe.context"
        )
    if len(tokens.valid) < recipe.context + 1:
        raise ValueError(
            f"corpus {tokens.corpus} has {len(tokens.valid)} validation tokens; a context of {recipe.context} "
            f"needs {recipe.context + 1}: give more text, a larger corpus.validation_frac or a smaller "
            "recipe.context"
        )


def _cache_key(corpus: Corpus, spec: TokenizerSpec, tokenizer_json: str | None) -> str:
    identity = f"{_CACHE_VERSION} {corpus.sha256} {spec.name}"
    if tokenizer_json is not None:
        identity += f" {hashlib.sha256(tokenizer_json.encode()).hexdigest()}"
    return hashlib.sha256(identity.encode()).hexdigest()[:32]


def _tokenise_now(
    corpus: Corpus, spec: TokenizerSpec, tokenizer_json: str | None, *, say: Callable[[str], None]
) -> TokenSet:
    if tokenizer_json is not None:
        return _encoded(corpus, make_tokenizer(tokenizer_json), name=spec.name)
    return _encoded(corpus, train_tokenizer(spec, corpus.train, say=say), name=spec.name)


def _encoded(corpus: Corpus, tokenizer: Tokenizer, *, name: str) -> TokenSet:
    return TokenSet(
        train=tokenizer.encode_documents(corpus.train),
        valid=tokenizer.encode_documents(corpus.validation),
        test=tokenizer.encode_documents(corpus.test),
        token_bytes=tokenizer.token_bytes(),
        vocabulary=tokenizer.vocabulary,
        tokenizer=name,
        tokenizer_json=tokenizer.json,
        corpus=corpus.name,
        corpus_sha256=corpus.sha256,
    )


_ARRAYS = ("train", "valid", "test", "token_bytes")
_FACTS = ("vocabulary", "tokenizer", "tokenizer_json", "corpus", "corpus_sha256")


def _write_entry(tokens: TokenSet, *, folder: Path) -> None:
    """Writes the entry at `folder`, whole or not at all."""
    scratch = Path(tempfile.mkdtemp(prefix=f"{folder.name}.{_SCRATCH}", dir=folder.parent))
    try:
        for name in _ARRAYS:
            np.save(scratch / f"{name}.npy", getattr(tokens, name), allow_pickle=False)
        facts = {name: getattr(tokens, name) for name in _FACTS}
        (scratch / "facts.json").write_text(json.dumps(facts), encoding="utf-8")
        scratch.rename(folder)
    except BaseException:
        shutil.rmtree(scratch, ignore_errors=True)
        raise


def _read_entry(folder: Path) -> TokenSet:
    try:
        # Arrays are views of plain type: a memmap object would be copied when it is pickled.
        fields: dict[str, Any] = json.loads((folder / "facts.json").read_text(encoding="utf-8"))
        for name in _ARRAYS:
            fields[name] = np.asarray(np.load(folder / f"{name}.npy", mmap_mode="r", allow_pickle=False))
        return TokenSet(**fields)
    except (OSError, EOFError, ValueError, TypeError) as error:
        raise ValueError(f"cache entry {folder} is damaged ({error}); delete that folder") from error
