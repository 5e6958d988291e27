"""A file is old or new, never half, on a local disk and on a store without real renames."""

from __future__ import annotations

from pathlib import Path

import pytest
from pyarrow import fs

from depthweave.reports import atomic
from depthweave.reports.atomic import exists, read_whole, write_whole


def test_write_whole_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    local, path = fs.LocalFileSystem(), str(tmp_path / "deep" / "file")
    write_whole(local, path, b"one")
    write_whole(local, path, b"two")
    assert read_whole(local, path) == b"two"
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["file"]


def test_write_whole_failing_midway_keeps_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local, path = fs.LocalFileSystem(), str(tmp_path / "file")
    write_whole(local, path, b"old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(atomic.os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        write_whole(local, path, b"new")
    assert [item.read_bytes() for item in tmp_path.iterdir()] == [b"old"]


def test_write_whole_other_filesystem(memory: fs.FileSystem) -> None:
    write_whole(memory, "/bucket/file", b"one")
    write_whole(memory, "/bucket/file", b"two")
    assert read_whole(memory, "/bucket/file") == b"two"
    names = [info.base_name for info in memory.get_file_info(fs.FileSelector("/bucket"))]
    assert names == ["file"]
    assert exists(memory, "/bucket/file")
    assert not exists(memory, "/bucket/other")
    assert not exists(memory, "/bucket")
