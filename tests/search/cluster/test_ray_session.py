"""A local Ray is the search's own and takes orders from this machine alone; a named one that is gone is refused."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import ray

from depthweave.search.cluster import ray_joining
from depthweave.search.cluster.ray_joining import check_address
from depthweave.search.cluster.ray_session import cluster
from tests.search.processes import PATIENCE_S
from tests.search.ray_head import ray_head

_START = """
import os, sys
import ray
from depthweave.search.cluster.ray_session import cluster
with cluster(None):
    ray.get(ray.remote(lambda: None).remote())
    print(os.environ["MARK"], flush=True)
    sys.stdin.read()
assert "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER" not in os.environ
"""
_JOIN = """
import sys
from depthweave.search.cluster.ray_session import cluster
try:
    with cluster(sys.argv[1]):
        print("joined")
except ValueError as error:
    sys.stderr.write(f"{error}\\n")
    sys.exit(2)
"""
_LISTENS = "0A"
_LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}
"""127.0.0.1, the same as an address of IPv6, and ::1, as /proc writes them."""


def _marked(mark: str) -> list[Path]:
    """Processes that inherited the mark."""
    found = []
    for folder in Path("/proc").iterdir():
        try:
            if folder.name.isdigit() and f"MARK={mark}".encode() in (folder / "environ").read_bytes():
                found.append(folder)
        except OSError:
            continue
    return found


def _sockets(process: Path) -> set[str]:
    found = set()
    for link in (process / "fd").glob("*"):
        try:
            target = os.readlink(link)
        except OSError:
            continue
        if target.startswith("socket:["):
            found.add(target.removeprefix("socket:[").rstrip("]"))
    return found


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> str:
    """The address of a cluster that is no more, which `ray start` wrote down."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
    monkeypatch.setenv("RAY_TMPDIR", str(tmp_path))
    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    (tmp_path / "ray").mkdir()
    (tmp_path / "ray" / "ray_current_cluster").write_text(address)
    return address


@pytest.mark.parametrize("message", ["by the environment", "by ray start"])
def test_auto_that_is_gone_is_refused_at_once(message: str, gone: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if message == "by the environment":
        monkeypatch.setenv("RAY_ADDRESS", gone)
    with pytest.raises(ValueError, match=f"--address {gone}: no Ray cluster answers"):
        check_address("auto")


def test_auto_where_no_cluster_is_known_is_refused(gone: str, tmp_path: Path) -> None:
    (tmp_path / "ray" / "ray_current_cluster").unlink()
    with pytest.raises(ValueError, match="--address auto: no Ray cluster is known here"):
        check_address("auto")


def test_cluster_that_refuses_is_one_line_and_nothing_of_rays_core(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def refuse(**given: Any) -> None:
        os.write(2, b"E gcs_rpc_client.h:179] Unauthenticated\n" * 20)
        raise ray.exceptions.AuthenticationError("no token\nsee the manual")

    monkeypatch.setattr(ray_joining, "check_address", lambda address: None)
    monkeypatch.setattr(ray, "init", refuse)
    refused = r"^--address HOST:1: no Ray cluster answers \(no token\); .* set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN "
    with pytest.raises(ValueError, match=refused), cluster("HOST:1"):
        pass
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_cluster_that_wants_a_token_is_joined_with_it_and_refuses_in_one_line(tmp_path: Path, ray_folder: Path) -> None:
    # A token in the home folder makes Ray ask for it by default.
    (tmp_path / ".ray").mkdir()
    (tmp_path / ".ray" / "auth_token").write_text("a" * 64)
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    ours |= {"HOME": str(tmp_path), "RAY_TMPDIR": str(ray_folder)}
    with ray_head(num_cpus=1, environment=ours) as address:
        (ray_folder / "ray").mkdir(exist_ok=True)
        (ray_folder / "ray" / "ray_current_cluster").write_text(address)
        assert _joins("auto", ours) == (0, "joined\n", "")
        assert _joins(address, {**ours, "RAY_AUTH_MODE": "token"}) == (0, "joined\n", "")
        for wrong in ({}, {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "b" * 64}):
            code, printed, error = _joins(address, {**ours, **wrong})
            assert (code, printed) == (2, "")
            assert error.startswith(f"--address {address}: no Ray cluster answers (")
            assert len(error.splitlines()) == 1


def _joins(address: str, environment: dict[str, str]) -> tuple[int, str, str]:
    """Exit code, standard output and standard error of a process that joins a cluster."""
    done = subprocess.run(
        [sys.executable, "-c", _JOIN, address], env=environment, capture_output=True, text=True, timeout=PATIENCE_S
    )
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.parametrize("message", ["by the environment", "by ray start"])
def test_local_ray_is_its_own_although_another_is_known(message: str, gone: str, ray_folder: Path) -> None:
    environment = {**os.environ, "MARK": "up", "RAY_TMPDIR": str(ray_folder)}
    if message == "by the environment":
        environment["RAY_ADDRESS"] = gone
    else:
        (ray_folder / "ray").mkdir()
        (ray_folder / "ray" / "ray_current_cluster").write_text(gone)
    done = subprocess.run(
        [sys.executable, "-c", _START], env=environment, input="", capture_output=True, text=True, timeout=120
    )
    assert (done.returncode, done.stdout) == (0, "up\n"), done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="reads sockets in /proc")
def test_local_ray_listens_on_loopback_only(tmp_path: Path) -> None:
    mark = tmp_path.name + str(os.getpid())
    with subprocess.Popen(
        [sys.executable, "-c", _START],
        env={**os.environ, "MARK": mark},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().strip() == mark
        processes = _marked(mark)
        sockets = {inode for item in processes for inode in _sockets(item)}
        lines = [
            line.split() for name in ("tcp", "tcp6") for line in Path(f"/proc/net/{name}").read_text().splitlines()
        ]
        listening = [line[1] for line in lines if line[3] == _LISTENS and line[9] in sockets]
        assert process.stdin is not None
        process.stdin.close()
        assert process.wait(timeout=60) == 0
    assert len(processes) > 3, "the driver, the control store, the raylet and workers"
    assert len(listening) > 3
    assert {address.partition(":")[0] for address in listening} <= _LOOPBACK
