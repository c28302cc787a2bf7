"""Phrases: words that occur together more often than by chance are joined into one."""

from fastrnn.word2vec.phrases.detection import Phrases
from fastrnn.word2vec.phrases.frozen import FrozenPhrases, Phraser
from fastrnn.word2vec.phrases.joining import ENGLISH_CONNECTOR_WORDS

__all__ = ["ENGLISH_CONNECTOR_WORDS", "FrozenPhrases", "Phraser", "Phrases"]
