"""Where a host is: a local folder, or a model of the Hugging Face hub, which each machine downloads once.

Only `hub:ORG/NAME` is a name on the hub: a mistyped folder never starts a download.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from depthweave.trainers.tokens import default_cache

HUB = "hub:"
_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
_FILES = ("*.json", "*.safetensors")
_FOLDERS = ("*/*",)
"""A repository may hold the weights again, in folders and other formats."""
_WHOLE = ".whole"
"""Empty file beside a model whose files have all arrived."""


def is_hub_name(path: str) -> bool:
    """Returns whether a path names a model of the hub."""
    return path.startswith(HUB)


def absolute_host_path(path: str) -> str:
    """Returns the path for a process with another working folder; a name on the hub is the same everywhere."""
    return path if is_hub_name(path) else os.path.abspath(os.path.expanduser(path))


def host_folder(path: str) -> Path:
    """Returns the folder of a host; a model of the hub is downloaded where it is not there yet.

    Raises a one-line `ValueError` where there is no such folder, no such model, or no connection.
    """
    if is_hub_name(path):
        return _downloaded(path.removeprefix(HUB))
    folder = Path(path).expanduser()
    if not folder.exists():
        raise ValueError(
            f"host.path is {path}: there is no such folder; give the folder of a model, or {HUB}ORG/NAME for one of "
            "the Hugging Face hub, which is then downloaded"
        )
    return folder


def _downloaded(name: str) -> Path:
    if not _NAME.fullmatch(name):
        raise ValueError(f"host.path is {HUB}{name}: it is no name of a model on the hub, such as {HUB}ORG/NAME")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise ValueError(
            f"host.path is {HUB}{name}: downloading needs the package huggingface_hub: `pip install 'depthweave[ner]'` "
            "brings it, or give a local folder"
        ) from None
    folder = default_cache() / "hosts" / name.replace("/", "--")
    if (folder / _WHOLE).is_file():
        return folder
    try:
        # Real files: the hub's own cache consists of links.
        snapshot_download(name, local_dir=folder, allow_patterns=list(_FILES), ignore_patterns=list(_FOLDERS))
        (folder / _WHOLE).touch()
    except Exception as error:  # The hub raises errors of its own, of the HTTP library, and of the system.
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ValueError(
            f"host.path is {HUB}{name}: it cannot be downloaded ({reason}); check the name and the connection, or give "
            "a local folder"
        ) from None
    return folder
