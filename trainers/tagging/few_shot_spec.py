"""The sections of a spec for few-shot tagging: the host, the text, and how often and on how few sentences it trains."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from depthweave.trainers.tagging.sentences import TaggedText
from depthweave.trainers.tagging.shots import ShotUnit
from depthweave.trainers.tagging.tag_data import HostWeights
from depthweave.trainers.tagging.tag_dataset import TagDataset, load_tag_dataset
from depthweave.trainers.tagging.tagged_text import load_conll

MAX_DRAWS = 1000
"""Trainings of a trial at each size: the seeds of a trial are numbered by thousands."""
_KIND = "transformers"


@dataclass(frozen=True, kw_only=True, slots=True)
class HostSpec:
    """The pretrained model whose states the heads read."""

    kind: str = _KIND
    """`transformers`."""
    path: str | None = None
    """A local folder with `config.json`, `*.safetensors` and `tokenizer.json`, or `hub:ORG/NAME`, a model of the
    Hugging Face hub that each machine downloads once."""
    weights: HostWeights = "frozen"
    """`frozen`, `full` or `lora`."""

    def __post_init__(self) -> None:
        if self.kind != _KIND:
            raise ValueError(f"host.kind is {self.kind!r:.60}; the task token_classification needs {_KIND}")
        if self.weights not in get_args(HostWeights):
            raise ValueError(f"host.weights is {self.weights!r:.60}; it can be {', '.join(get_args(HostWeights))}")


@dataclass(frozen=True, kw_only=True, slots=True)
class TagCorpus:
    """A tagged text: CoNLL-style files, or a dataset."""

    train: str | None = None
    """CoNLL-style file to train on."""
    validation: str | None = None
    """File to validate on; a tenth of the training sentences where absent."""
    test: str | None = None
    """File that confirmations alone evaluate on; none where absent."""
    column: int = -1
    """The column of the tag, from 0, or from the end below 0."""
    word_column: int = 0
    """The column of the word."""
    dataset: TagDataset | None = None
    """A dataset in place of the files."""

    def __post_init__(self) -> None:
        files = (self.train, self.validation, self.test)
        if self.dataset is not None and any(files):
            raise ValueError("corpus.dataset and files are both given; give one of them")
        if self.dataset is None and self.train is None:
            raise ValueError(
                "corpus.train is missing; give a CoNLL file, such as train.conll, or corpus.dataset with its name"
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShot:
    """The trainings of a trial: one for each size and draw."""

    host: HostSpec
    shots: tuple[int, ...] = (50, 100, 400)
    """Sizes of the draws."""
    unit: ShotUnit = "sentences"
    """What a size counts: sentences, or entities of each type."""
    draws: int = 3
    """Draws of each size."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "shots", tuple(self.shots))
        if not self.shots or list(self.shots) != sorted(set(self.shots)) or self.shots[0] < 1:
            raise ValueError(f"shots is {list(self.shots)}; list sizes of at least 1, ascending, each once")
        if not 1 <= self.draws <= MAX_DRAWS:
            raise ValueError(f"draws is {self.draws}; it must be from 1 to {MAX_DRAWS:,}")
        if self.unit not in get_args(ShotUnit):
            raise ValueError(f"shot_unit is {self.unit!r:.60}; it can be {' or '.join(get_args(ShotUnit))}")

    @property
    def num_trainings(self) -> int:
        """Trainings of a trial."""
        return len(self.shots) * self.draws


def read_tagged_text(corpus: TagCorpus) -> TaggedText:
    """Returns the text that the section names. Raises a one-line `ValueError` where it cannot be read."""
    if corpus.dataset is not None:
        return load_tag_dataset(corpus.dataset)
    assert corpus.train is not None
    files = [None if path is None else Path(path).expanduser() for path in (corpus.validation, corpus.test)]
    return load_conll(Path(corpus.train).expanduser(), *files, column=corpus.column, word_column=corpus.word_column)


def training_seed(seed: int, draw: int) -> int:
    """Returns the seed of a draw and its trainings: no two seeds of trials share one."""
    return MAX_DRAWS * seed + draw
