"""Positive and negative sentences: the sentence polarity data set of film reviews."""

from __future__ import annotations

from fastrnn.train.data.readers import files
from fastrnn.train.data.readers.files import File

WHERE = (
    "The files rt-polarity.pos and rt-polarity.neg are Pang and Lee's sentence polarity data set, version 1.0; they "
    "come from its authors, or as the package sentence_polarity of NLTK's data (nltk_data), sentence_polarity.zip."
)
CLASSES = ("negative", "positive")


def read_polarity(source: File, encoding: str = "latin-1") -> list[tuple[str, int]]:
    """Sentences and their class, 0 negative or 1 positive; all positive ones come first, and :func:`split` mixes them.

    Args:
        source: a folder or a .zip with rt-polarity.pos and rt-polarity.neg, one sentence per line.

    Raises:
        FileNotFoundError: a file is missing; the error says where to get it.
        ValueError: a file is empty, damaged or not in this encoding.
    """
    sentences = []
    for ending, label in (("pos", 1), ("neg", 0)):
        place, content = files.read_member(source, [f"rt-polarity.{ending}"], WHERE)
        lines = (line.strip() for _, line in files.numbered_lines(files.decoded(content, place, encoding)))
        sentences += [(line, label) for line in lines if line]
    return sentences
