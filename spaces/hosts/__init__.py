"""Fusions between the layers of an existing model, the host."""
