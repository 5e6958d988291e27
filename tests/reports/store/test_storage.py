"""A file is old or new, never half, on a local disk and on a store without real renames; what is away is waited for."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
from pyarrow import fs

from depthweave.reports.store import storage
from depthweave.reports.store.storage import Storage, UnreachableError


def test_write_replaces_and_leaves_no_temporary(tmp_path: Path) -> None:
    local = Storage(tmp_path)
    local.write("deep/file", b"one")
    local.write("deep/file", b"two")
    assert local.read("deep/file") == b"two"
    assert [item.name for item in (tmp_path / "deep").iterdir()] == ["file"]


def test_write_failing_midway_keeps_the_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = Storage(tmp_path)
    local.write("file", b"old")

    def full(_: int) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(storage.os, "fsync", full)
    with pytest.raises(OSError, match="no space left"):
        local.write("file", b"new")
    assert [item.read_bytes() for item in tmp_path.iterdir()] == [b"old"]


def test_other_filesystem(memory: fs.FileSystem, tmp_path: Path) -> None:
    remote = Storage("/bucket", filesystem=memory)
    remote.write("file", b"one")
    remote.write("file", b"two")
    assert remote.read("file") == b"two"
    assert [info.base_name for info in remote.files("")] == ["file"]
    assert remote.exists("file")
    assert not remote.exists("other")
    assert not remote.exists("")
    assert remote.files("other") == []
    remote.move("file", "deep/other")
    (tmp_path / "two").write_bytes(b"three")
    remote.copy_in(tmp_path / "two", "deep/file")
    remote.copy_out("deep/file", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == b"three"
    assert {info.base_name for info in remote.files("", recursive=True)} == {"file", "other"}
    assert (remote.folders(""), remote.folders("deep"), remote.folders("other")) == (["deep"], [], [])
    remote.delete("deep/file")
    with pytest.raises(FileNotFoundError):
        remote.read("deep/file")


@pytest.mark.parametrize(
    ("where", "name"),
    [
        ("s3://bucket/run", "s3://bucket/run/checkpoints"),
        ("s3://bucket/run/?region=x&scheme=http", "s3://bucket/run/checkpoints?region=x&scheme=http"),
        ("gs://anonymous@bucket/run", "gs://anonymous@bucket/run/checkpoints"),
    ],
)
def test_address_of_a_folder_in_object_storage(where: str, name: str, memory: fs.FileSystem) -> None:
    assert Storage(where, filesystem=memory).address("checkpoints") == name


def test_address_of_a_folder_on_a_disk_is_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert Storage("run").address("checkpoints") == f"{tmp_path}/run/checkpoints"


class Away(fs.FSSpecHandler):  # type: ignore[misc]
    """Storage that is away until `until`, by a clock that the waiting moves on."""

    def __init__(self, memory: fs.FileSystem, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__(memory.handler.fs)
        self.now, self.until = 0.0, 0.0
        monkeypatch.setattr(storage.time, "monotonic", lambda: self.now)
        monkeypatch.setattr(storage.time, "sleep", self._sleep)

    def _sleep(self, seconds: float) -> None:
        self.now += seconds


def _guarded(name: str) -> Any:
    def request(self: Away, *args: Any) -> Any:
        if self.now < self.until:
            raise OSError("connection refused")
        return getattr(fs.FSSpecHandler, name)(self, *args)

    return request


for _name in (
    *("get_file_info", "get_file_info_selector", "open_input_stream", "open_output_stream"),
    *("move", "delete_file", "create_dir"),
):
    setattr(Away, _name, _guarded(_name))


@pytest.fixture
def away(memory: fs.FileSystem, monkeypatch: pytest.MonkeyPatch) -> Away:
    """Reachable at first."""
    return Away(memory, monkeypatch)


def test_what_is_away_for_a_minute_is_waited_for(away: Away) -> None:
    remote = Storage("/bucket", filesystem=fs.PyFileSystem(away))
    remote.write("file", b"one")
    for request in (
        lambda: remote.write("file", b"two"),
        lambda: remote.read("file"),
        lambda: remote.files(""),
        lambda: remote.folders(""),
        lambda: remote.exists("file"),
        lambda: remote.move("file", "moved"),
        lambda: remote.delete("moved"),
    ):
        away.until = away.now + 60.0
        request()
        assert 60.0 <= away.now - (away.until - 60.0) < 80.0
    assert remote.files("") == []


def test_what_is_away_for_good_is_one_line(away: Away) -> None:
    away.until = 1e9
    remote = Storage("/bucket", filesystem=fs.PyFileSystem(away))
    # An address that never answered is more likely wrong than away.
    with pytest.raises(UnreachableError, match=r"/bucket: no answer .connection refused.: check the address"):
        remote.read("file")
    assert away.now == 0.0
    with pytest.raises(UnreachableError, match=r"/bucket: no answer for 180 s .connection refused."):
        Storage("/bucket", filesystem=fs.PyFileSystem(away), patient=True).read("file")
    assert 160.0 < away.now <= 180.0


def test_what_can_be_read_and_not_written_is_not_waited_for(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    remote = Storage("/bucket", filesystem=fs.PyFileSystem(away))
    assert not remote.exists("file")

    def refuse(*_: Any) -> None:
        raise OSError("access denied")

    monkeypatch.setattr(Away, "create_dir", refuse)
    with pytest.raises(UnreachableError, match=r"no answer .access denied.: check the address, the credentials"):
        remote.write("file", b"one")
    assert away.now == 0.0


@pytest.mark.parametrize("where", ["s3:/bucket/run", "s3:bucket", "s3://", "gs:/", "s3:"])
def test_misspelt_address_is_no_folder_on_the_disk(where: str) -> None:
    with pytest.raises(ValueError, match="not an address: write s3://BUCKET/RUN"):
        Storage(where)


@pytest.mark.parametrize("where", ["runs/a:b", "take:2", "./s3:/run", "C:/runs", "a b:c", "/s3://run"])
def test_folder_may_have_any_other_name(where: str) -> None:
    assert Storage(where).is_local


def test_whether_it_may_be_written_is_asked_before_every_try(away: Away) -> None:
    remote = Storage("/bucket", filesystem=fs.PyFileSystem(away))
    remote.write("file", b"one")

    def others() -> None:
        if away.now > 30.0:
            raise ValueError("it is another's by now")

    remote.before_write = others
    remote.write("file", b"two")
    away.until = 60.0
    with pytest.raises(ValueError, match="another's"):
        remote.write("file", b"three")
    assert 30.0 < away.now < 60.0
    away.until = 0.0
    for request in (
        lambda: remote.delete("file"),
        lambda: remote.move("file", "moved"),
        lambda: remote.make_folder("folder"),
        lambda: remote.copy_in(__file__, "file"),
    ):
        with pytest.raises(ValueError, match="another's"):
            request()
    assert remote.read("file") == b"two"


def test_storage_without_retries_neither_waits_nor_asks(away: Away) -> None:
    remote = Storage("/bucket", filesystem=fs.PyFileSystem(away), patient=True)

    def never() -> None:
        raise AssertionError

    remote.before_write = never
    remote.without_retries().write("file", b"one")
    away.until = 60.0
    with pytest.raises(UnreachableError):
        remote.without_retries().read("file")
    assert away.now == 0.0


def test_delete_whose_answer_was_lost_is_done(away: Away, monkeypatch: pytest.MonkeyPatch) -> None:
    remote, delete, lost = Storage("/bucket", filesystem=fs.PyFileSystem(away)), Away.delete_file, [True]
    remote.write("file", b"one")

    def delete_file(self: Away, path: str) -> None:
        delete(self, path)
        if lost:
            lost.clear()
            raise OSError("connection reset")

    monkeypatch.setattr(Away, "delete_file", delete_file)
    remote.delete("file")
    assert remote.files("") == []


def test_full_disk_here_is_not_storage_that_is_away(
    away: Away, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remote = Storage("/bucket", filesystem=fs.PyFileSystem(away))
    remote.write("file", b"one")

    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(storage.shutil, "copyfileobj", full)
    with pytest.raises(OSError, match="No space left") as error:
        remote.copy_out("file", tmp_path / "copy")
    assert not isinstance(error.value, UnreachableError)
    assert away.now == 0.0


def test_missing_file_is_not_waited_for(away: Away) -> None:
    remote = Storage("/bucket", filesystem=fs.PyFileSystem(away))
    remote.write("file", b"one")
    with pytest.raises(FileNotFoundError):
        remote.read("other")
    with pytest.raises(FileNotFoundError):
        remote.move("other", "third")
    assert away.now == 0.0
