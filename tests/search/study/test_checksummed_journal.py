"""The checksums of the journal: a flipped bit is detected, and lines of earlier versions are read."""

from __future__ import annotations

import json
import random
from pathlib import Path

import optuna
from optuna.storages import JournalStorage
from optuna.storages.journal import JournalFileBackend

from depthweave.search.study.checksummed_journal import CHECKSUM_KEY
from depthweave.search.study.journal_recovery import set_aside_damaged
from tests.search.ledger_runs import Run


def _trials(journal: Path) -> list[str]:
    storage = JournalStorage(JournalFileBackend(str(journal)))
    return [repr(optuna.load_study(study_name=name, storage=storage).trials) for name in ("objectives", "curves")]


def test_each_flipped_bit_of_the_journal_is_detected_or_changes_nothing(tmp_path: Path) -> None:
    run = Run(tmp_path, max_concurrent=2)
    for name in ("a", "b"):
        run.start(name)
    run.train("a", last_loss=1.1)
    journal, copy = tmp_path / "study.journal", tmp_path / "copy"
    whole, rng, num_detected = journal.read_bytes(), random.Random(0), 0
    assert all(CHECKSUM_KEY in json.loads(line) for line in whole.splitlines())
    copy.write_bytes(whole)
    before = _trials(copy)
    for bit in rng.sample(range(8 * len(whole) - 8), 150):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        copy.write_bytes(changed)
        message = set_aside_damaged(copy)
        if message is None:
            assert _trials(copy) == before
            continue
        assert f"copy: line {whole[: bit // 8].count(10) + 1} is damaged" in message
        num_detected += 1
    assert num_detected > 120


def test_lines_of_earlier_versions_without_a_checksum_are_not_checked(tmp_path: Path) -> None:
    run = Run(tmp_path)
    run.start("a")
    journal = tmp_path / "study.journal"
    before = _trials(journal)
    entries = [json.loads(line) for line in journal.read_text().splitlines()]
    lines = [{key: value for key, value in entry.items() if key != CHECKSUM_KEY} for entry in entries]
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert set_aside_damaged(journal) is None
    assert _trials(journal) == before
