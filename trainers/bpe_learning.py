"""Learns a BPE vocabulary in a separate process, which a signal ends at once.

The tokenizers library learns in one call that may take minutes and cannot be interrupted. This file is also the program
of that process. The process needs the library alone and prints the content of a `tokenizer.json`.
"""

from __future__ import annotations

import itertools
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import BinaryIO

import tokenizers

END_OF_DOCUMENT = "<|endofdocument|>"
"""The token for the end of a document in a `tokenizer.json`."""
MAX_LEARNT_CHARACTERS = 2**25
"""More text is sampled: it would take minutes and hardly change the vocabulary."""

_QUICK_CHARACTERS = 2**20
"""This much is learnt within seconds, without a separate process."""
_MAX_WORD = 128
"""Longest word, a run of letters, digits, signs or spaces, in characters. The library's time grows with the square of a
word's length, and text without spaces, such as a genome, would be one word."""
_LONG_RUN = re.compile(
    rf"[^\W\d_]{{{_MAX_WORD}}}(?=[^\W\d_])|\d{{{_MAX_WORD}}}(?=\d)|(?:[^\w\s]|_){{{_MAX_WORD}}}(?=[^\w\s]|_)"
    rf"|\s{{{_MAX_WORD}}}(?=\s)"
)
_LONG_SPACE = re.compile(rf"\s{{{_MAX_WORD + 1}}}")


def learn_bpe(documents: Sequence[str], *, vocabulary: int) -> str:
    """Returns the `tokenizer.json` of at most `vocabulary` tokens; the same documents give the same content.

    From more than `MAX_LEARNT_CHARACTERS` it takes a sample that is spread over all documents.
    """
    pieces = [piece for text in sampled(documents) for piece in bounded(text)]
    # An embedded Python has no program to start.
    if not sys.executable or sum(map(len, pieces)) <= _QUICK_CHARACTERS:
        return _learn(iter(pieces), vocabulary=vocabulary)
    # `-P`: a file in the working folder may have the name of a library.
    command = [sys.executable, "-P", __file__, str(vocabulary), str(len(pieces))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdin is not None
        assert child.stdout is not None
        assert child.stderr is not None
        try:
            for piece in pieces:
                data = piece.encode("utf-8")
                child.stdin.write(len(data).to_bytes(8, "big") + data)
            child.stdin.flush()
            # The pipe stays open, so the child ends when this process does.
            answer = child.stdout.read()
        except BrokenPipeError:
            answer = b""
        except BaseException:
            child.kill()
            raise
        printed = child.stderr.read().decode("utf-8", errors="replace").split("\n")
    if child.returncode or not answer:
        reason = next((line for line in reversed(printed) if line.strip()), f"exit code {child.returncode}")
        raise ValueError(
            f"tokenizer bpe:{vocabulary} could not be learnt ({reason}); out of memory? Give a smaller one, or bytes"
        )
    return answer.decode("utf-8")


def sampled(documents: Sequence[str], *, limit: int = MAX_LEARNT_CHARACTERS) -> Iterator[str]:
    """Yields the documents; beyond `limit` characters evenly spread ones, and the beginnings of long ones."""
    share = limit / max(1, sum(map(len, documents)))
    due = 0.0
    for text in documents:
        due += share * len(text)
        if share >= 1 or due >= len(text):
            yield text
            due -= len(text)
        elif len(text) > limit // 8:
            yield text[: int(due)]
            due = 0.0


def bounded(text: str) -> list[str]:
    """Returns the text in pieces whose words have at most `_MAX_WORD` characters; one piece where no word is longer."""
    if max(map(len, text.split()), default=0) <= _MAX_WORD and not _LONG_SPACE.search(text):
        return [text]
    ends = [0, *(found.end() for found in _LONG_RUN.finditer(text)), len(text)]
    return [text[start:end] for start, end in itertools.pairwise(ends)]


def _learn(pieces: Iterator[str], *, vocabulary: int) -> str:
    tokenizer = tokenizers.Tokenizer(tokenizers.models.BPE())
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = tokenizers.decoders.ByteLevel()
    trainer = tokenizers.trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END_OF_DOCUMENT],
        initial_alphabet=tokenizers.pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(pieces, trainer=trainer)
    text: str = tokenizer.to_str()
    return text


def _received(stream: BinaryIO, *, num: int) -> Iterator[str]:
    for _ in range(num):
        size = int.from_bytes(stream.read(8), "big")
        yield stream.read(size).decode("utf-8")


def _end_with_parent(stream: BinaryIO) -> None:
    stream.read()
    os._exit(1)


def _main() -> None:
    # Ctrl-C reaches every process of the terminal, but the parent ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pieces = list(_received(sys.stdin.buffer, num=int(sys.argv[2])))
    threading.Thread(target=_end_with_parent, args=(sys.stdin.buffer,), daemon=True).start()
    code = 0
    try:
        sys.stdout.buffer.write(_learn(iter(pieces), vocabulary=int(sys.argv[1])).encode("utf-8"))
        sys.stdout.flush()
    except Exception as error:
        print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
        code = 1
    # Does not wait for the thread, which waits for the parent.
    os._exit(code)


if __name__ == "__main__":
    _main()
