"""`docs/cluster.md` holds: its commands by hand work word by word, and its examples can be read."""

from __future__ import annotations

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import yaml

from depthweave.reports.store.run_store import RunStore
from depthweave.search.spec.loading import make_spec

_ROOT = Path(__file__).parents[3]
_PAGE = (_ROOT / "docs" / "cluster.md").read_text(encoding="utf-8")
_EXAMPLES = _ROOT / "examples" / "cluster"
_SPEC = """
name: tiny
corpus: {kind: stdlib}
space: {fusions: [none, dwa], dilations: [1], periods: [1, depth], depths: [2, 4], budgets: [4000], head_width: 4}
recipe: {steps: 6, batch: 4, context: 32, num_evaluations: 2, evaluation_tokens: 1024}
search: {trials: 6, pruner: none}
resources: {measure_limit_s: 0.1}
"""


def test_page_links_point_to_files() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", _PAGE):
        assert (_ROOT / "docs" / target).exists(), target


def test_resources_of_the_page_are_the_specs() -> None:
    (text,) = re.findall(r"```yaml\n(.*?)```", _PAGE, flags=re.DOTALL)
    assert make_spec(yaml.safe_load(text)).resources.gpus_per_trial == 0.25


def test_cluster_of_ray_up_has_a_head_and_workers() -> None:
    values = yaml.safe_load((_EXAMPLES / "ray-up.yaml").read_text(encoding="utf-8"))
    assert values["head_node_type"] in values["available_node_types"]
    assert {"provider", "auth", "setup_commands"} <= values.keys()


def test_manifest_of_kubernetes_holds_a_spec_and_mounts_what_it_names() -> None:
    claim, settings, job = yaml.safe_load_all((_EXAMPLES / "kuberay.yaml").read_text(encoding="utf-8"))
    assert make_spec(yaml.safe_load(settings["data"]["search.yaml"])).name == "search"
    assert job["kind"] == "RayJob"
    cluster = job["spec"]["rayClusterSpec"]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {item["name"]: item["mountPath"] for item in pod["containers"][0]["volumeMounts"]}
        assert mounted.keys() == {item["name"] for item in pod["volumes"]}
        assert all(path in job["spec"]["entrypoint"] for path in mounted.values())
        claims = [item["persistentVolumeClaim"]["claimName"] for item in pod["volumes"] if item["name"] == "shared"]
        assert claims == [claim["metadata"]["name"]]


def test_script_of_slurm_is_one() -> None:
    script = _EXAMPLES / "slurm.sbatch"
    assert subprocess.run(["bash", "-n", script], capture_output=True, text=True, check=True).stderr == ""


@pytest.mark.release
@pytest.mark.timeout(900)
def test_commands_by_hand_work_word_by_word(tmp_path: Path) -> None:
    (block,) = re.findall(r"## By hand.*?```bash\n(.*?)```", _PAGE, flags=re.DOTALL)
    port = _free_port()
    (tmp_path / "examples").mkdir()
    (tmp_path / "examples" / "quick.yaml").write_text(_SPEC, encoding="utf-8")
    words = {"HEAD": "127.0.0.1", "6379": str(port), "/shared": str(tmp_path)}
    lines = [re.sub("|".join(words), lambda found: words[found[0]], line) for line in block.splitlines()]
    starts = [line for line in lines if line.startswith("ray start")]
    # `ray stop` would end every Ray of this machine, that of other tests too: here each is ended by itself.
    assert lines[-1].startswith("ray stop")
    folder = Path("/tmp") / f"dw-{os.getpid()}"
    try:
        with _running(starts[0], folder=folder, head=True), _running(starts[1], folder=folder, head=False):
            for line in lines:
                if line.startswith("depthweave"):
                    _run(line, cwd=tmp_path)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    run = RunStore.open(tmp_path / "runs" / "quick")
    assert len(run.records()) == 6
    assert {item.state for item in run.records()} == {"complete"}
    assert (tmp_path / "runs" / "quick" / "report.html").exists()


@contextmanager
def _running(line: str, *, folder: Path, head: bool) -> Iterator[None]:
    """Ray's command as on the page, in the foreground, with one CPU, on loopback, apart from other clusters."""
    # Two machines have two addresses; here two nodes share one.
    more = f" --block --num-cpus=1 --node-ip-address=127.0.0.1{f' --temp-dir={folder}' if head else ''}"
    command, _, _ = line.partition("#")
    with subprocess.Popen(
        f"exec {command.strip()}{more}",
        shell=True,
        env=_environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            seen = []
            for text in process.stdout or ():
                seen.append(text)
                if "Ray runtime started" in text:
                    break
            else:
                raise AssertionError("".join(seen))
            yield
        finally:
            process.send_signal(signal.SIGTERM)
            process.communicate(timeout=60)


def _run(line: str, *, cwd: Path) -> None:
    """Until every node has joined a search may find too few; it is asked for again then."""
    deadline = time.monotonic() + 120
    while True:
        done = subprocess.run(line, shell=True, cwd=cwd, env=_environment(), capture_output=True, text=True)
        if done.returncode == 0:
            return
        assert time.monotonic() < deadline, f"{line}\n{done.stdout}\n{done.stderr}"
        assert "no Ray cluster answers" in done.stderr, f"{line}\n{done.stdout}\n{done.stderr}"


def _environment() -> dict[str, str]:
    scripts = str(Path(sys.executable).parent)
    return os.environ | {"PATH": f"{scripts}:{os.environ['PATH']}", "OMP_NUM_THREADS": "1"}


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
