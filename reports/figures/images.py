"""Figures as PNG and SVG files, drawn by Plotly's own code in a browser without a window (extra `png`)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go

Format = Literal["png", "svg"]

_PNG_SCALE = 3
"""968 pixels wide become 2,904: over 400 dots an inch in a column of seven inches."""
_INSTALL = "pip install 'depthweave[png]'"


def write_images(figures: Mapping[str, go.Figure], *, folder: Path, kind: Format) -> list[Path]:
    """One file a figure, `NAME.png` or `NAME.svg`, new and whole; the folder is made.

    Raises `ValueError`, one line, where kaleido or a browser for it is absent, before any file is written, and where
    a figure cannot be drawn.
    """
    kaleido = _kaleido()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for name in figures]
    jobs = [
        {"fig": figure.to_plotly_json(), "path": path, "opts": _options(figure, kind=kind)}
        for path, figure in zip(paths, figures.values(), strict=True)
    ]
    # No MathJax: it would be fetched from the network. One tab: the figures are few.
    options = {"page_generator": kaleido.PageGenerator(mathjax=False), "n": 1}
    try:
        kaleido.write_fig_from_object_sync(jobs, kopts=options, cancel_on_error=True)
    except Exception as error:
        # kaleido's own classes, told by name: importing them would need the extra.
        fault = type(error).__name__
        if fault not in ("ChromeNotFoundError", "BrowserFailedError", "BrowserClosedError"):
            raise
        raise ValueError(
            f"--{kind}: kaleido found no browser that starts ({fault}): install Chrome or Chromium, "
            "or run kaleido_get_chrome, or name one in the environment variable BROWSER_PATH"
        ) from None
    return paths


def check_can_write_images(*, named: str) -> None:
    """Raises `ValueError`, one line, where kaleido is absent or older than version 1; `named` is what asked for it."""
    try:
        kaleido = import_module("kaleido")
    except ImportError:
        raise ValueError(f"{named}: needs kaleido, which is not installed: {_INSTALL}") from None
    if not hasattr(kaleido, "write_fig_from_object_sync"):
        raise ValueError(f"{named}: needs kaleido 1 or later: {_INSTALL}")


def _kaleido() -> Any:
    check_can_write_images(named="write_images")
    return import_module("kaleido")


def _options(figure: go.Figure, *, kind: Format) -> dict[str, Any]:
    scale = _PNG_SCALE if kind == "png" else 1
    return {"format": kind, "width": figure.layout.width, "height": figure.layout.height, "scale": scale}
