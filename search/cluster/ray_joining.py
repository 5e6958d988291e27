"""Joins a running Ray: its address, its token, and every refusal as one line."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from depthweave.search.cluster.code_shipping import packed_source
from depthweave.search.cluster.ray_health import ended_when_silent
from depthweave.search.cluster.ray_start import joining, shutdown_on_error
from depthweave.search.cluster.worker_imports import outside_user_folder

_CONNECT_LIMIT_S = 20.0
"""An address that does not answer by then is an error; Ray itself would wait for minutes."""

_JOIN_ADVICE = (
    "start one with `ray start`, and where it asks for a token set RAY_AUTH_MODE=token, and RAY_AUTH_TOKEN if "
    "~/.ray/auth_token does not hold the token"
)


@contextmanager
def joined_ray(address: str, *, ship: bool) -> Iterator[None]:
    """Inside, the Ray at an address is connected; `ship` sends this package to its workers."""
    if ship:
        with packed_source() as package:
            _join(address, runtime_env={"py_modules": [str(package)]})
    else:
        _join(address, runtime_env=None)
    with ended_when_silent():
        yield


def check_address(address: str | None, *, ship: bool = False) -> None:
    """Raises `ValueError`, one line, within 30 s where nothing at the address speaks Ray's protocol."""
    if ship and address is None:
        raise ValueError("--ship: sends this package to the workers of a cluster; name the cluster with --address")
    if address is None:
        return
    address = _resolved(address)
    if address.startswith("ray://"):
        raise ValueError(
            f"--address {address}: Ray Client is not supported; run the command inside the cluster with `ray job "
            "submit --address http://HOST:8265 -- depthweave search SPEC --address auto --out FOLDER`"
        )
    host, _, port = address.rpartition(":")
    if not host or not port.isdigit() or not 0 < int(port) < 2**16:
        raise ValueError(f"--address {address}: give HOST:PORT or auto")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_LIMIT_S) as connection:
            if os.environ.get("RAY_USE_TLS", "0") in ("", "0"):
                _check_speaks_http2(connection)
    except OSError as error:
        raise ValueError(f"--address {address}: no Ray cluster answers ({error}); start one with `ray start`") from None


def _resolved(address: str) -> str:
    """Returns the address; for `auto` the one in RAY_ADDRESS, otherwise the one that `ray start` noted."""
    if address != "auto":
        return address
    from ray._private.utils import read_ray_address

    found = os.environ.get("RAY_ADDRESS") or read_ray_address()
    if not found or found == "auto":
        raise ValueError("--address auto: no Ray cluster is known here; start one with `ray start`, or give HOST:PORT")
    return found


def _check_speaks_http2(connection: socket.socket) -> None:
    """Raises `OSError` unless the other side speaks HTTP/2, as Ray's gRPC does; Ray itself would try for minutes."""
    settings = b"\x00\x00\x00\x04\x00\x00\x00\x00\x00"
    connection.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + settings)
    # The answer begins with a settings frame: three bytes of length, then the frame's type.
    answer = connection.recv(4)
    if answer[3:] != settings[3:4]:
        raise OSError("another program listens there")


def _use_noted_token(address: str) -> None:
    """Uses the token in the user's home folder where `ray start` on this machine does: by default, and for `auto`.

    As in Ray, no token is sent to an address that was given.
    """
    if address != "auto" or os.environ.get("RAY_ADDRESS"):
        return
    # Earlier versions of Ray have no tokens, or none by default.
    with suppress(ImportError):
        from ray._private.authentication.authentication_token_setup import maybe_enable_token_auth_if_token_available

        maybe_enable_token_auth_if_token_available(warn_if_disabled=False)


def _join(address: str, *, runtime_env: dict[str, Any] | None) -> None:
    import ray

    check_address(address)
    _use_noted_token(address)
    try:
        with outside_user_folder(), joining(address, advice=_JOIN_ADVICE), shutdown_on_error():
            ray.init(
                address=_resolved(address),
                runtime_env=runtime_env,
                log_to_driver=False,
                logging_level=logging.CRITICAL,
                configure_logging=False,
            )
    except (ConnectionError, RuntimeError, ValueError, ray.exceptions.RayError) as error:
        first = str(error).strip().splitlines()[0]
        raise ValueError(f"--address {address}: no Ray cluster answers ({first}); {_JOIN_ADVICE}") from None
