"""Ray's start: every way in which it can fail is one line that says what to set, and leaves no run behind."""

from __future__ import annotations

import resource
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import ray
from ray._private import services
from ray._private.node import Node

from depthweave.reports.store.storage import Storage
from depthweave.search.cluster import ray_session as cluster
from depthweave.search.cluster import ray_start
from depthweave.search.cluster.ray_start import RayStartError, starting
from depthweave.search.commands import search
from depthweave.search.run_folder.unstarted import clear_unstarted

_START = """
import ctypes, os, resource, sys
from depthweave.search.cluster.ray_start import starting
if len(sys.argv) > 1:
    resource.setrlimit(resource.RLIMIT_NOFILE, (int(sys.argv[1]), int(sys.argv[1])))
with starting(limit_s={limit_s}):
    os.write(2, b"a stack of C++\\n")
    {body}
os.write(2, b"up\\n")
"""


def _run(body: str, *arguments: str, limit_s: float = 60.0) -> tuple[int, list[str]]:
    code = _START.format(body=body, limit_s=limit_s)
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stderr.splitlines()


def test_start_that_succeeds_says_nothing_and_gives_the_terminal_back() -> None:
    assert _run("pass") == (0, ["up"])


def test_start_that_ends_the_process_is_one_line_that_names_the_limit() -> None:
    code, lines = _run("os.abort()", "300")
    assert code < 0
    limits = "open files are limited to 300: allow more with `ulimit -n 4096`"
    assert lines == [f"error: this process was ended while Ray started: {limits}"]


def test_start_that_hangs_with_the_lock_of_the_interpreter_is_ended_after_the_limit() -> None:
    # As Ray's core waits for its workers.
    code, lines = _run("ctypes.PyDLL(None).sleep(50)", "300", limit_s=1.0)
    assert code < 0
    assert len(lines) == 1
    assert lines[0].startswith("error: Ray did not start within 1 s: open files are limited to 300")


def test_start_without_a_standard_error_is_a_start() -> None:
    code = "import os; os.close(2)\n" + _START.format(body="pass", limit_s=60.0).replace("os.write(2", "os.write(1")
    done = subprocess.run([sys.executable, "-c", code.replace('os.write(1, b"a stack', 'str(b"a stack')], stdout=-1)
    assert (done.returncode, done.stdout) == (0, b"up\n")


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError("AF_UNIX path length cannot exceed 107 bytes: /long"), r"\(OSError: AF_UNIX path .*set RAY_TMPDIR to"),
        (KeyError("getpwuid(): uid not found: 4242"), r"\(KeyError: .*uid not found"),
        (
            BlockingIOError(11, "Resource temporarily unavailable"),
            r"processes and threads are limited to 50: .*ulimit -u",
        ),
        (MemoryError("x\ny"), r"\(MemoryError: x y\)"),
    ],
)
def test_exception_of_the_start_is_one_line(error: Exception, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if isinstance(error, BlockingIOError):
        real = resource.getrlimit
        limited = (50, 50)
        monkeypatch.setattr(
            resource, "getrlimit", lambda kind: limited if kind == resource.RLIMIT_NPROC else real(kind)
        )
    with pytest.raises(RayStartError, match=f"^Ray cannot start on this machine .*{message}") as caught, starting():
        raise error
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("limit_s", "looks"), [(60.0, 3), (0.0, 1)])
def test_ray_waits_longer_for_its_node_than_by_itself(
    limit_s: float, looks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[tuple[object, ...]] = []

    def get_node(*given: object) -> str:
        seen.append(given)
        if len(seen) < 3:
            raise RuntimeError("not registered yet")
        return "the node"

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(ray_start, "_NODE_LIMIT_S", limit_s)
    monkeypatch.setattr(ray_start, "_NODE_POLL_S", 0.01)
    # As Ray's node looks for itself; after an error it looks again for 30 s.
    monkeypatch.setattr(ray, "init", lambda **given: services.get_node("address", "id"))
    expected = nullcontext() if looks == 3 else pytest.raises(RayStartError, match="not registered yet")
    with expected, cluster._local_ray():
        pass
    assert seen == [("address", "id")] * looks
    assert services.get_node is get_node


class _Node:
    """What the start uses of Ray's node."""

    def __init__(self, *dead: str) -> None:
        self.dead, self.killed = dead, False

    def dead_processes(self) -> list[tuple[str, None]]:
        return [(kind, None) for kind in self.dead]

    def kill_all_processes(self, *, check_alive: bool) -> None:
        assert not check_alive
        self.killed = True


@pytest.mark.parametrize(
    ("nodes", "num_killed"),
    [
        ([_Node("raylet"), _Node()], 1),
        # A node works without its log monitor.
        ([_Node("log_monitor")], 0),
        ([_Node("raylet"), _Node("raylet"), _Node("raylet")], 3),
    ],
    ids=["once", "never", "always"],
)
def test_node_that_ended_is_started_again(nodes: list[_Node], num_killed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    begun: list[_Node] = []
    looks: list[object] = []

    def get_node(*given: object) -> str:
        looks.append(given)
        if begun[-1].dead == ("raylet",) or len(looks) == 1:
            raise RuntimeError("not registered")
        return "the node"

    def init(**given: Any) -> None:
        begun.append(nodes[len(begun)])
        Node.start_raylet(begun[-1])
        services.get_node("address", "id")

    monkeypatch.setattr(services, "get_node", get_node)
    monkeypatch.setattr(Node, "start_raylet", lambda node: None)
    monkeypatch.setattr(ray_start, "_NODE_POLL_S", 0.01)
    monkeypatch.setattr(ray, "init", init)
    expected = (
        pytest.raises(RayStartError, match="ended while it started, 3 times") if num_killed == 3 else nullcontext()
    )
    with expected, cluster._local_ray():
        pass
    assert begun == nodes
    assert sum(node.killed for node in nodes) == num_killed


_KILLED_NODE = """
from ray._private.node import Node
former, nodes = Node.start_raylet, []
def start_raylet(node, *given, **named):
    former(node, *given, **named)
    nodes.append(node)
    if len(nodes) == 1:
        node.all_processes["raylet"][0].process.kill()
Node.start_raylet = start_raylet
from depthweave.search.cluster.ray_session import cluster
with cluster(None):
    import ray
    print(len(nodes), ray.get(ray.remote(lambda: 7).remote()), len(nodes[0].live_processes()))
"""


@pytest.mark.slow
def test_real_node_that_is_killed_at_its_start_is_started_again() -> None:
    done = subprocess.run([sys.executable, "-c", _KILLED_NODE], capture_output=True, text=True, timeout=240)
    assert (done.returncode, done.stdout) == (0, "2 7 0\n"), done.stderr


# The run's folder.


@pytest.fixture
def no_ray(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine on which Ray cannot start."""

    def fail(**given: Any) -> None:
        raise OSError("AF_UNIX path length cannot exceed 107 bytes")

    monkeypatch.setattr(ray, "init", fail)


@pytest.mark.usefixtures("no_ray")
def test_search_whose_ray_cannot_start_leaves_no_folder(
    spec_file: Path, tmp_path: Path, fault: Callable[..., str]
) -> None:
    for _ in range(2):
        line = fault("search", spec_file, "--out", tmp_path / "run")
        assert "Ray cannot start on this machine (OSError: AF_UNIX path length" in line
        assert not (tmp_path / "run").exists()


@pytest.mark.usefixtures("no_ray")
def test_folder_of_a_search_that_was_killed_while_ray_started_is_free(
    spec_file: Path, tmp_path: Path, fault: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "mine.txt").write_text("kept")
    with monkeypatch.context() as killed:
        killed.setattr(search, "clear_unstarted", lambda storage: False)
        fault("search", spec_file, "--out", folder)
    assert (folder / "run.json").exists()
    assert "Ray cannot start" in fault("search", spec_file, "--out", folder), "and not: already holds a run"
    assert [item.name for item in folder.iterdir()] == ["mine.txt"]


@pytest.mark.parametrize("name", ["study.journal", "survey.json", "records", "checkpoints"])
def test_folder_with_any_work_in_it_stays(name: str, tmp_path: Path) -> None:
    for item in ("run.json", "spec.yaml", name):
        (tmp_path / item).write_text("{}")
    assert not clear_unstarted(Storage(tmp_path))
    assert len(list(tmp_path.iterdir())) == 3


# What it may use.


def test_local_ray_gets_what_this_process_may_use(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "usable_cpus", lambda: 3)
    monkeypatch.setattr(cluster, "usable_memory_bytes", lambda: 10**9)
    assert cluster._local_resources() == {"num_cpus": 3, "_memory": 7 * 10**8, "object_store_memory": 3 * 10**8}
    monkeypatch.setattr(cluster, "usable_memory_bytes", lambda: 2**60)
    assert cluster._local_resources() == {"num_cpus": 3}
    monkeypatch.setattr(resource, "getrlimit", lambda kind: (8 * 10**9, 8 * 10**9))
    assert cluster._local_resources() == {"num_cpus": 3, "object_store_memory": 10**9}
