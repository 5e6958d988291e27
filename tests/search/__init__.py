"""Tests of `depthweave.search`."""
