"""Learning a vocabulary: text without spaces takes seconds, and a signal ends it."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import tokenizers
from hypothesis import given
from hypothesis import strategies as st

from depthweave.trainers import bpe_learning, tokenizer
from depthweave.trainers.bpe_learning import bounded, learn_bpe, sampled
from depthweave.trainers.tokenizer import BpeTokenizer, TokenizerSpec, train_tokenizer

_TEXT = "def weave(depth):\n    return depth, 'reads every state again'\n" * 40
_ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))


def _alive(pid: int) -> bool:
    state = Path(f"/proc/{pid}/stat")
    return state.exists() and state.read_text().rsplit(")", 1)[1].split()[0] != "Z"


def _children(pid: int) -> list[int]:
    return [int(it) for it in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def test_learn_bpe_in_a_separate_process_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    here = learn_bpe([_TEXT, "ü😀\r\n" * 9], vocabulary=300)
    monkeypatch.setattr(bpe_learning, "_QUICK_CHARACTERS", 0)
    assert learn_bpe([_TEXT, "ü😀\r\n" * 9], vocabulary=300) == here


def test_learn_bpe_whose_process_fails_gives_the_reason_in_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpe_learning, "_QUICK_CHARACTERS", 0)
    with pytest.raises(ValueError, match=r"^tokenizer bpe:-3 could not be learnt \(OverflowError[^\n]*or bytes$"):
        learn_bpe([_TEXT], vocabulary=-3)


def test_bounded_pieces_are_the_text_and_ordinary_text_stays_whole() -> None:
    assert bounded(_TEXT) == [_TEXT]
    long = "ACGT" * 100 + " word " + "7" * 300 + " " * 500 + "=" * 129
    assert "".join(bounded(long)) == long
    words = [word for piece in bounded(long) for word, _ in _pre_tokenizer().pre_tokenize_str(piece)]
    assert max(map(len, words)) <= 129  # a space leads a word


@given(_ANY_TEXT)
def test_bounded_loses_nothing(text: str) -> None:
    assert "".join(bounded(text * 50)) == text * 50


def test_learn_bpe_of_text_without_spaces_learns_merges_like_those_of_lines() -> None:
    # One word of 250 kB took a minute: the time grows with the square of its length.
    generator = random.Random(0)
    text = "".join(generator.choices("ACGT", k=250_000))
    assert max(len(word) for word, _ in _pre_tokenizer().pre_tokenize_str("".join(bounded(text)[:1]))) == 128
    assert BpeTokenizer(learn_bpe([text], vocabulary=600)).vocabulary == 600


def test_sampled_takes_documents_from_everywhere_and_the_beginning_of_long_ones() -> None:
    documents = [f"{number:03}" * 10 for number in range(100)]
    assert list(sampled(documents, limit=3000)) == documents
    some = list(sampled(documents, limit=300))
    assert some == documents[9::10]
    assert list(sampled(["x" * 10_000], limit=300)) == ["x" * 300]
    assert sum(map(len, sampled(["x" * 10_000, *documents], limit=300))) <= 300


def test_train_tokenizer_reports_before_it_learns(monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(tokenizer, "learn_bpe", lambda documents, vocabulary: said.append("learnt") or "")
    with pytest.raises(ValueError, match=r"tokenizer\.json cannot be read"):
        train_tokenizer(TokenizerSpec.parse("bpe:300"), ["x" * 1000], say=said.append)
    assert said == ["learning a vocabulary of 300 tokens from 1,000 characters", "learnt"]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="looks for child processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_learning_ends_with_the_process_that_started_it(tmp_path: Path, number: signal.Signals) -> None:
    script = tmp_path / "learns.py"
    script.write_text(
        "import random, signal\n"
        # Background processes ignore the signal, and children inherit that.
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from depthweave.trainers.bpe_learning import learn_bpe\n"
        "words = [chr(random.randrange(0x4E00, 0x5E00)) for _ in range(6_000_000)]\n"
        "learn_bpe([''.join(words)], vocabulary=60_000)\n"
    )
    parent = subprocess.Popen([sys.executable, str(script)], stderr=subprocess.PIPE)
    try:
        deadline = time.monotonic() + 100
        while not (found := _children(parent.pid)):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (child,) = found
        # The child has all of the text, so it is learning.
        while int(Path(f"/proc/{child}/statm").read_text().split()[1]) < 10_000:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        os.kill(parent.pid, number)
        parent.wait(timeout=60)
        while _alive(child):
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        parent.kill()
        assert parent.stderr is not None
        parent.stderr.close()
    assert parent.returncode != 0


def test_encode_documents_in_pieces_gives_the_same_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    coder = BpeTokenizer(learn_bpe([_TEXT], vocabulary=320))
    documents = [_TEXT, "a\n\nb \n c\n" * 30, "", "x", "one\ntwo\r\nthree\n" * 30]
    whole = coder.encode_documents(documents)
    monkeypatch.setattr(tokenizer, "_PIECE_CHARACTERS", 7)
    monkeypatch.setattr(tokenizer, "_BATCH_CHARACTERS", 40)
    pieces = coder.encode_documents(documents)
    assert np.array_equal(pieces, whole)
    assert (whole == coder.end_of_document).sum() == len(documents)


def _pre_tokenizer() -> tokenizers.pre_tokenizers.ByteLevel:
    return tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
