"""`depthweave generate`: whole characters as they come, the same text for the same seed, one line for what is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import Tensor

from depthweave.search.commands import generate as generate_command
from depthweave.search.commands.generate import text_pieces
from depthweave.search.console import without_controls
from depthweave.spaces import Architecture, Decoder, generate, save_model, strided_wiring, write_architecture
from depthweave.trainers.tokenizer import BpeTokenizer
from tests.search.commandline import Cli


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A model of bytes, far from its start."""
    architecture = Architecture(
        fusion="dwa", wiring=strided_wiring(2), width=16, heads=2, feed_forward=16, vocabulary=256, context=32
    )
    model = Decoder(architecture, seed=3)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator), alpha=0.5)
    out = tmp_path / "exported"
    out.mkdir()
    write_architecture(out / "architecture.yaml", architecture)
    save_model(out / "model.safetensors", model)
    return out


def test_greedy_text_is_what_generate_gives_and_goes_on_past_the_context(folder: Path, run: Cli) -> None:
    code, out, _ = run("generate", folder, "--prompt", "def ", "--tokens", "60", "--temperature", "0")
    assert code == 0
    model = generate_command.load(folder)
    tokens = generate(model, torch.tensor([list(b"def ")]), num_tokens=60)[0].tolist()
    tokens = tokens[: tokens.index(255)] if 255 in tokens else tokens
    # Control characters are not printed.
    assert out == without_controls(bytes(tokens).decode("utf-8", errors="replace")) + "\n"


def test_same_seed_same_text(folder: Path, run: Cli) -> None:
    texts = [run("generate", folder, "--tokens", "40", "--seed", str(seed)).out for seed in (0, 0, 1)]
    assert texts[0] == texts[1] != texts[2]


def test_text_from_the_likeliest_token_alone_is_the_greedy_text(folder: Path, run: Cli) -> None:
    few = run("generate", folder, "--prompt", "x", "--tokens", "20", "--top-k", "1").out
    assert few == run("generate", folder, "--prompt", "x", "--tokens", "20", "--temperature", "0").out


def _pieces(folder: Path, drawn: bytes, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What is printed, piece by piece, where the model draws these bytes."""

    def stream(*_: Any, **__: Any) -> Iterator[Tensor]:
        yield from (torch.tensor([byte]) for byte in drawn)

    monkeypatch.setattr(generate_command, "stream", stream)
    options: dict[str, Any] = {"num_tokens": 9, "temperature": 0.0, "top_k": None, "seed": 0}
    return list(text_pieces(folder, prompt=">", **options))


@pytest.mark.parametrize(
    ("drawn", "pieces"),
    [
        (b"ab", ["a", "b"]),
        ("é日😀.".encode(), ["é", "日", "😀", "."]),
        (b"a\xffb", ["a"]),
        (b"\x80\x80\x80\xe6\x97\xa5", ["\ufffd\ufffd\ufffd", "日"]),
        (b"a\xe6\x97", ["a", "\ufffd"]),
        ("\ufffd!".encode(), ["\ufffd!"]),
    ],
)
def test_characters_are_printed_whole_as_soon_as_they_are(
    folder: Path, drawn: bytes, pieces: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert _pieces(folder, drawn, monkeypatch) == [">", *pieces]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(drawn=st.lists(st.sampled_from([*b"a\x80\x90\xbf\xc3\xe6\xed\xf0\xf4\xfe"])).map(bytes))
def test_torn_characters_are_printed_as_in_the_whole_text(folder: Path, drawn: bytes) -> None:
    with pytest.MonkeyPatch.context() as patched:
        assert "".join(_pieces(folder, drawn, patched)[1:]) == drawn.decode("utf-8", errors="replace")


def test_text_comes_before_the_model_has_ended(folder: Path) -> None:
    options: dict[str, Any] = {"num_tokens": 10**9, "temperature": 0.8, "top_k": None, "seed": 0}
    pieces = text_pieces(folder, prompt="a", **options)
    assert next(pieces) == "a"
    assert next(pieces)


def test_fault_of_generate_is_one_line(folder: Path, fault: Callable[..., str], tmp_path: Path) -> None:
    assert "no such folder; give one that depthweave export or train wrote" in fault("generate", tmp_path / "none")
    assert "temperature is -1.0" in fault("generate", folder, "--temperature", "-1")
    assert "top_k is 0" in fault("generate", folder, "--top-k", "0")
    assert "is not UTF-8 text" in fault("generate", folder, "--prompt", "a\udcff")
    tokenizer = BpeTokenizer.train(["the weave of depth " * 50], vocabulary=280).json
    assert tokenizer is not None
    (folder / "tokenizer.json").write_text(tokenizer, encoding="utf-8")
    assert "tokens, the model 256; restore the file of the export" in fault("generate", folder, "--prompt", "a")
    (folder / "tokenizer.json").write_text("{}", encoding="utf-8")
    assert "tokenizer.json cannot be read" in fault("generate", folder, "--prompt", "a")
    (folder / "model.safetensors").unlink()
    assert "no such file; an exported folder holds it" in fault("generate", folder, "--prompt", "a")
