"""Only regular files are read: an endless file, or a pipe without a writer, is refused in one line at once."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from depthweave.spaces import Architecture, Wiring, load, read_architecture, write_architecture
from depthweave.spaces.files import ARCHITECTURE_FILE, MODEL_FILE
from depthweave.spaces.regular import NotRegularError, check_named, open_regular, read_regular_text


@pytest.fixture(params=["pipe", "device", "folder", "socket"])
def irregular(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "given"
    if request.param == "pipe":
        os.mkfifo(path)
    elif request.param == "device":
        path = Path("/dev/zero")
    elif request.param == "folder":
        path.mkdir()
    else:
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(path))
    return path, str(request.param)


def test_what_is_no_regular_file_is_named_and_not_opened(irregular: tuple[Path, str]) -> None:
    path, kind = irregular
    for read in (open_regular, read_regular_text, read_architecture):
        with pytest.raises(ValueError, match=rf"^{path}: is a {kind}.*: give a regular file") as caught:
            read(path)
        assert len(str(caught.value).splitlines()) == 1


def test_link_to_a_regular_file_is_read(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("text, ä")
    (tmp_path / "link").symlink_to("file")
    assert read_regular_text(tmp_path / "link") == "text, ä"
    assert read_regular_text(tmp_path / "link", max_characters=4) == "text"
    with pytest.raises(FileNotFoundError):
        open_regular(tmp_path / "none")


def test_model_folder_with_a_pipe_for_a_file_is_refused(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / ARCHITECTURE_FILE)
    with pytest.raises(ValueError, match=ARCHITECTURE_FILE):
        load(tmp_path)


def test_empty_path_is_refused() -> None:
    for named in (check_named, open_regular, read_regular_text, load):
        with pytest.raises(ValueError, match="is empty: give a name"):
            named("")


def test_weights_that_are_a_pipe_are_refused(tmp_path: Path) -> None:
    architecture = Architecture(
        fusion="none", wiring=Wiring(1), width=8, heads=1, feed_forward=8, vocabulary=256, context=8
    )
    write_architecture(tmp_path / ARCHITECTURE_FILE, architecture)
    os.mkfifo(tmp_path / MODEL_FILE)
    with pytest.raises(NotRegularError, match=r"is a pipe \(FIFO\)"):
        load(tmp_path)
