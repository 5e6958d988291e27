"""Exports a record as a folder that loads and trains elsewhere: weights, tokenizer, code, recipe, metrics, model card.

This is the only part of reports that uses torch. Functions import it through `depthweave.spaces`, which builds models.
"""

from __future__ import annotations

from depthweave.reports.export.card import Card, model_card
from depthweave.reports.export.folder import (
    Contents,
    architecture_of,
    export,
    write_contents,
)
from depthweave.reports.export.graph import GRAPH_FILES, GraphFormat, check_formats
from depthweave.reports.export.metrics import metrics_json
from depthweave.reports.export.training import Training, read_training, training_of
from depthweave.reports.export.whole_folder import check_target
from depthweave.spaces.model_files import MODEL_FILE

__all__ = [
    "GRAPH_FILES",
    "MODEL_FILE",
    "Card",
    "Contents",
    "GraphFormat",
    "Training",
    "architecture_of",
    "check_formats",
    "check_target",
    "export",
    "metrics_json",
    "model_card",
    "read_training",
    "training_of",
    "write_contents",
]
