"""Reading corpora: sentences, word counts, the vocabulary, and words encoded as indices."""

from fastrnn.word2vec.corpus.arguments import Sentences, check_corpus, checked_workers, default_workers
from fastrnn.word2vec.corpus.encoding import Encoded, encode

__all__ = ["Encoded", "Sentences", "check_corpus", "checked_workers", "default_workers", "encode"]
