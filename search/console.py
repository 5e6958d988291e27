"""All that is printed goes through here: no control character of a name, an error or a text reaches the terminal.

A terminal obeys escape sequences: they move the cursor, change its title, and on some write the clipboard. Names in a
run, errors of a worker, tokens of a tokenizer and text of a corpus may come from a stranger. So the standard streams
drop the control characters of whatever is written (C0 but for tab and line feed, DEL, and C1), and the one thing that
has reason to write some itself, `Terminal`, drops them from what it draws.

Characters that a stream's encoding lacks become others instead of an error, and a stream that is closed swallows what
is written: neither ends a search.
"""

from __future__ import annotations

import codecs
import io
import os
import shlex
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0)) if chr(code) not in "\t\n"}
_ASCII = str.maketrans("×±─│┐└┤┬○●▲■◆·≤…≈", "x~-|++++o*^#@.<.=")
"""What a terminal without Unicode gets instead."""
_REPLACING = "depthweave.replacing"
_WIDEST = 10_000
"""Columns, more than any table needs."""


def without_controls(text: str) -> str:
    """The text less its control characters, but for tabs and line feeds."""
    return text.translate(_CONTROLS)


def command_line(*words: object) -> str:
    """A command that a shell reads as these words, whatever a name holds."""
    return shlex.join(["depthweave", *map(str, words)])


class Terminal(Console):
    """A console whose styles and cursor moves are its own alone: what it is given holds neither, nor markup."""

    def __init__(self, *, stderr: bool = False, outlasts: bool = False, width: int | None = None) -> None:
        """`outlasts`: the work goes on where the stream is gone, a pipe whose reader has ended for example."""
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False)
        self._outlasts = outlasts
        # Once: while a live display is on, rich puts a stream of its own in the place of standard output.
        inner = self.file
        self.file = _Outlasting(inner) if outlasts else inner  # type: ignore[assignment]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """As `Console.render`."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(without_controls(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """A reader that has gone is no error (`cli`); rich would end the process with another exit code."""
        raise BrokenPipeError

    def say(self, text: str, *, style: str | None = None) -> None:
        """Prints one line as it is, never wrapped."""
        self.print(" ".join(text.splitlines()), highlight=False, soft_wrap=True, style=style)

    def show(self, shown: RenderableType) -> None:
        """Prints tables with all their columns; where the terminal is narrower, it wraps the lines itself."""
        least = _least_width(self, shown)
        if least <= self.width:
            self.print(shown)
        else:
            Terminal(stderr=self.stderr, outlasts=self._outlasts, width=least).print(shown)


def _least_width(console: Console, shown: RenderableType) -> int:
    """Columns that a table, or the tables in a group, need to be drawn whole."""
    options = console.options.update(max_width=_WIDEST)
    if isinstance(shown, Group):
        return max((_least_width(console, item) for item in shown.renderables), default=0)
    if not isinstance(shown, Table):
        return Measurement.get(console, options, shown).minimum
    _, right, _, left = shown.padding
    width = 0
    for column in shown.columns:
        needs = [Measurement.get(console, options, cell) for cell in (column.header, *column.cells)]
        least = max(item.maximum if column.no_wrap else item.minimum for item in needs)
        width += max(least, column.min_width or 0) + left + right
    # A line between two columns, and at both edges.
    return width + (len(shown.columns) + 1 if shown.box else 0)


@contextmanager
def guarded_streams() -> Iterator[None]:
    """Inside, what is written to the standard streams is free of control characters, and encodes."""
    codecs.register_error(_REPLACING, _replaced)
    _open_closed()
    former = sys.stdout, sys.stderr
    wrappers = [(item, item.errors) for item in former if isinstance(item, io.TextIOWrapper)]
    for wrapper, _ in wrappers:
        wrapper.reconfigure(errors=_REPLACING)
    sys.stdout, sys.stderr = _Guarded(sys.stdout), _Guarded(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = former
        for wrapper, errors in wrappers:
            with suppress(OSError, ValueError):
                wrapper.reconfigure(errors=errors)


def discard(stream: IO[str]) -> None:
    """What is still buffered in the stream, and what comes, goes nowhere."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _Guarded:
    """A stream that drops control characters."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    @property
    def rich_proxied_file(self) -> TextIO:
        """Where rich writes instead: `Terminal` drops them itself."""
        return self._inner

    def write(self, text: str) -> int:
        self._inner.write(without_controls(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _Outlasting:
    """A stream that goes silent where it cannot be written any more."""

    def __init__(self, inner: IO[str]) -> None:
        self._inner = inner
        self._gone = False

    def write(self, text: str) -> int:
        self._try(lambda: self._inner.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._inner.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _try(self, write: Any) -> None:
        if self._gone:
            return
        try:
            write()
        # ValueError: the stream was closed in this process.
        except (OSError, ValueError):
            self._gone = True
            # What is buffered would fail once more when Python ends.
            discard(self._inner)


def _open_closed() -> None:
    """A standard stream that was closed at the start leads nowhere: the next file would get its number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # It gets the lowest number that is free: this one.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _replaced(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # As long as before: tables stay aligned.
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "replace").decode(), error.end
