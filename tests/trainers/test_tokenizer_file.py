"""Foreign tokenizer files give one line where the library would panic, and nothing on standard error."""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from depthweave.reports.export.byte_tokenizer import byte_tokenizer_json
from depthweave.trainers import make_tokenizer
from depthweave.trainers.tokenizer import BpeTokenizer
from depthweave.trainers.tokenizer_file import panics_as_errors

_PANICS = {"type": "Precompiled", "precompiled_charsmap": ""}


@pytest.fixture(scope="module")
def good() -> str:
    json_text = BpeTokenizer.train(["a small text of small words"] * 3, vocabulary=270).json
    assert json_text is not None
    return json_text


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"normalizer": _PANICS}, "its normalizer is 'Precompiled', where Depthweave writes none"),
        ({"normalizer": {"type": "Sequence", "normalizers": [_PANICS]}}, "its normalizer is 'Sequence'"),
        ({"normalizer": {"type": "Lowercase"}}, "its normalizer is 'Lowercase'"),
        ({"pre_tokenizer": {"type": "Split", "pattern": {"Regex": "(a+)+$"}}}, "its pre_tokenizer is 'Split'"),
        ({"model": {"type": "WordPiece"}}, "its model is 'WordPiece', where Depthweave writes BPE"),
        ({"model": [[]]}, "its model is"),
        ({"model": {"type": "BPE", "vocab": {"a": -1}, "merges": []}}, ""),
        ({"added_tokens": [{"id": 1e999}]}, ""),
    ],
)
def test_file_that_depthweave_does_not_write_is_one_line(
    changes: dict[str, Any], reason: str, good: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(ValueError, match=r"^tokenizer\.json cannot be read \(.*\); export it again$") as caught:
        make_tokenizer(json.dumps(json.loads(good) | changes))
    assert reason in str(caught.value)
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize("text", ["", "[]", "7", "[" * 100_000, "{" * 10])
def test_text_that_is_no_tokenizer_is_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^tokenizer\.json cannot be read \(.*\); export it again$"):
        make_tokenizer(text)


def test_files_that_depthweave_writes_are_read_and_pad_nothing(good: str) -> None:
    padding = {
        "strategy": {"Fixed": 99},
        "direction": "Right",
        "pad_to_multiple_of": None,
        "pad_id": 0,
        "pad_type_id": 0,
        "pad_token": "x",
    }
    for text in (good, json.dumps(json.loads(good) | {"padding": padding}), byte_tokenizer_json()):
        tokenizer = make_tokenizer(text)
        assert tokenizer.decode(tokenizer.encode("a small word")) == "a small word"
        assert len(tokenizer.encode("a small word")) <= 12


def test_panic_is_an_error_and_other_output_is_still_printed(capfd: pytest.CaptureFixture[str]) -> None:
    class PanicException(BaseException):
        pass

    def panic() -> None:
        os.write(2, b"thread panicked, and 228 further lines\n")
        raise PanicException("at\nonce")

    with pytest.raises(ValueError, match="the tokenizers library failed: at once"), panics_as_errors():
        panic()
    with pytest.raises(KeyboardInterrupt), panics_as_errors():
        raise KeyboardInterrupt
    with panics_as_errors():
        os.write(2, b"a warning\n")
    assert capfd.readouterr().err == "a warning\n"
