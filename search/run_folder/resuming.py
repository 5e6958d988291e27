"""What a run must find unchanged when it goes on: its spec, its text and its space; and what may have changed.

The spec that the run began with is in `run.json`; `spec.yaml` beside it is for people, and is not trusted. Where the
text lies is free, as long as it is the same text.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path

from depthweave.reports.analysis.seeds import searched
from depthweave.reports.store.run_info import to_json
from depthweave.reports.store.run_store import RunStore
from depthweave.search.preparation import PreparedSearch, prepare, tokenizer_of
from depthweave.search.spec.loading import Sections, SpecError, load_spec, parse_spec
from depthweave.search.spec.logger_names import check_place
from depthweave.search.spec.schema import FREE, Spec, differences
from depthweave.search.spec.sources import hearing_sentences, text_sentence
from depthweave.trainers import FIRST_RECIPE
from depthweave.trainers.tasks import TaskData

_MAY_CHANGE = f"what may change is {', '.join(FREE)}"
_ELSEWHERE = "where the run's text lies now is said with --set 'corpus.paths=[PATH]'"


def resumed(
    store: RunStore, *, given: Path | None, overrides: Sequence[str], local: bool, say: Callable[[str], None]
) -> PreparedSearch:
    """What the run goes on with. `say` hears whose files are read before they are, and what differs but may.

    Raises `ValueError`, one line, where spec, text or space are no longer those that the run began with.
    """
    spec = spec_to_resume(store, given=given, overrides=overrides)
    check_place(spec.loggers, storage=store.storage)
    for line in accepted_changes(store):
        say(line)
    moved = given is not None or any(item.startswith("corpus.") for item in overrides)
    say(text_sentence(spec.corpus, named_by="the command line" if moved else f"{store.where}/spec.yaml"))
    for line in hearing_sentences(spec.loggers):
        say(line)
    try:
        prepared = prepare(spec, local=local, tokenizer_json=tokenizer_of(store), say=say)
    except ValueError as error:
        if not str(error).startswith(("corpus.paths", "corpus.dataset")):
            raise
        raise ValueError(f"{error}; {_ELSEWHERE}") from None
    check_same_text(store, prepared.data)
    check_same_space(store, prepared)
    # The same text may lie in a folder of another name.
    return dataclasses.replace(prepared, data=prepared.data.renamed(store.info.corpus))


_FIRST_RULES: Sections = {
    "space": {"sizing": "nearest"},
    "corpus": {"division": "documents"},
    "recipe": FIRST_RECIPE,
}
"""Of runs whose spec names none: how architectures are sized, text is divided and first weights are drawn."""


def spec_of(store: RunStore) -> Spec:
    """The spec of a run; one of an earlier version keeps the rules by which it was begun."""
    return parse_spec(_own_text(store), where=f"{store.where}/spec.yaml", otherwise=_FIRST_RULES)


def spec_to_resume(store: RunStore, *, given: Path | None, overrides: Sequence[str]) -> Spec:
    """The spec a run goes on with: its own, with what may change taken from the given one.

    Raises `SpecError` where the given one, or the run's own `spec.yaml`, differs from the one that the run began with
    in anything else, and says where.
    """
    own, where = spec_of(store), f"{store.where}/spec.yaml"
    began = _began_with(store)
    different = _unlike_records(store, own) if began is None else differences(own, began)
    if different:
        raise SpecError(f"{where} was changed since the run began: {_first(different)}; {_MAY_CHANGE}")
    rules: Sections = {
        "space": {"sizing": own.space.sizing},
        "corpus": {"division": own.corpus.division},
        "recipe": {"initialisation": own.recipe.initialisation},
    }
    if given is None:
        wanted = parse_spec(_own_text(store), overrides=overrides, where=where, otherwise=rules)
    else:
        wanted = load_spec(given, overrides=overrides, otherwise=rules)
    if wanted.recipe.precision == "auto":
        # A run whose spec names one goes on with it: earlier versions wrote float32 where nothing was given.
        recipe = dataclasses.replace(wanted.recipe, precision=own.recipe.precision)
        wanted = wanted.model_copy(update={"recipe": recipe})
    if different := differences(wanted, own):
        raise SpecError(f"--resume: the spec differs from the one of {store.where}: {_first(different)}; {_MAY_CHANGE}")
    return wanted


def accepted_changes(store: RunStore) -> list[str]:
    """One line for each key in which `spec.yaml` differs from what the run began with and may."""
    began = _began_with(store)
    if began is None:
        return [f"{store.where}: begun by an earlier version, which kept no spec in run.json: this part keeps it"]
    changed = differences(spec_of(store), began, free=())
    return [f"{store.where}/spec.yaml: {item} when the run began" for item in changed]


def keep_spec(store: RunStore, spec: Spec) -> None:
    """Once the run is held: `run.json` has the spec that it goes on with, where an earlier version began it.

    And `spec.yaml` says where the text lies now, so that the next part of the run finds it.
    """
    if not store.info.spec:
        store.info = dataclasses.replace(store.info, spec=spec.to_yaml())
        store.write_bytes("run.json", to_json(store.info).encode())
    own = spec_of(store)
    if own.corpus != spec.corpus:
        store.write_bytes("spec.yaml", own.model_copy(update={"corpus": spec.corpus}).to_yaml().encode())


def _own_text(store: RunStore) -> str:
    """The run's `spec.yaml`; where that is gone, the spec that the run began with."""
    has_file = store.has_file("spec.yaml") or not store.info.spec
    return store.read_bytes("spec.yaml").decode() if has_file else store.info.spec


def _began_with(store: RunStore) -> Spec | None:
    """The spec that the run began with; `None` in a run of an earlier version."""
    if not store.info.spec:
        return None
    return parse_spec(store.info.spec, where=f"{store.where}/run.json: spec", otherwise=_FIRST_RULES)


def _unlike_records(store: RunStore, spec: Spec) -> list[str]:
    """The keys of the recipe that are not those with which the run's trials were trained."""
    ours = json.loads(json.dumps(dataclasses.asdict(spec.recipe)))
    for record in searched(store.records())[:1]:
        theirs = json.loads(record.recipe)
        # A precision that is left to the device is written as the one that it came to.
        names = [name for name in ours if name in theirs and (name, ours[name]) != ("precision", "auto")]
        return [
            f"recipe.{name} is {ours[name]!r}, was {theirs[name]!r}" for name in names if ours[name] != theirs[name]
        ]
    return []


def _first(different: Sequence[str]) -> str:
    return different[0] + (f" (and {len(different) - 1} more)" if len(different) > 1 else "")


def check_same_space(store: RunStore, prepared: PreparedSearch) -> None:
    """Raises `ValueError` where the spec no longer spans the architectures that the run began with."""
    info, ours = store.info, (len(prepared.space), prepared.reference.architecture.id)
    if ours != (info.distinct, info.reference_id):
        raise ValueError(
            f"{store.where}: its spec spans {ours[0]} architectures with the reference {ours[1]} here, and "
            f"{info.distinct} with {info.reference_id} where it began: go on with the Depthweave that began it, "
            f"or start a new run"
        )


def check_same_text(store: RunStore, data: TaskData) -> None:
    """Raises `ValueError` where the corpus is no longer the one that the run began with."""
    info = store.info
    known = info.corpus_sha256 or next((item.corpus_sha256 for item in store.records() if item.corpus_sha256), "")
    if not known:
        raise ValueError(
            f"{store.where}: neither run.json nor a record says which text the run was trained on, so that no text can "
            "be known to be the same: start a new run"
        )
    if known != data.corpus_sha256:
        raise ValueError(
            f"{store.where}: the corpus is {data.corpus} {data.corpus_sha256[:12]}, the run's was {info.corpus} "
            f"{known[:12]}: give the same text, or start a new run ({_ELSEWHERE})"
        )
