"""Tests of `depthweave.reports`."""
