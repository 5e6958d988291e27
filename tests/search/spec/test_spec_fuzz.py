"""Specs of any values and any text: a spec or one line, at once, and no other error."""

from __future__ import annotations

import time
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from depthweave.search.preparation import space_of
from depthweave.search.spec.loading import SpecError, make_spec, parse_spec
from depthweave.search.spec.schema import Spec
from tests.search.spec.test_spec import FULL

_SECTIONS = ("corpus", "space", "reference", "recipe", "search", "resources")
_KEYS = sorted({key for name in _SECTIONS for key in make_spec(FULL).model_dump()[name]} | set(FULL))
_plain = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(10**400), 10**400)
    | st.floats()
    | st.dates()
    | st.binary(max_size=4)
    | st.text(max_size=8)
    | st.sampled_from(["depth", "dwa", "bpe:" + 9 * "9", "../..", "x" * 3000]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(_KEYS) | st.text(max_size=5), inner, max_size=3)
        | st.dictionaries(st.integers() | st.none() | st.booleans(), inner, max_size=2)
    ),
    max_leaves=8,
)
_section = st.dictionaries(st.sampled_from(_KEYS), _plain, max_size=3)


def _spec_or_message(values: Any, **given: Any) -> Spec | str:
    try:
        return make_spec(values, **given)
    except SpecError as error:
        return str(error)


@settings(max_examples=200, deadline=None)
@given(values=_plain | st.dictionaries(st.sampled_from(sorted(FULL)), _section | _plain, max_size=3))
def test_any_plain_values_give_a_spec_or_one_line(values: Any) -> None:
    found = _spec_or_message(values)
    if isinstance(found, str):
        assert len(found.splitlines()) == 1
    else:
        assert parse_spec(found.to_yaml()) == found


@settings(max_examples=60, deadline=None)
@given(values=st.dictionaries(st.sampled_from(sorted(FULL)), _section, max_size=3), tail=st.text(max_size=12))
def test_any_text_gives_a_spec_or_one_line(values: Any, tail: str) -> None:
    try:
        text = yaml.safe_dump(values) + tail
    except ValueError:  # a number of more digits than Python prints
        return
    message = ""
    try:
        parse_spec(text)
    except SpecError as error:
        message = str(error)
    assert len(message.splitlines()) <= 1
    assert len(message) < 2100


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: &a0 [1, 1]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]\n" for i in range(1, 40)), "values"),
        ("space: {depths: [100000]}", "space.depths"),
        (f"recipe: {{steps: {10**90}}}", "steps"),
        (f"space: {{budgets: {list(range(1, 1000))}, dilations: {list(range(1, 1000))}}}", "combinations"),
        ("name: ../outside", "cannot name a folder"),
        ("name: ..", "cannot name a folder"),
        ("name: '/etc'", "cannot name a folder"),
        (f"name: {'x' * 300}", "cannot name a folder"),
        (f"tokenizer: bpe:{9 * '9'}", "tokenizer"),
        (f"space: {{fusions: [{'x' * 100_000}]}}", "fusion"),
    ],
)
def test_text_that_means_too_much_is_refused_at_once(text: str, message: str) -> None:
    begin = time.process_time()
    with pytest.raises(ValueError, match=message) as error:
        space_of(parse_spec(text).axes_before_data())
    assert time.process_time() - begin < 10
    assert len(str(error.value).splitlines()) == 1
    assert len(str(error.value)) < 2100


@settings(max_examples=100, deadline=None)
@given(path=st.lists(st.sampled_from([*_KEYS, ""]), max_size=3), value=st.text(max_size=12))
def test_any_override_gives_a_spec_or_one_line(path: list[str], value: str) -> None:
    found = _spec_or_message(FULL, overrides=[f"{'.'.join(path)}={value}"])
    assert isinstance(found, Spec) or len(found.splitlines()) == 1
