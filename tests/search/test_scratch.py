"""Temporary folders: this user's alone, gone at the end, and after a kill with the next start."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from depthweave.search.cluster import ray_session as cluster
from depthweave.search.cluster.ray_session import ray_folder
from depthweave.search.scratch import Scratch, device_locks, lock_folder, private_folder, scratch

_HOLDER = """
import sys
from depthweave.search.scratch import scratch
with scratch("held") as folder:
    (folder / "file").write_text("x")
    print(folder, flush=True)
    sys.stdin.read()
"""


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The temporary folder."""
    monkeypatch.setattr(tempfile, "gettempdir", lambda: str(tmp_path))
    return tmp_path


def _mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_private_folder_is_closed_to_others_also_where_it_was_open(place: Path) -> None:
    folder = private_folder()
    assert (folder, _mode(folder)) == (place / f"depthweave-{os.getuid()}", 0o700)
    folder.chmod(0o777)
    assert _mode(private_folder()) == 0o700


@pytest.mark.parametrize("kind", ["link", "file"])
def test_private_folder_that_is_none_is_refused(kind: str, place: Path) -> None:
    target = place / "elsewhere"
    target.mkdir()
    taken = place / f"depthweave-{os.getuid()}"
    if kind == "link":
        taken.symlink_to(target)
    else:
        taken.touch()
    with pytest.raises(ValueError, match="not a folder of this user: set TMPDIR"):
        Scratch("x")
    assert list(target.iterdir()) == []


@pytest.mark.skipif(os.getuid() != 0, reason="only root can make another user's folder")
def test_private_folder_of_another_user_is_refused(place: Path) -> None:
    taken = place / f"depthweave-{os.getuid()}"
    taken.mkdir()
    os.chown(taken, 12345, 12345)
    with pytest.raises(ValueError, match="not a folder of this user:"):
        private_folder()


def test_scratch_goes_at_the_end_and_after_an_error() -> None:
    with scratch("x") as folder:
        (folder / "deep").mkdir()
        assert folder.parent == private_folder()
        assert _mode(folder) == 0o700
    with pytest.raises(RuntimeError), scratch("x"):
        raise RuntimeError
    assert list(private_folder().iterdir()) == []


def test_what_a_killed_process_left_goes_with_the_next_start_and_a_living_one_keeps_its_own(place: Path) -> None:
    environment = os.environ | {"TMPDIR": str(place)}
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        folder = Path(process.stdout.readline().strip())
        assert folder.parent == private_folder()
        with scratch("other"):
            assert (folder / "file").exists(), "its process lives"
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert (folder / "file").exists()
    with scratch("other") as other:
        assert not folder.exists()
        assert set(private_folder().iterdir()) == {other, other.with_name(f"{other.name}.lock")}


def test_sweep_follows_no_link_and_leaves_locks(place: Path) -> None:
    outside, private = place / "outside", private_folder()
    outside.mkdir()
    (outside / "file").touch()
    (private / "x-1").symlink_to(outside)
    (private / "x-1.lock").touch()
    (private / "x-2.lock").symlink_to(outside / "file")
    (private / "locks").mkdir()
    with scratch("y"):
        pass
    assert (outside / "file").exists()
    assert (private / "locks").is_dir()


def test_ray_gets_a_private_folder_where_the_user_says(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    short = Path(tempfile.mkdtemp(prefix="dw-", dir="/tmp"))
    monkeypatch.setenv("RAY_TMPDIR", str(short))
    with ray_folder() as folder:
        assert folder.parent == private_folder(short)
        assert _mode(folder.parent) == 0o700
    os.removedirs(folder.parent)


def test_ray_gets_a_short_folder_where_the_temporary_one_is_deep(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    deep = place / ("x" * 90)
    deep.mkdir()
    monkeypatch.setenv("RAY_TMPDIR", str(deep))
    with ray_folder() as folder:
        assert folder.parent == Path(f"/tmp/depthweave-{os.getuid()}")
        assert len(f"{folder}/session_2026-11-26_18-03-20_757963_1234567/sockets/plasma_store") <= 103
    monkeypatch.setattr(cluster, "_MAX_SOCKET_BYTES", 70)
    with pytest.raises(ValueError, match="set RAY_TMPDIR to a shorter one"), ray_folder():
        pass


def test_locks_of_a_run_in_object_storage_are_in_the_private_folder(place: Path) -> None:
    assert lock_folder("locks-0123") == private_folder() / "locks-0123"
    assert lock_folder("/a/run") == Path("/a/run")


def test_searches_of_a_user_share_the_lock_of_a_gpu_and_not_of_a_processor(place: Path) -> None:
    assert device_locks("/a/run", device_type="cuda") == device_locks("/b/run", device_type="cuda")
    assert device_locks("/a/run", device_type="cuda").is_relative_to(private_folder())
    assert device_locks("/a/run", device_type="cpu") == Path("/a/run")


def test_folder_that_came_back_after_a_sweep_is_removed(tmp_path: Path) -> None:
    with scratch("ray", place=tmp_path) as living:
        returned = living.with_name("ray-0000" if living.name != "ray-0000" else "ray-0001")
        (returned / "session").mkdir(parents=True)
        locks = living.with_name("locks-0123456789abcdef")
        locks.mkdir()
        with scratch("ray", place=tmp_path) as other:
            assert not returned.exists()
            assert living.exists()
            assert locks.exists()
            assert other.exists()
