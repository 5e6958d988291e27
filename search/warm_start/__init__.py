"""Warm start: what a search takes over from other runs, and what it learns from them."""
