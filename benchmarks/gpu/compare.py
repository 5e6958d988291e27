"""Does a fusion predict better at a realistic size? The part `compare`: real text, paired seeds, curves kept.

Plain against dwa 1x1 and 4x5 at an equal number of parameters, on the Python packages that are installed on the
machine. The same seed means the same batches in the same order. Two seeds give a direction, not a verdict.
"""

from __future__ import annotations

import dataclasses
import sysconfig
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import torch

from benchmarks.gpu.ledger import Ledger, Values
from benchmarks.gpu.sizes import PATTERNS, Shape, Sizes
from depthweave.spaces import Architecture, costs_of, resolve, strided_wiring
from depthweave.trainers import CorpusSpec, Recipe, TokenSet, TrainingState, load_corpus, tokenise, train

NAMES = ("plain", "dwa 1x1", "dwa 4x5")
_LEARNING_RATE = 1e-3
_EVALUATIONS = 20
_NEEDS_S = 60.0


def run(ledger: Ledger, *, sizes: Sizes, device: torch.device, out: Path) -> None:
    """Trains seed by seed, so that the finished trainings are pairs when time is over."""
    shape, made = sizes.compare, _Text(sizes, out=out)
    ledger.measure("text", made.facts)
    for seed in sizes.compare_seeds:
        for name in NAMES:
            work = partial(_train, name, shape, seed=seed, text=made, sizes=sizes, device=device)
            ledger.measure(f"{name}, seed {seed}", work, needs_s=_NEEDS_S)


class _Text:
    """The text as tokens, created on first use."""

    def __init__(self, sizes: Sizes, *, out: Path) -> None:
        self._sizes, self._out = sizes, out
        self._tokens: TokenSet | None = None

    def tokens(self) -> TokenSet:
        """Returns the tokens of Python packages in the order of their names, up to the wanted bytes."""
        if self._tokens is None:
            paths = python_files(_packages(), wanted_bytes=self._sizes.corpus_bytes)
            merges = self._sizes.compare.vocabulary
            spec = CorpusSpec(kind="files", paths=tuple(paths), validation_frac=0.02, division="documents")
            corpus = load_corpus(spec)
            self._tokens = tokenise(corpus, tokenizer=f"bpe:{merges}", cache=self._out / "cache")
        return self._tokens

    def facts(self) -> Values:
        """Returns hash, sizes and vocabulary of the text."""
        tokens = self.tokens()
        return {
            "corpus_sha256": tokens.corpus_sha256,
            "train_tokens": len(tokens.train),
            "valid_tokens": len(tokens.valid),
            "vocabulary": tokens.vocabulary,
        }


def _packages() -> list[Path]:
    """Returns the folders of packages; that of torch may differ from the one for new packages."""
    return sorted({Path(sysconfig.get_paths()["purelib"]), Path(torch.__file__).parents[1]})


def python_files(roots: Sequence[Path], *, wanted_bytes: int) -> list[str]:
    """Returns sources of packages in the order of their names, whole packages up to the wanted bytes.

    Sources that are not UTF-8 are left out, because a corpus refuses them. Some packages have such test data.
    """
    found: list[str] = []
    total = 0
    for folder in (item for root in roots for item in sorted(root.iterdir()) if item.is_dir()):
        for file in sorted(folder.rglob("*.py")):
            num_bytes = _text_bytes(file)
            if num_bytes:
                found.append(str(file))
                total += num_bytes
        if total >= wanted_bytes:
            return found
    print(f"{total:,} bytes of Python in {', '.join(map(str, roots))}, {wanted_bytes:,} were wanted", flush=True)
    return found


def _text_bytes(file: Path) -> int:
    """Size of a file of text; 0 where it is none."""
    try:
        content = file.read_bytes()
        content.decode("utf-8")
    except (OSError, UnicodeDecodeError):
        return 0
    return 0 if b"\0" in content else len(content)


def _train(name: str, shape: Shape, *, seed: int, text: _Text, sizes: Sizes, device: torch.device) -> Values:
    tokens = text.tokens()
    steps = max(_EVALUATIONS, sizes.compare_tokens // shape.tokens)
    recipe = Recipe(
        seed=seed,
        steps=steps,
        batch=shape.batch,
        context=shape.context,
        learning_rate=_LEARNING_RATE,
        compile=True,
        num_evaluations=_EVALUATIONS,
        evaluation_tokens=max(shape.context, min(2**19, len(tokens.valid) - 1)),
    )
    torch.compiler.reset()
    state = TrainingState.start(_architecture(name, shape, vocabulary=tokens.vocabulary), recipe=recipe, device=device)
    evaluations = list(train(state, tokens))
    last = evaluations[-1]
    return {
        "loss": last.loss,
        "bits_per_byte": last.bits_per_byte,
        "diverged": last.diverged,
        "train_s": round(last.train_s, 1),
        "tokens": last.tokens,
        "tokens_per_s": round(last.tokens / last.train_s),
        "parameters": sum(parameter.numel() for parameter in state.model.parameters()),
        "curve": [[item.tokens, round(item.loss, 5)] for item in evaluations],
    }


def _architecture(name: str, shape: Shape, *, vocabulary: int) -> Architecture:
    plain = dataclasses.replace(shape, vocabulary=vocabulary).architecture()
    if name == "plain":
        return plain
    dilation, period = PATTERNS[name.removeprefix("dwa ")]
    return resolve(
        fusion="dwa",
        wiring=strided_wiring(shape.depth, dilation=dilation, period=min(period, shape.depth)),
        budget=costs_of(plain).parameters,
        vocabulary=vocabulary,
        context=shape.context,
        head_width=shape.head_width,
        width=shape.width,
    )
