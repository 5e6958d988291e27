"""Architectures and models as files: what is written is read, and every fault is one line that names the file."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import yaml
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from depthweave.spaces import files
from depthweave.spaces.architecture import Architecture
from depthweave.spaces.decoder import Decoder
from depthweave.spaces.files import (
    ARCHITECTURE_FILE,
    MODEL_FILE,
    load,
    read_architecture,
    read_rule,
    save_model,
    write_architecture,
)
from depthweave.spaces.wiring import strided_wiring
from depthweave.spaces.wiring_text import parse_rule


@pytest.fixture
def small() -> Architecture:
    return Architecture(
        fusion="dwa", wiring=strided_wiring(4), width=16, heads=2, feed_forward=24, vocabulary=13, context=12
    )


@pytest.fixture
def exported(tmp_path: Path, small: Architecture) -> Path:
    """A folder as an export leaves it."""
    write_architecture(tmp_path / ARCHITECTURE_FILE, small)
    save_model(tmp_path / MODEL_FILE, Decoder(small, seed=3))
    return tmp_path


def _one_line(error: pytest.ExceptionInfo[ValueError], *, naming: Path) -> str:
    message = str(error.value)
    assert "\n" not in message
    assert message.startswith(f"{naming}: ")
    return message


# What is written is read.


def test_architecture_round_trip(tmp_path: Path, architecture: Architecture) -> None:
    path = tmp_path / "any-name.yaml"
    write_architecture(path, architecture, rule=parse_rule("4x5"), budget=1_000_000)
    again = read_architecture(path)
    assert again == architecture
    assert again.id == architecture.id
    assert yaml.safe_load(path.read_text())["id"] == architecture.id
    assert yaml.safe_load(path.read_text())["pattern"] == {"rule": "4x5", "budget": 1_000_000}


@torch.no_grad()
def test_loaded_model_gives_identical_logits(tmp_path: Path, model: Decoder, tokens_BT: Tensor) -> None:
    write_architecture(tmp_path / ARCHITECTURE_FILE, model.architecture)
    save_model(tmp_path / MODEL_FILE, model)
    again = load(tmp_path)
    assert again.architecture == model.architecture
    assert not again.training
    assert torch.equal(again(tokens_BT), model(tokens_BT))
    assert torch.equal(load(str(tmp_path))(tokens_BT), model(tokens_BT))


def test_saved_weights_hold_nothing_but_the_parameters_and_the_architectures_id(
    exported: Path, small: Architecture
) -> None:
    with safe_open(str(exported / MODEL_FILE), framework="pt") as file:
        assert file.metadata() == {"architecture_id": small.id, "format": "pt"}
        assert set(file.keys()) == {name for name, _ in Decoder(small).named_parameters()}


def test_weights_without_a_note_of_their_architecture_are_taken(exported: Path) -> None:
    weights = load_file(str(exported / MODEL_FILE))
    save_file(weights, str(exported / MODEL_FILE))
    assert torch.equal(load(exported).embedding.weight, weights["embedding.weight"])


# Faults of an architecture file.


def test_missing_architecture_names_the_file(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no such file") as error:
        read_architecture(tmp_path / "absent.yaml")
    _one_line(error, naming=tmp_path / "absent.yaml")
    with pytest.raises(ValueError, match="no such file") as error:
        load(tmp_path / "absent")
    _one_line(error, naming=tmp_path / "absent" / ARCHITECTURE_FILE)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"just words",
        b"- 1\n- 2\n",
        b"architecture: 3\n",
        b"a: [1, 2\nb: 3\n",
        b"\xff\xfe\x00\x01",
        b"\x00\x00\x00",
        b"when: 2001-13-45\n",
        b"[" * 20_000,
        b"a: &a [*a]\n",
        b"? [1, 2]\n: 3\n",
        b"%YAML 9.9\n---\n{}\n",
    ],
)
def test_file_that_is_no_architecture_is_one_line_that_names_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / ARCHITECTURE_FILE
    path.write_bytes(content)
    with pytest.raises(ValueError, match=r"cannot be read as YAML|has no `architecture` section") as error:
        read_architecture(path)
    _one_line(error, naming=path)


def test_folder_in_place_of_the_file_is_one_line_that_names_it(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="is a folder: give a regular file; give the architecture") as error:
        read_architecture(tmp_path)
    _one_line(error, naming=tmp_path)


@pytest.mark.parametrize(
    ("field", "value", "named"),
    [
        ("depth", 0, "wiring.depth is 0"),
        ("depth", "four", "architecture.depth is 'four'"),
        ("fusion", "dwaa", "did you mean 'dwa'"),
        ("fusion", ["dwa"], "is not known"),
        ("width", 17, "architecture.width is 17 with 2 heads"),
        ("sites", [[9, [0, 9]]], "after block 9"),
        ("sites", [[2, "01"]], "architecture.sites is"),
        ("extra", 1, "'architecture.extra' is not known"),
    ],
)
def test_wrong_field_is_named_with_the_file(
    tmp_path: Path, small: Architecture, field: str, value: object, named: str
) -> None:
    path = tmp_path / ARCHITECTURE_FILE
    path.write_text(json.dumps({"architecture": {**small.to_dict(), field: value}}))
    with pytest.raises(ValueError) as error:  # noqa: PT011  # the message is compared below
        read_architecture(path)
    assert named in _one_line(error, naming=path)


@pytest.mark.parametrize(
    "hostile",
    [
        "!!python/object/apply:pathlib.Path.touch [!!python/object/apply:pathlib.Path ['{mark}']]",
        "!!python/object/apply:os.system ['touch {mark}']",
        "!!python/object/new:subprocess.Popen [['touch', '{mark}']]",
    ],
)
def test_hostile_yaml_is_refused_and_not_executed(tmp_path: Path, hostile: str) -> None:
    path, mark = tmp_path / ARCHITECTURE_FILE, tmp_path / "executed"
    path.write_text("architecture: " + hostile.format(mark=mark))
    # The check is worth something only where an unsafe reader would have made the mark.
    with pytest.raises(ValueError, match="could not determine a constructor") as error:
        read_architecture(path)
    _one_line(error, naming=path)
    assert not mark.exists()


def test_yaml_that_unfolds_without_end_is_refused_at_once(tmp_path: Path) -> None:
    path = tmp_path / ARCHITECTURE_FILE
    lines = ["a0: &a0 [1, 1]", *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12))]
    path.write_text("\n".join([*lines, "architecture: {fusion: dwa, sites: *a11}"]))
    with pytest.raises(ValueError, match="with aliases expanded: write it without aliases") as error:
        read_architecture(path)
    _one_line(error, naming=path)


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ({"dilation": 0, "period": 1}, "it needs a dilation and a period"),
        ({"dilation": 2}, "it needs a dilation and a period"),
        ({"dilation": "1", "period": True}, "it needs a dilation and a period"),
        ({"rule": "frist:2"}, "pattern.rule: wiring 'frist:2' is not known: did you mean 'first:N'"),
        ({"rule": 4}, "pattern.rule: wiring 4 is not known"),
    ],
)
def test_rule_that_is_none_is_one_line_that_names_the_file(
    tmp_path: Path, small: Architecture, pattern: dict[str, object], message: str
) -> None:
    path = tmp_path / ARCHITECTURE_FILE
    _write_pattern(path, small, pattern)
    with pytest.raises(ValueError, match=message) as error:
        read_rule(path)
    _one_line(error, naming=path)


def test_rule_round_trip_and_absence(tmp_path: Path, small: Architecture) -> None:
    path = tmp_path / ARCHITECTURE_FILE
    for rule in (parse_rule("first:2+embed@2 from:3"), parse_rule("edges:0-3+2-7"), None):
        write_architecture(path, small, rule=rule, budget=100)
        assert read_rule(path) == rule
    write_architecture(path, small)
    assert "pattern" not in yaml.safe_load(path.read_text())
    assert read_rule(path) is None


def test_dilation_and_period_of_an_earlier_version_are_a_rule(tmp_path: Path, small: Architecture) -> None:
    path = tmp_path / ARCHITECTURE_FILE
    for pattern, found in (
        ({"dilation": 4, "period": 5, "budget": 100}, parse_rule("4x5")),
        ({"dilation": None, "period": None, "budget": 100}, None),
        ({"budget": 100}, None),
    ):
        _write_pattern(path, small, pattern)
        assert read_rule(path) == found


def _write_pattern(path: Path, architecture: Architecture, pattern: dict[str, object]) -> None:
    write_architecture(path, architecture)
    path.write_text(path.read_text() + yaml.safe_dump({"pattern": pattern}))


# Faults of a weights file.


def test_missing_weights_name_the_file(exported: Path) -> None:
    (exported / MODEL_FILE).unlink()
    with pytest.raises(ValueError, match="no such file") as error:
        load(exported)
    _one_line(error, naming=exported / MODEL_FILE)


@pytest.mark.parametrize("content", [b"", b"words, not weights", b"\xff" * 100, bytes(8)])
def test_corrupt_weights_name_the_file(exported: Path, content: bytes) -> None:
    (exported / MODEL_FILE).write_bytes(content)
    with pytest.raises(ValueError, match="does not hold the weights of architecture") as error:
        load(exported)
    _one_line(error, naming=exported / MODEL_FILE)


def test_weights_cut_short_name_the_file(exported: Path) -> None:
    whole = (exported / MODEL_FILE).read_bytes()
    (exported / MODEL_FILE).write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ValueError, match="does not hold the weights of architecture") as error:
        load(exported)
    _one_line(error, naming=exported / MODEL_FILE)


def test_folder_in_place_of_the_weights_names_it(exported: Path) -> None:
    (exported / MODEL_FILE).unlink()
    (exported / MODEL_FILE).mkdir()
    with pytest.raises(ValueError, match="is a folder: give a regular file") as error:
        load(exported)
    _one_line(error, naming=exported / MODEL_FILE)


@pytest.mark.parametrize("sizes", [{"feed_forward": 32}, {"heads": 4}, {"context": 8}])
def test_weights_of_another_architecture_are_refused(
    exported: Path, small: Architecture, sizes: dict[str, int]
) -> None:
    # With 4 heads every shape is the same; only the metadata in the file differs.
    other = replace(small, **sizes)  # type: ignore[arg-type]  # all three fields are whole numbers
    save_model(exported / MODEL_FILE, Decoder(other))
    with pytest.raises(ValueError, match=f"holds the weights of architecture {other.id}") as error:
        load(exported)
    assert small.id in _one_line(error, naming=exported / MODEL_FILE)


def test_foreign_weights_are_refused_with_the_parameter_named(exported: Path, small: Architecture) -> None:
    weights = load_file(str(exported / MODEL_FILE))
    del weights["norm.weight"]
    save_file(weights, str(exported / MODEL_FILE))
    with pytest.raises(ValueError, match=r"norm\.weight") as error:
        load(exported)
    assert small.id in _one_line(error, naming=exported / MODEL_FILE)


# Sizes that nothing has room for.


@pytest.mark.parametrize(
    ("name", "size"), [("depth", 9_999), ("width", 2**16), ("feed_forward", 2**22), ("vocabulary", 2**24)]
)
def test_sizes_that_the_weights_do_not_have_are_found_in_their_header(
    exported: Path, small: Architecture, monkeypatch: pytest.MonkeyPatch, name: str, size: int
) -> None:
    weights = load_file(str(exported / MODEL_FILE))
    # As a stranger would send it: no note of an architecture in it.
    save_file(weights, str(exported / MODEL_FILE))
    values = {**small.to_dict(), name: size}
    (exported / ARCHITECTURE_FILE).write_text(yaml.safe_dump({"architecture": values}))

    def made(*_: object, **__: object) -> None:
        raise AssertionError("a model was made")

    monkeypatch.setattr(files, "Decoder", made)
    with pytest.raises(ValueError, match=f"{name} is {getattr(small, name):,} in it, and {size:,} in arch") as error:
        load(exported)
    _one_line(error, naming=exported / MODEL_FILE)


@pytest.mark.parametrize("name", ["depth", "width", "feed_forward", "vocabulary", "context"])
def test_sizes_without_bound_are_refused_where_they_are_read(tmp_path: Path, small: Architecture, name: str) -> None:
    path = tmp_path / ARCHITECTURE_FILE
    path.write_text(yaml.safe_dump({"architecture": {**small.to_dict(), name: 8 * 10**9}}))
    with pytest.raises(ValueError, match=f"architecture.{name} is 8,000,000,000: at most") as error:
        read_architecture(path)
    _one_line(error, naming=path)
