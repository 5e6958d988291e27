"""Ray, started quietly on this machine or joined where it runs."""

from __future__ import annotations

import logging
import os
import resource
import secrets
import signal
import socket
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from depthweave.search.cluster.code_shipping import packed
from depthweave.search.cluster.ray_start import starting
from depthweave.search.cluster.worker_imports import outside_user_folder
from depthweave.search.scratch import scratch
from depthweave.search.signals import TERMINATED
from depthweave.trainers.allowance import usable_cpus, usable_memory_bytes

logger = logging.getLogger(__name__)

_CONNECT_LIMIT_S = 20.0
"""An address that does not answer by then is an error: a newcomer should not wait for Ray's own minutes."""

_STORE_FRAC = 0.3
"""Of the memory, what Ray takes for objects that processes share, as by its own rule."""
_LEAST_STORE_BYTES = 80 * 2**20
"""Ray refuses less than 75 MiB."""

_LOCAL_SWITCH = "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"

_RAY_SOCKET = "/session_2026-01-01_00-00-00_000000_1234567/sockets/plasma_store"
_LONGEST_SOCKET = 103 if sys.platform == "darwin" else 107
"""Bytes of a socket's path."""

_QUIET = {
    # Nothing is sent anywhere, nothing is written beside the run folder, and the terminal stays ours.
    "RAY_USAGE_STATS_ENABLED": "0",
    # A trial sees the accelerators that it asked for, none where it asked for none.
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "1",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",
    # How many workers start at once, one by default: the book says how many trials there may be.
    "TUNE_MAX_PENDING_TRIALS_PG": "100000",
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_INSUFFICENT_RESOURCE_THRESHOLD_S": "3600",
}


@contextmanager
def cluster(address: str | None, *, ship: bool = False) -> Iterator[None]:
    """Ray is up inside: a local one for this process alone, or the running one at `address`.

    `ship`: its workers get this package. Raises `ValueError` in one line where the address does not answer within 30 s,
    or Ray cannot start on this machine.
    """
    for name, value in _QUIET.items():
        os.environ.setdefault(name, value)
    import ray

    for name in ("ray", "ray.tune", "ray.train"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    _end_on_sigterm()
    if address is None:
        joined: AbstractContextManager[None] = _local()
    else:
        joined = _joined(address, ship=ship)
    with joined, _silent():
        # Ray has set a handler of its own, which ends the process in the same way with another exit code.
        _end_on_sigterm()
        try:
            yield
        finally:
            ray.shutdown()


@contextmanager
def _silent() -> Iterator[None]:
    """Ray prints no errors of its own inside: what matters of them comes as an exception, in words of ours."""
    from ray._private import worker

    former = worker.print_to_stdstream
    worker.print_to_stdstream = lambda data, ignore_prefix=False: logger.debug("Ray: %s", data)
    try:
        yield
    finally:
        worker.print_to_stdstream = former


@contextmanager
def _local() -> Iterator[None]:
    """A Ray of this process alone."""
    import ray

    with ray_folder() as folder, _loopback():
        _set_token()
        with outside_user_folder(), starting(), _ended_if_half():
            ray.init(
                **_room(),
                _temp_dir=str(folder),
                # Said outright: else it joins, or waits a quarter of an hour for, what `ray start` once wrote down.
                address="local",
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                configure_logging=False,
            )
        yield


@contextmanager
def _ended_if_half() -> Iterator[None]:
    """A Ray that could not start leaves no process behind."""
    import ray

    try:
        yield
    except BaseException:
        with suppress(Exception):
            ray.shutdown()
        raise


def _room() -> dict[str, int]:
    """What of this machine a local Ray may use, by its own names: it looks neither at affinity nor at groups above.

    Where memory is not limited further than Ray sees by itself, it says how much there is.
    """
    try:
        from ray._common.utils import get_system_memory
    except ImportError:
        # Earlier versions.
        from ray._private.utils import get_system_memory

    found = {"num_cpus": usable_cpus()}
    memory = usable_memory_bytes()
    if memory < get_system_memory():
        found["_memory"] = int((1.0 - _STORE_FRAC) * memory)
        found["object_store_memory"] = max(_LEAST_STORE_BYTES, int(_STORE_FRAC * memory))
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit != resource.RLIM_INFINITY:
        # Every process maps the whole store, and its address space is limited.
        store = found.get("object_store_memory", int(_STORE_FRAC * memory))
        found["object_store_memory"] = max(_LEAST_STORE_BYTES, min(store, limit // 8))
    return found


@contextmanager
def ray_folder() -> Iterator[Path]:
    """The folder of a local Ray's logs and sockets, of this user alone; it goes at the end.

    It is in the temporary folder, or in the one that RAY_TMPDIR names; where that path is too long for a socket, in
    /tmp. Raises `ValueError` where none will do.
    """
    given = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    longest = _LONGEST_SOCKET - len(_RAY_SOCKET)
    for place in (given, "/tmp"):
        if len(f"{os.path.abspath(place)}/depthweave-{os.getuid()}/ray-0123".encode()) <= longest:
            with scratch("ray", place=os.path.abspath(place)) as folder:
                yield folder
            return
    raise ValueError(
        f"temporary folder {given}: its path is too long for Ray's sockets: set RAY_TMPDIR to a shorter one"
    )


@contextmanager
def _joined(address: str, *, ship: bool) -> Iterator[None]:
    """The Ray that runs at an address; its workers get this package where it is shipped."""
    if ship:
        with packed() as package:
            _join(address, runtime_env={"py_modules": [str(package)]})
    else:
        _join(address, runtime_env=None)
    yield


def _end_on_sigterm() -> None:
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def _terminate(number: int, frame: FrameType | None) -> None:
    sys.exit(TERMINATED)


def check_address(address: str | None, *, ship: bool = False) -> None:
    """Raises `ValueError` in one line within 30 s where nothing at a named address speaks Ray's protocol."""
    if ship and address is None:
        raise ValueError("--ship: sends this package to a cluster's workers; name the cluster with --address")
    if address is None:
        return
    address = _found(address)
    if address.startswith("ray://"):
        raise ValueError(
            f"--address {address}: this runs inside the cluster, not through Ray Client; send it there with `ray job "
            "submit --address http://HOST:8265 -- depthweave search SPEC --address auto --out FOLDER`"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"--address {address}: give HOST:PORT or auto")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_LIMIT_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
                _greet(connection)
    except OSError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers ({error}); start one with `ray start`") from None


def _found(address: str) -> str:
    """The address; for `auto` the one that the environment names, else the one that `ray start` wrote down."""
    if address != "auto":
        return address
    from ray._private.utils import read_ray_address

    found = os.environ.get("RAY_ADDRESS") or read_ray_address()
    if not found or found == "auto":
        raise ValueError("--address auto: no Ray cluster is known here; start one with `ray start`, or give HOST:PORT")
    return found


def _greet(connection: socket.socket) -> None:
    """The first words of HTTP/2, which Ray's gRPC speaks; to what answers otherwise Ray would talk for minutes."""
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
    # A frame of settings comes first: three bytes of length, then its kind.
    answer = connection.recv(4)
    if answer[3:] != settings[3:4]:
        raise OSError("what listens there is something else")


@contextmanager
def _loopback() -> Iterator[None]:
    """A Ray that starts inside listens on 127.0.0.1 alone.

    Elsewhere than on macOS and Windows it would take orders from the whole network: it makes a reachable address of
    `_node_ip_address="127.0.0.1"`. What keeps it local on those two has a switch, and a constant that was read from it.
    """
    from ray._private import ray_constants

    former, constant = os.environ.get(_LOCAL_SWITCH), ray_constants.ENABLE_RAY_CLUSTER
    os.environ[_LOCAL_SWITCH], ray_constants.ENABLE_RAY_CLUSTER = "0", False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = constant
        if former is None:
            del os.environ[_LOCAL_SWITCH]
        else:
            os.environ[_LOCAL_SWITCH] = former


def _set_token() -> None:
    """A token for Ray to ask its own workers for; without one it would write one into the user's home."""
    # It stays set: Ray's core reads it once a process, and a second search here must come with the same one.
    if "RAY_AUTH_TOKEN_PATH" not in os.environ:
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))


def _join(address: str, *, runtime_env: dict[str, Any] | None) -> None:
    import ray

    check_address(address)
    try:
        with outside_user_folder():
            ray.init(
                address=_found(address),
                runtime_env=runtime_env,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                configure_logging=False,
            )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        with suppress(Exception):
            ray.shutdown()
        first = str(error).strip().splitlines()[0]
        raise ValueError(
            f"--address {address}: no Ray cluster answers ({first}); start one with `ray start`, and where it asks "
            "for a token set RAY_AUTH_MODE=token and RAY_AUTH_TOKEN"
        ) from None
