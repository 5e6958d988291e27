"""The spec of a search: its schema, and how it is read."""
