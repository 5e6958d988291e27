"""Writes figures as PNG and SVG files, with Plotly in a headless browser (extra `png`)."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import plotly.graph_objects as go

Format = Literal["png", "svg"]

_PNG_SCALE = 3
"""A width of 968 pixels becomes 2,904: over 400 dots per inch on a page seven inches wide."""
_INSTALL = "pip install 'depthweave[png]'"


def write_images(figures: Mapping[str, go.Figure], *, folder: Path, kind: Format) -> list[Path]:
    """Writes one file for each figure, `NAME.png` or `NAME.svg`, and returns the paths. Makes the folder.

    Raises `ValueError` with one line if kaleido is missing, before any file is written, or if it finds no browser.
    """
    kaleido = _kaleido()
    folder.mkdir(parents=True, exist_ok=True)
    paths = [folder / f"{name}.{kind}" for name in figures]
    jobs = [
        {"fig": figure.to_plotly_json(), "path": path, "opts": _options(figure, kind=kind)}
        for path, figure in zip(paths, figures.values(), strict=True)
    ]
    # Without MathJax, which kaleido would load from the network. One tab is enough for a few figures.
    options = {"page_generator": kaleido.PageGenerator(mathjax=False), "n": 1}
    try:
        kaleido.write_fig_from_object_sync(jobs, kopts=options, cancel_on_error=True)
    except Exception as error:
        # kaleido's exception classes, recognised by name because importing them needs the extra.
        error_name = type(error).__name__
        if error_name not in ("ChromeNotFoundError", "BrowserFailedError", "BrowserClosedError"):
            raise
        raise ValueError(
            f"--{kind}: kaleido found no browser that starts ({error_name}): install Chrome or Chromium, "
            "or run kaleido_get_chrome, or name one in the environment variable BROWSER_PATH"
        ) from None
    return paths


def check_can_write_images(*, named: str) -> None:
    """Raises `ValueError` with one line if kaleido is missing or older than version 1. `named` begins the message."""
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
