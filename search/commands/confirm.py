"""`depthweave confirm`: train the front again with more seeds and say what is settled."""

from __future__ import annotations

from collections.abc import Sequence

import optuna

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.seeds import confirming
from depthweave.reports.analysis.verdict_text import settled_sentences
from depthweave.reports.analysis.verdicts import verdicts_of
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.table import front_table, held_out_table
from depthweave.search.cluster.ray_session import check_address
from depthweave.search.commands.display import search_display
from depthweave.search.commands.no_results import FRUITLESS, has_no_results, no_results_sentence
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
) -> int:
    """Confirm, print the restated front, and answer the exit code."""
    console = Terminal(outlasts=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    check_address(address, ship=ship)
    store = RunStore.open(run)
    # Before the text is read and Ray started.
    check_confirmable(store, num_seeds=num_seeds)

    prepared = resumed(store, given=None, overrides=overrides, local=address is None, say=console.say)
    go_on = command_line("confirm", store.where, "--seeds", num_seeds, *(["--all"] if every else []))
    with search_display(console, prepared, go_on=go_on) as progress:
        result = run_confirmation(
            prepared,
            store,
            num_seeds=num_seeds,
            address=address,
            progress=progress,
            ship=ship,
            retry_failed=retry_failed,
            all_members=every,
        )
    _print_result(console, result, go_on=go_on, objectives=prepared.spec.objectives)
    if result.ending == "interrupted":
        return INTERRUPTED
    return FRUITLESS if has_no_results(confirming(result.records)) else 0


def _print_result(console: Terminal, result: ConfirmationResult, *, go_on: str, objectives: tuple[str, ...]) -> None:
    records = result.records
    tolerances = result.store.info.tolerance_of
    console.show(front_table(records, objectives=objectives, tolerances=tolerances))
    test = held_out_table(records, objectives=objectives, tolerances=tolerances)
    if test is not None:
        console.say("")
        console.show(test)
    members = front(records, objectives=objectives)
    lines = [
        f"{len(confirming(records))} trainings confirm the front",
        *settled_sentences(members, verdicts=verdicts_of(records, objectives=objectives, tolerances=tolerances)),
        f"report: {result.store.report_path}",
    ]
    if result.ending == "interrupted":
        lines[0] += f" so far; go on with `{go_on}`"
    if has_no_results(confirming(records)):
        lines.append(f"{no_results_sentence(confirming(records))}: mend it, then `{go_on} --retry-failed`")
    for line in lines:
        console.say(line)
