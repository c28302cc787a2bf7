"""Vocabulary and tokenizers: order, ids, text again, and errors that name the token."""

import json
import sys
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.train.data import Vocabulary

TEXT = "the cat saw the dog\nthe dog ran\n"


def test_special_tokens_come_first_and_the_others_by_count_and_then_by_name() -> None:
    vocabulary = Vocabulary.build(TEXT, bos="<bos>", eos="<eos>", pad="<pad>")
    assert vocabulary.tokens == ["<pad>", "<unk>", "<bos>", "<eos>", "the", "dog", "cat", "ran", "saw"]
    assert (vocabulary.pad, vocabulary.unknown, vocabulary.bos, vocabulary.eos) == (0, 1, 2, 3)
    assert Vocabulary.build(TEXT, unknown=None).tokens == ["the", "dog", "cat", "ran", "saw"]


def test_a_newline_is_the_end_of_a_sentence_if_there_is_one() -> None:
    vocabulary = Vocabulary.build(TEXT, eos="<eos>")
    ids = vocabulary.encode(TEXT)
    assert " ".join(vocabulary.tokens[i] for i in ids) == "the cat saw the dog <eos> the dog ran <eos>"
    assert vocabulary.decode(ids) == TEXT.strip()
    assert vocabulary.encode("the\n\r\n dog") == [vocabulary.id(token) for token in ("the", "<eos>", "<eos>", "dog")]
    without = Vocabulary.build(TEXT)
    assert without.decode(without.encode(TEXT)) == "the cat saw the dog the dog ran"


def test_texts_tokens_and_counts_give_the_same_vocabulary() -> None:
    of_text = Vocabulary.build(TEXT, max_size=4)
    assert of_text.tokens == ["<unk>", "the", "dog", "cat"]
    assert of_text == Vocabulary.build(iter(TEXT.splitlines()), max_size=4)
    assert of_text == Vocabulary.build([line.split() for line in TEXT.splitlines()], max_size=4)
    assert of_text == Vocabulary.build(Counter(TEXT.split()), max_size=4)
    assert of_text != Vocabulary.build(TEXT, max_size=5)
    assert Vocabulary.build(TEXT, min_count=2).tokens == ["<unk>", "the", "dog"]


@given(st.text(), st.text())
def test_characters_come_back_as_they_were(one: str, other: str) -> None:
    if not one:
        return
    vocabulary = Vocabulary.build(one + other, tokenizer="characters", unknown=None, bos="<s>", eos="</s>", pad="<p>")
    ids = vocabulary.encode(one, ends=True)
    assert ids[0] == vocabulary.bos
    assert ids[-1] == vocabulary.eos
    assert vocabulary.decode([*ids, vocabulary.pad]) == one
    assert len(ids) == len(one) + 2


def test_a_token_never_seen_is_named_with_its_place_and_the_nearest() -> None:
    known = Vocabulary.build(TEXT, unknown=None, eos="<eos>")
    with pytest.raises(ValueError, match=r"'dig', token 5, line 2 of the text, is not .* the closest is 'dog'"):
        known.encode("the cat ran\ndig\n")
    with pytest.raises(ValueError, match=r"'dogs', token 2 of the text"):
        known.encode(["the", "dogs"])
    with pytest.raises(ValueError, match=r"'cart' is not in the vocabulary .* closest is 'cat'"):
        known.id("cart")
    letters = Vocabulary.build("abc\n", tokenizer="characters", unknown=None)
    with pytest.raises(ValueError, match=r"'B', token 5, line 2 .* the closest is 'b'"):
        letters.encode("abc\nB")
    some = Vocabulary.build(TEXT)
    assert some.encode("the zebra") == [some.id("the"), some.unknown]
    assert some.id("zebra") == some.unknown


def test_bad_tokens_and_ids_are_errors() -> None:
    for wrong, message in [((["a", "a"],), "twice"), (([],), "at least one token")]:
        with pytest.raises(ValueError, match=message):
            Vocabulary(*wrong)
    with pytest.raises(TypeError, match="got 3"):
        Vocabulary(["a", 3])  # type: ignore[list-item]
    with pytest.raises(TypeError, match=r"Vocabulary\.build"):
        Vocabulary("ab")
    with pytest.raises(ValueError, match="eos='z' is not among the tokens"):
        Vocabulary(["a"], eos="z")
    with pytest.raises(ValueError, match="one of 'words', 'characters', 'subwords', got 'letters'"):
        Vocabulary(["a"], tokenizer="letters")
    for empty in ("", [], [[]], {}):
        with pytest.raises(ValueError, match="empty"):
            Vocabulary.build(empty)
    with pytest.raises(ValueError, match="leave out 2 tokens"):
        Vocabulary.build("a b c", max_size=1, unknown=None)
    with pytest.raises(TypeError, match="got 1"):
        Vocabulary.build([1, 2])  # type: ignore[list-item]
    vocabulary = Vocabulary(["a", "b"])
    for wrong_id in (2, -1):
        with pytest.raises(ValueError, match=f"from 0 to 1, got {wrong_id}"):
            vocabulary.decode([0, wrong_id])
    for unknown in (None, "<unk>"):
        with pytest.raises(TypeError, match="got the token 7"):
            Vocabulary.build(TEXT, unknown=unknown).encode(["the", 7])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="eos='an end' must be one word"):
        Vocabulary.build(TEXT, eos="an end")


def test_a_vocabulary_comes_back_from_json() -> None:
    vocabulary = Vocabulary.build(TEXT, tokenizer="characters", bos="<s>", eos="</s>")
    again = Vocabulary.from_config(json.loads(json.dumps(vocabulary.config())))
    assert again == vocabulary
    assert again.encode(TEXT, ends=True) == vocabulary.encode(TEXT, ends=True)
    assert (again.bos, again.eos, again.pad) == (vocabulary.bos, vocabulary.eos, None)
    with pytest.raises(ValueError, match="must have tokens"):
        Vocabulary.from_config({})


def test_subwords_learn_merges_and_take_any_text() -> None:
    vocabulary = Vocabulary.build(
        [TEXT * 20], tokenizer="subwords", max_size=300, unknown=None, bos="<bos>", eos="<eos>", pad="<pad>"
    )
    assert (vocabulary.pad, vocabulary.bos, vocabulary.eos) == (0, 1, 2)
    assert "Ġdog" in vocabulary
    ids = vocabulary.encode("the dogs\nçå", ends=True)
    assert vocabulary.decode(ids) == "the dogs\nçå"
    assert len(ids) < len("the dogs\nçå".encode())
    again = Vocabulary.from_config(json.loads(json.dumps(vocabulary.config())))
    assert again == vocabulary
    assert again.encode("the dogs\nçå", ends=True) == ids
    with pytest.raises(ValueError, match="not the JSON of a tokenizer"):
        Vocabulary(["a"], tokenizer="subwords", subwords="{}")
    with pytest.raises(ValueError, match="without it"):
        Vocabulary(["a"], tokenizer="subwords")


def test_subwords_from_a_file(tmp_path: Path) -> None:
    learned = Vocabulary.build([TEXT], tokenizer="subwords", max_size=270, unknown=None)
    file = tmp_path / "tokenizer.json"
    file.write_text(learned.subwords, encoding="utf-8")
    assert Vocabulary.from_tokenizer_file(file).encode(TEXT) == learned.encode(TEXT)


def test_without_the_library_the_error_is_the_line_to_type(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(ImportError, match="Type: pip install tokenizers"):
        Vocabulary.build(TEXT, tokenizer="subwords")
