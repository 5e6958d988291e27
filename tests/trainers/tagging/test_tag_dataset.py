"""Datasets with lists of words and tags: numbers with names, text, splits, and one line for bad rows."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import datasets
import pytest

from depthweave.trainers.tagging.sentences import Sentence
from depthweave.trainers.tagging.tag_dataset import TagDataset, load_tag_dataset

_NAMES = ["O", "B-x", "I-x"]
_ROWS = {"id": ["0", "1"], "tokens": [["a", "b"], ["c"]], "ner_tags": [[1, 2], [0]]}


def _saved(folder: Path, *, features: bool = True, **splits: dict[str, list[Any]]) -> str:
    columns = datasets.Features(
        {
            "id": datasets.Value("string"),
            "tokens": datasets.List(datasets.Value("string")),
            "ner_tags": datasets.List(datasets.ClassLabel(names=_NAMES)),
        }
    )
    parts = {
        name: datasets.Dataset.from_dict(rows, features=columns if features else None) for name, rows in splits.items()
    }
    datasets.DatasetDict(parts).save_to_disk(str(folder / "saved"))
    return str(folder / "saved")


def _error(dataset: TagDataset) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        load_tag_dataset(dataset)
    return str(caught.value)


def test_load_tag_dataset_reads_numbers_by_the_names_of_their_feature(tmp_path: Path) -> None:
    text = load_tag_dataset(TagDataset(name=_saved(tmp_path, train=_ROWS, validation=_ROWS, test=_ROWS)))
    assert text.name == "saved"
    assert text.train == text.test == (Sentence(("a", "b"), ("B-x", "I-x")), Sentence(("c",), ("O",)))
    assert text.notes[0] == "tags are IOB2"


def test_load_tag_dataset_reads_folders_of_json_and_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")
    for kind in ("json", "parquet"):
        (tmp_path / kind).mkdir()
    rows = [{"words": ["a", "b"], "tags": ["S-x", "O"]}, {"words": ["c"], "tags": ["O"]}]
    for name in ("train", "validation"):
        (tmp_path / "json" / f"{name}.jsonl").write_text("\n".join(map(json.dumps, rows)))
        datasets.Dataset.from_list(rows).to_parquet(str(tmp_path / "parquet" / f"{name}.parquet"))
    texts = [
        load_tag_dataset(TagDataset(name=str(tmp_path / kind), words="words", tags="tags", test=None))
        for kind in ("json", "parquet")
    ]
    assert texts[0].train == texts[1].valid == (Sentence(("a", "b"), ("B-x", "O")), Sentence(("c",), ("O",)))
    assert texts[0].scheme == "BIOES"
    assert texts[0].sha256 == texts[1].sha256


def test_load_tag_dataset_without_further_splits_divides_the_first(tmp_path: Path) -> None:
    rows = {"id": ["0"] * 20, "tokens": [[f"w{number}"] for number in range(20)], "ner_tags": [[1]] * 20}
    text = load_tag_dataset(TagDataset(name=_saved(tmp_path, train=rows), valid=None, test=None))
    assert (len(text.train), len(text.valid), len(text.test)) == (18, 2, 0)


def test_load_tag_dataset_leaves_out_rows_without_words_and_says_so(tmp_path: Path) -> None:
    rows = {"id": ["0", "1", "2"], "tokens": [["a"], [], None], "ner_tags": [[1], [], None]}
    text = load_tag_dataset(TagDataset(name=_saved(tmp_path, train=rows, validation=_ROWS), test=None))
    assert text.train == (Sentence(("a",), ("B-x",)),)
    assert text.notes[0] == "2 rows have no word and are left out"


def test_load_tag_dataset_takes_names_for_bare_numbers(tmp_path: Path) -> None:
    name = _saved(tmp_path, features=False, train=_ROWS, validation=_ROWS)
    assert "split train, row 1, word 1: tag 1, but the numbers have no names; give tag_names" in _error(
        TagDataset(name=name, test=None)
    )
    text = load_tag_dataset(TagDataset(name=name, test=None, tag_names=("O", "I-loc", "B-loc")))
    assert text.train[0].tags == ("B-loc", "B-loc")
    assert "row 1, word 2: tag 2; its numbers are 0 (O) to 1 (B-loc)" in _error(
        TagDataset(name=name, test=None, tag_names=("O", "B-loc"))
    )


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ({"tokens": [["a", "b"]], "ner_tags": [["O"]]}, "split train, row 1: has 2 words and 1 tags"),
        ({"tokens": [["a"], None], "ner_tags": [["O"], ["O"]]}, "row 2: has 0 words and 1 tags"),
        (
            {"tokens": [["a", None]], "ner_tags": [["O", "O"]]},
            "row 1, word 2: is None; give the column of a list of text",
        ),
        ({"tokens": [[1]], "ner_tags": [["O"]]}, "row 1, word 1: is 1; give the column"),
        ({"tokens": ["a b"], "ner_tags": [["O"]]}, "row 1: the words are 'a b'; give the column of a list of words"),
        ({"tokens": [["a"]], "ner_tags": ["O"]}, "row 1: the tags are 'O'; give the column of a list of tags"),
        ({"tokens": [["a"]], "ner_tags": [[0.5]]}, "row 1, word 1: tag 0.5; a tag is text, or a number with a name"),
        ({"tokens": [["a"]], "ner_tags": [[None]]}, "row 1, word 1: tag None; a tag is text"),
        ({"tokens": [["a"]], "ner_tags": [["B-x"]]}, "some: no word of the validation part"),
        (
            {"tokens": [["a"], ["b", "c"]], "ner_tags": [["O"], ["O", "PER"]]},
            "split train, row 2, word 2: tag 'PER'; a tag",
        ),
        ({"tokens": [[]], "ner_tags": [[]]}, "split train: holds no word"),
        ({"words": [["a"]], "ner_tags": [["O"]]}, "split train: has no column 'tokens'; it has words, ner_tags"),
    ],
)
def test_load_tag_dataset_names_the_row_of_a_fault(tmp_path: Path, rows: dict[str, list[Any]], fault: str) -> None:
    good = {"tokens": [["a"]], "ner_tags": [["O"]]} if fault.startswith("some") else rows
    name = _saved(tmp_path, features=False, train=rows, validation=good)
    message = _error(TagDataset(name=name, test=None))
    assert fault.replace("some", "saved") in message


def test_load_tag_dataset_names_splits_and_the_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name = _saved(tmp_path, train=_ROWS, dev=_ROWS)
    assert f"dataset {name}, split validation: cannot be read (its splits are train, dev)" in _error(
        TagDataset(name=name)
    )
    (tmp_path / "train.parquet").touch()
    assert "train.parquet: is a file; give its folder" in _error(TagDataset(name=str(tmp_path / "train.parquet")))
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert "go online once" in _error(TagDataset(name="nowhere/no-such-dataset"))
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "install depthweave[hub], or give CoNLL files" in _error(TagDataset(name=name))
