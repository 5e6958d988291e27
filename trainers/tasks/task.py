"""What a task is: the methods that a search calls, and the values that pass between them.

A task has no state of its own, because it is sent to every worker. Data is read and encoded once, by the process that
drives the search. A state belongs to one training of one architecture.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Generic, NamedTuple, Protocol, Self, TypeAlias, TypeVar

import torch

from depthweave.spaces.architecture import Architecture
from depthweave.trainers.device_lock import DeviceLock, GiveWay, NoDeviceLock
from depthweave.trainers.evaluation import Evaluation, HeldOutLoss
from depthweave.trainers.measure import Kind, Measurement
from depthweave.trainers.recipe import Recipe


@dataclass(frozen=True, kw_only=True, slots=True)
class Quality:
    """How a task judges a trained model. Less is better."""

    column: str
    """Column of a record, and the name of the objective in a spec."""
    title: str
    """Name for a reader, in lower case."""
    unit: str = ""
    """Unit; empty where the value has none."""
    other_columns: tuple[str, ...] = ()
    """Further columns that a spec may minimise instead."""
    usual_costs: tuple[str, ...] = ("latency", "memory_bytes")
    """Costs that a spec minimises beside it if it names no objective."""
    unmeasured: tuple[str, ...] = ()
    """Costs that have no meaning for the models of the task."""
    is_likelihood: bool = False
    """Whether the loss is a mean negative log-likelihood in nats a token; a confirmation compares such losses alone."""
    is_paired: bool = False
    """Whether the losses of all models with one seed are of the same draws of the data, so that a confirmation may
    compare them seed by seed although they are no likelihoods."""
    max_loss: float = 1e15
    """Larger losses count as diverged. No record holds a value above 1e15."""

    @property
    def confirms(self) -> bool:
        """Whether a confirmation with fresh seeds says how sure a difference is."""
        return self.is_likelihood or self.is_paired

    @property
    def columns(self) -> tuple[str, ...]:
        """All columns of the task that a spec may minimise."""
        return (self.column, *self.other_columns)


@dataclass(frozen=True, kw_only=True, slots=True)
class DataRequest:
    """What a spec says about the data."""

    corpus: Any
    """The section `corpus` of the task's specs: a `CorpusSpec` or a `TagCorpus`."""
    tokenizer: str
    """`bytes`, or `bpe:N`; of no meaning where the task brings its own."""
    tokenizer_json: str | None = None
    """The tokenizer of a run that is resumed; absent, a tokenizer that needs training is trained."""
    recipe: Recipe
    device: str = "cpu"
    """Where passes over the whole data run, of a task that has some."""


class Schedule(NamedTuple):
    """The length of a trial."""

    steps: int
    """Optimiser steps of all its trainings; `Evaluation.step` of the last evaluation."""
    evaluations: int


class RawData(Protocol):
    """Data as it was read, divided into its parts."""

    @property
    def name(self) -> str:
        """Name for a reader."""

    @property
    def num_bytes(self) -> tuple[int, int, int]:
        """Bytes of the parts: training, validation, test."""

    @property
    def notes(self) -> tuple[str, ...]:
        """What a user should know about the reading and the division, one sentence each."""


class TaskData(Protocol):
    """Data that models train on. It is pickled to every worker: large parts should be arrays."""

    @property
    def corpus(self) -> str:
        """Name of the data."""

    @property
    def corpus_sha256(self) -> str:
        """Hash of the data and of its division; a resumed run must find the same."""

    @property
    def vocabulary(self) -> int:
        """Number of tokens that the models need."""

    @property
    def tokenizer(self) -> str:
        """Name of the tokenizer; empty where there is none."""

    @property
    def tokenizer_json(self) -> str | None:
        """Content of `tokenizer.json`; absent where the tokenizer needs no file."""

    def without_test(self) -> Self:
        """Returns the data without its test part: what a search trains and evaluates on."""

    def renamed(self, corpus: str) -> Self:
        """Returns the same data under another name."""


class TaskState(Protocol):
    """A training between two steps, on its device."""

    @property
    def architecture(self) -> Architecture:
        """The architecture that is trained."""

    @property
    def recipe(self) -> Recipe:
        """The recipe that it is trained with."""

    @property
    def device(self) -> torch.device:
        """Where the model is."""

    @property
    def step(self) -> int:
        """Optimiser steps taken."""

    @property
    def diverged(self) -> bool:
        """Whether a loss was not finite; then the training has ended."""

    def save(self, path: str | Path) -> None:
        """Writes a checkpoint, whole or not at all, with its checksum beside it."""


RawT = TypeVar("RawT", bound=RawData)
DataT = TypeVar("DataT", bound=TaskData)
StateT = TypeVar("StateT", bound=TaskState)


class Task(ABC, Generic[RawT, DataT, StateT]):
    """What models are trained for. `TASKS` holds one object of each task."""

    quality: ClassVar[Quality]

    @abstractmethod
    def read(self, request: DataRequest) -> RawT:
        """Reads and divides the data. Raises a one-line `ValueError` where it cannot be had."""

    @abstractmethod
    def encode(self, raw: RawT, request: DataRequest, *, say: Callable[[str], None]) -> DataT:
        """Returns the data as models take it. `say` gets a line before what takes long, and one for each problem that
        does not stop the search. Raises a one-line `ValueError` where the data is too small for the recipe."""

    def classes(self, data: DataT) -> tuple[str, ...]:
        """Returns the classes of a classifier, in their order; none for other tasks."""
        return ()

    @abstractmethod
    def schedule(self, recipe: Recipe) -> Schedule:
        """Returns how long a trial is."""

    @abstractmethod
    def start(self, architecture: Architecture, *, recipe: Recipe, device: str) -> StateT:
        """Returns a new state, with first weights drawn from the recipe's seed."""

    @abstractmethod
    def load_state(self, path: Path, *, device: str) -> StateT:
        """Returns the state in a checkpoint. Raises a one-line `ValueError` where there is none that can be read."""

    @abstractmethod
    def train(self, state: StateT, data: DataT, *, give_way: GiveWay) -> Iterator[Evaluation]:
        """Trains the state further, in place, and yields the evaluations of the schedule. Between two of them the state
        can be saved. `give_way` is called after every step."""

    @abstractmethod
    def test(self, state: StateT, data: DataT) -> HeldOutLoss | None:
        """Returns the loss on the test part; `None` where there is no test part. No search calls it."""

    @abstractmethod
    def save_weights(self, state: StateT, path: Path) -> None:
        """Writes the weights of the model with their checksum beside them."""

    @abstractmethod
    def measure(
        self,
        architectures: Sequence[Architecture],
        *,
        reference: Architecture,
        recipe: Recipe,
        device: torch.device,
        time_limit_s: float,
        lock: DeviceLock | NoDeviceLock,
        kinds: Sequence[Kind],
    ) -> list[Measurement]:
        """Returns speed and memory of architectures, measured in turn with the reference; see `measure_in_turn`."""

    @abstractmethod
    def record_values(self, evaluation: Evaluation) -> Mapping[str, Any]:
        """Returns the quality columns of the record of a complete training, from its last evaluation."""

    @abstractmethod
    def test_values(self, test: HeldOutLoss) -> Mapping[str, float]:
        """Returns the columns of the record that describe the test part."""


AnyTask: TypeAlias = Task[Any, Any, Any]
