"""The states of a frozen host for every token of some sentences, computed once and kept as a file that processes map.

Axes: L states (the embedding's output, then every layer's), N tokens of all sentences, B sentences, T tokens, D width.

A file holds float16 numbers [L, N, D]: what a head reads of one state is in one piece, and a head that reads few states
touches few pages. It is named by a hash of the weights and the tokens, so no stale file is read. It appears whole or
not at all. Files that were not used for the longest time give way to new ones.
"""

from __future__ import annotations

import errno
import hashlib
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from depthweave.spaces.locks import acquire_soon, file_lock
from depthweave.trainers.tagging.host import Host, states_of
from depthweave.trainers.tagging.sentence_batches import length_batches, padded
from depthweave.trainers.tagging.word_pieces import EncodedSentences, IntArray
from depthweave.trainers.tokens import default_cache

MAX_CACHE_BYTES = 20 * 2**30
"""Bytes that the files of a cache folder may take together."""
_FORMAT = 1
"""Incremented with every change of what a file holds."""
_SUFFIX = ".npy"
_PASS_TOKENS = 2048
"""Tokens of a forward pass, padding included; more are no faster on a CPU core."""
_LOCK_LIMIT_S = 3600.0
_LARGEST = float(np.finfo(np.float16).max)

logger = logging.getLogger(__name__)


class HostStates:
    """A file of states. It is pickled as its name and mapped when it is first read."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._mapped: NDArray[np.float16] | None = None

    def __reduce__(self) -> tuple[type[HostStates], tuple[Path]]:
        return HostStates, (self.path,)

    @property
    def states_LND(self) -> NDArray[np.float16]:
        """The states, mapped."""
        if self._mapped is None:
            try:
                self._mapped = np.load(self.path, mmap_mode="r", allow_pickle=False)
            except FileNotFoundError:
                raise ValueError(
                    f"{self.path}: the states of the host are gone; start again, which computes them"
                ) from None
            except ValueError as error:
                raise ValueError(f"{self.path}: holds no states ({error}); remove it and start again") from None
        return self._mapped

    def gather(self, sources: Sequence[int], positions: IntArray, *, device: torch.device) -> list[Tensor]:
        """Returns for each source the states of the tokens at these positions, float32, [*positions, D]."""
        states_LND = self.states_LND
        # float16 crosses to the device.
        found = (torch.from_numpy(np.asarray(states_LND[source][positions])) for source in sources)
        return [state.to(device).float() for state in found]


def host_states(
    host: Host,
    encoded: EncodedSentences,
    *,
    device: str | torch.device = "cpu",
    folder: Path | None = None,
    max_bytes: int = MAX_CACHE_BYTES,
    say: Callable[[str], None] = lambda line: None,
) -> HostStates:
    """Returns the states of all sentences, from the cache or newly computed and kept there.

    `folder` is the cache's, by default one of the user's own. `max_bytes` bounds all its files together. `say` gets a
    line with size and time before the passes. Raises a one-line `ValueError` where the states do not fit the bound or
    the disk.
    """
    folder = default_cache() / "host_states" if folder is None else folder
    path = folder / f"{_key(host, encoded)}{_SUFFIX}"
    try:
        if not _used_now(path):
            folder.mkdir(parents=True, exist_ok=True)
            lock = file_lock(path.with_suffix(".lock"))
            acquire_soon(lock, limit_s=_LOCK_LIMIT_S)
            try:
                if not _used_now(path):  # Another process may have made it while this one waited.
                    _make_room(path, host, encoded, max_bytes=max_bytes)
                    _compute(path, host, encoded, device=torch.device(device), say=say)
            finally:
                lock.release()
    except TimeoutError:
        raise
    except OSError as error:
        raise ValueError(
            f"cache folder {folder} cannot be written ({error.strerror}); set XDG_CACHE_HOME to a folder that can"
        ) from error
    return HostStates(path)


def _key(host: Host, encoded: EncodedSentences) -> str:
    digest = hashlib.sha256(f"{_FORMAT} {host.sha256} ".encode())
    # The tokens follow from tokenizer, sentences and their longest length.
    for array in (encoded.ids, encoded.starts):
        digest.update(np.ascontiguousarray(array, dtype="<i8").tobytes())
    return digest.hexdigest()[:32]


def _used_now(path: Path) -> bool:
    """Returns whether the file exists, and marks it as used."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return False
    except PermissionError:  # A cache of another user can be read all the same.
        return path.exists()
    return True


def _num_bytes(host: Host, encoded: EncodedSentences) -> int:
    return (host.depth + 1) * len(encoded.ids) * host.width * np.dtype(np.float16).itemsize


def _make_room(path: Path, host: Host, encoded: EncodedSentences, *, max_bytes: int) -> None:
    """Removes what killed processes left of this file, and the files that were unused for the longest time."""
    for leftover in path.parent.glob(f".{path.name}.*"):
        leftover.unlink(missing_ok=True)
    wanted = _num_bytes(host, encoded)
    text = f"the states of {host.depth + 1} layers for {len(encoded.ids):,} tokens take {wanted / 2**20:,.0f} MiB"
    if wanted > max_bytes:
        raise ValueError(f"{text}; the cache may take {max_bytes / 2**20:,.0f}: allow more, or give fewer sentences")
    files = []
    for file in path.parent.glob(f"*{_SUFFIX}"):
        try:
            status = file.stat()
        except FileNotFoundError:
            continue
        files.append((status.st_mtime, status.st_size, file))
    total = sum(size for _, size, _ in files)
    for _, size, file in sorted(files):
        if total + wanted <= max_bytes:
            break
        # A process that has mapped it keeps it.
        file.unlink(missing_ok=True)
        total -= size
    free = shutil.disk_usage(path.parent).free
    if wanted > free:
        raise ValueError(
            f"{text}; {path.parent} has {free / 2**20:,.0f} left: make room, or set XDG_CACHE_HOME to another disk"
        )


def _compute(
    path: Path, host: Host, encoded: EncodedSentences, *, device: torch.device, say: Callable[[str], None]
) -> None:
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    os.close(handle)
    scratch = Path(name)
    try:
        shape = (host.depth + 1, len(encoded.ids), host.width)
        states_LND = np.lib.format.open_memmap(scratch, mode="w+", dtype=np.float16, shape=shape)
        _allocate(scratch)
        _fill(states_LND, host, encoded, device=device, say=say)
        states_LND.flush()
        del states_LND
        # Otherwise a power cut after the rename could leave a file without its content.
        with scratch.open("rb") as file:
            os.fsync(file.fileno())
        scratch.replace(path)
    except BaseException:
        scratch.unlink(missing_ok=True)
        raise


def _allocate(path: Path) -> None:
    """Takes the file's room on the disk: a page that cannot be written later would kill the process."""
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("r+b") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, path.stat().st_size)
        except OSError as error:
            # Some file systems cannot.
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise


@torch.no_grad()
def _fill(
    states_LND: Any, host: Host, encoded: EncodedSentences, *, device: torch.device, say: Callable[[str], None]
) -> None:
    # The longest sentences first: what memory they take shows at once.
    batches = length_batches(encoded.starts, np.arange(len(encoded.starts) - 1), max_tokens=_PASS_TOKENS)
    model = host.model.to(device)
    largest, done, started_s = 0.0, 0, time.perf_counter()
    try:
        for number, rows in enumerate(batches):
            positions_BT, mask_BT = padded(encoded.starts, rows)
            ids_BT = np.where(mask_BT, encoded.ids[positions_BT], host.pad_token).astype(np.int64)
            states = states_of(model, torch.from_numpy(ids_BT).to(device), torch.from_numpy(mask_BT).to(device))
            for place, state_BTD in enumerate(states):
                kept_ND = state_BTD.float().cpu().numpy()[mask_BT]
                largest = max(largest, _largest(kept_ND, host))
                states_LND[place, positions_BT[mask_BT]] = kept_ND.clip(-_LARGEST, _LARGEST).astype(np.float16)
            done += int(mask_BT.sum())
            if number == 0:
                rest_s = (time.perf_counter() - started_s) * (len(encoded.ids) - done) / done
                say(
                    f"computing the states of {host.depth + 1} layers for {len(encoded.ids):,} tokens once: "
                    f"{states_LND.nbytes / 2**20:,.0f} MiB on disk, about {rest_s:,.0f} s"
                )
    finally:
        host.model.to("cpu")
    if largest > _LARGEST:
        logger.warning("states of host %s reach %g; they are kept as float16, at most %g", host.name, largest, _LARGEST)


def _largest(states_ND: NDArray[np.float32], host: Host) -> float:
    largest = float(np.abs(states_ND).max(initial=0.0))
    if not np.isfinite(largest):
        raise ValueError(f"host {host.name}: its states are not finite for these sentences; give another host")
    return largest
