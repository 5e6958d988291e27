"""Writes a trained tagger as a folder that plain transformers loads, with its host, its code and its tokenizer.

config.json  model.safetensors              the host and the head
configuration_depthweave_tagger.py  modeling_depthweave_tagger.py
tokenizer.json  tokenizer_config.json       the host's own
README.md                                   the model card
SHA256SUMS                                  of all of these
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Protocol

from torch import nn

from depthweave.reports.export.bundle import bundle
from depthweave.reports.export.card import CARD_FILE
from depthweave.reports.export.tagger_card import TaggerFacts, tagger_card
from depthweave.reports.export.tagger_tokenizer import write_tagger_tokenizer
from depthweave.reports.export.whole_folder import check_target, whole_folder
from depthweave.reports.store.run_store import TOKENIZER_FILE
from depthweave.spaces.checksums import check_listed
from depthweave.spaces.heads import Head, HeadShape
from depthweave.spaces.hosts.host_folder import HOST_CONFIG_FILE, host_sha256, host_weight_files
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.spaces.quiet_transformers import quiet_transformers
from depthweave.spaces.regular import check_named

_PACKAGE = "depthweave.reports.export"
_CONFIGURATION = "configuration_depthweave_tagger"
_MODELING = "modeling_depthweave_tagger"
_WHOLE = "1000GB"
"""Above any model's size: all weights are in one file."""


class TrainedTagger(Protocol):
    """What an export needs of the training of a head: `TaggingState` of the trainers."""

    @property
    def shape(self) -> HeadShape:
        """The shape of the head."""

    @property
    def head(self) -> Head:
        """The trained head."""

    @property
    def weights(self) -> str:
        """Whether the host is `frozen`, trained (`full`), or has adapters (`lora`)."""

    @property
    def host_sha256(self) -> str:
        """Hash of the pretrained host."""

    def merged_host(self) -> nn.Module | None:
        """Returns the trained host; absent for a frozen one."""


def export_tagger(
    folder: str | os.PathLike[str],
    *,
    state: TrainedTagger,
    host_folder: str | os.PathLike[str],
    classes: Sequence[str],
    facts: TaggerFacts,
) -> Path:
    """Writes the tagger to the folder, completely or not at all, and returns the folder.

    `classes` are the IOB2 tags by number. `host_folder` is that of the pretrained host. Raises `ValueError` with one
    line if the folder is not empty, the host is gone or another one, or its package is missing.
    """
    check_named(folder, what="the folder of an export")
    target, source = Path(folder), Path(host_folder)
    check_target(target)
    if len(classes) != state.shape.classes:
        raise ValueError(
            f"there are {len(classes)} tags, the head has {state.shape.classes} classes: give its own tags"
        )
    _check_host(source, sha256=state.host_sha256)
    model = _model(state, source, classes=classes)
    with whole_folder(target) as building:
        with quiet_transformers():
            model.save_pretrained(building, max_shard_size=_WHOLE)
        _write_code(building)
        write_tagger_tokenizer(building, host_folder=source, max_tokens=facts.max_tokens)
        card = tagger_card(
            facts,
            head=_head_text(state),
            weights=state.weights,
            classes=classes,
            host_folder=source,
            folder=target,
        )
        (building / CARD_FILE).write_text(card, encoding="utf-8")
    return target


def load_tagger(folder: str | os.PathLike[str]) -> Any:
    """Returns the model of an exported folder, in evaluation mode, after its files were checked.

    None of the folder's code is run. Raises `ValueError` with one line that names a file that is missing or changed.
    """
    place = Path(folder)
    for name in (HOST_CONFIG_FILE, MODEL_FILE, TOKENIZER_FILE):
        if not check_listed(place, name):
            raise ValueError(f"{place}: has no {name}: give the folder of an exported tagger")
    _check_transformers()
    from depthweave.reports.export.modeling_depthweave_tagger import DepthweaveForTokenClassification

    try:
        with quiet_transformers():
            model, found = DepthweaveForTokenClassification.from_pretrained(
                place, local_files_only=True, use_safetensors=True, output_loading_info=True
            )
    except Exception as error:  # transformers raises whatever its parts raise.
        raise ValueError(f"{place}: cannot be read ({_one_line(error)}): export it again") from None
    wrong = sorted({*map(str, found["missing_keys"]), *map(str, found["unexpected_keys"])})
    if wrong:
        raise ValueError(f"{place / MODEL_FILE}: lacks {wrong[0]}, or should not have it: export it again")
    return model.eval()


def _check_host(folder: Path, *, sha256: str) -> None:
    if not (folder / HOST_CONFIG_FILE).is_file() or not host_weight_files(folder):
        raise ValueError(f"host {folder}: is gone: put the folder of the pretrained model there again")
    if host_sha256(folder) != sha256:
        raise ValueError(
            f"host {folder}: is not the one that the head was trained on (another hash): give the folder of that one"
        )


def _check_transformers() -> None:
    try:
        import transformers  # noqa: F401
    except ImportError:
        raise ValueError(
            "a tagger needs the package transformers, which is not installed: `pip install 'depthweave[ner]'` brings it"
        ) from None


def _model(state: TrainedTagger, host_folder: Path, *, classes: Sequence[str]) -> Any:
    """Returns host and head as one model of transformers."""
    _check_transformers()
    import torch
    from transformers import AutoModel

    from depthweave.reports.export.configuration_depthweave_tagger import DepthweaveTaggerConfig
    from depthweave.reports.export.modeling_depthweave_tagger import DepthweaveForTokenClassification

    trained = state.merged_host()
    if trained is None:
        with quiet_transformers():
            trained = AutoModel.from_pretrained(
                str(host_folder),
                local_files_only=True,
                trust_remote_code=False,
                use_safetensors=True,
                dtype=torch.float32,
            )
    host_config = trained.config.to_dict()  # type: ignore[operator, union-attr]  # every model of transformers
    # The path of a machine.
    host_config.pop("_name_or_path", None)
    names = list(classes)
    config = DepthweaveTaggerConfig(
        host=host_config,
        head=state.shape.to_dict(),
        id2label=dict(enumerate(names)),
        label2id={name: number for number, name in enumerate(names)},
        auto_map={
            "AutoConfig": f"{_CONFIGURATION}.DepthweaveTaggerConfig",
            "AutoModelForTokenClassification": f"{_MODELING}.DepthweaveForTokenClassification",
        },
        dtype="float32",
    )
    with torch.random.fork_rng(devices=[]), quiet_transformers():
        model = DepthweaveForTokenClassification(config)
    held = trained.state_dict()
    # Without a pooler, on which no state depends.
    model.host.load_state_dict({name: held[name] for name in model.host.state_dict()})
    model.head.load_state_dict(state.head.state_dict())
    return model.eval()


def _write_code(folder: Path) -> None:
    configuration = files(_PACKAGE) / f"{_CONFIGURATION}.py"
    (folder / f"{_CONFIGURATION}.py").write_text(configuration.read_text(encoding="utf-8"), encoding="utf-8")
    (folder / f"{_MODELING}.py").write_text(_modeling(), encoding="utf-8")


@cache
def _modeling() -> str:
    return bundle(f"{_PACKAGE}.{_MODELING}", beside=frozenset({f"{_PACKAGE}.{_CONFIGURATION}"}))


def _head_text(state: TrainedTagger) -> str:
    shape = state.shape
    several = len(shape.sources) > 1
    which = f"states {', '.join(map(str, shape.sources))} of {shape.depth + 1}" if several else "the last state"
    return f"{shape.kind} ({type(state.head).summary}; reads {which})"


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
