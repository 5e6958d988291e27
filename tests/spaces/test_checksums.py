"""Checksums of files: a changed file is named, one without a checksum is read, and no crash leaves a wrong checksum."""

from __future__ import annotations

import json
import logging
import math
import os
import subprocess
from pathlib import Path

import pytest

from depthweave.spaces import checksums
from depthweave.spaces.checksums import (
    CHECKSUMS_FILE,
    ChangedError,
    add_checksum,
    check_listed,
    check_no_links,
    checksum_path,
    replace_with_checksum,
    verified_values,
    verify_checksum,
    write_checksums,
)


def _flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def _save(path: Path, data: bytes) -> None:
    scratch = path.with_name("scratch")
    scratch.write_bytes(data)
    replace_with_checksum(scratch, path)


def test_file_with_a_sum_is_whole_and_each_flipped_bit_is_found(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    _save(path, b"four")
    assert verify_checksum(path)
    assert subprocess.run(["sha256sum", "-c", checksum_path(path).name], cwd=tmp_path, check=True, capture_output=True)
    for bit in range(32):
        path.write_bytes(_flipped(b"four", bit))
        with pytest.raises(ChangedError, match=r"state\.pt: is damaged") as caught:
            verify_checksum(path)
        assert len(str(caught.value).splitlines()) == 1


def test_each_flipped_bit_of_the_sum_file_is_found_or_means_nothing(tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    _save(path, b"four")
    whole = checksum_path(path).read_bytes()
    found = 0
    for bit in range(0, 8 * len(whole), 3):
        checksum_path(path).write_bytes(_flipped(whole, bit))
        try:
            verify_checksum(path)
        except ChangedError:
            found += 1
    assert found > 8 * 64 / 3 - 1, "every digit counts"


def test_crash_at_any_step_of_a_save_leaves_a_file_that_fits_its_checksum(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, replace = tmp_path / "state.pt", os.replace
    for content in (b"one", b"two", b"three", b"four"):
        for step in range(2):
            done: list[Path] = []

            def killed(source: Path, target: Path, *, step: int = step, done: list[Path] = done) -> None:
                if len(done) == step:
                    raise KeyboardInterrupt
                done.append(target)
                replace(source, target)

            monkeypatch.setattr(checksums.os, "replace", killed)
            with pytest.raises(KeyboardInterrupt):
                _save(path, content)
            monkeypatch.setattr(checksums.os, "replace", replace)
            assert not path.exists() or verify_checksum(path)
        _save(path, content)
        assert verify_checksum(path)
        assert path.read_bytes() == content
        assert {item.name for item in tmp_path.iterdir()} == {"state.pt", "state.pt.sha256"}


def test_file_without_a_sum_is_taken(tmp_path: Path) -> None:
    (tmp_path / "old").write_bytes(b"x")
    assert not verify_checksum(tmp_path / "old")


def test_folder_with_sums_names_what_was_changed_added_or_removed(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).write_text(name)
    write_checksums(tmp_path)
    assert subprocess.run(["sha256sum", "-c", CHECKSUMS_FILE], cwd=tmp_path, check=True, capture_output=True)
    assert check_listed(tmp_path, "a")
    assert not check_listed(tmp_path, "never there")
    (tmp_path / "a").write_text("b")
    (tmp_path / "b").unlink()
    (tmp_path / "d").write_text("d")
    for name, message in (("a", "is not as it was written"), ("b", "is missing"), ("d", "does not list it")):
        with pytest.raises(ChangedError, match=f"/{name}: .*{message}.*remove SHA256SUMS") as caught:
            check_listed(tmp_path, name)
        assert len(str(caught.value).splitlines()) == 1
    assert check_listed(tmp_path, "c")
    (tmp_path / CHECKSUMS_FILE).write_bytes(_flipped((tmp_path / CHECKSUMS_FILE).read_bytes(), 0))
    (tmp_path / CHECKSUMS_FILE).write_text("words\n")
    with pytest.raises(ChangedError, match="SHA256SUMS: is damaged"):
        check_listed(tmp_path, "c")


def test_folder_without_sums_is_read_and_that_is_said_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    (tmp_path / "a").write_text("a")
    with caplog.at_level(logging.WARNING):
        assert check_listed(tmp_path, "a")
        assert check_listed(tmp_path, "a")
        assert not check_listed(tmp_path, "b")
    assert [item.getMessage() for item in caplog.records] == [
        f"{tmp_path} has no SHA256SUMS, as in earlier versions: its files are not checked"
    ]


def test_links_pipes_and_folders_in_the_place_of_a_file_are_refused(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_text("mine")
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "link").symlink_to(target)
    os.mkfifo(folder / "pipe")
    with pytest.raises(ValueError, match="link: is a link"):
        check_listed(folder, "link")
    for name in ("pipe", "deep"):
        with pytest.raises(ValueError, match=f"{name}: is a .*: give a regular file"):
            check_listed(folder, name)
    with pytest.raises(ValueError, match="link: is a link"):
        check_no_links(folder)
    (folder / "link").rename(folder / "deep" / "link")
    with pytest.raises(ValueError, match="deep/link: is a link"):
        check_no_links(folder)
    (folder / "deep" / "link").unlink()
    check_no_links(folder)


def test_values_with_a_checksum_come_back_and_each_flipped_bit_is_found_or_changes_no_value() -> None:
    values = {"a": 0.1, "b": [1, None, "é"], "c": {"d": math.inf, "e": -0.0}, "n": 2**60}
    text = json.dumps(add_checksum(values)).encode()
    assert verified_values(json.loads(text)) == values
    assert verified_values(values) == values, "an earlier version kept no checksum"
    found = 0
    for bit in range(8 * len(text)):
        try:
            read = verified_values(json.loads(_flipped(text, bit)))
        except ValueError:
            found += 1
            continue
        assert {name: read.get(name) for name in values} == values
    assert found > 8 * len(text) // 2
