"""Learning a BPE vocabulary in a process of its own, which a signal ends at once.

The tokenizers library learns in one call that hears no signal and may take minutes. This file is the program of that
process as well: it needs the library alone, and its answer is the content of a `tokenizer.json`.
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
"""How the end of a document is written in a `tokenizer.json`."""
MAX_LEARNT_CHARACTERS = 2**25
"""More text is sampled: it would take minutes, and add next to nothing to a vocabulary."""

_QUICK_CHARACTERS = 2**20
"""So little is learnt within seconds, in this process."""
_MAX_WORD = 128
"""Characters of one word, a run of letters, digits, signs or spaces, as it is learnt from. The library takes time by
the square of a word's length; text without spaces, a genome say, would be one word."""
_LONG_RUN = re.compile(
    rf"[^\W\d_]{{{_MAX_WORD}}}(?=[^\W\d_])|\d{{{_MAX_WORD}}}(?=\d)|(?:[^\w\s]|_){{{_MAX_WORD}}}(?=[^\w\s]|_)"
    rf"|\s{{{_MAX_WORD}}}(?=\s)"
)
_LONG_SPACE = re.compile(rf"\s{{{_MAX_WORD + 1}}}")


def learn_bpe(documents: Sequence[str], *, vocabulary: int) -> str:
    """The `tokenizer.json` of at most `vocabulary` tokens; the same documents give the same.

    Of more than `MAX_LEARNT_CHARACTERS` a sample is learnt from, spread over all documents.
    """
    pieces = [piece for text in sampled(documents) for piece in bounded(text)]
    # An embedded Python has no program that could be started.
    if not sys.executable or sum(map(len, pieces)) <= _QUICK_CHARACTERS:
        return _learn(iter(pieces), vocabulary=vocabulary)
    # Not from the working folder: a file of the user's may have a library's name.
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
            # The pipe stays open: the child ends where this process does.
            answer = child.stdout.read()
        except BrokenPipeError:
            answer = b""
        except BaseException:
            child.kill()
            raise
        told = child.stderr.read().decode("utf-8", errors="replace").split("\n")
    if child.returncode or not answer:
        reason = next((line for line in reversed(told) if line.strip()), f"exit code {child.returncode}")
        raise ValueError(
            f"tokenizer bpe:{vocabulary} could not be learnt ({reason}); out of memory? Give a smaller one, or bytes"
        )
    return answer.decode("utf-8")


def sampled(documents: Sequence[str], *, limit: int = MAX_LEARNT_CHARACTERS) -> Iterator[str]:
    """The documents, or of more than `limit` characters evenly spread ones; of a long one its beginning."""
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
    """The text in pieces whose words have at most `_MAX_WORD` characters; whole where it has no longer one."""
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
    # Ctrl-C reaches every process of the terminal; the parent ends this one.
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
    # Without waiting for the thread, which waits for the parent.
    os._exit(code)


if __name__ == "__main__":
    _main()
