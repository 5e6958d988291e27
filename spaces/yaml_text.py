"""YAML from outside: plain values or one line of error, whatever stands in the text.

PyYAML's safe loader builds nothing but plain values, and yet a small text can mean a huge one: an alias stands for all
that its anchor holds, and aliases nest. So the values are counted, aliases written out, before any is built.
"""

from __future__ import annotations

from typing import Any

import yaml

MAX_CHARACTERS = 2**18
"""Of a text; PyYAML reads as many in some seconds. A spec has a few thousand, the architecture file of the deepest
model whose blocks read all before them 170,000."""
MAX_VALUES = 2**17
"""Values of a text, each counted as often as it is meant."""
MAX_DIGITS = 100
"""Characters of a number; Python itself refuses to print one of thousands of digits."""
_MAX_MESSAGE = 300


def read_yaml(text: str) -> Any:
    """The plain values in a text, `None` where it is empty; `ValueError`, one line, where it is no YAML or too much."""
    if len(text) > MAX_CHARACTERS:
        raise ValueError(f"it has {len(text):,} characters, at most {MAX_CHARACTERS:,} are read")
    try:
        loader = _OnceLoader(text)
        try:
            node = loader.get_single_node()
            if node is None:
                return None
            _count(node, {})
            return loader.construct_document(node)
        finally:
            loader.dispose()
    # Anything: beside its own errors PyYAML lets through what its constructors trip over, KeyError (`!!bool 7`),
    # IndexError (`!!int ''`), AttributeError (`!!timestamp x`), RecursionError (brackets too deep) among them.
    except Exception as error:
        raise ValueError(_one_line(error)) from None


class _OnceLoader(yaml.SafeLoader):
    """Plain YAML that refuses a key given twice, of which YAML would silently keep the last."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if isinstance(key, yaml.ScalarNode) and key.value != "<<":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(None, None, f"{key.value} is given twice", key.start_mark)
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    """Values under a node, itself included and aliases written out; a node within itself has no end."""
    if id(node) in known:
        if not known[id(node)]:
            raise ValueError(f"line {node.start_mark.line + 1}: an alias stands within its own anchor")
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
    total = 1 + sum(_count(item, known) for item in inner)
    if total > MAX_VALUES:
        raise ValueError(f"it holds more than {MAX_VALUES:,} values, aliases written out: keep it plain")
    known[id(node)] = total
    return total


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    # The message of a KeyError is its key alone, and of a RecursionError about Python.
    known = isinstance(error, (yaml.YAMLError, ValueError)) and text
    return text[:_MAX_MESSAGE] if known else f"{type(error).__name__}: not values that YAML can mean"
