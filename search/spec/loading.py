"""Reads a spec from YAML and overrides: a checked `Spec`, or one line of error.

Unknown keys are refused with the nearest known one. Overrides (`recipe.steps=100`) go through the same checks.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter, ValidationError

from depthweave.search.spec.part import SHOWN_CHARACTERS
from depthweave.search.spec.schema import Spec
from depthweave.search.spec.tagging_spec import TASK, TaggingSpec
from depthweave.spaces.regular import NotRegularError, read_regular_text
from depthweave.spaces.sparse_axes import SparseAxes
from depthweave.spaces.unknown_names import unknown_name
from depthweave.spaces.yaml_text import MAX_CHARACTERS, read_yaml
from depthweave.trainers import CorpusSpec, Recipe
from depthweave.trainers.tagging.few_shot_spec import HostSpec, TagCorpus
from depthweave.trainers.tagging.tag_dataset import TagDataset

Sections: TypeAlias = Mapping[str, Mapping[str, Any]]
"""Values of a spec by section and key."""
_Kind = TypeVar("_Kind")
_MAX_MESSAGE = 2000

SPECS: Mapping[str, type[Spec]] = {TASK: TaggingSpec}
"""The spec of a task that has keys of its own."""

_ELSEWHERE = {
    "recipe.seed": "give the seed of all as 'seed' instead",
    "space.heads_per_kv": "give it to the blocks: space.block: {kind: llama, heads_per_kv: 2}",
    "space.qk_norm": "give it to the blocks: space.block: {kind: llama, qk_norm: true}",
}
"""What to do about keys that belong elsewhere."""


class SpecError(ValueError):
    """A spec is invalid; the message is one line."""

    def __init__(self, message: str) -> None:
        line = " ".join(message.split())
        super().__init__(line if len(line) <= _MAX_MESSAGE else f"{line[:_MAX_MESSAGE]} ...")


def load_spec(path: str | Path, *, overrides: Sequence[str] = (), otherwise: Sections | None = None) -> Spec:
    """Returns the spec in a YAML file with `section.key=value` overrides; raises `SpecError` where it is invalid.

    `otherwise` has values for keys that neither names, to be used in place of today's defaults.
    """
    try:
        text = read_regular_text(path, max_characters=MAX_CHARACTERS + 1)
    except NotRegularError as error:
        raise SpecError(f"{error}, a spec such as examples/quick.yaml") from None
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file; give a spec such as examples/quick.yaml") from None
    except (OSError, UnicodeDecodeError) as error:
        raise SpecError(f"{path}: cannot be read ({error}); give a YAML file such as examples/quick.yaml") from None
    return parse_spec(text, overrides=overrides, where=str(path), otherwise=otherwise)


def parse_spec(
    text: str, *, overrides: Sequence[str] = (), where: str = "spec", otherwise: Sections | None = None
) -> Spec:
    """Returns the spec in YAML text; raises `SpecError` where it is invalid."""
    try:
        values = read_yaml(text)
    except ValueError as error:
        raise SpecError(f"{where}: cannot be read as YAML: {error}") from None
    if values is None:
        # Otherwise an empty file would start a search of hours with all defaults.
        raise SpecError(f"{where}: is empty; start from examples/quick.yaml, or write {{}} for all defaults")
    return make_spec(values, overrides=overrides, where=where, otherwise=otherwise)


def make_spec(
    values: Any, *, overrides: Sequence[str] = (), where: str = "spec", otherwise: Sections | None = None
) -> Spec:
    """Returns the checked spec; `SpecError` names the key, what was given and what is allowed."""
    if not isinstance(values, dict):
        raise SpecError(f"{where}: is not a mapping of keys; start from examples/quick.yaml")
    for text in overrides:
        values = _overridden(values, text)
    kind = _kind_of(values)
    # The rules of earlier versions are those of their one task.
    for name, keys in (otherwise or {}).items() if kind is Spec else ():
        own = values.get(name, {})
        # A value that is not a section is refused below.
        values = {**values, name: {**keys, **own}} if isinstance(own, dict) else values
    _check_keys(values, kind, path=(), where=where)
    return validated(values, kind=kind, where=where)


def _kind_of(values: Mapping[str, Any]) -> type[Spec]:
    task = values.get("task")
    return SPECS.get(task, Spec) if isinstance(task, str) else Spec


def validated(values: Any, *, kind: type[_Kind], where: str) -> _Kind:
    """Returns plain values as a `Spec`, a `Recipe` or another part of a spec; raises `SpecError` where invalid."""
    try:
        return TypeAdapter(kind).validate_python(values)
    except ValidationError as error:
        first = error.errors()[0]
        # Numbers are places in a list, which the reader does not need to find the key.
        keys = [str(part) for part in first["loc"] if isinstance(part, str)]
        key = ".".join(keys) or "spec"
        message = first["msg"].removeprefix("Value error, ").replace("valid tuple", "list")
        given = "" if first["type"] == "value_error" else f" (given: {first['input']!r:.{SHOWN_CHARACTERS}})"
        if first["type"] in ("tuple_type", "list_type") and isinstance(first["input"], str | int | float):
            given += f": write [{first['input']!s:.{SHOWN_CHARACTERS}}]"
        # A list of learning rates is of the recipe in a file and not in a `Spec`.
        named = message if message.startswith((key, "recipe.")) else f"{key}: {message}"
        raise SpecError(f"{where}: {named}{given}") from None


def _overridden(values: Mapping[str, Any], text: str) -> dict[str, Any]:
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise SpecError(f"--set {text}: write KEY=VALUE, for example --set recipe.steps=100")
    try:
        parsed = read_yaml(value)
    except ValueError as error:
        raise SpecError(f"--set {text:.{SHOWN_CHARACTERS}}: the value cannot be read as YAML: {error}") from None
    path = key.strip().split(".")
    root = dict(values)
    node = root
    for part in path[:-1]:
        child = node.get(part) or {}
        if not isinstance(child, dict):
            raise SpecError(f"--set {text}: {part} is a single value, so it has no keys below it")
        node[part] = dict(child)
        node = node[part]
    node[path[-1]] = parsed
    return root


def _check_keys(values: Mapping[Any, Any], part: type, *, path: tuple[str, ...], where: str) -> None:
    known = _keys_of(part)
    for key, value in values.items():
        if key not in known:
            section = "".join(f"{name}." for name in path)
            if remedy := _ELSEWHERE.get(f"{section}{key}"):
                raise SpecError(f"{where}: key '{section}{key}' is not known: {remedy}")
            raise SpecError(f"{where}: {unknown_name('key', str(key), known, section=section)}")
        if known[key] is not None and isinstance(value, dict):
            _check_keys(value, known[key], path=(*path, str(key)), where=where)
        elif known[key] is not None:
            shown = "empty" if value is None else f"{value!r:.{SHOWN_CHARACTERS}}"
            raise SpecError(f"{where}: {key} is {shown}: give a section with keys, or leave it out")


def _keys_of(part: Any) -> dict[str, Any]:
    """Returns the keys of a section, each with the class of its own section or `None`."""
    if issubclass(part, BaseModel):
        kinds = {name: item.annotation for name, item in part.model_fields.items() if not item.exclude}
    else:
        hints = get_type_hints(part)
        kinds = {item.name: hints[item.name] for item in dataclasses.fields(part) if item.name != "seed"}
    sections = (BaseModel, CorpusSpec, HostSpec, Recipe, SparseAxes, TagCorpus, TagDataset)
    return {
        name: next((item for item in _classes(kind) if issubclass(item, sections)), None)
        for name, kind in kinds.items()
    }


def _classes(annotation: Any) -> list[type]:
    """The classes of an annotation; of `X | None` those of its parts."""
    return [item for item in (get_args(annotation) or (annotation,)) if isinstance(item, type)]
