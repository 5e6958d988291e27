"""Faults that really happen: what is killed, hangs, fills up or jumps, and what a search makes of it."""
