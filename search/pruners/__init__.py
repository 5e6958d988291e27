"""Which trial to stop or pause: Optuna pruners by name, and the choosers of those that pause."""

from depthweave.search.pruners.registry import PRUNERS, PrunerRow, check_pruner, make_chooser, make_pruner

__all__ = ["PRUNERS", "PrunerRow", "check_pruner", "make_chooser", "make_pruner"]
