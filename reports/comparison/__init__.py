"""Compares several runs."""
