"""A tagged text as a host reads it: its parts as tokens and, for a frozen host, the file of their states."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.host_states import MAX_CACHE_BYTES, HostStates, host_states
from depthweave.trainers.tagging.sentence_batches import Rows
from depthweave.trainers.tagging.sentences import Sentence, TaggedText
from depthweave.trainers.tagging.word_pieces import NO_LABEL, EncodedSentences, IntArray, WordPieces

HostWeights = Literal["frozen", "full", "lora"]
"""`frozen`: the head alone is trained, from states that are computed once; `full`: the host is trained too; `lora`:
small adapters of its layers are."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TagPart:
    """Sentences that a training or an evaluation reads. It is small to pickle: the states stay in their file."""

    sentences: Sequence[Sentence]
    encoded: EncodedSentences
    states: HostStates | None
    """Of a frozen host, for all sentences; absent where there are none, or the host is trained."""
    rows: Rows
    """Numbers of the sentences that are used."""

    @property
    def labelled(self) -> NDArray[np.bool_]:
        """Which tokens of all sentences have a tag."""
        return np.asarray(self.encoded.labels != NO_LABEL)

    @property
    def trainable_rows(self) -> Rows:
        """The used sentences with a tagged token: words of control characters alone give none."""
        starts = self.encoded.starts
        num_before = np.concatenate([[0], np.cumsum(self.labelled)])
        return self.rows[num_before[starts[self.rows + 1]] > num_before[starts[self.rows]]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class TagData:
    """What heads on one host are trained and evaluated on."""

    name: str
    classes: tuple[str, ...]
    """IOB2 tags, `O` first; the number of a class is its label."""
    train: TagPart
    valid: TagPart
    test: TagPart
    """Without sentences where the text has no such part."""
    max_tokens: int
    """Longest sentence, special tokens included."""
    sha256: str
    """Hash of the text."""
    host_sha256: str

    def with_shots(self, indices: Sequence[int] | IntArray) -> TagData:
        """Returns the same data with these training sentences alone."""
        rows = np.asarray(indices, dtype=np.int64)
        return dataclasses.replace(self, train=dataclasses.replace(self.train, rows=rows))


def tag_data(
    text: TaggedText,
    host: Host,
    *,
    max_tokens: int,
    weights: HostWeights = "frozen",
    device: str = "cpu",
    cache: Path | None = None,
    max_cache_bytes: int = MAX_CACHE_BYTES,
    say: Callable[[str], None] = lambda line: None,
) -> TagData:
    """Returns the text as tokens of the host, with the states of all parts where the host is frozen.

    `max_tokens` is the longest sentence. `say` gets a line before what takes long, and one about each cut. Raises a
    one-line `ValueError` where the host takes shorter sentences only, or the states cannot be kept.
    """
    if max_tokens > host.max_tokens:
        raise ValueError(
            f"recipe.context is {max_tokens}; host {host.name} reads at most {host.max_tokens} tokens: "
            "give a smaller one"
        )
    pieces = WordPieces(host.tokenizer_json)
    for note in pieces.notes:
        say(note)

    def part(sentences: Sequence[Sentence]) -> TagPart:
        encoded = pieces.encode(sentences, classes=text.classes, max_tokens=max_tokens)
        for note in encoded.notes:
            say(note)
        states = None
        if weights == "frozen" and len(encoded.ids):
            states = host_states(host, encoded, device=device, folder=cache, max_bytes=max_cache_bytes, say=say)
        return TagPart(sentences=sentences, encoded=encoded, states=states, rows=np.arange(len(sentences)))

    return TagData(
        name=text.name,
        classes=text.classes,
        train=part(text.train),
        valid=part(text.valid),
        test=part(text.test),
        max_tokens=max_tokens,
        sha256=text.sha256,
        host_sha256=host.sha256,
    )
