"""The message about a name that is not known: the nearest known name, and all of them."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches


def nearest_names(name: str, known: Iterable[str], *, num: int = 1) -> list[str]:
    """Returns the known names that are most like `name`, the nearest first; at most `num`."""
    return get_close_matches(name, list(known), n=num, cutoff=0.0)


def unknown_name(kind: str, name: str, known: Iterable[str], *, section: str = "") -> str:
    """Returns the message that `name` is not a known `kind`: one line that suggests the nearest one.

    `section` goes before the name and the suggestion, as `recipe.` goes before a key of a spec.
    """
    names = list(known)
    unknown = f"{kind} {section + name!r} is not known"
    if not names:
        return f"{unknown}: there are none"
    return f"{unknown}: did you mean {section + nearest_names(name, names)[0]!r}? Known: {', '.join(names)}"
