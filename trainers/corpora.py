"""Text to train on: whole documents, each in the training or in the validation part, never in both.

The part is chosen by the hash of a document's content alone. It does not move when documents are added,
renamed or reordered, and two copies of a document always share a part. Documents are kept in the order of
those hashes, so that the same documents make the same corpus wherever they lie.
"""

from __future__ import annotations

import glob
import hashlib
import os
import platform
import sysconfig
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, get_args

from depthweave.spaces.regular import check_regular

CorpusKind = Literal["stdlib", "files", "hub"]

_LEFT_OUT_FOLDERS = frozenset(
    {
        # Not part of the library, or its tests.
        "site-packages", "dist-packages", "__pycache__", "test", "tests", "idle_test", "lib-dynload",
        # Generated tables that would be most of a small model's easy gains.
        "encodings", "pydoc_data",
    }
)  # fmt: skip
_LEFT_OUT_PREFIXES = ("_sysconfigdata", "config-")
_MIN_STDLIB_FILES = 100
"""A stripped or zipped Python has almost none; a real one has several hundred."""


@dataclass(frozen=True, kw_only=True, slots=True)
class CorpusSpec:
    """Which text to train on."""

    kind: CorpusKind = "stdlib"
    """`stdlib`: sources of the running Python's library; `files`: local text; `hub`: a Hugging Face dataset."""
    paths: tuple[str, ...] = ()
    """`files`: text files, folders (read whole) and globs (`books/**/*.txt`)."""
    separator: str | None = None
    """`files`: what stands between two documents in one file; absent, a file is one document."""
    dataset: str | None = None
    """`hub`: name on the hub, or a local folder that `datasets` wrote or can read."""
    config: str | None = None
    """`hub`: the dataset's configuration, where it has several."""
    split: str = "train"
    """`hub`: the dataset's split; slices such as `train[:10000]` work."""
    column: str = "text"
    """`hub`: the column that holds the text; a row is one document."""
    validation_frac: float = 0.05
    """Share of the documents that go to validation, in (0, 1)."""

    def __post_init__(self) -> None:
        # YAML has no tuples.
        object.__setattr__(self, "paths", tuple(self.paths))
        if self.kind not in get_args(CorpusKind):
            raise ValueError(f"corpus.kind is {self.kind!r}; it can be {', '.join(get_args(CorpusKind))}")
        if not 0.0 < self.validation_frac < 1.0:
            raise ValueError(f"corpus.validation_frac is {self.validation_frac}; it must lie between 0 and 1")
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


@dataclass(frozen=True, kw_only=True, slots=True)
class Corpus:
    """Documents in two parts. `sha256` identifies the documents and the part that each is in."""

    name: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    sha256: str


def load_corpus(spec: CorpusSpec) -> Corpus:
    """The corpus that `spec` names, read and split. Raises a one-line `ValueError` where it cannot be had."""
    source = SOURCES[spec.kind](spec)
    return split_documents(source.documents, name=source.name, validation_frac=spec.validation_frac)


def split_documents(documents: Iterable[str], *, name: str, validation_frac: float) -> Corpus:
    """The documents as a corpus: those whose hash, read as a fraction, lies below `validation_frac` validate.

    Empty documents are dropped. The smallest hash always validates and the largest always trains: only in a
    corpus so small that this decides can an added document move another one.
    """
    keyed = sorted((hashlib.sha256(text.encode("utf-8")).digest(), text) for text in documents if text)
    if not keyed:
        raise ValueError(f"corpus {name} is empty; give documents that hold text")
    smallest, largest = keyed[0][0], keyed[-1][0]
    if smallest == largest:
        raise ValueError(
            f"corpus {name} has one document, which cannot both train and validate; give more documents, "
            "or for files a corpus.separator that stands between documents"
        )
    parts: dict[bool, list[tuple[bytes, str]]] = {True: [], False: []}
    for digest, text in keyed:
        below = _as_fraction(digest) < validation_frac
        parts[digest == smallest or (below and digest != largest)].append((digest, text))
    whole = hashlib.sha256()
    for validates, label in ((False, b"train"), (True, b"validation")):
        whole.update(label + b"".join(digest for digest, _ in parts[validates]))
    train, validation = (tuple(text for _, text in parts[validates]) for validates in (False, True))
    return Corpus(name=name, train=train, validation=validation, sha256=whole.hexdigest())


class _Source(NamedTuple):
    name: str
    documents: Sequence[str]


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
    if spec.separator is not None:
        texts = [part for text in texts for part in text.split(spec.separator)]
    return _Source(name="files", documents=texts)


def _read_hub(spec: CorpusSpec) -> _Source:
    try:
        import datasets
    except ImportError:
        raise ValueError(
            "corpus.kind is hub, which needs the package datasets; install depthweave[hub], or use kind files"
        ) from None
    name = str(spec.dataset)
    try:
        rows = _load_rows(datasets, name=name, spec=spec)
    except (OSError, ValueError, datasets.exceptions.DatasetsError) as error:
        reason = str(error).strip().splitlines()
        raise ValueError(
            f"corpus.dataset {name!r} cannot be read ({reason[0] if reason else type(error).__name__}); "
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
"""Every kind of corpus and what reads it."""


def _load_rows(datasets: Any, *, name: str, spec: CorpusSpec) -> Any:
    """The rows of one split, from a folder of `save_to_disk` or whatever else `load_dataset` takes."""
    folder = Path(name).expanduser()
    if (folder / "dataset_dict.json").is_file() or (folder / "state.json").is_file():
        loaded = datasets.load_from_disk(str(folder))
        if not isinstance(loaded, datasets.DatasetDict):
            return loaded
        if spec.split not in loaded:
            raise ValueError(f"its splits are {', '.join(loaded)}")
        return loaded[spec.split]
    return datasets.load_dataset(str(folder) if folder.is_dir() else name, spec.config, split=spec.split)


def _walk(root: Path, *, suffix: str) -> Iterator[Path]:
    """Every file below `root` with the suffix; the left-out folders are not even entered."""
    for folder, names, files in os.walk(root):
        names[:] = [name for name in names if _is_kept(name)]
        yield from (Path(folder, name) for name in files if name.endswith(suffix) and _is_kept(name))


def _is_kept(name: str) -> bool:
    return name not in _LEFT_OUT_FOLDERS and not name.startswith(_LEFT_OUT_PREFIXES)


def _expand(given: str) -> list[Path]:
    """The files that one entry of `corpus.paths` stands for."""
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


def _as_fraction(digest: bytes) -> float:
    return int.from_bytes(digest[:6], "big") / 2**48
