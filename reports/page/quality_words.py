"""How the page names the quality by which a task judges its models: perplexity, or the error of another task."""

from __future__ import annotations

from typing import NamedTuple

from depthweave.reports.formatting import quality_word, title_of
from depthweave.reports.store.objectives import QUALITY


class QualityWords(NamedTuple):
    """Texts about a quality, for the page and its scripts."""

    column: str
    """Name of the objective."""
    word: str
    """In a sentence: "perplexity"."""
    test: str
    """On the test part: "test perplexity"."""
    difference: str
    """To the plain architecture: "loss against plain"."""
    unit: str
    """Of that difference; may be empty."""
    curve: str
    """The caption of its course: "Validation loss in nat/token"."""


def quality_words(quality: str) -> QualityWords:
    """Returns the texts about a quality objective."""
    if quality == QUALITY:
        return QualityWords(
            column=quality,
            word=quality,
            test=f"test {quality}",
            difference="loss against plain",
            unit="nat/token",
            curve="Validation loss in nat/token",
        )
    title = title_of(quality)
    return QualityWords(
        column=quality,
        word=quality_word(quality),
        test=f"test {title.removeprefix('validation ')}",
        difference=f"{title} against plain",
        unit="",
        curve=f"{title.capitalize()} at each evaluation",
    )
