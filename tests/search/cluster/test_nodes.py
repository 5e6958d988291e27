"""What is wrong with a cluster's nodes is said in one line, before anything is spent."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from depthweave.reports.store.storage import Storage
from depthweave.search.cluster import nodes
from depthweave.search.cluster.code_shipping import CodeVersion, code_version, packed_source
from depthweave.search.cluster.nodes import inspect_nodes
from depthweave.search.cluster.ray_joining import check_address
from depthweave.search.cluster.ray_session import cluster
from depthweave.search.spec.schema import Resources
from depthweave.trainers import hardware, pick_device
from tests.search.ray_head import ray_head

_FORGET = """
import sys
sys.meta_path[:] = [item for item in sys.meta_path if "depthweave" not in getattr(item, "__module__", "")]
"""


def test_edition_is_of_the_files_not_of_their_place(tmp_path: Path) -> None:
    with packed_source() as package:
        assert _source_of(package, cwd=tmp_path) == code_version().source
        with (package / "search" / "shipping.py").open("a", encoding="utf-8") as file:
            file.write("\n")
        assert _source_of(package, cwd=tmp_path) != code_version().source
    assert not package.exists()


def _source_of(package: Path, *, cwd: Path) -> str:
    return subprocess.run(
        [
            sys.executable,
            "-c",
            "from depthweave.search.cluster.code_shipping import code_version; print(code_version().source)",
        ],
        env={**os.environ, "PYTHONPATH": str(package.parent)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()


def test_nodes_answer_with_their_device(ray_address: str, tmp_path: Path) -> None:
    with cluster(ray_address):
        (node,) = inspect_nodes(Resources(device="cpu"), storage=Storage(tmp_path))
    assert node.hardware == hardware(pick_device("cpu"))
    # The token that they looked for is gone.
    assert not list(tmp_path.iterdir())


def test_folder_that_a_node_does_not_see_is_refused(
    ray_address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextmanager
    def elsewhere(storage: Storage) -> Iterator[tuple[str, str]]:
        yield storage.address("on another machine"), "text"

    monkeypatch.setattr(nodes, "_marker_file", elsewhere)
    monkeypatch.setattr(nodes, "_SEEN_LIMIT_S", 0.0)
    with cluster(ray_address), pytest.raises(ValueError, match=f"does not see {tmp_path}.*--out on a path") as caught:
        inspect_nodes(Resources(device="cpu"), storage=Storage(tmp_path))
    assert "\n" not in str(caught.value)


def test_another_version_is_refused_and_both_are_named(ray_address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    ours = code_version()
    monkeypatch.setattr(nodes, "code_version", lambda: CodeVersion("9.9.9", "00000000"))
    with cluster(ray_address), pytest.raises(ValueError, match="--ship") as caught:
        inspect_nodes(Resources(device="cpu"), storage=None)
    assert str(ours) in str(caught.value)
    assert "9.9.9 (source 00000000)" in str(caught.value)


@pytest.mark.slow
def test_workers_without_the_package_are_named_and_served(tmp_path: Path) -> None:
    with _bare_head(tmp_path) as address:
        with cluster(address), pytest.raises(ValueError, match=r"has .*Depthweave.*, this is Depthweave .*--ship"):
            inspect_nodes(Resources(device="cpu"), storage=None)
        with cluster(address, ship=True):
            (node,) = inspect_nodes(Resources(device="cpu"), storage=None)
    assert node.hardware == hardware(pick_device("cpu"))


@contextmanager
def _bare_head(folder: Path) -> Iterator[str]:
    """A cluster whose workers do not have this package: neither this checkout nor an editable install of one."""
    (folder / "sitecustomize.py").write_text(_FORGET, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(folder)}
    probe = [sys.executable, "-c", "import depthweave.search"]
    if subprocess.run(probe, env=environment, cwd=folder, capture_output=True).returncode == 0:
        pytest.skip("depthweave is installed in this Python's own folder: no worker is without it")
    with ray_head(num_cpus=1, environment=environment, folder=folder) as address:
        yield address


def test_ship_needs_a_cluster(fault: Callable[..., str]) -> None:
    assert fault("search", "examples/quick.yaml", "--ship").startswith("--ship: ")


def test_ray_client_is_refused_with_the_way_that_works() -> None:
    with pytest.raises(ValueError, match="ray job submit") as caught:
        check_address("ray://head:10001")
    assert "\n" not in str(caught.value)
