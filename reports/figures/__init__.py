"""Figures of a run: for each, its data as a NamedTuple, and the drawing with Plotly.

`palette` holds colours, symbols and templates, `key` explains them; every other file is one figure.
"""
