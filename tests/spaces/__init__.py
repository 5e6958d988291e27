"""Tests of `depthweave.spaces`."""
