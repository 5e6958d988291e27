"""The Optuna studies of a run and their journal."""
