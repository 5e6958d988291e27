"""The command `depthweave`: its arguments, options and errors. What each command does is in `search/commands`."""

from depthweave.search.cli.entry_point import app, main

__all__ = ["app", "main"]
