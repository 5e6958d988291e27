"""Figures of a run. Each file computes the data of one figure as a NamedTuple and draws it with Plotly.

`palette` holds colours, symbols and templates, and `key` explains them.
"""
