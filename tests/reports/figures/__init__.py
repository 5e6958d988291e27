"""Tests of `depthweave.reports.figures`."""
