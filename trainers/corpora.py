"""Reads text to train on: the standard library, files or a dataset, as documents that `splitting` divides."""

from __future__ import annotations

import glob
import json
import os
import platform
import sysconfig
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, NamedTuple, get_args

from depthweave.spaces.regular import check_regular
from depthweave.trainers.dataset_rows import MissingDatasetsError, RowsError, load_rows
from depthweave.trainers.splitting import Corpus, Division, lopsided_note, split_documents, split_text

CorpusKind = Literal["stdlib", "files", "hub"]

_LEFT_OUT_FOLDERS = frozenset(
    {
        # Tests, and what is not part of the library.
        "site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "lib-dynload",
        # Generated tables, which a small model would learn first.
        "encodings", "pydoc_data",
    }
)  # fmt: skip
_LEFT_OUT_PREFIXES = ("_sysconfigdata", "config-")
_MIN_STDLIB_FILES = 100
"""A stripped or zipped Python has almost none, a complete one several hundred."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSpec:
    """Which text to train on."""

    kind: CorpusKind = "stdlib"
    """`stdlib`: sources of the running Python's library; `files`: local text; `hub`: a Hugging Face dataset."""
    paths: tuple[str, ...] = ()
    """`files`: text files, folders (read whole) and globs (`books/**/*.txt`)."""
    separator: str | None = None
    """`files`: the text between two documents of one file; without it a file is one document."""
    dataset: str | None = None
    """`hub`: name on the hub, or a local folder that `datasets` can read."""
    config: str | None = None
    """`hub`: the dataset's configuration, where it has several."""
    split: str = "train"
    """`hub`: the dataset's split; slices such as `train[:10000]` work."""
    column: str = "text"
    """`hub`: the column with the text; a row is one document."""
    validation_frac: float = 0.05
    """Share of the text for validation, in (0, 1)."""
    test_frac: float | None = None
    """Share of the text that only confirmations and exports read, in [0, 1). The default is half of `validation_frac`,
    and at most half of the rest. With 0 there is no test part."""
    division: Division = "text"
    """`text` divides by shares of text. `documents`, the rule of specs of earlier versions, which lack the key, divides
    by shares of documents and makes no test part."""

    def __post_init__(self) -> None:
        # YAML has no tuples.
        object.__setattr__(self, "paths", tuple(self.paths))
        if self.kind not in get_args(CorpusKind):
            raise ValueError(f"corpus.kind is {self.kind!r}; it can be {', '.join(get_args(CorpusKind))}")
        if not 0.0 < self.validation_frac < 1.0:
            raise ValueError(f"corpus.validation_frac is {self.validation_frac}; it must lie between 0 and 1")
        self._check_division()
        if not all(self.paths):
            raise ValueError(f"corpus.paths {list(self.paths)}: an entry is empty; name a file, a folder or a glob")
        if self.kind != "files" and self.paths:
            raise ValueError(f"corpus.paths is given, but corpus.kind is {self.kind}; use kind files, or no paths")
        if self.kind == "files" and not self.paths:
            raise ValueError("corpus.paths is empty; kind files needs at least one file, folder or glob")
        if self.kind == "hub" and not self.dataset:
            raise ValueError("corpus.dataset is missing; kind hub needs the name of a dataset or its folder")
        if self.separator == "":
            raise ValueError("corpus.separator is empty; give the text between documents, or leave it out")

    @property
    def test_share(self) -> float:
        """Returns `test_frac`, or its default."""
        if self.division == "documents":
            return 0.0
        if self.test_frac is None:
            return min(self.validation_frac, 1.0 - self.validation_frac) / 2
        return self.test_frac

    def _check_division(self) -> None:
        if self.division not in get_args(Division):
            raise ValueError(f"corpus.division is {self.division!r}; it can be {', '.join(get_args(Division))}")
        if self.test_frac is None:
            return
        if self.division == "documents" and self.test_frac:
            raise ValueError(
                f"corpus.test_frac is {self.test_frac}, but corpus.division documents has no test part; use division "
                "text, or leave test_frac out"
            )
        if not self.test_frac >= 0.0 or not self.test_frac + self.validation_frac < 1.0:
            raise ValueError(
                f"corpus.test_frac is {self.test_frac} and validation_frac {self.validation_frac}; both together must "
                "leave text to train on: below 1, and test_frac at least 0"
            )


def load_corpus(spec: CorpusSpec) -> Corpus:
    """Reads and divides the corpus that `spec` names. Raises a one-line `ValueError` where it cannot be read."""
    source = SOURCES[spec.kind](spec)
    if spec.division == "documents":
        corpus = split_documents(source.documents, name=source.name, validation_frac=spec.validation_frac)
        notes = tuple(filter(None, [lopsided_note(corpus, validation_frac=spec.validation_frac)]))
        return replace(corpus, notes=notes)
    corpus = split_text(
        source.documents, name=source.name, validation_frac=spec.validation_frac, test_frac=spec.test_share
    )
    return replace(corpus, notes=(*source.notes, *corpus.notes))


class _Source(NamedTuple):
    name: str
    documents: Sequence[str]
    notes: tuple[str, ...] = ()


def _read_stdlib(spec: CorpusSpec) -> _Source:
    root = Path(sysconfig.get_path("stdlib"))
    paths = sorted(_walk(root, suffix=".py")) if root.is_dir() else []
    if len(paths) < _MIN_STDLIB_FILES:
        raise ValueError(
            f"corpus.kind is stdlib, but {root} holds {len(paths)} Python sources; "
            "this Python comes without them: use another Python, or kind files with text of your own"
        )
    return _Source(name=f"stdlib-{platform.python_version()}", documents=[_read_text(path) for path in paths])


def _read_files(spec: CorpusSpec) -> _Source:
    paths = list(dict.fromkeys(path.resolve() for given in spec.paths for path in _expand(given)))
    texts = [_read_text(path) for path in paths]
    if not any(texts):
        raise ValueError(f"corpus.paths {list(spec.paths)}: every file is empty; give files that hold text")
    if spec.separator is None:
        return _Source(name="files", documents=texts)
    if spec.division == "documents":
        return _Source(name="files", documents=[part for text in texts for part in text.split(spec.separator)])
    parts, found = _separated(texts, separator=spec.separator)
    if found:
        return _Source(name="files", documents=parts)
    note = _never_occurs(spec.separator, num_files=len(paths))
    if len(texts) == 1:
        raise ValueError(note)
    return _Source(name="files", documents=parts, notes=(note,))


def _separated(texts: Sequence[str], *, separator: str) -> tuple[list[str], bool]:
    """Returns the documents of all files, and whether the separator occurs in any.

    Line ends match either way: `\\n` in the separator matches `\\r\\n` in a file, and the reverse.
    """
    plain = separator.replace("\r\n", "\n")
    spellings = dict.fromkeys([separator, plain.replace("\n", "\r\n"), plain])
    parts: list[str] = []
    found = False
    for text in texts:
        own = next((spelling for spelling in spellings if spelling in text), None)
        found = found or own is not None
        parts += [text] if own is None else text.split(own)
    return parts, found


def _never_occurs(separator: str, *, num_files: int) -> str:
    where = "the file" if num_files == 1 else f"any of the {num_files:,} files"
    shown = f"{separator!r:.60}"
    meant = separator.replace("\\r", "\r").replace("\\n", "\n").replace("\\t", "\t")
    if meant != separator:
        shown, quoted = f"the {len(separator)} characters {separator:.60}", json.dumps(meant)
        what = f"to mean ends of lines, write it in double quotes that reach the YAML: {quoted}"
    else:
        what = "give the text between two documents, or leave it out"
    return f"corpus.separator is {shown}, which does not occur in {where}; {what}"


def _read_hub(spec: CorpusSpec) -> _Source:
    name = str(spec.dataset)
    try:
        rows = load_rows(name, config=spec.config, split=spec.split)
    except MissingDatasetsError as error:
        raise ValueError(f"corpus.kind is hub, but {error}, or use kind files") from None
    except RowsError as error:
        raise ValueError(
            f"corpus.dataset {name!r} cannot be read ({error}); "
            "check the name, config and split, go online once to fill the cache, or give a local folder"
        ) from error
    if spec.column not in rows.column_names:
        known = ", ".join(rows.column_names)
        raise ValueError(f"corpus.column is {spec.column!r}; {name} has the columns {known}")
    documents = [text for text in rows[spec.column] if text is not None]
    if documents and not isinstance(documents[0], str):
        raise ValueError(f"corpus.column {spec.column!r} of {name} holds no text; name a column of strings")
    return _Source(name=f"hub-{Path(name).name}", documents=documents)


SOURCES: Mapping[CorpusKind, Callable[[CorpusSpec], _Source]] = {
    "stdlib": _read_stdlib,
    "files": _read_files,
    "hub": _read_hub,
}
"""The function that reads each kind of corpus."""


def _walk(root: Path, *, suffix: str) -> Iterator[Path]:
    """Yields every file below `root` with the suffix, except those in folders that are left out."""
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if _is_kept(name)]
        yield from (Path(folder, name) for name in files if name.endswith(suffix) and _is_kept(name))


def _is_kept(name: str) -> bool:
    return name not in _LEFT_OUT_FOLDERS and not name.startswith(_LEFT_OUT_PREFIXES)


def _expand(given: str) -> list[Path]:
    """Returns the files that one item of `corpus.paths` names."""
    path = Path(given).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        files = (file for file in path.rglob("*") if file.is_file())
        found = sorted(file for file in files if not _is_hidden(file, below=path))
        what = "folder holds no file"
    elif glob.has_magic(given):
        found = sorted(file for file in map(Path, glob.glob(str(path), recursive=True)) if file.is_file())
        what = "pattern matches no file"
    else:
        if path.exists():
            check_regular(path)
        raise ValueError(f"corpus.paths: {given} does not exist; give a text file, a folder or a glob")
    if not found:
        raise ValueError(f"corpus.paths: {given}: this {what}; give a text file, a folder or a glob")
    return found


def _is_hidden(file: Path, *, below: Path) -> bool:
    return any(part.startswith(".") for part in file.relative_to(below).parts)


def _read_text(path: Path) -> str:
    try:
        content = path.read_bytes()
    except OSError as error:
        reason = error.strerror
        raise ValueError(f"corpus: {path} cannot be read ({reason}); check its permissions") from None
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"corpus: {path} is not UTF-8 text (byte {error.start}); convert it, or give a glob without it"
        ) from None
    if "\0" in text:
        raise ValueError(f"corpus: {path} is not text (it holds a zero byte); give a glob without it")
    return text
