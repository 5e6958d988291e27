"""Tests, a folder for each of the four packages."""
