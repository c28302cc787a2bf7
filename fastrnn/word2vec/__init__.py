"""Word vectors: skip-gram and CBOW (Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546), in C++ threads."""

from fastrnn.word2vec.model import Word2Vec
from fastrnn.word2vec.pairs import skip_gram_pairs
from fastrnn.word2vec.phrases import Phrases
from fastrnn.word2vec.vectors import WordVectors
from fastrnn.word2vec.vocabulary import Vocabulary

__all__ = ["Phrases", "Vocabulary", "Word2Vec", "WordVectors", "skip_gram_pairs"]
