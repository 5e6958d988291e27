"""The Optuna studies of a run, their journal and its recovery."""
