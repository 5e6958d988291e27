"""Two trainings into one folder: the second is refused, and nothing of the first is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from depthweave.search.commands.train_lock import LOCK_FILE, locked_folder

_HOLDER = """
import sys
from pathlib import Path
from depthweave.search.commands.train_lock import locked_folder
with locked_folder(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_second_training_is_refused_while_the_first_lives(tmp_path: Path) -> None:
    out = tmp_path / "model"
    with subprocess.Popen(
        [sys.executable, "-c", _HOLDER, str(out)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(ValueError, match="another training writes there") as caught, locked_folder(out):
            pass
        assert len(str(caught.value).splitlines()) == 1
        holder.kill()
        holder.wait()
    # One that was killed holds nothing.
    with locked_folder(out):
        (out / "model").touch()
    assert [path.name for path in out.iterdir()] == ["model"]


def test_folder_in_which_nothing_came_of_it_goes_again(tmp_path: Path) -> None:
    with locked_folder(tmp_path / "model"):
        assert [path.name for path in (tmp_path / "model").iterdir()] == [LOCK_FILE]
    assert not (tmp_path / "model").exists()
    (tmp_path / "mine").mkdir()
    with locked_folder(tmp_path / "mine"):
        pass
    assert list((tmp_path / "mine").iterdir()) == []


def test_links_and_files_in_its_place_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ValueError, match="is not a folder"), locked_folder(tmp_path / "file"):
        pass
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.safetensors").symlink_to(tmp_path / "file")
    with pytest.raises(ValueError, match=r"model\.safetensors: is a link"), locked_folder(tmp_path / "out"):
        pass
