"""No pickle is read from a run folder, an export or the cache: by the sources, and by files that would act if read."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from depthweave.reports.export import export
from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from depthweave.search.confirmation import PLAN_FILE, read_plan
from depthweave.search.spec.loading import load_spec
from depthweave.search.survey import SURVEY_FILE, read_survey
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.trial import read_progress
from depthweave.spaces import load
from depthweave.trainers import TrainingState, load_corpus, tokenise
from depthweave.trainers.corpora import CorpusSpec
from tests.reports.synthetic import make_info, make_record

_ROOT = Path(__file__).parents[1]
_SOURCES = [
    path for room in ("spaces", "trainers", "reports", "search") for path in sorted((_ROOT / room).rglob("*.py"))
]
_READS_PICKLES = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
_MAY_IMPORT = {
    "trainers/state_file.py": "names the error of torch.load(weights_only=True)",
    "search/tune/scheduler.py": "reads the exception that Ray kept in this process's own temporary folder",
}


def _calls(tree: ast.AST) -> Iterator[tuple[str, dict[str, ast.expr]]]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            yield ast.unparse(node.func), {item.arg or "**": item.value for item in node.keywords}


@pytest.mark.parametrize("path", _SOURCES, ids=lambda path: str(path.relative_to(_ROOT)))
def test_source_reads_no_pickle(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    imported = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            imported |= {part for item in node.names for part in item.name.split(".")}
        elif isinstance(node, ast.ImportFrom):
            imported |= {*(node.module or "").split("."), *(item.name for item in node.names)}
    if str(path.relative_to(_ROOT)) not in _MAY_IMPORT:
        assert not imported & _READS_PICKLES
    for name, keywords in _calls(tree):
        if name == "torch.load":
            assert ast.unparse(keywords["weights_only"]) == "True"
        if name in ("np.load", "numpy.load"):
            assert ast.unparse(keywords["allow_pickle"]) == "False"
        assert name not in ("yaml.load", "yaml.unsafe_load", "yaml.full_load", "eval", "exec", "pickle.load")


class _Acts:
    """Unpickled, it makes a folder."""

    def __init__(self, place: Path) -> None:
        self.place = place

    def __reduce__(self) -> tuple[Callable[[str], None], tuple[str]]:
        return os.mkdir, (str(self.place),)


def test_pickles_in_the_place_of_every_file_do_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    acted = tmp_path / "acted"
    payload = pickle.dumps(_Acts(acted), protocol=2)  # which torch reads without a warning
    # The trap works:
    pickle.loads(payload)
    shutil.rmtree(acted)

    run, exported, cache = tmp_path / "run", tmp_path / "exported", tmp_path / "cache"
    store = RunStore.create(run, info=make_info(), spec_yaml="")
    record = make_record(0)
    store.append(record, evaluations=[], weights=[])
    trial = Path(store.checkpoint_dir(0))
    for folder, names in {
        run: ("spec.yaml", SURVEY_FILE, PLAN_FILE, "tokenizer.json", "front.parquet", "records/batch-00001.parquet"),
        run / "evaluations": ("trial-00000-r000.parquet",),
        trial: ("state.pt", "progress.json", "model.safetensors"),
        exported: ("architecture.yaml", "model.safetensors", "tokenizer.json"),
    }.items():
        for name in names:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(payload)
    corpus = load_corpus(CorpusSpec())
    tokenise(corpus, cache=cache)
    for array in cache.rglob("*.npy"):
        array.write_bytes(payload)

    def read_all() -> Iterator[Callable[[], object]]:
        yield lambda: tokenise(corpus, cache=cache)
        yield lambda: load(exported)
        yield lambda: TrainingState.load(trial / "state.pt")
        yield lambda: read_progress(Checkpoints(trial.parent), 0)
        yield lambda: read_survey(store)
        yield lambda: read_plan(store)
        yield lambda: load_spec(run / "spec.yaml")
        yield lambda: export(store, record, out=tmp_path / "again")
        yield lambda: write_report(store)
        (run / "run.json").write_bytes(payload)
        yield lambda: RunStore.open(run)

    for read in read_all():
        with suppress(ValueError):
            read()
    assert not acted.exists()
