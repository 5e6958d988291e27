"""Everything that is printed goes through here, so that no control character reaches the terminal.

A terminal obeys escape sequences: they move the cursor, change the title, and on some terminals write the clipboard.
Names in a run, errors of a worker, tokens of a tokenizer and text of a corpus may come from a stranger. So the standard
streams drop control characters: C0 except tab and line feed, DEL, C1, and the marks that reverse the order of text.
`Terminal` has to write some control characters of its own, and drops those in the text that it prints.

A line is printed with `print_line` or `Terminal.say`, a table with `Terminal.show`, JSON with `print_json`, and text
for another program with `print_text`.

A character that the stream's encoding lacks is replaced instead of raising an error. A closed stream swallows what is
written to it. So neither ends a search.
"""

from __future__ import annotations

import codecs
import io
import json
import os
import shlex
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from typing import IO, Any, TextIO

from rich.console import Console, ConsoleOptions, Group, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table

_REORDERING = (*range(0x202A, 0x202F), *range(0x2066, 0x206A))
"""Unicode's bidirectional overrides and isolates: they make a name look like another."""
_CONTROLS = {code: None for code in (*range(0x20), *range(0x7F, 0xA0), *_REORDERING) if chr(code) not in "\t\n"}
_ASCII = str.maketrans("×±─│┐└┤┬○●▲■◆·≤…≈", "x~-|++++o*^#@.<.=")
"""Replacements for a terminal without Unicode."""
_REPLACE = "depthweave.replace"
"""Name of the error handler for characters that cannot be encoded."""
_MAX_COLUMNS = 10_000
"""More than any table needs."""


def without_controls(text: str) -> str:
    """Returns the text without control characters; tabs and line feeds stay."""
    return text.translate(_CONTROLS)


def one_line(text: str) -> str:
    """Returns the text as one line without control characters; line breaks become spaces."""
    return without_controls(" ".join(text.splitlines()))


def command_line(*words: object) -> str:
    """Returns a `depthweave` command, quoted for a shell."""
    return shlex.join(["depthweave", *map(str, words)])


def print_line(console: Console, text: str, *, style: str | None = None) -> None:
    """Prints one line as it is: no markup, no highlighting, never wrapped."""
    console.print(one_line(text), markup=False, highlight=False, soft_wrap=True, style=style)


def print_json(values: Any) -> None:
    """Prints values as indented JSON on standard output."""
    print_text(json.dumps(values, indent=2) + "\n")


def print_text(text: str) -> None:
    """Writes text to standard output as it is, line breaks included, and flushes it."""
    sys.stdout.write(text)
    sys.stdout.flush()


class Terminal(Console):
    """A rich console that prints text literally: without markup, and without the control characters in the text."""

    def __init__(self, *, stderr: bool = False, ignore_closed: bool = False, width: int | None = None) -> None:
        """`ignore_closed`: work continues when the stream is closed, for example a pipe whose reader has ended."""
        super().__init__(stderr=stderr, width=width, markup=False, emoji=False)
        self._ignore_closed = ignore_closed
        # The stream is fixed here: while a live display is on, rich replaces standard output with a stream of its own.
        inner = self.file
        self.file = _SilentWhenClosed(inner) if ignore_closed else inner  # type: ignore[assignment]

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Renders as `Console.render` does."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(without_controls(segment.text), segment.style)

    def on_broken_pipe(self) -> None:
        """Raises `BrokenPipeError`, which `cli` treats as a normal end; rich would exit with another code."""
        raise BrokenPipeError

    def say(self, text: str, *, style: str | None = None) -> None:
        """Prints one line as it is, never wrapped."""
        print_line(self, text, style=style)

    def show(self, shown: RenderableType) -> None:
        """Prints tables with all their columns; a narrower terminal wraps the lines itself."""
        least = _least_width(self, shown)
        if least <= self.width:
            self.print(shown)
        else:
            Terminal(stderr=self.stderr, ignore_closed=self._ignore_closed, width=least).print(shown)


def _least_width(console: Console, shown: RenderableType) -> int:
    """Returns the columns that a table, or the widest table of a group, needs."""
    options = console.options.update(max_width=_MAX_COLUMNS)
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
    # One column for each line between columns and at both edges.
    return width + (len(shown.columns) + 1 if shown.box else 0)


@contextmanager
def control_free_streams() -> Iterator[None]:
    """Inside, the standard streams drop control characters and replace what they cannot encode."""
    codecs.register_error(_REPLACE, _replace_unencodable)
    _reopen_closed()
    original = sys.stdout, sys.stderr
    wrappers = [(item, item.errors) for item in original if isinstance(item, io.TextIOWrapper)]
    for wrapper, _ in wrappers:
        wrapper.reconfigure(errors=_REPLACE)
    sys.stdout, sys.stderr = _ControlFreeStream(sys.stdout), _ControlFreeStream(sys.stderr)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = original
        for wrapper, errors in wrappers:
            with suppress(OSError, ValueError):
                wrapper.reconfigure(errors=errors)


def discard(stream: IO[str]) -> None:
    """Redirects the stream to nowhere, with what it still buffers."""
    with suppress(OSError, ValueError):
        os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())


class _ControlFreeStream:
    """A stream that drops control characters."""

    def __init__(self, inner: TextIO) -> None:
        self._inner = inner

    @property
    def rich_proxied_file(self) -> TextIO:
        """The stream that rich writes to: `Terminal` drops control characters itself."""
        return self._inner

    def write(self, text: str) -> int:
        self._inner.write(without_controls(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class _SilentWhenClosed:
    """A stream that ignores what is written to it once it is closed."""

    def __init__(self, inner: IO[str]) -> None:
        self._inner = inner
        self._closed = False

    def write(self, text: str) -> int:
        self._try(lambda: self._inner.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._inner.flush)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def _try(self, write: Callable[[], object]) -> None:
        if self._closed:
            return
        try:
            write()
        # ValueError: the stream was closed in this process.
        except (OSError, ValueError):
            self._closed = True
            # Otherwise the flush at the end of Python would fail too.
            discard(self._inner)


def _reopen_closed() -> None:
    """Opens standard streams that were closed at the start: otherwise the next file would get their number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # The new file gets the lowest free number, which is this one.
            os.open(os.devnull, os.O_RDWR)
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115


def _replace_unencodable(error: UnicodeError) -> tuple[str, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    # One character for one: tables stay aligned.
    text = error.object[error.start : error.end].translate(_ASCII)
    return text.encode("ascii", "replace").decode(), error.end
