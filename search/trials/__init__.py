"""One trial: its training, its state in the search, its checkpoints and its record."""
