"""What a finite validation text adds to a difference of two losses, whatever the number of seeds.

    python -m benchmarks.validation_text

Trains contenders of the quick search's space with one seed by its recipe, evaluates each on the recipe's windows one by
one, and prints the standard error over windows of the difference to plain, in nats a token and times the square root of
the tokens: the constant of `reports/analysis/contrast.py`. The same with neighbouring windows joined shows whether they
are correlated, in which case more text is needed than their number suggests.
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from depthweave.search.preparation import space_of
from depthweave.search.spec.loading import load_spec
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.space import Candidate
from depthweave.trainers import TokenSet, TrainingState, load_corpus, tokenise, train
from depthweave.trainers.batches import validation_set

SPEC = Path(__file__).parents[1] / "examples" / "quick.yaml"
PATTERNS = (("dwa", 1, 1), ("dwa", 1, 2), ("dwatt", 2, 2), ("concat", 1, 6))
DEPTH = 6
_JOINED = (1, 4, 16)


def main() -> None:
    """Print a row for each contender, and a line of JSON."""
    torch.set_num_threads(1)
    spec = load_spec(SPEC)
    tokens = tokenise(load_corpus(spec.corpus), tokenizer=spec.tokenizer)
    space = space_of(spec.axes(tokens))
    plain = space.plain(depth=DEPTH, budget=spec.space.budgets[0])
    others = [space.plain(depth=12, budget=spec.space.budgets[0]), *filter(_wanted, space)]
    base_W = _losses(plain, tokens)
    rows = []
    for candidate in others:
        differences_W = _losses(candidate, tokens) - base_W
        errors = [_standard_error(differences_W, joined=joined) for joined in _JOINED]
        num_tokens = len(differences_W) * spec.recipe.context
        row = {
            "name": f"{candidate.architecture.fusion} {candidate.rule} {candidate.architecture.depth}",
            "difference": float(differences_W.mean()),
            "standard_error": errors[0],
            "joined": dict(zip(_JOINED, errors, strict=True)),
            "times_root_of_tokens": max(errors) * num_tokens**0.5,
            "tokens": num_tokens,
        }
        rows.append(row)
        print(row, flush=True)
    print(json.dumps({"benchmark": "validation_text", "rows": rows}))


def _wanted(candidate: Candidate) -> bool:
    stride = None if candidate.rule is None else candidate.rule.stride
    if stride is None or candidate.architecture.depth != DEPTH:
        return False
    return (candidate.architecture.fusion, *stride) in PATTERNS


def _losses(candidate: Candidate, tokens: TokenSet) -> NDArray[np.float64]:
    """Mean loss of each window of the recipe's evaluation after the recipe's training, nat/token."""
    recipe = load_spec(SPEC).recipe
    state = TrainingState.start(candidate.architecture, recipe=recipe, device="cpu")
    *_, last = train(state, tokens)
    losses_W = _by_window(state.model, tokens)
    assert abs(float(losses_W.mean()) - last.loss) < 1e-3, "the windows are those of the evaluation"
    return losses_W


@torch.no_grad()
def _by_window(model: Decoder, tokens: TokenSet) -> NDArray[np.float64]:
    held = validation_set(tokens, recipe=load_spec(SPEC).recipe, device=torch.device("cpu"))
    found = []
    for tokens_BT, targets_BT in zip(held.tokens_BT.split(64), held.targets_BT.split(64), strict=True):
        losses = functional.cross_entropy(model(tokens_BT).flatten(0, 1), targets_BT.flatten(), reduction="none")
        found.append(losses.view(targets_BT.shape).mean(dim=1))
    return torch.cat(found).double().numpy()


def _standard_error(values_W: NDArray[np.float64], *, joined: int) -> float:
    """Returns the standard error of the mean, from means of this many neighbouring windows."""
    whole = len(values_W) // joined * joined
    means = values_W[:whole].reshape(-1, joined).mean(axis=1)
    return float(means.std(ddof=1) / len(means) ** 0.5)


if __name__ == "__main__":
    main()
