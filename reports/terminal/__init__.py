"""Views of a run for the terminal."""
