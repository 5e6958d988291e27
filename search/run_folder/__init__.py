"""The run folder: its lock, and what must be unchanged when a run is resumed."""
