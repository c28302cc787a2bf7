"""Word vectors and what one asks of them, under the names of gensim 4's KeyedVectors and with its numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from fastrnn.word2vec.vectors import evaluation, projector
from fastrnn.word2vec.vectors.comparisons import Comparisons
from fastrnn.word2vec.vectors.files import VectorFiles
from fastrnn.word2vec.vectors.neighbours import Nearest

if TYPE_CHECKING:
    import torch

    from fastrnn.word2vec.vectors.embedding import Rows


class WordVectors(Nearest, Comparisons, VectorFiles):
    """A vector for each of some keys; ``KeyedVectors`` is the same class.

    A query is a key or a vector (D,). Where all keys are strings, an integer stands for a row. Similarities are cosines
    in float32. A vector of zeros, for which gensim has nan, has the similarity 0 to all; one that holds NaN or infinity
    is nobody's neighbour.

    Args:
        keys: V different strings or integers, the most frequent first; or, without vectors, the number D of a table
            that is empty to begin with (also as ``vector_size=D``). gensim's count of rows to make room for is ignored.
        vectors: (V, D); float32 is kept as it is and not copied, anything else becomes float32.
        counts: (V,) how often each occurred, or None if that is not known.
        device: where similarities are computed, the CPU or a GPU. A GPU keeps a copy of the vectors.

    Raises:
        ValueError: The sizes differ, a key occurs twice, or the vectors are not a matrix.
        TypeError: A key is neither str nor int.

    Attributes:
        index_to_key, key_to_index: the keys in their order, and the row of each.
        expandos: attributes of the keys by name, (V,) each: see :meth:`set_vecattr`.
        vectors_lockf: (1,) or (V,) float32: a Word2Vec that owns these vectors multiplies what it would change a vector
            by with the factor of its key; 0 keeps it as it is.

    Example:
        >>> vectors = WordVectors(["cat", "dog", "tea"], np.array([[1, 0], [1, 1], [0, 1]]))
        >>> vectors.most_similar("cat", topn=1)
        [('dog', 0.7071067690849304)]
    """

    def evaluate_word_analogies(
        self,
        analogies: str | os.PathLike[str],
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[float, list[dict[str, Any]]]:
        """Answer "a is to b as c is to d" by the word nearest to b - a + c that is none of these three.

        Args:
            analogies: a file of lines "a b c d" under lines ": section".
            restrict_vocab: only so many first keys take part.
            case_insensitive: compare in capitals; of keys that are then the same, the first counts.
            dummy4unknown: a question with a word unknown is answered wrongly, rather than left out.

        Returns:
            The share of right answers; and for each section, then for all, a dict of "section", "correct" and
            "incorrect", lists of the questions' words.

        Raises:
            ValueError: A line is neither a section nor four words; the message names the file and the line.
        """
        return evaluation.word_analogies(self, analogies, restrict_vocab, case_insensitive, dummy4unknown)

    def evaluate_word_pairs(
        self,
        pairs: str | os.PathLike[str],
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[evaluation.Correlation, evaluation.Correlation, float]:
        """Compare similarities with people's judgements: a file of lines of two words and a number; # begins a comment.

        Returns:
            Pearson's and Spearman's correlation, each (statistic, pvalue), and the percentage of pairs left out
            because a word is unknown; with ``dummy4unknown`` these have similarity 0 instead.

        Raises:
            ValueError: A line after the first is not such a line, or fewer than three pairs have vectors.
        """
        return evaluation.word_pairs(self, pairs, delimiter, encoding, restrict_vocab, case_insensitive, dummy4unknown)

    def to_embedding(
        self, freeze: bool = True, unknown: str | None = "<unk>", padding: str | None = "<pad>"
    ) -> tuple[torch.nn.Embedding, Rows]:
        """An embedding layer with a copy of these vectors, and the row of each word in it.

        Words keep their rows. Behind them come a row for unknown words, the mean of all vectors, and one for padding,
        zeros that training never changes. Vectors that have one of these keys already keep its row.

        Args:
            freeze: leave the weights as they are in training.
            unknown: the key of unknown words; None for no such row.
            padding: the key of padding; None for no such row.

        Example:
            >>> layer, rows = vectors.to_embedding(freeze=False)
            >>> layer(rows.encode("the cat sat".split())).shape
            torch.Size([3, 100])
        """
        from fastrnn.word2vec.vectors import embedding

        return embedding.to_embedding(self, freeze, unknown, padding)

    def to_projector(self, folder: str | os.PathLike[str], limit: int | None = 10000) -> None:
        """Write vectors.tsv, metadata.tsv and a configuration for ``tensorboard --logdir folder``.

        Only ``limit`` first keys, for a browser is to hold them; a tab or line end in a key becomes a space.
        """
        projector.to_projector(self, folder, limit)


KeyedVectors = WordVectors
