"""WordVectors: word vectors with the interface and the numbers of gensim 4's KeyedVectors."""

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
    """One vector per key. ``KeyedVectors`` is the same class.

    A query is a key or a vector (D,). If all keys are strings, an integer means a row. Similarities are cosines in
    float32. A zero vector has similarity 0 to all others, where gensim returns NaN. A vector with NaN or infinity is
    never a neighbour.

    Args:
        keys: V distinct strings or integers, most frequent first; or the vector size D alone, for an empty table (also
            as ``vector_size=D``). gensim's number of rows to reserve is ignored.
        vectors: (V, D). float32 is used without a copy; anything else is converted to float32.
        counts: (V,) how often each key occurred, or None if unknown.
        device: the device that computes similarities, CPU or GPU. A GPU keeps a copy of the vectors.

    Raises:
        ValueError: The sizes differ, a key occurs twice, or the vectors are not a matrix.
        TypeError: A key is neither str nor int.

    Attributes:
        index_to_key, key_to_index: the keys in order, and the row of each key.
        expandos: attributes of the keys by name, (V,) each; see :meth:`set_vecattr`.
        vectors_lockf: (1,) or (V,) float32, factors for the changes that training makes to the vectors of a Word2Vec;
            0 freezes a vector.

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
        """Answer "a is to b as c is to ?" with the word nearest to b - a + c, excluding a, b and c.

        Args:
            analogies: a file of lines "a b c d" under lines ": section".
            restrict_vocab: use only this many first keys.
            case_insensitive: compare in upper case; of keys that are then equal, the first is used.
            dummy4unknown: count a question with an unknown word as wrong instead of ignoring it.

        Returns:
            The accuracy; and a dict for each section and for the total, with "section" and the lists of questions
            "correct" and "incorrect".

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
        """Correlate similarities with human judgements: a file of lines of two words and a number; # begins a comment.

        Returns:
            Pearson's and Spearman's correlation, each (statistic, pvalue), and the percentage of pairs with an unknown
            word. Such pairs are ignored, or with ``dummy4unknown`` get similarity 0.

        Raises:
            ValueError: A line after the first is not two words and a number, or fewer than three pairs have vectors.
        """
        return evaluation.word_pairs(self, pairs, delimiter, encoding, restrict_vocab, case_insensitive, dummy4unknown)

    def to_embedding(
        self, freeze: bool = True, unknown: str | None = "<unk>", padding: str | None = "<pad>"
    ) -> tuple[torch.nn.Embedding, Rows]:
        """An embedding layer with a copy of these vectors, and a table of the row of each word.

        Words keep their rows. Two rows are added: one for unknown words, the mean of all vectors, and one for padding,
        zeros that training does not change. If these vectors already have such a key, its row is used.

        Args:
            freeze: do not train the weights.
            unknown: the key for unknown words; None for no such row.
            padding: the key for padding; None for no such row.

        Example:
            >>> layer, rows = vectors.to_embedding(freeze=False)
            >>> layer(rows.encode("the cat sat".split())).shape
            torch.Size([3, 100])
        """
        from fastrnn.word2vec.vectors import embedding

        return embedding.to_embedding(self, freeze, unknown, padding)

    def to_projector(self, folder: str | os.PathLike[str], limit: int | None = 10000) -> None:
        """Write vectors.tsv, metadata.tsv and a configuration for ``tensorboard --logdir folder``.

        Only the first ``limit`` keys are written, because a browser has to load them. In keys, tabs and line breaks
        become spaces.
        """
        projector.to_projector(self, folder, limit)


KeyedVectors = WordVectors
