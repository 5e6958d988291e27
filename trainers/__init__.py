"""How an architecture is trained and what it costs: corpora, tokens, training, tasks, measurement.

Names resolve when they are first used, so importing this package imports no torch. The function `measure` is not
among them, because its module has the same name: `from depthweave.trainers.measure import measure`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthweave.spaces.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from depthweave.trainers.checkpoint import TrainingState
    from depthweave.trainers.corpora import SOURCES, CorpusSpec, load_corpus
    from depthweave.trainers.evaluation import Evaluation, HeldOutLoss
    from depthweave.trainers.language_model import held_out_loss, train
    from depthweave.trainers.machine import check_can, hardware, pick_device
    from depthweave.trainers.measure import Kind, Measurement, measure_in_turn
    from depthweave.trainers.memory import PeakMemory, peak_memory
    from depthweave.trainers.ranks import SINGLE, Ranks, check_shares
    from depthweave.trainers.recipe import FIRST_RECIPE, Recipe
    from depthweave.trainers.splitting import Corpus
    from depthweave.trainers.tokenizer import Tokenizer, TokenizerSpec, make_tokenizer
    from depthweave.trainers.tokens import TokenSet, check_fits, default_cache, tokenise, tokenise_with

_HOMES = {
    "checkpoint": ("TrainingState",),
    "corpora": ("SOURCES", "CorpusSpec", "load_corpus"),
    "evaluation": ("Evaluation", "HeldOutLoss"),
    "language_model": ("held_out_loss", "train"),
    "machine": ("check_can", "hardware", "pick_device"),
    "measure": ("Kind", "Measurement", "measure_in_turn"),
    "memory": ("PeakMemory", "peak_memory"),
    "ranks": ("SINGLE", "Ranks", "check_shares"),
    "recipe": ("FIRST_RECIPE", "Recipe"),
    "splitting": ("Corpus",),
    "tokenizer": ("Tokenizer", "TokenizerSpec", "make_tokenizer"),
    "tokens": ("TokenSet", "check_fits", "default_cache", "tokenise", "tokenise_with"),
}

__all__ = [
    "FIRST_RECIPE",
    "SINGLE",
    "SOURCES",
    "Corpus",
    "CorpusSpec",
    "Evaluation",
    "HeldOutLoss",
    "Kind",
    "Measurement",
    "PeakMemory",
    "Ranks",
    "Recipe",
    "TokenSet",
    "Tokenizer",
    "TokenizerSpec",
    "TrainingState",
    "check_can",
    "check_fits",
    "check_shares",
    "default_cache",
    "hardware",
    "held_out_loss",
    "load_corpus",
    "make_tokenizer",
    "measure_in_turn",
    "peak_memory",
    "pick_device",
    "tokenise",
    "tokenise_with",
    "train",
]

__getattr__ = lazy_exports(__name__, _HOMES)
