"""A tagged text as a search trains on it, with what the search must know of the host and the classes."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

import numpy as np
from torch import nn

from depthweave.spaces.head_space import HeadAxes
from depthweave.spaces.hosted import HostShape
from depthweave.trainers.recipe import Recipe
from depthweave.trainers.tagging.entity_score import score
from depthweave.trainers.tagging.few_shot_spec import FewShot
from depthweave.trainers.tagging.host import Host, load_host
from depthweave.trainers.tagging.host_path import host_folder
from depthweave.trainers.tagging.sentences import Sentence, TaggedText
from depthweave.trainers.tagging.shots import draw_shots
from depthweave.trainers.tagging.tag_data import HostWeights, TagData, tag_data


@dataclass(frozen=True, kw_only=True, slots=True)
class RawText:
    """A tagged text as it was read."""

    text: TaggedText

    @property
    def name(self) -> str:
        """Name for a reader."""
        return self.text.name

    @property
    def num_bytes(self) -> tuple[int, int, int]:
        """Bytes of the words of the parts, with a space after each."""
        train, valid, test = map(_num_bytes, (self.text.train, self.text.valid, self.text.test))
        return train, valid, test

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the reading, one sentence each."""
        return self.text.notes


@dataclass(frozen=True, kw_only=True, slots=True)
class FewShotData:
    """What the heads of a search train on."""

    data: TagData
    head_axes: HeadAxes
    tokenizer_json: str | None
    """That of the host."""
    corpus: str
    tokenizer: str
    """Name and hash of the host, which brings it."""

    @property
    def corpus_sha256(self) -> str:
        """Hash of the sentences and their parts."""
        return self.data.sha256

    @property
    def vocabulary(self) -> int:
        """Number of tokens of the host."""
        return self.head_axes.host.vocabulary

    def without_test(self) -> FewShotData:
        """Returns the data without its test part."""
        none = dataclasses.replace(self.data.test, sentences=(), states=None, rows=np.arange(0))
        return dataclasses.replace(self, data=dataclasses.replace(self.data, test=none))

    def renamed(self, corpus: str) -> FewShotData:
        """Returns the same data under another name."""
        return dataclasses.replace(self, corpus=corpus)


def encode_text(
    text: TaggedText, few_shot: FewShot, *, recipe: Recipe, device: str, say: Callable[[str], None]
) -> FewShotData:
    """Returns the text as tokens of the host, with the states of a frozen host.

    Raises a one-line `ValueError` where the host cannot be read, a sentence may be longer than it takes, or there are
    fewer sentences or entities than shots.
    """
    _check_packages(few_shot)
    if recipe.compile:
        raise ValueError("recipe.compile is true; sentences have too many lengths to compile for: use false")
    for shots in few_shot.shots:
        draw_shots(text.train, shots, unit=few_shot.unit, seed=0)
    if not text.test:
        say("there is no test part: a confirmation will have no test F1; corpus.test names one")
    host = host_of(few_shot)
    data = tag_data(text, host, max_tokens=recipe.context, weights=few_shot.host.weights, device=device, say=say)
    return FewShotData(
        data=data,
        head_axes=head_axes(host, text, weights=few_shot.host.weights),
        tokenizer_json=host.tokenizer_json,
        corpus=text.name,
        tokenizer=f"{host.name} {host.sha256[:8]}",
    )


def _check_packages(few_shot: FewShot) -> None:
    """Raises a one-line `ValueError` where a package that the trainings need is not installed."""
    score([], [])
    if few_shot.host.weights == "lora" and find_spec("peft") is None:
        raise ValueError(
            "host.weights is lora, which needs the package peft: `pip install peft`, or use frozen or full"
        )


def host_of(few_shot: FewShot) -> Host:
    """Returns the host. Raises a one-line `ValueError` where there is none at its path."""
    path = few_shot.host.path
    if path is None:
        raise ValueError(
            "host.path is missing: the task token_classification reads the layers of a pretrained model; give the "
            "folder of one, for example with --set host.path=FOLDER"
        )
    return load_host(host_folder(path))


def head_axes(host: Host, text: TaggedText, *, weights: HostWeights) -> HeadAxes:
    """Returns what all heads on the host share, for the tags of the text."""
    return HeadAxes(host=host_shape(host, weights=weights), classes=len(text.classes))


def host_shape(host: Host, *, weights: HostWeights) -> HostShape:
    """Returns the facts of a host that make the architectures of its heads."""
    embedding: Any = host.model.get_input_embeddings()  # type: ignore[operator]
    return HostShape(
        sha256=host.sha256,
        weights=weights,
        depth=host.depth,
        width=host.width,
        heads=host.heads,
        causal=host.causal,
        vocabulary=embedding.weight.shape[0],
        parameters=sum(parameter.numel() for parameter in host.model.parameters()),
        layer_parameters=_layer_parameters(host.model),
    )


def _layer_parameters(model: nn.Module) -> int:
    """Returns the entries of the matrices of linear layers; GPT-2 has a class of its own for them."""
    linear = (
        module.weight
        for name, module in model.named_modules()
        if (isinstance(module, nn.Linear) or type(module).__name__ == "Conv1D") and not name.startswith("pooler")
    )
    return sum(weight.numel() for weight in linear if hasattr(weight, "numel"))


def _num_bytes(sentences: Sequence[Sentence]) -> int:
    return sum(len(word.encode()) + 1 for sentence in sentences for word in sentence.words)
