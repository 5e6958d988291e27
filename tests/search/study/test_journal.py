"""The journal in object storage: in pieces while a search runs, whole at its end, and never another's."""

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
    """Not a disk, and empty."""
    return Storage("/bucket/run", filesystem=in_memory())


def _append(journal: Journal, data: bytes) -> None:
    with journal.path.open("ab") as file:
        file.write(data)


def _names(storage: Storage) -> list[str]:
    return sorted(info.base_name for info in storage.files("", recursive=True))


def test_on_a_disk_it_is_the_file_of_the_run_folder(tmp_path: Path) -> None:
    with journal_of(Storage(tmp_path)) as journal:
        _append(journal, b"one\n")
        journal.keep()
    assert [item.name for item in tmp_path.iterdir()] == [JOURNAL]
    assert journal.path.read_bytes() == b"one\n"


@pytest.mark.parametrize("seed", range(5))
def test_killed_at_any_keep_it_comes_back_as_it_was_kept(
    seed: int, storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_module, "_MANY_PIECES", 3)
    draw, kept = random.Random(seed), b""
    for life in range(5):
        # Each life is a driver that ends without a word.
        (tmp_path / str(life)).mkdir()
        journal = Journal(storage, tmp_path / str(life) / JOURNAL)
        journal.fetch()
        assert (journal.path.read_bytes() if journal.path.exists() else b"") == kept
        for _ in range(draw.randint(1, 6)):
            _append(journal, draw.randbytes(draw.randint(1, 9)))
            if draw.random() < 0.7:
                journal.keep()
                kept = journal.path.read_bytes()


def test_at_the_end_it_is_whole_for_other_programs(storage: Storage) -> None:
    for line in (b"one\n", b"two\n"):
        with journal_of(storage) as journal:
            for _ in range(3):
                _append(journal, line)
                journal.keep()
    assert storage.read(JOURNAL) == 3 * b"one\n" + 3 * b"two\n"
    assert _names(storage) == [JOURNAL]


def test_pieces_that_are_in_the_whole_are_not_read_twice(storage: Storage) -> None:
    storage.write(JOURNAL, b"one\ntwo\nthree\n")
    # A kill came between the whole and the deletion of what it replaced.
    for begin, data in ((4, b"two\n"), (8, b"three\n")):
        storage.write(f"journal/{begin:015d}", data)
    with journal_of(storage) as journal:
        assert journal.path.read_bytes() == b"one\ntwo\nthree\n"


def test_one_that_was_made_again_replaces_what_stands_there(storage: Storage) -> None:
    storage.write(JOURNAL, b"damaged, and longer than what is made of the records\n")
    with journal_of(storage) as journal:
        journal.path.rename(journal.path.with_name(f"{JOURNAL}.corrupt"))
        _append(journal, b"one\n")
        journal.keep()
        assert storage.read(JOURNAL) == b"one\n"
        assert storage.read(f"{JOURNAL}.corrupt").startswith(b"damaged")
        _append(journal, b"two\n")
        journal.keep()
        assert _names(storage) == ["000000000000004", JOURNAL, f"{JOURNAL}.corrupt"]
    assert storage.read(JOURNAL) == b"one\ntwo\n"


def test_each_damaged_one_keeps_a_name_of_its_own(storage: Storage) -> None:
    for number in range(3):
        storage.write(JOURNAL, f"damaged {number}\n".encode())
        with journal_of(storage) as journal:
            assert set_aside_damaged(journal.path) is not None
            _append(journal, b"made again\n")
    asides = [name for name in _names(storage) if name != JOURNAL]
    assert [storage.read(name) for name in asides] == [f"damaged {number}\n".encode() for number in range(3)]


def test_driver_whose_run_was_taken_over_leaves_the_others_journal_alone(storage: Storage) -> None:
    def taken() -> None:
        raise ValueError("another search has taken this run over")

    with journal_of(storage) as journal:
        _append(journal, b"one\n")
        journal.keep()
        storage.write(JOURNAL, b"one\nand what the other wrote\n")
        storage.before_write = taken
        _append(journal, b"two\n")
        with pytest.raises(ValueError, match="taken this run over"):
            journal.keep()
    assert storage.read(JOURNAL) == b"one\nand what the other wrote\n"
    assert _names(storage) == [JOURNAL]
