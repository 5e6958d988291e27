"""States of a frozen host: those of its forward pass, computed once, whole or absent, and bounded on disk."""

from __future__ import annotations

import os
import pickle
import threading
from pathlib import Path

import numpy as np
import pytest
import torch

from depthweave.trainers.tagging import host_states as module
from depthweave.trainers.tagging.host import Host, states_of
from depthweave.trainers.tagging.host_states import host_states
from depthweave.trainers.tagging.sentences import Sentence, TaggedText
from depthweave.trainers.tagging.word_pieces import EncodedSentences, WordPieces

CPU = torch.device("cpu")


def _encoded(tiny: TaggedText, host: Host, *, first: int = 0, last: int = 40) -> EncodedSentences:
    sentences: tuple[Sentence, ...] = tiny.train[first:last]
    return WordPieces(host.tokenizer_json).encode(sentences, classes=tiny.classes, max_tokens=32)


def test_states_are_those_of_each_sentence_alone(tiny: TaggedText, host: Host, tmp_path: Path) -> None:
    encoded = _encoded(tiny, host)
    found = host_states(host, encoded, folder=tmp_path)
    assert found.states_LND.shape == (3, len(encoded.ids), 16)
    for row in range(len(encoded.starts) - 1):
        positions = np.arange(encoded.starts[row], encoded.starts[row + 1])
        ids = torch.from_numpy(encoded.ids[positions].astype(np.int64))[None]
        with torch.no_grad():
            wanted = states_of(host.model, ids, torch.ones_like(ids, dtype=torch.bool))
        ours = found.gather((0, 2), positions, device=CPU)
        for state, source in zip(ours, (0, 2), strict=True):
            # Half precision has eleven bits.
            torch.testing.assert_close(state, wanted[source][0], rtol=2**-10, atol=1e-4)


def test_gather_takes_positions_of_any_shape(tiny: TaggedText, host: Host, tmp_path: Path) -> None:
    found = host_states(host, _encoded(tiny, host), folder=tmp_path)
    (state,) = found.gather((1,), np.array([[3, 0], [5, 3]]), device=CPU)
    assert state.shape == (2, 2, 16)
    assert state.dtype == torch.float32
    assert np.array_equal(state[1, 1].numpy(), found.states_LND[1, 3].astype(np.float32))


def test_states_are_computed_once_and_said_before(
    tiny: TaggedText, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines: list[str] = []
    first = host_states(host, _encoded(tiny, host), folder=tmp_path, say=lines.append)
    (line,) = lines
    assert "computing the states of 3 layers for" in line
    assert "MiB on disk, about" in line

    def fail(*_: object) -> None:
        raise AssertionError("computed again")

    monkeypatch.setattr(module, "states_of", fail)
    again = host_states(host, _encoded(tiny, host), folder=tmp_path, say=lines.append)
    assert (again.path, len(lines)) == (first.path, 1)
    # Another process maps the file by its name.
    copy = pickle.loads(pickle.dumps(again))
    assert np.array_equal(copy.states_LND, first.states_LND)
    assert len(pickle.dumps(again)) < 1000


def test_other_sentences_or_weights_are_another_file(tiny: TaggedText, host: Host, tmp_path: Path) -> None:
    import dataclasses

    paths = {
        host_states(host, _encoded(tiny, host, last=5), folder=tmp_path).path,
        host_states(host, _encoded(tiny, host, last=6), folder=tmp_path).path,
        host_states(dataclasses.replace(host, sha256="1"), _encoded(tiny, host, last=5), folder=tmp_path).path,
    }
    assert len(paths) == 3


def test_pass_that_fails_leaves_nothing(
    tiny: TaggedText, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "states_of", fail)
    with pytest.raises(KeyboardInterrupt):
        host_states(host, _encoded(tiny, host), folder=tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".lock"] == []


def test_what_a_killed_process_left_is_removed(tiny: TaggedText, host: Host, tmp_path: Path) -> None:
    path = host_states(host, _encoded(tiny, host), folder=tmp_path).path
    path.rename(tmp_path / f".{path.name}.killed")
    host_states(host, _encoded(tiny, host), folder=tmp_path)
    assert [item.name for item in tmp_path.iterdir() if item.suffix != ".lock"] == [path.name]


def test_files_unused_for_longest_give_way(tiny: TaggedText, host: Host, tmp_path: Path) -> None:
    parts = [_encoded(tiny, host, first=first, last=first + 10) for first in (0, 10, 20)]
    room = 2 * 2 * 3 * 16 * max(len(part.ids) for part in parts)
    old, used = (host_states(host, part, folder=tmp_path, max_bytes=room) for part in parts[:2])
    for age, states in ((100, old), (200, used)):
        os.utime(states.path, (states.path.stat().st_mtime - age,) * 2)
    kept = np.array(old.states_LND)
    host_states(host, parts[1], folder=tmp_path, max_bytes=room)
    new = host_states(host, parts[2], folder=tmp_path, max_bytes=room)
    assert {path for path in tmp_path.iterdir() if path.suffix == ".npy"} == {used.path, new.path}
    # Mapped files stay readable.
    assert np.array_equal(old.states_LND, kept)


def test_states_above_the_bound_are_refused_before_they_are_computed(
    tiny: TaggedText, host: Host, tmp_path: Path
) -> None:
    with pytest.raises(ValueError, match=r"^the states of 3 layers for \d+ tokens take [^\n]*allow more[^\n]*$"):
        host_states(host, _encoded(tiny, host), folder=tmp_path, max_bytes=100)


def test_folder_that_cannot_be_written_is_named(tiny: TaggedText, host: Host, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ValueError, match=r"^cache folder [^\n]* cannot be written [^\n]*XDG_CACHE_HOME[^\n]*$"):
        host_states(host, _encoded(tiny, host), folder=tmp_path / "file")


def test_lost_file_is_named(tiny: TaggedText, host: Host, tmp_path: Path) -> None:
    found = host_states(host, _encoded(tiny, host), folder=tmp_path)
    found.path.unlink()
    with pytest.raises(ValueError, match="are gone; start again"):
        _ = found.states_LND


def test_two_at_once_compute_once(
    tiny: TaggedText, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoded, passes = _encoded(tiny, host), []
    entered = threading.Event()

    def counted(*arguments: object) -> object:
        passes.append(1)
        entered.wait(10)
        return states_of(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "states_of", counted)
    threads = [threading.Thread(target=host_states, args=(host, encoded), kwargs={"folder": tmp_path}) for _ in "ab"]
    for thread in threads:
        thread.start()
    entered.set()
    for thread in threads:
        thread.join()
    rows = np.arange(len(encoded.starts) - 1)
    assert len(passes) == len(module.length_batches(encoded.starts, rows, max_tokens=module._PASS_TOKENS))


def test_states_that_are_not_finite_are_refused(
    tiny: TaggedText, host: Host, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(model: torch.nn.Module, ids_BT: torch.Tensor, mask_BT: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(state * torch.nan for state in states_of(model, ids_BT, mask_BT))

    monkeypatch.setattr(module, "states_of", broken)
    with pytest.raises(ValueError, match="its states are not finite"):
        host_states(host, _encoded(tiny, host), folder=tmp_path)
