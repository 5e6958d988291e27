"""The folder of a run, on any filesystem that pyarrow opens: a local path, `file://`, `s3://`, `gs://`.

    run.json  spec.yaml  survey.json  study.journal  front.parquet  tokenizer.json  report.html
    records/*.parquet  evaluations/*.parquet  weights/*.parquet
    checkpoints/trial-00012/{state.pt, progress.json, model.safetensors}
    learning_rates.json, warm_start.json, confirmation.json
    search.lease and journal/ while a search runs in object storage

A trial's record is written last: where there is a record, its evaluations and weights are there too. A record is
corrected by writing a later revision of it (`revise`); `parquet_folder` states which revision a reader sees.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Collection, Sequence

import pyarrow as pa
from pyarrow import fs

from depthweave.reports.store.arrow_rows import from_table
from depthweave.reports.store.parquet_folder import ParquetFolder
from depthweave.reports.store.records import STATES, EvaluationRow, Record, WeightRow
from depthweave.reports.store.run_info import RunInfo, from_json, to_json
from depthweave.reports.store.storage import Storage

TOKENIZER_FILE = "tokenizer.json"
FRONT_FILE = "front.parquet"
"""Written by `analysis.front_file`."""

_LOOSE_PARTS = 64
"""`append` writes a batch when more than this many files hold a single trial."""

CHECKPOINTS = "checkpoints"
"""Holds one folder for each trial."""

_TRIAL = "trial-"

_MANY_BATCHES = 32
"""More batches than this are merged into one: each is one more file to open for a reader."""


class RunStore:
    """A run folder. `create` or `open` one. One process may write, any number may read."""

    def __init__(self, storage: Storage, *, info: RunInfo) -> None:
        self.storage = storage
        """The run folder."""
        self.where = storage.where
        """The folder as the caller named it, for messages and commands."""
        self.info = info
        self._records = ParquetFolder(storage, "records", row_class=Record, run_id=info.run_id)
        self._evaluations = ParquetFolder(storage, "evaluations", row_class=EvaluationRow, run_id=info.run_id)
        self._weights = ParquetFolder(storage, "weights", row_class=WeightRow, run_id=info.run_id)
        self._num_loose: int | None = None

    @classmethod
    def create(
        cls,
        where: str | os.PathLike[str],
        *,
        info: RunInfo,
        spec_yaml: str,
        tokenizer_json: str | None = None,
        filesystem: fs.FileSystem | None = None,
    ) -> RunStore:
        """Creates a run with its spec and tokenizer; raises `ValueError` where the folder already holds a run.

        With `filesystem`, `where` is a path on it, for storage that pyarrow has no address for.
        """
        storage = Storage(where, filesystem=filesystem)
        check_free(storage)
        for rows in ("records", "study.journal"):
            if storage.info(rows).type != fs.FileType.NotFound:
                raise ValueError(f"{storage.where} holds {rows} of a run without run.json: name another folder")
        # run.json is written last: its presence means that the run can be resumed.
        storage.write("spec.yaml", spec_yaml.encode())
        if tokenizer_json is not None:
            storage.write(TOKENIZER_FILE, tokenizer_json.encode())
            info = dataclasses.replace(info, tokenizer_sha256=hashlib.sha256(tokenizer_json.encode()).hexdigest())
        storage.write("run.json", to_json(info).encode())
        return cls(storage, info=info)

    @classmethod
    def open(cls, where: str | os.PathLike[str], *, filesystem: fs.FileSystem | None = None) -> RunStore:
        """Returns the run in that folder; raises `ValueError` where there is none."""
        storage = Storage(where, filesystem=filesystem)
        if not storage.exists("run.json"):
            raise ValueError(f"{storage.where} holds no run (no run.json): name the folder that a search was given")
        text = storage.read("run.json").decode(errors="replace")
        return cls(storage, info=from_json(text, where=f"{storage.where}/run.json"))

    @property
    def spec_yaml(self) -> str:
        """The resolved spec at the start of the run; in a run of an earlier version, `spec.yaml` as it is now."""
        return self.info.spec or self.read_text("spec.yaml")

    @property
    def problems(self) -> list[str]:
        """One line for each file that could not be read so far, with its name and the reason."""
        return [*self._records.problems, *self._evaluations.problems, *self._weights.problems]

    @property
    def journal_path(self) -> str:
        """Path of Optuna's journal; a key in object storage."""
        return self.storage.path("study.journal")

    @property
    def report_path(self) -> str:
        """Address of the report page."""
        return self.storage.address("report.html")

    def checkpoint_dir(self, trial: int) -> str:
        """Returns the path of the folder with the trial's `state.pt` and `model.safetensors`."""
        return self.storage.path(checkpoint_name(trial))

    def checkpointed(self) -> list[int]:
        """Returns the numbers of the trials that have a checkpoint folder; those without a record have not ended."""
        folders = self.storage.folders(CHECKPOINTS)
        numbers = (name.removeprefix(_TRIAL) for name in folders if name.startswith(_TRIAL))
        return sorted(int(number) for number in numbers if number.isdecimal())

    def append(self, record: Record, *, evaluations: Sequence[EvaluationRow], weights: Sequence[WeightRow]) -> None:
        """Writes the rows of a trial; writing the same trial twice changes nothing."""
        self._check(record)
        given = {row.trial for row in evaluations} | {row.trial for row in weights}
        if given - {record.trial}:
            raise ValueError(f"RunStore.append: trial {record.trial} was given rows of {sorted(given)}")
        self._evaluations.write(evaluations, trial=record.trial)
        self._weights.write(weights, trial=record.trial)
        self._records.write([record], trial=record.trial)
        if self._num_loose is None:
            self._num_loose = self._records.num_loose()
        else:
            self._num_loose += 1
        if self._num_loose > _LOOSE_PARTS:
            self.compact()

    def revise(self, record: Record) -> None:
        """Writes a record that supersedes the trial's earlier one, after a new measurement for example."""
        self._check(record)
        self._records.write([record], trial=record.trial, revision=self._records.next_revision(record.trial))

    def check_links(self) -> None:
        """Raises `ValueError`, one line, where the run folder is on a disk and holds a link."""
        if self.storage.is_local:
            self.storage.files("")
            for folder in ("records", "evaluations", "weights", "tensorboard", CHECKPOINTS):
                self.storage.check_no_links(folder)

    def records(self, trials: Collection[int] | None = None) -> list[Record]:
        """Returns the readable records of all trials or of these in their latest revision, sorted by trial."""
        return from_table(self._records.read(trials), row_class=Record)

    def evaluations(self, trials: Collection[int] | None = None) -> pa.Table:
        """Returns the evaluations of all trials or of these, sorted by trial and then by index."""
        return self._evaluations.read(trials)

    def weights(self, trials: Collection[int] | None = None) -> pa.Table:
        """Returns the connection weights of all trials or of these, sorted by trial and then in order."""
        return self._weights.read(trials)

    def stamp(self) -> str:
        """Returns a text that changes when a record is added or revised or the front is written; reads no file."""
        listed = [*self.storage.files("records"), self.storage.info(FRONT_FILE)]
        facts = sorted((info.path, info.size, info.mtime_ns) for info in listed if info.type == fs.FileType.File)
        return hashlib.sha256(repr(facts).encode()).hexdigest()[:16]

    def compact(self) -> None:
        """Merges many small files of each table into one, so that reading is fast. Others may read at the same time."""
        # The records are last, as in `append`.
        for folder in (self._evaluations, self._weights, self._records):
            folder.compact()
            if folder.num_batches() > _MANY_BATCHES:
                folder.merge()
        self._num_loose = 0

    def merge(self) -> None:
        """Merges each table into one file with every trial once, for other programs. It may be read meanwhile."""
        for folder in (self._evaluations, self._weights, self._records):
            folder.merge()
        self._num_loose = 0

    def has_file(self, name: str) -> bool:
        """Returns whether the run folder holds a file of that name."""
        return self.storage.exists(name)

    def read_bytes(self, name: str) -> bytes:
        """Returns the bytes of a file of the run folder."""
        return self.storage.read(name)

    def read_text(self, name: str) -> str:
        """Returns the text of a file of the run folder; raises `ValueError`, which names it, where it is not UTF-8."""
        try:
            return self.read_bytes(name).decode("utf-8")
        except UnicodeDecodeError as error:
            raise ValueError(f"{self.where}/{name}: is damaged: not UTF-8 text ({error.reason})") from None

    def write_bytes(self, name: str, data: bytes) -> None:
        """Replaces a file of the run folder; a reader sees the old or the new file, never a part of it."""
        self.storage.write(name, data)

    def copy_out(self, name: str, path: str | os.PathLike[str]) -> None:
        """Copies a file of the run folder to a local path, in pieces: weights may be larger than memory."""
        self.storage.copy_out(name, path)

    def _check(self, record: Record) -> None:
        if record.run_id != self.info.run_id:
            raise ValueError(f"RunStore: record of run {record.run_id!r} given to run {self.info.run_id!r}")
        if record.state not in STATES:
            raise ValueError(f"RunStore: record state {record.state!r}: one of {', '.join(STATES)}")
        if record.state != "complete" and record.perplexity is not None:
            raise ValueError(
                f"RunStore: trial {record.trial} is {record.state} and has a perplexity: "
                "the loss of a stopped training is `last_loss`"
            )


def check_free(storage: Storage) -> None:
    """Raises `ValueError` where the folder already holds a run."""
    if storage.exists("run.json"):
        raise ValueError(f"{storage.where} already holds a run: continue it with --resume or name another folder")


def checkpoint_name(trial: int) -> str:
    """Returns the name of a trial's checkpoint folder inside the run folder."""
    return f"{CHECKPOINTS}/{trial_name(trial)}"


def trial_name(trial: int) -> str:
    """Returns the name of a trial in folders and logs: "trial-00007"."""
    return f"{_TRIAL}{trial:05d}"
