"""Resumes a run: checks that its spec, text and space are unchanged, and accepts the changes that are allowed.

The spec that the run began with is in `run.json`; `spec.yaml` beside it is for people and is not trusted. The text may
be at another path, as long as it is the same text.
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
from depthweave.search.spec.logger_names import check_storage
from depthweave.search.spec.schema import FREE, Spec, differences
from depthweave.search.spec.sources import logger_sentences
from depthweave.trainers import FIRST_RECIPE
from depthweave.trainers.tasks import TaskData

_MAY_CHANGE = f"what may change is {', '.join(FREE)}"
_GIVE_PATH = "give the path of the run's text with --set 'corpus.paths=[PATH]'"


def resumed(
    store: RunStore, *, given: Path | None, overrides: Sequence[str], local: bool, say: Callable[[str], None]
) -> PreparedSearch:
    """Returns the prepared search of a run to resume.

    `say` gets a line about the text before it is read, and one for each allowed difference. Raises `ValueError`, one
    line, where spec, text or space are not those that the run began with.
    """
    spec = spec_to_resume(store, given=given, overrides=overrides)
    check_storage(spec.loggers, storage=store.storage)
    for line in accepted_changes(store):
        say(line)
    moved = given is not None or any(item.startswith(("corpus.", "host.")) for item in overrides)
    say(spec.text_sentence(named_by="the command line" if moved else f"{store.where}/spec.yaml"))
    for line in logger_sentences(spec.loggers):
        say(line)
    try:
        prepared = prepare(spec, local=local, tokenizer_json=tokenizer_of(store), say=say)
    except ValueError as error:
        if not str(error).startswith(("corpus.paths", "corpus.dataset")):
            raise
        raise ValueError(f"{error}; {_GIVE_PATH}") from None
    check_same_text(store, prepared.data)
    check_same_space(store, prepared)
    # The same text may be in a folder of another name.
    return dataclasses.replace(prepared, data=prepared.data.renamed(store.info.corpus))


_FIRST_RULES: Sections = {
    "space": {"sizing": "nearest"},
    "corpus": {"division": "documents"},
    "recipe": FIRST_RECIPE,
}
"""The rules of the first versions, for specs that name none: sizes, division of the text, and first weights."""


def spec_of(store: RunStore) -> Spec:
    """Returns the spec of a run; one of an earlier version keeps the rules of that version."""
    return parse_spec(_spec_yaml(store), where=f"{store.where}/spec.yaml", otherwise=_FIRST_RULES)


def spec_to_resume(store: RunStore, *, given: Path | None, overrides: Sequence[str]) -> Spec:
    """Returns the spec to resume with: the run's own, with the allowed changes of the given one.

    Raises `SpecError`, which names the key, where the given spec or the run's `spec.yaml` differs in anything else from
    the spec that the run began with.
    """
    own, where = spec_of(store), f"{store.where}/spec.yaml"
    original = _original_spec(store)
    different = _recipe_differences(store, own) if original is None else differences(own, original)
    if different:
        raise SpecError(f"{where} was changed since the run began: {_first_of(different)}; {_MAY_CHANGE}")
    rules = own.kept_rules()
    if given is None:
        wanted = parse_spec(_spec_yaml(store), overrides=overrides, where=where, otherwise=rules)
    else:
        wanted = load_spec(given, overrides=overrides, otherwise=rules)
    if wanted.recipe.precision == "auto":
        # The run keeps its precision: earlier versions wrote float32 where none was given.
        recipe = dataclasses.replace(wanted.recipe, precision=own.recipe.precision)
        wanted = wanted.model_copy(update={"recipe": recipe})
    if different := differences(wanted, own):
        raise SpecError(
            f"--resume: the spec differs from the one of {store.where}: {_first_of(different)}; {_MAY_CHANGE}"
        )
    return wanted


def accepted_changes(store: RunStore) -> list[str]:
    """Returns a line for each allowed difference between `spec.yaml` and the spec that the run began with."""
    original = _original_spec(store)
    if original is None:
        return [f"{store.where}: begun by an earlier version without a spec in run.json: the spec is added now"]
    changed = differences(spec_of(store), original, free=())
    return [f"{store.where}/spec.yaml: {item} when the run began" for item in changed]


def keep_spec(store: RunStore, spec: Spec) -> None:
    """Adds the spec to the `run.json` of an earlier version, and writes the current path of the text to `spec.yaml`.

    The run must be locked. The next part of the run then finds the text.
    """
    if not store.info.spec:
        store.info = dataclasses.replace(store.info, spec=spec.to_yaml())
        store.write_bytes("run.json", to_json(store.info).encode())
    own = spec_of(store)
    places = {name: getattr(spec, name) for name in spec.places}
    if any(getattr(own, name) != value for name, value in places.items()):
        store.write_bytes("spec.yaml", own.model_copy(update=places).to_yaml().encode())


def _spec_yaml(store: RunStore) -> str:
    """Returns the run's `spec.yaml`; where it is missing, the spec that the run began with."""
    if store.info.spec and not store.has_file("spec.yaml"):
        return store.info.spec
    try:
        return store.read_text("spec.yaml")
    except ValueError as error:
        remedy = "delete it: run.json holds the spec too" if store.info.spec else "restore it"
        raise SpecError(f"{error}; {remedy}") from None


def _original_spec(store: RunStore) -> Spec | None:
    """Returns the spec that the run began with; `None` for a run of an earlier version."""
    if not store.info.spec:
        return None
    return parse_spec(store.info.spec, where=f"{store.where}/run.json: spec", otherwise=_FIRST_RULES)


def _recipe_differences(store: RunStore, spec: Spec) -> list[str]:
    """Returns the differences between the recipe and the one that the run's trials were trained with."""
    ours = json.loads(json.dumps(dataclasses.asdict(spec.recipe)))
    for record in searched(store.records())[:1]:
        theirs = json.loads(record.recipe)
        # Records hold the resolved precision, not `auto`.
        names = [name for name in ours if name in theirs and (name, ours[name]) != ("precision", "auto")]
        return [
            f"recipe.{name} is {ours[name]!r}, was {theirs[name]!r}" for name in names if ours[name] != theirs[name]
        ]
    return []


def _first_of(different: Sequence[str]) -> str:
    return different[0] + (f" (and {len(different) - 1} more)" if len(different) > 1 else "")


def check_same_space(store: RunStore, prepared: PreparedSearch) -> None:
    """Raises `ValueError` where the spec does not span the architectures that the run began with."""
    info, ours = store.info, (len(prepared.space), prepared.reference.architecture.id)
    if ours != (info.distinct, info.reference_id):
        raise ValueError(
            f"{store.where}: its spec spans {ours[0]} architectures with the reference {ours[1]} here, and "
            f"{info.distinct} with {info.reference_id} when it began: continue with the Depthweave that began it, "
            f"or start a new run"
        )


def check_same_text(store: RunStore, data: TaskData) -> None:
    """Raises `ValueError` where the corpus is not the one that the run began with."""
    info = store.info
    known = info.corpus_sha256 or next((item.corpus_sha256 for item in store.records() if item.corpus_sha256), "")
    if not known:
        raise ValueError(
            f"{store.where}: neither run.json nor a record says which text the run was trained on, so no text can be "
            "checked: start a new run"
        )
    if known != data.corpus_sha256:
        raise ValueError(
            f"{store.where}: the corpus is {data.corpus} {data.corpus_sha256[:12]}, the run's was {info.corpus} "
            f"{known[:12]}: give the same text, or start a new run ({_GIVE_PATH})"
        )
