"""Trained heads of a run, read again from the weights that it keeps: as exports, and as examples for its report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from tempfile import TemporaryDirectory

from depthweave.reports.analysis.intervals import mean_interval
from depthweave.reports.analysis.retention import why_absent
from depthweave.reports.analysis.verdicts import Verdict
from depthweave.reports.export.card import Metric
from depthweave.reports.export.folder import copy_weights
from depthweave.reports.export.tagger import export_tagger
from depthweave.reports.export.tagger_card import TaggerFacts
from depthweave.reports.export.training import origin_of
from depthweave.reports.figures.tagged_examples import choose_examples, write_examples
from depthweave.reports.figures.tagged_trials import final_f1, tagged_trials
from depthweave.reports.formatting import full_name, plural, show
from depthweave.reports.store.records import Record
from depthweave.reports.store.run_store import RunStore, checkpoint_name
from depthweave.search.preparation import PreparedSearch
from depthweave.search.run_folder.resuming import spec_of
from depthweave.search.spec.tagging_spec import TASK, TaggingSpec
from depthweave.spaces.hosted import HostedArchitecture, architecture_from_dict
from depthweave.spaces.model_files import MODEL_FILE
from depthweave.spaces.plain_names import is_plain_name
from depthweave.trainers.tagging.few_shot_data import FewShotData, host_of
from depthweave.trainers.tagging.host import Host
from depthweave.trainers.tagging.host_path import host_folder
from depthweave.trainers.tagging.kept_tagger import kept_tagger
from depthweave.trainers.tagging.sentence_batches import evenly_spaced
from depthweave.trainers.tagging.tag_data import HostWeights
from depthweave.trainers.tagging.tag_evaluation import evaluate_tags
from depthweave.trainers.tagging.tagging_state import TaggingState, head_recipe

EXAMPLE_TOKENS = 16_384
"""Tokens of the validation sentences that examples are chosen from."""
_EXAMPLE_HEADS = 2
"""Heads that are shown beside the plain one."""


def is_tagging(store: RunStore) -> bool:
    """Returns whether the run's models are heads of token classification."""
    return store.info.task == TASK


def export_head(store: RunStore, record: Record, *, out: Path, verdict: Verdict | None) -> Path:
    """Writes the record's head with its host as a folder for transformers, and returns the folder.

    Raises a one-line `ValueError` where the run did not keep the weights, or the host is gone.
    """
    if not store.has_file(_weights_name(record)):
        raise ValueError(
            f"the weights of architecture {record.architecture_id} (trial {record.trial}) {why_absent(store, record)}: "
            "export another head, or search again with this one alone"
        )
    spec = spec_of(store)
    assert isinstance(spec, TaggingSpec)
    host = host_of(spec.few_shot())
    return export_tagger(
        out,
        state=_trained(store, record, weights=spec.host.weights, host=host),
        host_folder=host_folder(spec.host.path or ""),
        classes=store.info.classes,
        facts=_facts(store, record, spec=spec, host=host, verdict=verdict),
    )


def keep_examples(store: RunStore, prepared: PreparedSearch) -> None:
    """Writes sentences on which the best heads of a finished search differ most; nothing for other tasks."""
    data, spec = prepared.data, prepared.spec
    if not isinstance(data, FewShotData) or not isinstance(spec, TaggingSpec):
        return
    chosen = _example_records(store)
    if len(chosen) < 2:
        return
    host, part = host_of(spec.few_shot()), data.data.valid
    rows = evenly_spaced(part.encoded.starts, part.rows, max_tokens=EXAMPLE_TOKENS)
    part = dataclasses.replace(part, rows=rows)
    predicted = {
        record.fusion: evaluate_tags(
            _trained(store, record, weights=spec.host.weights, host=host), part, classes=data.data.classes
        ).tags
        for record in chosen
    }
    sentences = [part.sentences[row] for row in rows.tolist()]
    write_examples(store, choose_examples([it.words for it in sentences], [it.tags for it in sentences], predicted))


def _example_records(store: RunStore) -> list[Record]:
    """Returns the best record with weights of the plain head and of the best others, one a head."""
    found: dict[str, Record] = {}
    for record in store.records():
        if record.error is None or record.state != "complete" or not store.has_file(_weights_name(record)):
            continue
        if record.fusion not in found or record.error < (found[record.fusion].error or 1.0):
            found[record.fusion] = record
    plain = [record for name, record in found.items() if is_plain_name(name)]
    others = [record for name, record in found.items() if not is_plain_name(name)]
    others.sort(key=lambda it: (it.error or 0.0, it.trial))
    return [*plain, *others[:_EXAMPLE_HEADS]]


def _weights_name(record: Record) -> str:
    return f"{checkpoint_name(record.trial)}/{MODEL_FILE}"


def _trained(store: RunStore, record: Record, *, weights: HostWeights, host: Host) -> TaggingState:
    """Returns the kept head of the trial. Raises a one-line `ValueError` where the weights are not the record's."""
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    architecture = architecture_from_dict(json.loads(record.head or "{}"))
    assert isinstance(architecture, HostedArchitecture)
    with TemporaryDirectory() as folder:
        path = Path(folder) / MODEL_FILE
        copy_weights(store, _weights_name(record), path)
        try:
            tensors = load_file(path)
        except (SafetensorError, OSError) as error:
            raise ValueError(f"weights of trial {record.trial} cannot be read ({error})") from None
    return kept_tagger(tensors, shape=architecture.head, weights=weights, host=host)


def _facts(store: RunStore, record: Record, *, spec: TaggingSpec, host: Host, verdict: Verdict | None) -> TaggerFacts:
    info, few_shot = store.info, spec.few_shot()
    unit = "sentences" if few_shot.unit == "sentences" else "entities of each type"
    largest = few_shot.shots[-1]
    return TaggerFacts(
        title=f"{full_name(record)} on {host.name}",
        origin=origin_of(record),
        host_name=host.name,
        data_name=info.corpus,
        data_sha256=info.corpus_sha256,
        training_sentences=f"{largest} {unit} (the best of {plural(few_shot.draws, 'draw')} by the validation part)",
        max_tokens=spec.recipe.context,
        recipe=dataclasses.asdict(head_recipe(spec.recipe, kind=record.fusion, weights=spec.host.weights)),
        metrics=_metrics(record, verdict=verdict),
        limits=[
            f"The scores are means over {plural(few_shot.draws, 'draw')}; these weights are those of the best one.",
            "The head was chosen among many by these numbers, so they are optimistic: confirm with new seeds.",
        ],
        machine=f"{record.hardware} ({record.device}, threads: {record.threads})",
        software=record.software,
    )


def _metrics(record: Record, *, verdict: Verdict | None) -> list[Metric]:
    """Returns the mean F1 at each size, the test error of a confirmed head, and its costs."""
    rows = []
    for trial in tagged_trials([record]):
        for shots, own in sorted(trial.scores.items()):
            found = mean_interval(list(final_f1(own).values()))
            interval = "" if found.low is None or found.high is None else f"{found.low:.3f} to {found.high:.3f}"
            meaning = f"F1 of entities on the validation part, {shots:,} shots, mean of {plural(found.num, 'draw')}"
            rows.append(Metric(meaning, f"{found.mean:.3f}", interval))
    if verdict is not None and verdict.test is not None:
        rows.append(Metric("error (1 - F1) on the test part, fresh seeds", f"{verdict.test.mean:.3f}"))
    rows.append(Metric("latency of host and head relative to the linear classifier", show("latency", record.latency)))
    rows.append(Metric("parameters that the head adds", f"{record.parameters:,}"))
    return rows
