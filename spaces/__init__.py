"""What can be built: wirings, fusions, architectures, decoders, budgets, costs, heads of classifiers and search spaces.

Names resolve when first used: importing this package imports no torch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from depthweave.spaces.lazy_exports import lazy_exports

if TYPE_CHECKING:
    from depthweave.spaces.architecture import Architecture
    from depthweave.spaces.budget import BudgetError, resolve
    from depthweave.spaces.costs import Costs, costs_of
    from depthweave.spaces.decoder import ConnectionWeight, Decoder, Initialisation, ParameterGroups
    from depthweave.spaces.decoding_cache import DecodingCache
    from depthweave.spaces.files import load, read_architecture, read_rule, save_model, write_architecture
    from depthweave.spaces.fusions import FUSIONS, Fusion
    from depthweave.spaces.generation import generate, stream
    from depthweave.spaces.heads import HEADS, Head, HeadShape, make_head, resolve_head
    from depthweave.spaces.scaling import Resized, resize
    from depthweave.spaces.space import Axes, Candidate, SearchSpace, enumerate_space
    from depthweave.spaces.wiring import Site, Wiring, strided_wiring
    from depthweave.spaces.wiring_rules import WiringRule, edges_rule, rule_family
    from depthweave.spaces.wiring_text import parse_rule

_HOMES = {
    "architecture": ("Architecture",),
    "budget": ("BudgetError", "resolve"),
    "costs": ("Costs", "costs_of"),
    "decoder": ("ConnectionWeight", "Decoder", "Initialisation", "ParameterGroups"),
    "decoding_cache": ("DecodingCache",),
    "files": ("load", "read_architecture", "read_rule", "save_model", "write_architecture"),
    "fusions": ("FUSIONS", "Fusion"),
    "generation": ("generate", "stream"),
    "heads": ("HEADS", "Head", "HeadShape", "make_head", "resolve_head"),
    "scaling": ("Resized", "resize"),
    "space": ("Axes", "Candidate", "SearchSpace", "enumerate_space"),
    "wiring": ("Site", "Wiring", "strided_wiring"),
    "wiring_rules": ("WiringRule", "edges_rule", "rule_family"),
    "wiring_text": ("parse_rule",),
}

__all__ = [
    "FUSIONS",
    "HEADS",
    "Architecture",
    "Axes",
    "BudgetError",
    "Candidate",
    "ConnectionWeight",
    "Costs",
    "Decoder",
    "DecodingCache",
    "Fusion",
    "Head",
    "HeadShape",
    "Initialisation",
    "ParameterGroups",
    "Resized",
    "SearchSpace",
    "Site",
    "Wiring",
    "WiringRule",
    "costs_of",
    "edges_rule",
    "enumerate_space",
    "generate",
    "load",
    "make_head",
    "parse_rule",
    "read_architecture",
    "read_rule",
    "resize",
    "resolve",
    "resolve_head",
    "rule_family",
    "save_model",
    "stream",
    "strided_wiring",
    "write_architecture",
]

__getattr__ = lazy_exports(__name__, _HOMES)
