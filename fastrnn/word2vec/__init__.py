"""Word vectors: skip-gram and CBOW (Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546), in C++ threads."""

from fastrnn.word2vec.vectors import WordVectors

__all__ = ["WordVectors"]
