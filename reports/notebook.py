"""A run in a notebook: its tables as data frames, its figures as Plotly objects, its result in sentences.

from depthweave import reports

run = reports.open("runs/quick")
run.front()
run.figures()["front-latency"]
"""

from __future__ import annotations

import html
import os
import warnings
from collections.abc import Collection
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal, TypeVar

import plotly.graph_objects as go
import pyarrow as pa

from depthweave.reports.analysis.run_view import RunView
from depthweave.reports.analysis.summary import answer_sentence
from depthweave.reports.figures.standalone import run_figures
from depthweave.reports.filled_columns import filled_columns
from depthweave.reports.formatting import show
from depthweave.reports.store.arrow_rows import to_table
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.table import view_rows

Frames = Literal["pandas", "polars", "arrow"]
_Read = TypeVar("_Read")


class OpenRun:
    """An open run. Every call reads the present content of the store, so it can follow a running search.

    A file of the run that cannot be read is left out, with a warning that names it.
    """

    def __init__(self, store: RunStore, *, frames: Frames) -> None:
        self.store = store
        """The run's store, for everything else."""
        self.frames = frames
        """The library of the returned tables."""
        self._warned: set[str] = set()

    def records(self) -> Any:
        """Returns a row for each trial, with columns as in `Record`."""
        return self._frame(to_table(self._records(), row_class=Record))

    def evaluations(self, trials: Collection[int] | None = None) -> Any:
        """Returns a row for each evaluation of these or all trials: the learning curves."""
        return self._frame(self._with_warnings(self.store.evaluations(trials)))

    def weights(self, trials: Collection[int] | None = None) -> Any:
        """Returns a row for each connection weight at each evaluation of these or all trials."""
        return self._frame(self._with_warnings(self.store.weights(trials)))

    def front(self) -> Any:
        """Returns a row for each member of the joint front, by the first objective, with what a confirmation found.

        The columns are those of `depthweave show --json`. An architecture with several seeds is one row, at their mean.
        """
        rows = self._rows()
        for row in rows:
            row["selected_by"] = ", ".join(row["selected_by"])
        return self._frame(pa.Table.from_pylist(rows))

    def figures(self) -> dict[str, go.Figure]:
        """Returns the figures of `depthweave report --svg` by name, each with its key."""
        return self._with_warnings(run_figures(self.store))

    def answer(self) -> list[str]:
        """Returns the sentences at the top of the report; the last one says how certain the result is."""
        return answer_sentence(self._records(), info=self.store.info)

    def __repr__(self) -> str:
        return f"OpenRun({self.store.where!r}, frames={self.frames!r})"

    def _repr_html_(self) -> str:
        """Returns the result and a few columns of the front as HTML, which notebooks display."""
        objectives = self.store.info.objectives
        names = ("fusion", "rule", "depth", *objectives)
        columns, rows = filled_columns(names, [[_cell(name, row[name]) for name in names] for row in self._rows()])
        header = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
        sentences = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.answer())
        title = f"<h3>{html.escape(self.store.info.name)}</h3>"
        return f"{title}{sentences}<table><thead><tr>{header}</tr></thead><tbody>{body}</tbody></table>"

    def _rows(self) -> list[dict[str, Any]]:
        info = self.store.info
        return view_rows(RunView.of(self._records(), objectives=info.objectives, tolerances=info.tolerance_of))

    def _records(self) -> list[Record]:
        return self._with_warnings(self.store.records())

    def _with_warnings(self, read: _Read) -> _Read:
        """Returns `read` and warns about each file that could not be read, once."""
        for line in self.store.problems:
            if line not in self._warned:
                self._warned.add(line)
                warnings.warn(f"{self.store.where}: {line}", stacklevel=4)
        return read

    def _frame(self, table: pa.Table) -> Any:
        if self.frames == "arrow":
            return table
        library = import_module(self.frames)
        if self.frames == "polars":
            return library.from_arrow(table)
        # Integer columns with missing values stay integers: a period is 4, not 4.0.
        return table.to_pandas(types_mapper={pa.int64(): library.Int64Dtype()}.get)


def open(where: str | os.PathLike[str], *, frames: Frames | None = None) -> OpenRun:
    """Opens the run in a local folder or at `s3://`, `gs://`. Raises `ValueError` with one line if there is none.

    Tables are of the library `frames`: by default pandas if it is installed, else Polars, else Arrow.
    """
    if frames is None:
        frames = "pandas" if find_spec("pandas") else "polars" if find_spec("polars") else "arrow"
    elif frames not in ("pandas", "polars", "arrow"):
        raise ValueError(f"reports.open: frames={frames!r}: one of pandas, polars, arrow")
    elif frames != "arrow" and find_spec(frames) is None:
        raise ValueError(f"reports.open: frames={frames!r} is not installed: pip install {frames}, or leave frames out")
    return OpenRun(RunStore.open(where), frames=frames)


def _cell(name: str, value: Any) -> str:
    return show(name, value) if isinstance(value, (int, float)) else "" if value is None else str(value)
