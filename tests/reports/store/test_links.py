"""No link inside a run folder is followed: not to list, nor to read, write or delete what is behind it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from depthweave.reports.analysis.front_file import write_front
from depthweave.reports.page.page import write_report
from depthweave.reports.store.run_store import RunStore
from depthweave.reports.store.storage import Storage
from depthweave.search.run_folder.run_lock import locked_run
from depthweave.search.trials.checkpoints import Checkpoints
from depthweave.search.trials.weight_retention import keep_front_only
from tests.reports.synthetic import make_record


@pytest.fixture
def elsewhere(tmp_path: Path) -> Path:
    """A folder of the user's, with files of the names that a run has."""
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    for name in ("state.pt", "model.safetensors", "notes.txt", "trial-00000-r000.parquet"):
        (folder / name).write_text("mine")
    return folder


def _contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_folder_of_a_trial_that_is_a_link_is_named_and_nothing_behind_it_is_deleted(
    store: RunStore, elsewhere: Path
) -> None:
    store.append(make_record(0), evaluations=[], weights=[])
    store.append(make_record(2, perplexity=9.0, latency=9.0, memory_bytes=2**40), evaluations=[], weights=[])
    place, before = Path(store.checkpoint_dir(2)), _contents(elsewhere)
    place.parent.mkdir()
    place.symlink_to(elsewhere, target_is_directory=True)
    checkpoints = Checkpoints(place.parent)
    for act in (
        lambda: checkpoints.drop(2, keep_weights=True),
        lambda: checkpoints.drop(2, keep_weights=False),
        lambda: checkpoints.fetch(2),
        lambda: checkpoints.read(2, "state.pt"),
        lambda: checkpoints.has_state(2),
        checkpoints.numbers,
        lambda: keep_front_only(store, checkpoints=checkpoints),
        lambda: store.checkpoint_dir(2),
        store.check_links,
    ):
        with pytest.raises(ValueError, match=r"trial-00002: is a link, and none is followed") as caught:
            act()
        assert len(str(caught.value).splitlines()) == 1
    assert _contents(elsewhere) == before
    assert place.is_symlink()


@pytest.mark.parametrize("name", ["records", "checkpoints", "report.html", "front.parquet", "search.lock", "run.json"])
def test_link_in_a_run_is_found_before_anything_is_done(store: RunStore, elsewhere: Path, name: str) -> None:
    path = Path(store.where) / name
    if path.exists():
        path.rename(elsewhere / name)
    path.symlink_to(elsewhere / name if path.suffix else elsewhere)
    with pytest.raises(ValueError, match=f"{name}: is a link"):
        store.check_links()


@pytest.mark.parametrize(
    ("name", "act"),
    [
        ("records", lambda store: store.records()),
        ("records", lambda store: store.merge()),
        ("records/trial-00000-r000.parquet", lambda store: store.records()),
        ("records", lambda store: store.append(make_record(1), evaluations=[], weights=[])),
        ("report.html", write_report),
        ("spec.yaml", lambda store: store.spec_yaml),
        ("front.parquet", lambda store: write_front(store, [])),
        ("tokenizer.json", lambda store: store.copy_out("tokenizer.json", Path(store.where).parent / "copy")),
        ("run.json", lambda store: RunStore.open(store.where)),
        (".records.lock", lambda store: store.merge()),
    ],
)
def test_what_a_link_of_a_run_stands_for_is_neither_read_nor_written(
    store: RunStore, elsewhere: Path, name: str, act: Callable[[RunStore], object]
) -> None:
    path, before = Path(store.where) / name, _contents(elsewhere)
    path.unlink(missing_ok=True)
    path.parent.mkdir(exist_ok=True)
    path.symlink_to(elsewhere if name == "records" else elsewhere / "notes.txt")
    with pytest.raises(ValueError, match=f"{name}: is a link") as caught:
        act(store)
    assert len(str(caught.value).splitlines()) == 1
    assert _contents(elsewhere) == before
    assert path.is_symlink()


def test_lock_that_is_a_link_empties_nothing(store: RunStore, elsewhere: Path) -> None:
    (Path(store.where) / "search.lock").symlink_to(elsewhere / "notes.txt")
    with pytest.raises(ValueError, match=r"search\.lock: is a link"), locked_run(store.storage, on_wait=print):
        pass
    assert (elsewhere / "notes.txt").read_text() == "mine"


def test_run_that_is_reached_through_a_link_is_a_run(store: RunStore, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(store.where, target_is_directory=True)
    store.append(make_record(0), evaluations=[], weights=[])
    there = RunStore.open(tmp_path / "link")
    there.check_links()
    assert there.records() == [make_record(0)]
    assert Storage(tmp_path / "link").files("records")
