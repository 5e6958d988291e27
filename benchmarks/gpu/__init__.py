"""Depthweave on a GPU: one command that checks, measures, trains, compares and searches (README.md here)."""
