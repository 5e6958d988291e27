"""The front as rows for JSON and as a table for a terminal."""

from __future__ import annotations

import dataclasses
import io
import json
import re
from typing import Any

from rich.console import Console
from rich.table import Table

from depthweave.reports.analysis.front import front
from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.formatting import show
from depthweave.reports.store.records import Record
from depthweave.reports.terminal.table import front_rows, front_table, held_out_table, selected_trials
from tests.reports.confirmed import PAIR, confirmed_records, held_out_records, seeded
from tests.reports.synthetic import OBJECTIVES, make_record, synthetic_trials

RECORDS = [trial.record for trial in synthetic_trials()]


def test_front_rows_are_the_front_and_json() -> None:
    rows = front_rows(RECORDS, objectives=OBJECTIVES)
    assert json.loads(json.dumps(rows)) == rows
    assert [row["trial"] for row in rows] == [row.trial for row in front(RECORDS, objectives=OBJECTIVES)]
    assert rows[0]["perplexity"] == min(row.perplexity for row in RECORDS if row.perplexity)
    assert "best" in rows[0]["selected_by"]


def test_selected_trials_leaves_out_what_names_nothing() -> None:
    assert selected_trials(RunView.of([], objectives=OBJECTIVES)) == {}
    found = selected_trials(RunView.of([make_record(3, latency=None)], objectives=["perplexity"]))
    assert found == {"best": 3, "knee": 3, "smallest": 3}


def test_front_table_fits_80_columns_and_shows_every_member() -> None:
    text = io.StringIO()
    Console(file=text, width=80).print(front_table(RECORDS, objectives=OBJECTIVES))
    shown = text.getvalue()
    for member in front(RECORDS, objectives=OBJECTIVES):
        (line,) = (line for line in shown.splitlines() if member.architecture_id in line)
        assert show("perplexity", member.perplexity) in line
        assert show("latency", member.latency) in line
        assert show("memory_bytes", member.memory_bytes) in line
    assert all(rule in shown for rule in ("best", "knee", "fastest", "smallest"))


def test_front_table_of_80_columns_breaks_no_name_of_a_fusion() -> None:
    kept = [("value_residual", "first:2"), ("dwa", "mirror"), ("mudd", "1x1")]
    records = [
        make_record(
            number,
            fusion=fusion,
            rule=rule,
            dilation=None,
            period=None,
            perplexity=9.0 + number,
            latency=2.0 - number / 10,
            memory_bytes=10**8 - number * 10**7,
        )
        for number, (fusion, rule) in enumerate(kept)
    ]
    text = io.StringIO()
    Console(file=text, width=80).print(front_table(records, objectives=OBJECTIVES))
    lines = text.getvalue().splitlines()
    assert any("value_residual" in line for line in lines)
    assert all(len(line.rstrip()) <= 80 for line in lines)
    assert "--select" in lines[0]


def test_front_table_several_seeds_show_the_seed() -> None:
    records = [make_record(0), make_record(1, seed=5)]
    assert "seed" in _heads(front_table(records, objectives=OBJECTIVES))
    assert "seed" not in _heads(front_table(records[:1], objectives=OBJECTIVES))


def test_front_table_of_nothing_has_heads_alone() -> None:
    table = front_table([], objectives=OBJECTIVES)
    assert table.row_count == 0
    assert {"perplexity", "latency", "memory"} <= set(_heads(table))


def test_confirmed_front_fits_80_columns_and_says_what_is_settled() -> None:
    records = confirmed_records()
    text = io.StringIO()
    Console(file=text, width=80).print(front_table(records, objectives=OBJECTIVES))
    lines = {line.split()[0]: line for line in text.getvalue().splitlines() if line.strip()}
    # exp(1.309) and the upper end: 2.776 standard errors of 0.0328 above the mean loss.
    assert "3.702±.353" in lines["close"]
    assert ">99% " in lines["close"]
    assert re.search(r"\b\d\d%\? ", lines["best"])
    # Ahead, but perhaps by chance: the rule takes the best of those that are settled.
    assert "best" not in lines["best"].removeprefix("best")
    assert "best" in lines["close"]
    assert "not settled" in text.getvalue()


def test_estimated_losses_are_marked_and_explained() -> None:
    cheap = [dataclasses.replace(it, latency=0.5) if it.architecture_id == "once" else it for it in held_out_records()]
    text = io.StringIO()
    console = Console(file=text, width=80)
    console.print(front_table(cheap, objectives=PAIR))
    table = held_out_table(RunView.of(cheap, objectives=PAIR))
    assert table is not None
    console.print(table)
    rows = [line for line in text.getvalue().splitlines() if line.startswith("once")]
    assert [re.search(r" ~5\.568 ", line) is not None for line in rows] == [True, True]
    assert "~: without fresh seeds; estimated" in text.getvalue()
    assert text.getvalue().count("~") == 3


def test_a_skewed_interval_is_written_with_both_ends() -> None:
    losses = {"plain": (3.6, 3.62, 3.60), "close": (3.5, 3.6, 3.46)}
    records = [it for number, (key, own) in enumerate(losses.items()) for it in _pair_of(key, own, trial=number)]
    cell = next(line for line in _lines(front_table(records, objectives=PAIR)) if line.startswith("close"))
    # exp(3.53) and a half width of 12.7 standard errors of 0.07.
    assert "34.124 [14.021, 83.048]" in cell


def test_graphs_of_one_name_are_told_apart_by_id() -> None:
    graphs = ([[3, [0, 1, 3]], [4, [1, 2, 4]]], [[4, [0, 1, 2, 3, 4]]], [[3, [0, 1, 3]], [4, [0, 2, 4]]])
    records = [
        make_record(
            number,
            rule="+".join(f"{source}-{site}" for site, sources in graph for source in sources if source != site),
            dilation=None,
            period=None,
            wiring=json.dumps(graph),
            perplexity=9.0 - number,
            latency=1.0 + number / 10,
        )
        for number, graph in enumerate(graphs)
    ]
    shown = _lines(front_table([_as_edges(it) for it in records], objectives=PAIR))
    first, second, third = (record.architecture_id for record in records)
    for named, sites in ((f"{third}, {first}", "2 sites"), (second, "1 site")):
        assert sum(line.startswith(f"{named}: 4 connections at {sites}") for line in shown) == 1


def test_confirmed_front_rows_have_the_verdict() -> None:
    rows = {row["architecture_id"]: row for row in front_rows(confirmed_records(), objectives=PAIR)}
    assert json.loads(json.dumps(rows)) == rows
    assert rows["close"].items() >= {"num_seeds": 5, "settled": True, "plain_id": "plain"}.items()
    assert not rows["best"]["settled"]
    assert "settled" not in front_rows(RECORDS, objectives=OBJECTIVES)[0]


def _pair_of(key: str, losses: tuple[float, ...], *, trial: int) -> list[Record]:
    changes: dict[str, Any] = {"latency": 1.0 + trial, "latency_low": None, "latency_high": None}
    if key == "plain":
        changes |= {"fusion": "none", "dilation": None, "period": None, "wiring": "[]", "reference": True}
    return seeded(key, dict(enumerate(losses)), trial=trial, **changes)


def _as_edges(record: Record) -> Record:
    return dataclasses.replace(record, rule=f"edges:{record.rule}")


def _lines(table: Table) -> list[str]:
    text = io.StringIO()
    Console(file=text, width=200).print(table)
    return [line.strip() for line in text.getvalue().splitlines()]


def _heads(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]
