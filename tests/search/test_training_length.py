"""What a spec says about the length of its trainings."""

from __future__ import annotations

from pathlib import Path

from depthweave.search.preparation import space_of
from depthweave.search.spec.loading import load_spec
from depthweave.search.training_length import training_sentences

EXAMPLES = Path(__file__).parents[2] / "examples"


def _sentences(name: str, *overrides: str) -> list[str]:
    spec = load_spec(EXAMPLES / name, overrides=overrides)
    space = space_of(spec.axes_before_data())
    return training_sentences(space, spec=spec)


def test_short_training_names_the_steps_that_are_enough() -> None:
    line, rates = _sentences("quick.yaml")
    assert rates == "learning rate: 0.00833 at width 48, 0.00625 at width 64"
    assert line.startswith(
        "training: 205 k tokens, 0.6 tokens a parameter (undertrained: rankings may change) at 315 k"
    )
    steps = line.rpartition("recipe.steps=")[2]
    assert " 20 tokens a parameter at 315 k parameters" in _sentences("quick.yaml", f"recipe.steps={steps}")[0]


def test_preset_for_sizes_has_twenty() -> None:
    line, _ = _sentences("sizes.yaml")
    assert "undertrained" not in line
    assert int(line.partition(" tokens a parameter")[0].rpartition(" ")[2]) >= 20
