"""How many processors, how much memory and how many processes this process may use: less than the machine has.

Limits come from the affinity (`taskset`, Slurm, containers) and from control groups of version 1 or 2: the group of the
process and every group above it. The files of a group are read below its mount point, as `proc(5)` and `cgroups(7)`
describe.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

_ROOT = Path("/")


def usable_cpus(root: Path = _ROOT) -> int:
    """Returns the processors that this process may use at once, at least 1. `root` holds `proc` and `sys`."""
    return max(1, min([_allowed_cpus(), *(int(quota) for quota in _quotas(root))]))


def usable_memory_bytes(root: Path = _ROOT) -> int:
    """Returns the main memory that this process may use."""
    return min([os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"), *_memory_limits(root)])


def process_limit(root: Path = _ROOT) -> int | None:
    """Returns how many processes and threads the control groups of this process allow; `None` without a limit."""
    found = [_read(group.folder / "pids.max") for group in _groups(root, controller="pids")]
    return min((int(limit) for limit in found if limit.isdigit()), default=None)


def _allowed_cpus() -> int:
    # The function of Python 3.13 also follows PYTHON_CPU_COUNT.
    process_cpu_count = getattr(os, "process_cpu_count", None)
    if process_cpu_count is not None:
        return process_cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _quotas(root: Path) -> Iterator[float]:
    """Yields the processors that each group of this process may use."""
    for group in _groups(root, controller="cpu"):
        if group.version == 2:
            quota, _, period = _read(group.folder / "cpu.max").partition(" ")
        else:
            quota, period = _read(group.folder / "cpu.cfs_quota_us"), _read(group.folder / "cpu.cfs_period_us")
        # `max`, -1 and a missing file mean no quota.
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)


def _memory_limits(root: Path) -> Iterator[int]:
    for group in _groups(root, controller="memory"):
        limit = _read(group.folder / ("memory.max" if group.version == 2 else "memory.limit_in_bytes"))
        if limit.isdigit():
            yield int(limit)


class _Group(NamedTuple):
    version: int
    folder: Path


def _groups(root: Path, *, controller: str) -> Iterator[_Group]:
    """Yields the group of this process and the groups above it, as far as this process can see them."""
    paths = dict(_paths(root, controller=controller))
    for line in _read(root / "proc/self/mountinfo").splitlines():
        mounted, _, kind = line.partition(" - ")
        fields, kinds = mounted.split(), kind.split()
        if len(fields) < 5 or len(kinds) < 3 or kinds[0] not in ("cgroup", "cgroup2"):
            continue
        version = 2 if kinds[0] == "cgroup2" else 1
        if version not in paths or (version == 1 and controller not in kinds[2].split(",")):
            continue
        top = root / fields[4].lstrip("/")
        # In a container the mount may begin at its own group while `proc` still shows the path on the host.
        inside = Path(paths[version])
        below = inside.relative_to(fields[3]) if inside.is_relative_to(fields[3]) else Path()
        for folder in (top / below, *(top / below).parents):
            yield _Group(version, folder)
            if folder == top:
                break


def _paths(root: Path, *, controller: str) -> Iterator[tuple[int, str]]:
    """Yields version and path of each group that has the controller."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number, controllers) == ("0", ""):
            yield 2, path
        elif controller in controllers.split(","):
            yield 1, path


def _read(path: Path) -> str:
    """Returns the text of the file; empty where it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return ""
