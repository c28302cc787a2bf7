"""Numbers in English and French words: a small, regular language pair with many exceptions.

"seventy-one" is "soixante et onze", "eighty" "quatre-vingts", but "eighty-one" "quatre-vingt-un". The spelling is
traditional: hyphens only below a hundred.
"""

from __future__ import annotations

from collections.abc import Callable

from fastrnn.train.data.splitting import split


def _words(text: str) -> list[str]:
    return text.split()


_ENGLISH = _words(
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen "
    "eighteen nineteen"
)
_ENGLISH_TENS = _words("_ ten twenty thirty forty fifty sixty seventy eighty ninety")
_FRENCH = _words("zéro un deux trois quatre cinq six sept huit neuf dix onze douze treize quatorze quinze seize")
_FRENCH_TENS = _words("_ dix vingt trente quarante cinquante soixante soixante quatre-vingt quatre-vingt")
_LIMIT = 10_000

Pair = tuple[str, str]


def english(number: int) -> str:
    """ "three hundred five", for a number from 0 to 9999."""
    _check(number)
    return _join(number, _english_below_100, "thousand", "hundred", one="one ")


def french(number: int) -> str:
    """ "trois cent cinq", for a number from 0 to 9999."""
    _check(number)
    plural = number % 100 == 0 and number // 100 % 10 > 1  # deux cents, but deux cent un
    return _join(number, _french_below_100, "mille", "cent", one="") + "s" * plural


def numerals(*, held_out: float = 0.2, seed: int = 0) -> tuple[list[Pair], list[Pair]]:
    """All numbers from 0 to 9999 in English and French: pairs to train on, and a random share ``held_out``."""
    train, rest = split([(english(n), french(n)) for n in range(_LIMIT)], (1 - held_out, held_out), seed)
    return train, rest


def _join(number: int, below_100: Callable[[int], str], thousand: str, hundred: str, one: str) -> str:
    """Thousands, hundreds and the rest; ``one`` precedes a single thousand or hundred."""
    words = []
    for count, unit in ((number // 1000, thousand), (number // 100 % 10, hundred)):
        if count:
            words.append((one if count == 1 else below_100(count) + " ") + unit)
    if number % 100 or not words:
        words.append(below_100(number % 100))
    return " ".join(words)


def _english_below_100(number: int) -> str:
    if number < 20:
        return _ENGLISH[number]
    tens, ones = divmod(number, 10)
    return _ENGLISH_TENS[tens] + (f"-{_ENGLISH[ones]}" if ones else "")


def _french_below_100(number: int) -> str:
    if number < len(_FRENCH):
        return _FRENCH[number]
    tens, rest = divmod(number, 10)
    if tens in (7, 9):  # counted on from sixty and from eighty
        rest += 10
    if number == 80:
        return "quatre-vingts"
    if rest == 0:
        return _FRENCH_TENS[tens]
    between = " et " if rest in (1, 11) and tens < 8 else "-"
    return _FRENCH_TENS[tens] + between + _french_below_100(rest)


def _check(number: int) -> None:
    if not 0 <= number < _LIMIT:
        raise ValueError(f"numbers must be from 0 to {_LIMIT - 1}, got {number}")
