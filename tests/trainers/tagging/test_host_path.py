"""A name on the hub is downloaded once, and no other path ever is."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest

from depthweave.trainers.tagging.host import load_host
from depthweave.trainers.tagging.host_path import absolute_host_path, host_folder


class Hub:
    """A hub with one model; it counts the downloads."""

    def __init__(self, model: Path) -> None:
        self.model, self.downloads = model, 0

    def snapshot_download(self, name: str, *, local_dir: Path, **_options: Any) -> str:
        self.downloads += 1
        if name != "org/tiny":
            raise ConnectionError("404 Client Error\nRepository Not Found")
        shutil.copytree(self.model, local_dir, dirs_exist_ok=True)
        return str(local_dir)


@pytest.fixture(name="hub")
def _hub(bert_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Hub:
    hub = Hub(bert_folder)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return hub


def test_model_of_the_hub_is_downloaded_once_and_loads(hub: Hub, bert_folder: Path) -> None:
    folder = host_folder("hub:org/tiny")
    assert host_folder("hub:org/tiny") == folder
    assert hub.downloads == 1
    assert load_host(folder).sha256 == load_host(bert_folder).sha256


def test_download_that_was_cut_short_is_tried_again(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(name: str, *, local_dir: Path, **_options: Any) -> str:
        local_dir.mkdir(parents=True)
        (local_dir / "config.json").write_text("{")
        raise ConnectionError("connection reset")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", cut)
    with pytest.raises(ValueError, match="connection reset"):
        host_folder("hub:org/tiny")
    monkeypatch.setattr(huggingface_hub, "snapshot_download", hub.snapshot_download)
    assert load_host(host_folder("hub:org/tiny")).depth > 0


@pytest.mark.parametrize("path", ["hub:org/absent", "hub:tiny"])
def test_model_that_cannot_be_had_is_one_line(hub: Hub, path: str) -> None:
    with pytest.raises(ValueError, match=r"cannot be downloaded \(404 Client Error Repository Not Found\)") as error:
        host_folder(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("path", ["hub:", "hub:../..", "hub:a/b/c", "hub:-x/y"])
def test_what_is_no_name_is_not_looked_up(hub: Hub, path: str) -> None:
    with pytest.raises(ValueError, match="no name of a model on the hub"):
        host_folder(path)
    assert hub.downloads == 0


def test_mistyped_folder_starts_no_download(hub: Hub) -> None:
    with pytest.raises(ValueError, match="org/tiny: there is no such folder; give the folder"):
        host_folder("org/tiny")
    assert hub.downloads == 0


def test_name_on_the_hub_is_the_same_in_every_folder() -> None:
    assert absolute_host_path("hub:org/tiny") == "hub:org/tiny"
    assert Path(absolute_host_path("models/tiny")).is_absolute()
