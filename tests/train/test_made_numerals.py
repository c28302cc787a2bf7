"""Numbers in words: the exceptions one by one, and that no two numbers read alike."""

import pytest

from fastrnn.train.data.made.numerals import english, french, numerals

WORDS = [
    (0, "zero", "zéro"),
    (1, "one", "un"),
    (11, "eleven", "onze"),
    (16, "sixteen", "seize"),
    (17, "seventeen", "dix-sept"),
    (20, "twenty", "vingt"),
    (21, "twenty-one", "vingt et un"),
    (22, "twenty-two", "vingt-deux"),
    (60, "sixty", "soixante"),
    (61, "sixty-one", "soixante et un"),
    (70, "seventy", "soixante-dix"),
    (71, "seventy-one", "soixante et onze"),
    (72, "seventy-two", "soixante-douze"),
    (77, "seventy-seven", "soixante-dix-sept"),
    (80, "eighty", "quatre-vingts"),
    (81, "eighty-one", "quatre-vingt-un"),
    (90, "ninety", "quatre-vingt-dix"),
    (91, "ninety-one", "quatre-vingt-onze"),
    (99, "ninety-nine", "quatre-vingt-dix-neuf"),
    (100, "one hundred", "cent"),
    (101, "one hundred one", "cent un"),
    (180, "one hundred eighty", "cent quatre-vingts"),
    (200, "two hundred", "deux cents"),
    (201, "two hundred one", "deux cent un"),
    (305, "three hundred five", "trois cent cinq"),
    (971, "nine hundred seventy-one", "neuf cent soixante et onze"),
    (1000, "one thousand", "mille"),
    (1001, "one thousand one", "mille un"),
    (1100, "one thousand one hundred", "mille cent"),
    (2000, "two thousand", "deux mille"),
    (3200, "three thousand two hundred", "trois mille deux cents"),
    (1980, "one thousand nine hundred eighty", "mille neuf cent quatre-vingts"),
    (9999, "nine thousand nine hundred ninety-nine", "neuf mille neuf cent quatre-vingt-dix-neuf"),
]


@pytest.mark.parametrize(("number", "in_english", "in_french"), WORDS)
def test_words(number: int, in_english: str, in_french: str) -> None:
    assert (english(number), french(number)) == (in_english, in_french)


def test_no_two_numbers_read_alike() -> None:
    train, held_out = numerals()
    assert (len(train), len(held_out)) == (8000, 2000)
    pairs = train + held_out
    assert len({source for source, _ in pairs}) == len({target for _, target in pairs}) == 10_000
    assert numerals(seed=1)[0] != train == numerals()[0]


@pytest.mark.parametrize("number", [-1, 10_000])
def test_out_of_range(number: int) -> None:
    with pytest.raises(ValueError, match=f"from 0 to 9999, got {number}"):
        french(number)
