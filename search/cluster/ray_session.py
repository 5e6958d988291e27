"""Starts a quiet Ray on this machine, or joins a running one."""

from __future__ import annotations

import logging
import os
import resource
import secrets
import signal
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from pathlib import Path
from types import FrameType

from depthweave.search.cluster.ray_joining import joined_ray
from depthweave.search.cluster.ray_start import shutdown_on_error, start_patiently, starting
from depthweave.search.cluster.worker_imports import outside_user_folder
from depthweave.search.scratch import scratch
from depthweave.search.signals import TERMINATED
from depthweave.trainers.allowance import usable_cpus, usable_memory_bytes

logger = logging.getLogger(__name__)

_STORE_FRAC = 0.3
"""Share of the memory for the object store, as in Ray's own rule."""
_LEAST_STORE_BYTES = 80 * 2**20
"""Ray refuses less than 75 MiB."""

_CLUSTER_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

_SOCKET_PATH = "/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
"""Path of Ray's socket below its temporary folder, as long as any."""
_MAX_SOCKET_BYTES = 103 if sys.platform == "darwin" else 107
"""Longest path of a socket that the system allows."""

_ENVIRONMENT = {
    # Ray sends no usage data, writes nothing outside the run folder and nothing to the terminal.
    "RAY_USAGE_STATS_ENABLED": "0",
    # A trial that asks for no accelerator sees none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    # How many trials may start at once, one by default: the trial ledger limits them instead.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "3600",
}


@contextmanager
def cluster(address: str | None, *, ship: bool = False) -> Iterator[None]:
    """Inside, Ray is connected: a local one for this process only, or the running one at `address`.

    `ship` sends this package to its workers. Raises `ValueError`, one line, where the address does not answer within
    30 s or Ray cannot start on this machine.
    """
    for name, value in _ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    import ray

    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _end_on_sigterm()
    if address is None:
        connected: AbstractContextManager[None] = _local_ray()
    else:
        connected = joined_ray(address, ship=ship)
    with connected, _without_ray_messages():
        # Ray has set its own handler, which would end the process with another exit code.
        _end_on_sigterm()
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _without_ray_messages() -> Iterator[None]:
    """Inside, Ray prints no errors: those that matter are raised as exceptions too."""
    from ray._private import worker

    former = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, ignore_prefix=False: logger.debug("Ray: %s", data)
    try:
        yield
    finally:
        worker.print_to_stdstream = former


@contextmanager
def _local_ray() -> Iterator[None]:
    """Inside, a local Ray serves this process only."""
    import ray

    with ray_folder() as folder, _loopback_only():
        _set_token()
        start = partial(
            ray.init,
            **_local_resources(),
            _temp_dir=str(folder),
            # Otherwise Ray would join, or wait 15 minutes for, a cluster that `ray start` once noted.
            address="local",
            include_dashboard=False,
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            configure_logging=False,
        )
        with outside_user_folder(), starting(), shutdown_on_error():
            start_patiently(start)
        yield


def _local_resources() -> dict[str, int]:
    """Returns the resources of this machine that a local Ray may use, as arguments of `ray.init`.

    Ray itself ignores the CPU affinity and the limits of outer control groups. Memory is given only where it is more
    limited than Ray sees by itself.
    """
    try:
        from ray._common.utils import get_system_memory
    except ImportError:
        # Earlier versions of Ray.
        from ray._private.utils import get_system_memory

    found = {"num_cpus": usable_cpus()}
    memory = usable_memory_bytes()
    if memory < get_system_memory():
        found["_memory"] = int((1.0 - _STORE_FRAC) * memory)
        found["object_store_memory"] = max(_LEAST_STORE_BYTES, int(_STORE_FRAC * memory))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        # Every process maps the whole object store into its limited address space.
        store = found.get("object_store_memory", int(_STORE_FRAC * memory))
        found["object_store_memory"] = max(_LEAST_STORE_BYTES, min(store, limit // 8))
    return found


@contextmanager
def ray_folder() -> Iterator[Path]:
    """Yields a private temporary folder for a local Ray's logs and sockets.

    It is in the folder that RAY_TMPDIR names, otherwise in the temporary folder; where that path is too long for a
    socket, in /tmp. Raises `ValueError` where both are too long.
    """
    given = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    longest = _MAX_SOCKET_BYTES - len(_SOCKET_PATH)
    for place in (given, "/tmp"):
        if len(f"{os.path.abspath(place)}/depthweave-{os.getuid()}/ray-0123".encode()) <= longest:
            with scratch("ray", place=os.path.abspath(place)) as folder:
                yield folder
            return
    raise ValueError(
        f"temporary folder {given}: its path is too long for Ray's sockets: set RAY_TMPDIR to a shorter one"
    )


def _end_on_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(TERMINATED)


@contextmanager
def _loopback_only() -> Iterator[None]:
    """Makes a Ray that starts inside listen on 127.0.0.1 only.

    On Linux it would accept commands from the whole network: it replaces `_node_ip_address="127.0.0.1"` by a reachable
    address. On macOS and Windows it stays local; an environment variable, and a constant read from it, control that.
    """
    from ray._private import ray_constants

    former, constant = os.environ.get(_CLUSTER_SWITCH), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_CLUSTER_SWITCH], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if former is None:
            del os.environ[_CLUSTER_SWITCH]
        else:
            os.environ[_CLUSTER_SWITCH] = former


def _set_token() -> None:
    """Sets the token that Ray's workers must present; otherwise Ray would write one into the user's home folder."""
    # It stays set: Ray's core reads it once per process, and a second search in this process needs the same one.
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
