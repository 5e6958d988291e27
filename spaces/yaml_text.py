"""Reads untrusted YAML: plain values, or one line of error.

PyYAML's safe loader builds only plain values, but a small text can expand to a huge one: an alias repeats all that its
anchor holds, and aliases nest. So the expanded values are counted before any is built.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARACTERS = 2**18
"""Longest text; PyYAML reads so much in some seconds. A spec has a few thousand characters, and the architecture
of the deepest model whose blocks read all earlier ones 170,000."""
MAX_VALUES = 2**17
"""Most values of a text, with aliases expanded."""
MAX_DIGITS = 100
"""Longest number; Python itself refuses to print one with thousands of digits."""
_MAX_MESSAGE = 300


def read_yaml(text: str) -> Any:
    """Returns the plain values in a text, `None` if it is empty; raises `ValueError`, one line, if it is invalid."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, at most {MAX_CHARACTERS:,} are read")
    try:
        loader = _UniqueKeyLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count_values(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    # Any error: beside its own, PyYAML raises those of its constructors: KeyError (`!!bool 7`), IndexError
    # (`!!int ''`), AttributeError (`!!timestamp x`), RecursionError (deeply nested brackets).
    except Exception as error:
        raise ValueError(_one_line(error)) from None


class _UniqueKeyLoader(yaml.SafeLoader):
    """Loads plain YAML and refuses duplicate keys. PyYAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _count_values(node: yaml.Node, known: dict[int, int]) -> int:
    """Returns the number of values under a node, itself included, with aliases expanded."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias is inside its own anchor")
        return known[id(node)]
    known[id(node)] = 0
    if isinstance(node, yaml.ScalarNode):
        is_number = node.tag in ("tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
        if is_number and len(node.value) > MAX_DIGITS:
            raise ValueError(f"line {node.start_mark.line + 1}: a number of more than {MAX_DIGITS} digits")
        inner: list[yaml.Node] = []
    elif isinstance(node, yaml.MappingNode):
        inner = [part for pair in node.value for part in pair]
    else:
        inner = list(node.value)
    total = 1 + sum(_count_values(item, known) for item in inner)
    if total > MAX_VALUES:
        raise ValueError(f"it holds more than {MAX_VALUES:,} values, with aliases expanded: write it without aliases")
    known[id(node)] = total
    return total


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    # A KeyError's message is only its key, and a RecursionError's is about Python.
    known = isinstance(error, (yaml.YAMLError, ValueError)) and text
    return text[:_MAX_MESSAGE] if known else f"{type(error).__name__}: not valid YAML values"
