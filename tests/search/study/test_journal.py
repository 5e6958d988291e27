"""The journal in object storage: in parts while a search runs, whole at its end, never overwriting another's."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from depthweave.reports.store.storage import Storage
from depthweave.search.study import journal as journal_module
from depthweave.search.study.journal import JOURNAL, Journal, journal_of
from depthweave.search.study.journal_recovery import set_aside_damaged
from tests.buckets import in_memory


@pytest.fixture
def storage() -> Storage:
    """Empty object storage."""
    return Storage("/bucket/run", filesystem=in_memory())


def _append(journal: Journal, data: bytes) -> None:
    with journal.path.open("ab") as file:
        file.write(data)


def _names(storage: Storage) -> list[str]:
    return sorted(info.base_name for info in storage.files("", recursive=True))


def test_journal_on_a_disk_is_a_file_in_the_run_folder(tmp_path: Path) -> None:
    with journal_of(Storage(tmp_path)) as journal:
        _append(journal, b"one\n")
        journal.upload()
    assert [item.name for item in tmp_path.iterdir()] == [JOURNAL]
    assert journal.path.read_bytes() == b"one\n"


@pytest.mark.parametrize("seed", range(5))
def test_killed_driver_loses_nothing_that_was_uploaded(
    seed: int, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_MAX_PARTS", 3)
    rng, uploaded = random.Random(seed), b""
    for driver in range(5):
        # Each driver is killed.
        (tmp_path / str(driver)).mkdir()
        journal = Journal(storage, tmp_path / str(driver) / JOURNAL)
        journal.download()
        assert (journal.path.read_bytes() if journal.path.exists() else b"") == uploaded
        for _ in range(rng.randint(1, 6)):
            _append(journal, rng.randbytes(rng.randint(1, 9)))
            if rng.random() < 0.7:
                journal.upload()
                uploaded = journal.path.read_bytes()


def test_journal_is_one_file_at_the_end_of_a_search(storage: Storage) -> None:
    for line in (b"one\n", b"two\n"):
        with journal_of(storage) as journal:
            for _ in range(3):
                _append(journal, line)
                journal.upload()
    assert storage.read(JOURNAL) == 3 * b"one\n" + 3 * b"two\n"
    assert _names(storage) == [JOURNAL]


def test_parts_that_the_whole_journal_contains_are_not_read_twice(storage: Storage) -> None:
    storage.write(JOURNAL, b"one\ntwo\nthree\n")
    # The driver was killed after it uploaded the whole journal, before it deleted the parts.
    for offset, data in ((4, b"two\n"), (8, b"three\n")):
        storage.write(f"journal/{offset:015d}", data)
    with journal_of(storage) as journal:
        assert journal.path.read_bytes() == b"one\ntwo\nthree\n"


def test_rebuilt_journal_replaces_the_damaged_one(storage: Storage) -> None:
    storage.write(JOURNAL, b"damaged, and longer than the rebuilt one\n")
    with journal_of(storage) as journal:
        journal.path.rename(journal.path.with_name(f"{JOURNAL}.corrupt"))
        _append(journal, b"one\n")
        journal.upload()
        assert storage.read(JOURNAL) == b"one\n"
        assert storage.read(f"{JOURNAL}.corrupt").startswith(b"damaged")
        _append(journal, b"two\n")
        journal.upload()
        assert _names(storage) == ["000000000000004", JOURNAL, f"{JOURNAL}.corrupt"]
    assert storage.read(JOURNAL) == b"one\ntwo\n"


def test_each_damaged_journal_is_set_aside_under_another_name(storage: Storage) -> None:
    for number in range(3):
        storage.write(JOURNAL, f"damaged {number}\n".encode())
        with journal_of(storage) as journal:
            assert set_aside_damaged(journal.path) is not None
            _append(journal, b"rebuilt\n")
    asides = [name for name in _names(storage) if name != JOURNAL]
    assert [storage.read(name) for name in asides] == [f"damaged {number}\n".encode() for number in range(3)]


def test_driver_whose_run_was_taken_over_does_not_overwrite_the_other_s_journal(storage: Storage) -> None:
    def taken() -> None:
        raise ValueError("another search has taken this run over")

    with journal_of(storage) as journal:
        _append(journal, b"one\n")
        journal.upload()
        storage.write(JOURNAL, b"one\nand a line of the other driver\n")
        storage.before_write = taken
        _append(journal, b"two\n")
        with pytest.raises(ValueError, match="taken this run over"):
            journal.upload()
    assert storage.read(JOURNAL) == b"one\nand a line of the other driver\n"
    assert _names(storage) == [JOURNAL]
