"""What a search is about to read, and who gets its evaluations: printed first, as a spec may come from a stranger."""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from pathlib import Path

from depthweave.reports.formatting import plural
from depthweave.search.console import one_line
from depthweave.trainers import CorpusSpec

_MAX_NAMED = 8


def text_sentence(spec: CorpusSpec, *, named_by: str) -> str:
    """Returns a line that names the text about to be read, and what named it."""
    if spec.kind == "stdlib":
        return f"reading the text: the library of this Python, {platform.python_version()}"
    if spec.kind == "hub":
        folder = Path(str(spec.dataset)).expanduser()
        where = str(folder.absolute()) if folder.is_dir() else f"{spec.dataset}, of the Hugging Face hub"
        return one_line(f"reading the text: the dataset {where}, named by {named_by}")
    paths = [os.path.abspath(os.path.expanduser(item)) for item in spec.paths]
    more = f" and {plural(len(paths) - _MAX_NAMED, 'other path')}" if len(paths) > _MAX_NAMED else ""
    return one_line(f"reading the text: {', '.join(paths[:_MAX_NAMED])}{more}, named by {named_by}")


def logger_sentences(loggers: Sequence[str]) -> list[str]:
    """Returns a line that names the programs that get every evaluation; nothing without loggers."""
    return [f"every evaluation goes to {', '.join(loggers)}, as the spec says"] if loggers else []
