"""Corpora: divisions are stable, every source is read, and bad input gives one line."""

from __future__ import annotations

import json
import sys
import sysconfig
from pathlib import Path
from typing import Literal

import datasets
import pytest

from depthweave.trainers.corpora import CorpusSpec, load_corpus
from depthweave.trainers.splitting import Corpus


def _files(
    *paths: Path | str,
    separator: str | None = None,
    validation_frac: float = 0.5,
    division: Literal["text", "documents"] = "documents",
) -> CorpusSpec:
    return CorpusSpec(
        kind="files",
        paths=tuple(str(path) for path in paths),
        separator=separator,
        validation_frac=validation_frac,
        # Whole documents, even where there are few.
        division=division,
    )


def _error(spec: CorpusSpec) -> str:
    with pytest.raises(ValueError, match=r"^[^\n]+$") as caught:
        load_corpus(spec)
    return str(caught.value)


def test_load_corpus_stdlib_reads_megabytes_of_the_library_and_no_tests() -> None:
    corpus = load_corpus(CorpusSpec())
    everything = _all(corpus)
    root = Path(sysconfig.get_path("stdlib"))
    assert (root / "argparse.py").read_bytes().decode() in everything
    assert (root / "asyncio" / "locks.py").read_bytes().decode() in everything
    assert sum(map(len, everything)) > 4_000_000
    assert 0.02 < sum(map(len, corpus.validation)) / sum(map(len, everything)) < 0.09
    assert (root / "unittest" / "case.py").read_bytes().decode() in everything
    assert not any("import idlelib.idle_test" in text[:2000] for text in everything)
    assert load_corpus(CorpusSpec()).sha256 == corpus.sha256


def test_load_corpus_stdlib_without_sources_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sysconfig, "get_path", lambda name: str(tmp_path))
    assert "holds 0 Python sources" in _error(CorpusSpec())


def test_load_corpus_files_takes_files_folders_and_globs_once_each(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".hidden").write_text("hidden")
    for name in ("a.txt", "b.txt", "sub/c.txt", "sub/d.md"):
        (tmp_path / name).write_text(f"text of {name}\r\n", newline="")
    corpus = load_corpus(_files(tmp_path, tmp_path / "a.txt", tmp_path / "**" / "*.txt"))
    assert sorted(_all(corpus)) == [f"text of {name}\r\n" for name in ("a.txt", "b.txt", "sub/c.txt", "sub/d.md")]
    assert sorted(_all(load_corpus(_files(tmp_path / "**" / "*.md", tmp_path / "a.txt")))) == [
        "text of a.txt\r\n",
        "text of sub/d.md\r\n",
    ]


def test_load_corpus_files_with_a_separator_makes_a_document_of_each_part(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("one\n---\ntwo\n---\nthree\n---\n")
    assert sorted(_all(load_corpus(_files(tmp_path / "a.txt", separator="\n---\n")))) == ["one", "three", "two"]


@pytest.mark.parametrize(
    ("content", "separator"),
    [("one\r\n\r\ntwo\r\n\r\nthree", "\n\n"), ("one\n\ntwo\n\nthree", "\r\n\r\n")],
)
def test_load_corpus_files_separator_takes_the_line_ends_of_the_file(
    tmp_path: Path, content: str, separator: str
) -> None:
    (tmp_path / "a.txt").write_bytes(content.encode())
    corpus = load_corpus(_files(tmp_path / "a.txt", separator=separator, division="text"))
    assert not {"\r", "\n"} & set("".join(_all(corpus)))
    assert len("".join(_all(corpus))) == len("onetwothree")


def test_load_corpus_files_separator_that_never_occurs_is_named(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).write_text(f"line of {name}\nand another\n\n" * 9)
    assert "corpus.separator is '---', which does not occur in the file; give the text" in _error(
        _files(tmp_path / "a", separator="---", division="text")
    )
    literal = _error(_files(tmp_path / "a", separator=r"\n\n", division="text"))
    assert r"is the 4 characters \n\n, which does not occur in the file" in literal
    assert literal.endswith(r'write it in double quotes that reach the YAML: "\n\n"')
    # Two files are still two documents.
    note = load_corpus(_files(tmp_path, separator="---", division="text")).notes[0]
    assert "does not occur in any of the 2 files" in note


def test_load_corpus_of_a_book_and_a_note_gives_validation_its_share_of_the_text(tmp_path: Path) -> None:
    # Under the rule `documents` the smaller hash would validate: the book, fifty times longer than the note.
    (tmp_path / "book").write_text("".join(f"line {number} of the book\n" for number in range(7000)))
    (tmp_path / "note").write_text("a line of the note, another one\n" * 90)
    for division in ("text", "documents"):
        spec = CorpusSpec(kind="files", paths=(str(tmp_path),), division=division)
        train, validation, test = load_corpus(spec).num_bytes
        (note,) = load_corpus(spec).notes
        if division == "text":
            assert validation / (train + validation + test) == pytest.approx(0.05, rel=0.05)
            assert test / (train + validation + test) == pytest.approx(0.025, rel=0.05)
            assert note.startswith("1 document is cut, of 2")
        else:
            assert validation > train
            assert "of the text where 5 % were asked for" in note
            assert "corpus.separator gives more documents" in note


def test_load_corpus_files_elsewhere_or_renamed_is_the_same_corpus(tmp_path: Path) -> None:
    for folder, names in (("x", "abcdef"), ("y", "fedcba")):
        (tmp_path / folder).mkdir()
        for number, name in enumerate(names):
            (tmp_path / folder / name).write_text(f"document {number}")
    assert load_corpus(_files(tmp_path / "x")) == load_corpus(_files(tmp_path / "y"))


@pytest.mark.parametrize(
    ("name", "content", "fault"),
    [
        ("latin.txt", "caf\xe9".encode("latin-1"), "is not UTF-8 text"),
        ("image.png", b"\x89PNG\r\n\x1a\n\0", "is not UTF-8 text"),
        ("zeros.bin", b"ab\0cd", "is not text"),
        ("empty.txt", b"", "every file is empty"),
    ],
)
def test_load_corpus_files_with_a_bad_file_names_it(tmp_path: Path, name: str, content: bytes, fault: str) -> None:
    (tmp_path / name).write_bytes(content)
    message = _error(_files(tmp_path / name))
    assert fault in message
    assert name in message


def test_load_corpus_files_that_are_missing_are_named(tmp_path: Path) -> None:
    assert "gone.txt does not exist" in _error(_files(tmp_path / "gone.txt"))
    assert "*.txt: this pattern matches no file" in _error(_files(tmp_path / "*.txt"))
    assert "this folder holds no file" in _error(_files(tmp_path))


@pytest.mark.parametrize(
    ("fields", "fault"),
    [
        ({"kind": "web"}, "corpus.kind is 'web'; it can be stdlib, files, hub"),
        ({"validation_frac": 0.0}, "corpus.validation_frac is 0.0"),
        ({"kind": "files"}, "corpus.paths is empty"),
        ({"kind": "hub"}, "corpus.dataset is missing"),
        ({"separator": ""}, "corpus.separator is empty"),
        ({"division": "bytes"}, "corpus.division is 'bytes'; it can be text, documents"),
        ({"test_frac": -0.1}, "corpus.test_frac is -0.1"),
        ({"test_frac": 0.5, "validation_frac": 0.5}, "both together must leave text to train on"),
        ({"test_frac": float("nan")}, "corpus.test_frac is nan"),
        ({"test_frac": 0.1, "division": "documents"}, "corpus.division documents has no test part"),
    ],
)
def test_corpus_spec_with_a_bad_field_names_it(fields: dict[str, object], fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        CorpusSpec(**fields)  # type: ignore[arg-type]


def test_load_corpus_hub_reads_a_saved_dataset_and_its_split(tmp_path: Path) -> None:
    rows = {"content": [f"row {number}" for number in range(20)] + [""]}
    whole = datasets.DatasetDict({"train": datasets.Dataset.from_dict(rows)})
    whole.save_to_disk(str(tmp_path / "saved"), max_shard_size="1MB")
    spec = CorpusSpec(
        kind="hub", dataset=str(tmp_path / "saved"), column="content", validation_frac=0.3, division="documents"
    )
    corpus = load_corpus(spec)
    assert corpus.name == "hub-saved"
    assert sorted(_all(corpus)) == sorted(text for text in rows["content"] if text)


def test_load_corpus_hub_reads_a_folder_of_json(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hub-cache")
    (tmp_path / "data").mkdir()
    lines = [json.dumps({"text": f"line {number}"}) for number in range(10)]
    (tmp_path / "data" / "train.jsonl").write_text("\n".join(lines))
    corpus = load_corpus(
        CorpusSpec(kind="hub", dataset=str(tmp_path / "data"), validation_frac=0.3, division="documents")
    )
    assert sorted(_all(corpus)) == sorted(f"line {number}" for number in range(10))


def test_load_corpus_hub_with_a_bad_column_or_split_names_the_known(tmp_path: Path) -> None:
    datasets.Dataset.from_dict({"body": ["x"], "length": [1]}).save_to_disk(str(tmp_path / "one"))
    assert "has the columns body, length" in _error(CorpusSpec(kind="hub", dataset=str(tmp_path / "one")))
    message = _error(CorpusSpec(kind="hub", dataset=str(tmp_path / "one"), column="length"))
    assert "holds no text" in message
    both = datasets.DatasetDict({"a": datasets.Dataset.from_dict({"text": ["x"]})})
    both.save_to_disk(str(tmp_path / "both"))
    assert "its splits are a" in _error(CorpusSpec(kind="hub", dataset=str(tmp_path / "both")))


def test_load_corpus_hub_offline_says_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    assert "go online once" in _error(CorpusSpec(kind="hub", dataset="nowhere/no-such-dataset"))


def test_load_corpus_hub_without_the_extra_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "datasets", None)
    assert "install depthweave[hub]" in _error(CorpusSpec(kind="hub", dataset="any/dataset"))


def _all(corpus: Corpus) -> tuple[str, ...]:
    return corpus.train + corpus.validation + corpus.test
