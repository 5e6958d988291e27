"""The files of a pretrained host in a folder, and the hash that identifies the host."""

from __future__ import annotations

import hashlib
from pathlib import Path

from depthweave.spaces.checksums import sha256_of

HOST_CONFIG_FILE = "config.json"


def host_weight_files(folder: Path) -> list[Path]:
    """Returns the files with the host's weights, by name."""
    return sorted(path for path in folder.glob("*.safetensors") if path.is_file())


def host_sha256(folder: Path) -> str:
    """Returns the hash of configuration and weights."""
    digest = hashlib.sha256()
    for file in (folder / HOST_CONFIG_FILE, *host_weight_files(folder)):
        digest.update(f"{sha256_of(file)}  {file.name}\n".encode())
    return digest.hexdigest()
