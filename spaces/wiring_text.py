"""Reads wiring rules: from a text such as `first:2+embed@4`, or from a spec's `{edges: [[3, 0], [7, 2]]}`."""

from __future__ import annotations

import re
from functools import lru_cache
from typing import Any

from depthweave.spaces.skip_connections import Connection
from depthweave.spaces.unknown_names import nearest_names
from depthweave.spaces.wiring_families import FAMILIES, FORMS, number_rule
from depthweave.spaces.wiring_rules import LISTED, WiringRule

_STRIDED = re.compile(r"(?P<number>\d{1,16})x(?P<period>\d{1,16}|depth)(?P<rest>.*)", re.DOTALL)
_NAMED = re.compile(r"(?P<family>[a-z][a-z0-9]*)(:(?P<number>[^+@ ]*))?(?P<rest>.*)", re.DOTALL)
_MODIFIERS = re.compile(r"(?P<embed>\+embed)?(@(?P<period>\d{1,16}|depth))?( from:(?P<start>\d{1,16}))?")
_SHOWN_CHARACTERS = 60


def parse_rule(value: Any, *, others: tuple[str, ...] = ()) -> WiringRule:
    """Returns the rule of a text such as `first:2+embed@4`, or of `{edges: [[3, 0], [7, 2]]}`.

    Raises `ValueError`, one line, with what was given and what is allowed, the names of `others` too.
    """
    if isinstance(value, dict) and set(value) == {"edges"}:
        return WiringRule(family="edges", edges=_edge_pairs(value["edges"]))
    if not isinstance(value, str):
        raise ValueError(_unknown(value, others))
    return _parsed(value.strip(), others)


@lru_cache(maxsize=2**14)
def _parsed(text: str, others: tuple[str, ...]) -> WiringRule:
    if matched := _STRIDED.fullmatch(text):
        return _with_modifiers(
            text, family="strided", number=int(matched["number"]), period=matched["period"], rest=matched["rest"]
        )
    matched = _NAMED.fullmatch(text)
    if matched is None or matched["family"] == "strided" or matched["family"] not in (*FAMILIES, *LISTED):
        raise ValueError(_unknown(text, others))
    name = matched["family"]
    if name in LISTED:
        return WiringRule(family=name, edges=_listed(text))
    family, number = FAMILIES[name], matched["number"]
    if (number is None) != (family.least is None) or not re.fullmatch(r"\d{1,16}", number or "0"):
        raise ValueError(f"wiring {text!r:.{_SHOWN_CHARACTERS}}: {name} takes {number_rule(family)}")
    return _with_modifiers(
        text, family=name, number=None if number is None else int(number), period=None, rest=matched["rest"]
    )


def _with_modifiers(text: str, *, family: str, number: int | None, period: str | None, rest: str) -> WiringRule:
    matched = _MODIFIERS.fullmatch(rest)
    shown = f"wiring {text!r:.{_SHOWN_CHARACTERS}}"
    if matched is None:
        raise ValueError(
            f"{shown}: {rest.strip()!r:.{_SHOWN_CHARACTERS}} is not understood: "
            "write +embed, @P and from:B in this order, such as first:2+embed@4 from:7"
        )
    if matched["period"] and period:
        raise ValueError(f"{shown}: KxP has its period already: write {number}x{matched['period']}")
    every = matched["period"] or period or "1"
    return WiringRule(
        family=family,
        number=number,
        embed=bool(matched["embed"]),
        period="depth" if every == "depth" else int(every),
        start=int(matched["start"] or 1),
    )


def _listed(text: str) -> tuple[Connection, ...]:
    _, _, listed = text.partition(":")
    pairs = [re.fullmatch(r"(\d{1,16})-(\d{1,16})", part) for part in listed.split("+")]
    if None in pairs:
        raise ValueError(
            f"wiring {text!r:.{_SHOWN_CHARACTERS}}: write each connection as SOURCE-SITE, "
            "such as skip:3-9 or edges:0-3+2-7"
        )
    return tuple((int(pair[1]), int(pair[2])) for pair in pairs if pair is not None)


def _edge_pairs(value: Any) -> tuple[Connection, ...]:
    is_list = isinstance(value, (list, tuple))
    for item in value if is_list else [None]:
        if not isinstance(item, (list, tuple)) or len(item) != 2 or any(type(number) is not int for number in item):
            raise ValueError(
                f"wiring edges has {item if is_list else value!r:.{_SHOWN_CHARACTERS}}: list pairs of whole numbers, "
                "[site, source], such as [[3, 0], [7, 2]]"
            )
    return tuple((item[0], item[1]) for item in value)


def _unknown(value: Any, others: tuple[str, ...]) -> str:
    forms = {form.partition(":")[0]: form for form in (*FORMS[1:], *others)}
    hint = ""
    if isinstance(value, str) and re.match(r"\d|[kK] ?[x×*]", value):
        hint = "write dilation and period as KxP, such as 4x1 or 1xdepth. "
    elif isinstance(value, str) and (near := nearest_names(re.split(r"[:+@ ]", value)[0], forms)):
        hint = f"did you mean {forms[near[0]]!r}? "
    elif not isinstance(value, str):
        hint = "give a name, or {edges: [[site, source], ...]}. "
    known = f"{', '.join((*FORMS, *others))}; with +embed, @P and from:B after it"
    return f"wiring {value!r:.{_SHOWN_CHARACTERS}} is not known: {hint or 'give one of these. '}Known: {known}"
