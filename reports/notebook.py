"""A run in a notebook: its tables as data frames, its figures as Plotly objects, its answer in words.

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
from depthweave.reports.formatting import show
from depthweave.reports.store.records import Record, to_table
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.terminal.table import view_rows

Frames = Literal["pandas", "polars", "arrow"]
_Read = TypeVar("_Read")


class OpenRun:
    """A run to look at. Every call reads what the store holds at that moment: a running search can be followed.

    A file of the run that cannot be read is left out, with a warning that names it.
    """

    def __init__(self, store: RunStore, *, frames: Frames) -> None:
        self.store = store
        """For everything that no method here answers."""
        self.frames = frames
        """What tables are given as."""
        self._warned: set[str] = set()

    def records(self) -> Any:
        """A row a trial, units and meanings as in `Record`: a data frame of `frames`, as all tables here."""
        return self._frame(to_table(self._records(), row_class=Record))

    def evaluations(self, trials: Collection[int] | None = None) -> Any:
        """A row an evaluation, of all trials or of these: the learning curves."""
        return self._frame(self._whole(self.store.evaluations(trials)))

    def weights(self, trials: Collection[int] | None = None) -> Any:
        """A row a connection weight and evaluation, of all trials or of these."""
        return self._frame(self._whole(self.store.weights(trials)))

    def front(self) -> Any:
        """A row a member of the front of all objectives, the first objective rising, with what a confirmation found.

        The columns are those of `depthweave show --json`; several seeds of an architecture are one row, at their mean.
        """
        rows = self._rows()
        for row in rows:
            row["selected_by"] = ", ".join(row["selected_by"])
        return self._frame(pa.Table.from_pylist(rows))

    def figures(self) -> dict[str, go.Figure]:
        """Name to figure, each with its key, as `depthweave report --svg` writes them."""
        return self._whole(run_figures(self.store))

    def answer(self) -> list[str]:
        """What was found in sentences, the last one on how sure that is: those at the top of the report."""
        return answer_sentence(self._records(), info=self.store.info)

    def __repr__(self) -> str:
        return f"OpenRun({self.store.where!r}, frames={self.frames!r})"

    def _repr_html_(self) -> str:
        """In a notebook: the answer, and the front in a few columns."""
        objectives = self.store.info.objectives
        columns = ("fusion", "dilation", "period", "depth", *objectives)
        rows = self._rows()
        heads = "".join(f"<th>{html.escape(name)}</th>" for name in columns)
        body = "".join(
            "<tr>" + "".join(f"<td>{html.escape(_cell(name, row[name]))}</td>" for name in columns) + "</tr>"
            for row in rows
        )
        told = "".join(f"<p>{html.escape(sentence)}</p>" for sentence in self.answer())
        title = f"<h3>{html.escape(self.store.info.name)}</h3>"
        return f"{title}{told}<table><thead><tr>{heads}</tr></thead><tbody>{body}</tbody></table>"

    def _rows(self) -> list[dict[str, Any]]:
        info = self.store.info
        return view_rows(RunView.of(self._records(), objectives=info.objectives, tolerances=info.tolerance_of))

    def _records(self) -> list[Record]:
        return self._whole(self.store.records())

    def _whole(self, read: _Read) -> _Read:
        """What was read, with a warning for each file of the run that could not be: once each."""
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
        # Integers with gaps stay integers: a period of 4 is no 4.0.
        return table.to_pandas(types_mapper={pa.int64(): library.Int64Dtype()}.get)


def open(where: str | os.PathLike[str], *, frames: Frames | None = None) -> OpenRun:
    """The run in that folder, local or `s3://`, `gs://`; `ValueError`, one line, where there is none.

    Tables are given as `frames`: by default pandas where that is installed, else Polars, else Arrow.
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
