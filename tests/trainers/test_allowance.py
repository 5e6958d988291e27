"""What a process may use: affinity, and quotas and limits of control groups of versions 1 and 2."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from depthweave.trainers.allowance import process_limit, usable_cpus, usable_memory_bytes

_V2 = "31 23 0:28 / /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw,nsdelegate\n"
_V1 = (
    "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct\n"
    "35 31 0:32 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    "41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw\n"
)
_GIB = 2**30


def _tree(root: Path, files: dict[str, str]) -> Path:
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text, encoding="utf-8")
    return root


@pytest.fixture
def large_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine of 64 processors and 512 GiB, all of which the process may use."""
    monkeypatch.setattr(os, "process_cpu_count", lambda: 64, raising=False)
    sizes = {"SC_PHYS_PAGES": 512 * _GIB // 4096, "SC_PAGE_SIZE": 4096}
    monkeypatch.setattr(os, "sysconf", sizes.__getitem__)


@pytest.mark.usefixtures("large_machine")
@pytest.mark.parametrize(
    ("files", "cpus", "gib"),
    [
        ({}, 64, 512),
        # A container of version 2 that sees its own group as the root.
        (
            {
                "proc/self/cgroup": "0::/\n",
                "proc/self/mountinfo": _V2,
                "sys/fs/cgroup/cpu.max": "250000 100000\n",
                "sys/fs/cgroup/memory.max": f"{8 * _GIB}\n",
            },
            2,
            8,
        ),
        # A Slurm job: groups above that of the step set the limits.
        (
            {
                "proc/self/cgroup": "0::/system.slice/slurmstepd.scope/job_7/step_0/user/task_0\n",
                "proc/self/mountinfo": _V2,
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/cpu.max": "400000 100000\n",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/memory.max": f"{20 * _GIB}\n",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/cpu.max": "max 100000\n",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/memory.max": f"{16 * _GIB}\n",
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_7/step_0/user/task_0/memory.max": "max\n",
                # Another job's.
                "sys/fs/cgroup/system.slice/slurmstepd.scope/job_8/cpu.max": "100000 100000\n",
            },
            4,
            16,
        ),
        # Half a processor allows one trial at a time.
        ({"proc/self/cgroup": "0::/\n", "proc/self/mountinfo": _V2, "sys/fs/cgroup/cpu.max": "50000 100000"}, 1, 512),
        # Version 1 with two controllers on one mount; a large number means no memory limit.
        (
            {
                "proc/self/cgroup": "4:memory:/a/b\n1:cpu,cpuacct:/a/b\n0::/\n",
                "proc/self/mountinfo": _V1,
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_quota_us": "300000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_quota_us": "-1\n",
                "sys/fs/cgroup/cpu,cpuacct/a/b/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": "9223372036854771712\n",
                "sys/fs/cgroup/memory/a/memory.limit_in_bytes": f"{4 * _GIB}\n",
            },
            3,
            4,
        ),
        # A container of version 1 that shows the path on the host.
        (
            {
                "proc/self/cgroup": "4:memory:/docker/0a1b\n1:cpu,cpuacct:/docker/0a1b\n",
                "proc/self/mountinfo": _V1.replace(" / /sys", " /docker/0a1b /sys"),
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_quota_us": "200000\n",
                "sys/fs/cgroup/cpu,cpuacct/cpu.cfs_period_us": "100000\n",
                "sys/fs/cgroup/memory/memory.limit_in_bytes": f"{2 * _GIB}\n",
            },
            2,
            2,
        ),
        # Empty files set no limits.
        (
            {
                "proc/self/cgroup": "0::/\nnonsense\n",
                "proc/self/mountinfo": f"short\n{_V2}",
                "sys/fs/cgroup/cpu.max": "",
                "sys/fs/cgroup/memory.max": "x",
            },
            64,
            512,
        ),
    ],
    ids=["none", "container", "slurm", "half", "version 1", "docker 1", "nonsense"],
)
def test_least_of_all_groups_counts(files: dict[str, str], cpus: int, gib: int, tmp_path: Path) -> None:
    root = _tree(tmp_path, files)
    assert usable_cpus(root) == cpus
    assert usable_memory_bytes(root) == gib * _GIB


@pytest.mark.parametrize(
    ("files", "limit"),
    [
        ({}, None),
        ({"sys/fs/cgroup/a/b/pids.max": "max\n"}, None),
        # The group above allows less.
        ({"sys/fs/cgroup/a/b/pids.max": "200\n", "sys/fs/cgroup/a/pids.max": "100\n"}, 100),
    ],
)
def test_least_process_limit_of_all_groups_counts(files: dict[str, str], limit: int | None, tmp_path: Path) -> None:
    root = _tree(tmp_path, {"proc/self/cgroup": "0::/a/b\n", "proc/self/mountinfo": _V2, **files})
    assert process_limit(root) == limit


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="no affinity here")
def test_process_on_one_processor_has_one() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
        "from depthweave.trainers.allowance import usable_cpus; print(usable_cpus())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "1\n"
