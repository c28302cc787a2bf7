"""Word vectors: similarities, nearest neighbours, evaluation, and files of vectors."""

from fastrnn.word2vec.vectors.word_vectors import KeyedVectors, WordVectors

__all__ = ["KeyedVectors", "WordVectors"]
