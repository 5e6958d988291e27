"""Tokenizers: encoded text decodes to itself, sizes in bytes add up, and training repeats."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from depthweave.trainers.tokenizer import (
    END_OF_DOCUMENT,
    BpeTokenizer,
    ByteTokenizer,
    Tokenizer,
    TokenizerSpec,
    make_tokenizer,
    train_tokenizer,
)

_ANY_TEXT = st.text(alphabet=st.characters(exclude_categories=["Cs"]))
_TRAINING = ("def weave(depth):\n    return depth\n" * 20, "import weave\n" * 30)


def _tokenizers() -> list[Tokenizer]:
    return [ByteTokenizer(), BpeTokenizer.train(_TRAINING, vocabulary=280)]


@pytest.fixture(params=_tokenizers(), ids=["bytes", "bpe"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    found: Tokenizer = request.param
    return found


@given(text=_ANY_TEXT)
@pytest.mark.parametrize("tokenizer", _tokenizers(), ids=["bytes", "bpe"])
def test_decode_of_encoded_text_is_the_text(tokenizer: Tokenizer, text: str) -> None:
    for given_text in (text, f"{text}{END_OF_DOCUMENT}\r\n\t weave{text}"):
        tokens = tokenizer.encode(given_text)
        assert tokenizer.decode(tokens) == given_text
        assert all(0 <= token < tokenizer.vocabulary for token in tokens)
        assert tokenizer.end_of_document not in tokens
        assert tokenizer.token_bytes()[tokens].sum() == len(given_text.encode())


def test_encode_documents_ends_each_one(tokenizer: Tokenizer) -> None:
    documents = ["weave é", "x", "return"]
    tokens = tokenizer.encode_documents(documents).tolist()
    expected = [token for text in documents for token in [*tokenizer.encode(text), tokenizer.end_of_document]]
    assert tokens == expected
    assert tokenizer.decode(tokens) == "".join(documents)


def test_decode_of_an_incomplete_character_gives_the_replacement(tokenizer: Tokenizer) -> None:
    assert tokenizer.decode(tokenizer.encode("é")[:1]) == "�"


def test_make_tokenizer_of_its_json_is_the_same(tokenizer: Tokenizer) -> None:
    again = make_tokenizer(tokenizer.json)
    assert again.vocabulary == tokenizer.vocabulary
    assert again.encode("def weave é") == tokenizer.encode("def weave é")


def test_bpe_train_twice_is_the_same_and_merges_what_is_frequent() -> None:
    first, second = (BpeTokenizer.train(_TRAINING, vocabulary=280) for _ in range(2))
    assert first.json == second.json
    assert first.vocabulary == 280
    assert first.end_of_document == 0
    assert len(first.encode("import weave")) < len(b"import weave") / 2


def test_train_tokenizer_on_too_little_text_has_fewer_tokens() -> None:
    assert train_tokenizer(TokenizerSpec.parse("bpe:4096"), ["ab"]).vocabulary < 300


@pytest.mark.parametrize("text", ["", "byte", "bpe", "bpe:", "bpe:x", "bpe:256", "bytes:256", "bpe:-1", "bpe:²"])
def test_tokenizer_spec_parse_of_a_bad_name_gives_one_line(text: str) -> None:
    with pytest.raises(ValueError, match=r"^tokenizer [^\n]+$"):
        TokenizerSpec.parse(text)


@pytest.mark.parametrize("text", ["bytes", "bpe:4096"])
def test_tokenizer_spec_name_parses_to_itself(text: str) -> None:
    assert TokenizerSpec.parse(text).name == text


@pytest.mark.parametrize(("json", "fault"), [("{", "cannot be read"), ('{"model": 3}', "cannot be read")])
def test_make_tokenizer_of_a_damaged_json_gives_one_line(json: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        make_tokenizer(json)
