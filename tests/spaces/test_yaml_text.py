"""YAML from outside: plain values, or one line; never code, never an error of another kind, never without end."""

from __future__ import annotations

import time

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.spaces.yaml_text import MAX_CHARACTERS, MAX_VALUES, read_yaml

_NESTED_ALIASES = "a: &a [1, 1, 1, 1, 1, 1, 1, 1, 1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 9)}]\n" for old, new in zip("abcdefghijk", "bcdefghijkl", strict=True)
)


def test_plain_values_are_those_of_pyyaml() -> None:
    text = "a: [1, 2.5, null, true]\nb: {c: '007', d: 2026-03-01}\ne: &x {f: 1}\ng: {<<: *x, h: 2}\n"
    assert read_yaml(text) == yaml.safe_load(text)
    assert read_yaml("# nothing\n") is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_NESTED_ALIASES, "holds more than"),
        ("a: &a [*a]", "inside its own anchor"),
        ("a: 1\nb: {c: 1, c: 2}", "c is given twice"),
        ("a: " + "9" * 5000, "a number of more than"),
        ("a: " + "59:" * 5000 + "0", "a number of more than"),
        ("a: 0x" + "f" * 5000, "a number of more than"),
        ("[" * 1000, "RecursionError"),
        ("!!python/object/apply:os.system [exit 3]", "could not determine a constructor"),
        ("!!python/name:os.system ''", "could not determine a constructor"),
        ("!!bool 7", "KeyError"),
        ("!!timestamp x", "AttributeError"),
        ("!!int ''", "IndexError"),
        ("!!map [1]", "expected a mapping"),
        ("a: 2001-99-99", "month must be"),
        ("? [1]\n: 2", "unhashable"),
        ("a: \0", "special characters"),
        ("#" * (MAX_CHARACTERS + 1), "characters, at most"),
        (f"[{'0,' * MAX_VALUES}0]", "characters, at most|holds more than"),
    ],
)
def test_text_that_is_not_plain_yaml_is_refused_in_one_line_and_soon(text: str, message: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=message) as error:
        read_yaml(text)
    assert time.process_time() - begin < 30
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 400


_marks = st.text(alphabet="ab01:-?[]{}&*!|>'\"%@`#,~.<=\n\t \\é\x85", max_size=40)
_tags = st.sampled_from(["map", "seq", "set", "omap", "pairs", "binary", "timestamp", "int", "float", "bool", "null"])


@settings(max_examples=60, deadline=None)
@given(text=_marks | st.text(max_size=30) | st.builds("!!{} {}".format, _tags, _marks))
def test_any_text_is_values_or_one_line(text: str) -> None:
    message = ""
    try:
        read_yaml(text)
    except ValueError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
