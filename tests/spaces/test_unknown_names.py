"""The message about an unknown name."""

from __future__ import annotations

import pytest

from depthweave.spaces.unknown_names import nearest_names, unknown_name


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            unknown_name("fusion", "dwx", ["dwa", "concat"]),
            "fusion 'dwx' is not known: did you mean 'dwa'? Known: dwa, concat",
        ),
        (
            unknown_name("key", "stepz", ["steps"], section="recipe."),
            "key 'recipe.stepz' is not known: did you mean 'recipe.steps'? Known: steps",
        ),
        (unknown_name("option", "x", []), "option 'x' is not known: there are none"),
        (unknown_name("fusion", "", ["dwa"]), "fusion '' is not known: did you mean 'dwa'? Known: dwa"),
    ],
)
def test_message_names_the_nearest_known_name_and_all(message: str, expected: str) -> None:
    assert message == expected


def test_nearest_names_begin_with_the_nearest() -> None:
    assert nearest_names("abd", ["xyz", "abc", "abd1"], num=2) == ["abd1", "abc"]
