"""Training Word2Vec with several processes, on one machine or several. Imports torch."""

from fastrnn.word2vec.distributed.model import DistributedWord2Vec

__all__ = ["DistributedWord2Vec"]
