"""`depthweave confirm`: train the front again with more seeds and say what is settled."""

from __future__ import annotations

import optuna

from depthweave.reports.confirmation import settled_sentences
from depthweave.reports.front import front
from depthweave.reports.seeds import confirming
from depthweave.reports.store import RunStore
from depthweave.reports.table import front_table
from depthweave.reports.verdicts import verdicts_of
from depthweave.search.cluster import check_address
from depthweave.search.commands.working import working
from depthweave.search.confirmation import check_confirmable
from depthweave.search.driver import ConfirmationResult, run_confirmation
from depthweave.search.interrupts import INTERRUPTED
from depthweave.search.output import Terminal, command_line
from depthweave.search.setting import check_same_space, check_same_text, prepare, spec_to_resume


def confirm_run(run: str, *, num_seeds: int, address: str | None, ship: bool = False) -> int:
    """Confirm, print the restated front, and answer the exit code."""
    console = Terminal(outlasts=True)
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    check_address(address, ship=ship)
    store = RunStore.open(run)
    # Before the text is read and Ray started.
    check_confirmable(store, num_seeds=num_seeds)
    setting = prepare(spec_to_resume(store, given=None, overrides=[]), local=address is None)
    check_same_text(store, setting.tokens)
    check_same_space(store, setting)
    with working(console, setting, go_on=command_line("confirm", store.where, "--seeds", num_seeds)) as progress:
        result = run_confirmation(setting, store, num_seeds=num_seeds, address=address, progress=progress, ship=ship)
    _print_result(console, result, num_seeds=num_seeds, objectives=setting.spec.objectives)
    return INTERRUPTED if result.ending == "interrupted" else 0


def _print_result(
    console: Terminal, result: ConfirmationResult, *, num_seeds: int, objectives: tuple[str, ...]
) -> None:
    where, records = result.store.where, result.records
    tolerances = result.store.info.tolerance_of
    console.show(front_table(records, objectives=objectives, tolerances=tolerances))
    members = front(records, objectives=objectives)
    lines = [
        f"{len(confirming(records))} trainings confirm the front",
        *settled_sentences(members, verdicts=verdicts_of(records, objectives=objectives, tolerances=tolerances)),
        f"report: {result.store.report_path}",
    ]
    if result.ending == "interrupted":
        lines[0] += f" so far; go on with `{command_line('confirm', where, '--seeds', num_seeds)}`"
    for line in lines:
        console.say(line)
