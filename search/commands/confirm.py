"""`depthweave confirm`: trains the front again with more seeds, and reports what is settled."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.seeds import confirming
from depthweave.reports.analysis.strided_rivals import rivals_sentences
from depthweave.reports.analysis.verdict_text import settled_sentences
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.table import held_out_table, view_table
from depthweave.search.cluster.ray_joining import check_address
from depthweave.search.commands.display import search_display
from depthweave.search.commands.no_results import EXIT_NO_RESULTS, has_no_results, no_results_sentence
from depthweave.search.commands.problems import print_problems
from depthweave.search.confirmation import check_confirmable
from depthweave.search.console import Terminal, command_line
from depthweave.search.driver import ConfirmationResult, run_confirmation
from depthweave.search.run_folder.resuming import resumed
from depthweave.search.signals import INTERRUPTED


def confirm_run(
    run: str,
    *,
    num_seeds: int,
    address: str | None,
    overrides: Sequence[str] = (),
    ship: bool = False,
    retry_failed: bool = False,
    every: bool = False,
    all_sizes: bool = False,
) -> int:
    """Confirms the front, prints it with intervals, and returns the exit code."""
    console = Terminal(ignore_closed=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    check_address(address, ship=ship)
    store = RunStore.open(run)
    # First: a record that cannot be read may be that of a member of the front.
    store.records()
    print_problems(store)
    # Before the text is read and Ray is started.
    check_confirmable(store, num_seeds=num_seeds)

    prepared = resumed(store, given=None, overrides=overrides, local=address is None, say=console.say)
    options = [*(["--all"] if every else []), *(["--sizes"] if all_sizes else [])]
    resume_command = command_line("confirm", store.where, "--seeds", num_seeds, *options)
    with search_display(console, prepared, resume_command=resume_command) as progress:
        result = run_confirmation(
            prepared,
            store,
            num_seeds=num_seeds,
            address=address,
            progress=progress,
            ship=ship,
            retry_failed=retry_failed,
            all_members=every,
            all_sizes=all_sizes,
        )
    _print_result(console, result, resume_command=resume_command, objectives=prepared.spec.objectives)
    if result.ending == "interrupted":
        return INTERRUPTED
    return EXIT_NO_RESULTS if has_no_results(confirming(result.records)) else 0


def _print_result(
    console: Terminal, result: ConfirmationResult, *, resume_command: str, objectives: tuple[str, ...]
) -> None:
    records = result.records
    view = RunView.of(records, objectives=objectives, tolerances=result.store.info.tolerance_of)
    console.show(view_table(view))
    test = held_out_table(view)
    if test is not None:
        console.say("")
        console.show(test)
    lines = [
        f"{len(confirming(records))} trainings confirm the front",
        *settled_sentences(view.front, verdicts=view.verdicts),
        *(rivals_sentences(view) if view.verdicts else ()),
        f"report: {result.store.report_path}",
    ]
    if result.ending == "interrupted":
        lines[0] += f" so far; continue with `{resume_command}`"
    if has_no_results(confirming(records)):
        lines.append(
            f"{no_results_sentence(confirming(records))}: fix the cause, then `{resume_command} --retry-failed`"
        )
    for line in lines:
        console.say(line)
