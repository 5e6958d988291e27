"""The command `depthweave` as a process: its commands, its errors and its exit codes.

An error is one line that says what was given, what is allowed and what to do, with exit code 2; `--debug` adds the
traceback.
"""

from __future__ import annotations

import os
import sys
import traceback
from importlib.metadata import version
from itertools import pairwise
from typing import Annotated, NoReturn

import typer

from depthweave.search.cli.model_commands import model_commands
from depthweave.search.cli.result_commands import result_commands
from depthweave.search.cli.run_commands import run_commands
from depthweave.search.console import Terminal, control_free_streams, discard
from depthweave.search.failures.shortages import shortage
from depthweave.search.signals import INTERRUPTED, deliver_signals

app = typer.Typer(
    name="depthweave",
    help="Search how the layers of a transformer should feed each other, at measured cost.",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for group in (run_commands, result_commands, model_commands):
    app.registered_commands.extend(group.registered_commands)

_DEBUG = "--debug"
_MAY_BE_EMPTY = ("--prompt",)
"""Options for which an empty value is allowed."""


def main() -> NoReturn:
    """Runs the command line and ends the process; the exit code is 2 where the input is at fault, 1 for our faults."""
    arguments = [item for item in sys.argv[1:] if item != _DEBUG]
    debug = len(arguments) < len(sys.argv) - 1
    with control_free_streams():
        _run(arguments, debug=debug)


def _run(arguments: list[str], *, debug: bool) -> NoReturn:
    try:
        _check_not_empty(arguments)
        with deliver_signals():
            code = app(arguments or ["--help"], prog_name="depthweave", standalone_mode=False)
        sys.stdout.flush()
        sys.exit(code)
    except BrokenPipeError:
        # The reader of a pipe has ended (`| head`), which is not an error.
        discard(sys.stdout)
        sys.exit(0)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)
    except BaseException as error:
        # A panic of a library written in Rust is not an Exception.
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        if debug:
            traceback.print_exc()
        fault = _input_fault(error)
        text = fault or f"{type(error).__name__}: {error}; this is a fault of Depthweave: --debug shows where"
        Terminal(stderr=True).say(" ".join(f"error: {text}".split()))
        sys.exit(2 if fault else 1)


def _check_not_empty(arguments: list[str]) -> None:
    """Raises `ValueError` for an empty argument: as a path it would mean the root or the working folder."""
    for before, argument in pairwise(["", *arguments]):
        option, equals, value = argument.partition("=") if argument.startswith("--") else (before, "", argument)
        named = option if option.startswith("-") else "an argument"
        if not value and (equals or not argument) and option not in _MAY_BE_EMPTY:
            raise ValueError(f"{named} is empty: give a value, or leave it out (is a variable of the shell unset?)")


def _input_fault(error: BaseException) -> str | None:
    """Returns what is wrong with the input or its surroundings; `None` for an error that neither should cause."""
    if lacking := shortage(error):
        return lacking
    if isinstance(error, (ValueError, OSError)):
        return str(error) or type(error).__name__
    # In a container a user may have neither HOME nor a line in /etc/passwd; Ray, torch and the text cache need a home.
    if (isinstance(error, RuntimeError) and "home directory" in str(error)) or (
        isinstance(error, KeyError) and "getpwuid" in str(error)
    ):
        return f"user {os.getuid()} has no home folder: set HOME to a writable folder, and USER to any name"
    # The syntax errors of a command line have no class that all versions of typer share.
    message = getattr(error, "format_message", None)
    return None if message is None else f"{message().rstrip('.')}: see depthweave --help"


def _print_version(wanted: bool) -> None:
    if wanted:
        Terminal().say(f"depthweave {version('depthweave')}")
        raise typer.Exit


@app.callback()
def _root(
    show_version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option(_DEBUG, help="Show the traceback of an error.")] = False,
) -> None:
    pass
