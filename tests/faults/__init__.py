"""Searches through faults: what is lost, what is said, and how they go on."""
