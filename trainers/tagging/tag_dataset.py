"""Reads a tagged text from a dataset: rows with a list of words and a list of tags.

The dataset is a name on the Hugging Face hub, a folder of `save_to_disk`, or a folder of Parquet or JSON lines files.
Tags are text, or numbers with names (`ClassLabel`), as in `conll2003` and `wnut_17`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from depthweave.trainers.dataset_rows import MissingDatasetsError, RowsError, load_rows
from depthweave.trainers.tagging.raw_sentence import RawSentence, check_size
from depthweave.trainers.tagging.sentences import TaggedText
from depthweave.trainers.tagging.tagged_text import make_tagged_text

_BATCH_ROWS = 1000
_MAX_SHOWN = 40


@dataclass(frozen=True, kw_only=True, slots=True)
class TagDataset:
    """A dataset, its splits and its columns."""

    name: str
    """Name on the hub, or a local folder."""
    config: str | None = None
    """The dataset's configuration, where it has several."""
    train: str = "train"
    """The split to train on; slices such as `train[:1000]` work for all but folders of `save_to_disk`."""
    valid: str | None = "validation"
    """The split to validate on; `None` takes a tenth of the training split."""
    test: str | None = "test"
    """The split to test on, or `None`."""
    words: str = "tokens"
    """The column with the list of words."""
    tags: str = "ner_tags"
    """The column with the list of tags."""
    tag_names: tuple[str, ...] | None = None
    """The tag of each number, for numbers without names."""


def load_tag_dataset(dataset: TagDataset) -> TaggedText:
    """Reads all splits. Raises a one-line `ValueError` that names the split and the row where one cannot be read."""
    if Path(dataset.name).expanduser().is_file():
        raise ValueError(
            f"dataset {dataset.name}: is a file; give its folder, with a file a split such as train.parquet"
        )
    parts: dict[str, list[RawSentence]] = {}
    num_empty = 0
    for part, split in (("train", dataset.train), ("valid", dataset.valid), ("test", dataset.test)):
        found = [] if split is None else list(_read_split(dataset, split))
        parts[part] = [sentence for sentence in found if sentence.words]
        num_empty += len(found) - len(parts[part])
        if split is not None and not parts[part]:
            raise ValueError(f"dataset {dataset.name}, split {split}: holds no word; give a split that does")
    notes = (
        [f"{num_empty:,} {'row has' if num_empty == 1 else 'rows have'} no word and are left out"] if num_empty else []
    )
    return make_tagged_text(Path(dataset.name).name, **parts, notes=notes)


def _read_split(dataset: TagDataset, split: str) -> Iterator[RawSentence]:
    source = f"dataset {dataset.name}, split {split}"
    try:
        rows = load_rows(dataset.name, config=dataset.config, split=split)
    except MissingDatasetsError as error:
        raise ValueError(f"dataset {dataset.name!r}: {error}, or give CoNLL files") from None
    except RowsError as error:
        raise ValueError(
            f"{source}: cannot be read ({error}); check the name, config and split (None for a part that it lacks), go "
            "online once to fill the cache, or give a local folder"
        ) from error
    for column in (dataset.words, dataset.tags):
        if column not in rows.column_names:
            raise ValueError(f"{source}: has no column {column!r}; it has {', '.join(rows.column_names)}")
    names = _names(rows.features[dataset.tags]) or dataset.tag_names
    num_words = 0
    number = 0
    for batch in rows.select_columns([dataset.words, dataset.tags]).iter(batch_size=_BATCH_ROWS):
        for words, tags in zip(batch[dataset.words], batch[dataset.tags], strict=True):
            number += 1
            sentence = _sentence(words, tags, names=names, source=f"{source}, row {number}")
            num_words += len(sentence.words)
            check_size(num_words, source=source)
            yield sentence


def _names(feature: Any) -> Sequence[str] | None:
    """Returns the names of the numbers in a list of `ClassLabel`."""
    # Versions before 4 also write a list of one feature.
    inner = feature[0] if isinstance(feature, list) and feature else getattr(feature, "feature", None)
    names: Sequence[str] | None = getattr(inner, "names", None)
    return names


def _sentence(words: Any, tags: Any, *, names: Sequence[str] | None, source: str) -> RawSentence:
    # A row without a list is as empty as one with an empty list.
    words, tags = [] if words is None else words, [] if tags is None else tags
    for what, items in (("words", words), ("tags", tags)):
        if not isinstance(items, list):
            raise ValueError(f"{source}: the {what} are {_shown(items)}; give the column of a list of {what}")
    if len(words) != len(tags):
        raise ValueError(f"{source}: has {len(words)} words and {len(tags)} tags; give each word one tag")
    for place, word in enumerate(words, start=1):
        if not isinstance(word, str):
            raise ValueError(f"{source}, word {place}: is {_shown(word)}; give the column of a list of text")
    named = tuple(_name(tag, names=names, place=f"{source}, word {place}") for place, tag in enumerate(tags, start=1))
    return RawSentence(tuple(words), named, source)


def _name(tag: Any, *, names: Sequence[str] | None, place: str) -> str:
    if isinstance(tag, str):
        return tag
    if not isinstance(tag, int) or isinstance(tag, bool):
        raise ValueError(f"{place}: tag {_shown(tag)}; a tag is text, or a number with a name")
    if names is None:
        raise ValueError(f"{place}: tag {tag}, but the numbers have no names; give tag_names, the tag of each from 0")
    if not 0 <= tag < len(names):
        raise ValueError(f"{place}: tag {tag}; its numbers are 0 ({names[0]}) to {len(names) - 1} ({names[-1]})")
    return names[tag]


def _shown(value: object) -> str:
    return f"{value!r:.{_MAX_SHOWN}}"
