"""Chunks by hand, and as conlleval's rules give them token by token."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastrnn.train.models.chunks import chunk_f1, chunks


@pytest.mark.parametrize(
    ("tags", "expected"),
    [
        ("", []),
        ("O O", []),
        ("B-NP", [("NP", 0, 1)]),
        ("B-NP I-NP O B-NP", [("NP", 0, 2), ("NP", 3, 4)]),
        ("B-NP B-NP", [("NP", 0, 1), ("NP", 1, 2)]),  # B begins a chunk within one of its own type
        ("O I-NP I-NP", [("NP", 1, 3)]),  # I after O begins one
        ("I-NP", [("NP", 0, 1)]),
        ("B-NP I-VP", [("NP", 0, 1), ("VP", 1, 2)]),  # and so does I of another type
        ("B-NP I-VP I-NP", [("NP", 0, 1), ("VP", 1, 2), ("NP", 2, 3)]),
        ("I-NP B-NP I-NP", [("NP", 0, 1), ("NP", 1, 3)]),
        ("B-A-B I-A-B", [("A-B", 0, 2)]),
    ],
)
def test_chunks(tags: str, expected: list[tuple[str, int, int]]) -> None:
    assert chunks(tags.split()) == expected


def conlleval(truth: list[str], predicted: list[str]) -> tuple[int, int, int]:
    """Chunks that are there, found and right, by the script's two rules on each pair of neighbouring tags."""

    def split(tag: str) -> tuple[str, str]:
        return (tag[0], tag[2:])

    def ends(before: tuple[str, str], now: tuple[str, str]) -> bool:
        return before[0] in "BI" and (now[0] in "BO" or before[1] != now[1])

    def begins(before: tuple[str, str], now: tuple[str, str]) -> bool:
        return now[0] != "O" and (now[0] == "B" or before[0] == "O" or before[1] != now[1])

    there = found = right = 0
    inside = False
    last = last_guess = ("O", "")
    for tag, guess in zip([*truth, "O"], [*predicted, "O"], strict=True):
        now, now_guess = split(tag), split(guess)
        if inside:
            both = ends(last, now), ends(last_guess, now_guess)
            if both == (True, True) and last[1] == last_guess[1]:
                inside, right = False, right + 1
            elif both[0] != both[1] or now[1] != now_guess[1]:
                inside = False
        if begins(last, now) and begins(last_guess, now_guess) and now[1] == now_guess[1]:
            inside = True
        there, found = there + begins(last, now), found + begins(last_guess, now_guess)
        last, last_guess = now, now_guess
    return there, found, right


TAGS = st.sampled_from(["O", "B-NP", "I-NP", "B-VP", "I-VP"])


@given(st.lists(st.tuples(TAGS, TAGS)))
def test_counts_are_those_of_conlleval(pairs: list[tuple[str, str]]) -> None:
    truth, predicted = [a for a, _ in pairs], [b for _, b in pairs]
    score = chunk_f1([(truth, predicted)])
    assert (score.chunks, score.found, score.right) == conlleval(truth, predicted)


def test_score_by_hand() -> None:
    """Three chunks, four found, two of them right: one has a wrong end and one is not there."""
    sentences = [
        (["B-NP", "I-NP", "O", "B-VP"], ["B-NP", "I-NP", "B-PP", "B-VP"]),
        (["B-NP", "I-NP"], ["B-NP", "O"]),
    ]
    score = chunk_f1(sentences)
    assert (score.precision, score.recall) == (2 / 4, 2 / 3)
    assert score.f1 == pytest.approx(2 * 0.5 * (2 / 3) / (0.5 + 2 / 3))
    # The same tags as one sentence are the same here; a chunk never continues into the next sentence.
    assert chunk_f1([(["B-NP"], ["B-NP"]), (["I-NP"], ["I-NP"])]).right == 2


def test_nothing_there_and_nothing_found_is_zero() -> None:
    assert chunk_f1([]) == chunk_f1([(["O"], ["O"])]) == (0.0, 0.0, 0.0, 0, 0, 0)


def test_errors() -> None:
    with pytest.raises(ValueError, match="tag 1 is 'NP'"):
        chunks(["O", "NP"])
    with pytest.raises(ValueError, match="tag 0 is 'E-NP'"):
        chunks(["E-NP"])
    with pytest.raises(ValueError, match=r"Expected 1 predicted tags .* got 2"):
        chunk_f1([(["O"], ["O", "O"])])
