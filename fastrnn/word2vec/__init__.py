"""Word vectors: skip-gram and CBOW (Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546), in C++ threads."""

from fastrnn.word2vec.callbacks import CallbackAny2Vec
from fastrnn.word2vec.joining import ENGLISH_CONNECTOR_WORDS
from fastrnn.word2vec.model import Word2Vec
from fastrnn.word2vec.pairs import skip_gram_pairs
from fastrnn.word2vec.phrases import FrozenPhrases, Phraser, Phrases
from fastrnn.word2vec.trimming import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP
from fastrnn.word2vec.vectors import KeyedVectors, WordVectors
from fastrnn.word2vec.vocabulary import Vocabulary

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "RULE_DEFAULT",
    "RULE_DISCARD",
    "RULE_KEEP",
    "CallbackAny2Vec",
    "FrozenPhrases",
    "KeyedVectors",
    "Phraser",
    "Phrases",
    "Vocabulary",
    "Word2Vec",
    "WordVectors",
    "skip_gram_pairs",
]
