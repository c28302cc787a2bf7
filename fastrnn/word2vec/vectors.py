"""Word vectors and what one asks of them, under the names of gensim 4's KeyedVectors and with its numbers."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from fastrnn.word2vec import evaluate, formats, native, projector
from fastrnn.word2vec.comparisons import Comparisons
from fastrnn.word2vec.growing import Growing
from fastrnn.word2vec.neighbours import Nearest

if TYPE_CHECKING:
    import torch

    from fastrnn.word2vec.embedding import Rows

PICKLE = b"\x80"  # how a file of gensim's begins; it is not read, and the error says why


class WordVectors(Nearest, Comparisons, Growing):
    """A vector for each of some keys; ``KeyedVectors`` is the same class.

    A query is a key or a vector (D,). Where all keys are strings, an integer stands for a row. Similarities are cosines
    in float32. A vector of zeros, for which gensim has nan, has the similarity 0 to all; one that holds NaN or infinity
    is nobody's neighbour.

    Args:
        keys: V different strings or integers, the most frequent first; or, without vectors, the number D of a table
            that is empty to begin with (also as ``vector_size=D``).
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
        return evaluate.word_analogies(self, analogies, restrict_vocab, case_insensitive, dummy4unknown)

    def evaluate_word_pairs(
        self,
        pairs: str | os.PathLike[str],
        delimiter: str = "\t",
        encoding: str = "utf8",
        restrict_vocab: int | None = 300000,
        case_insensitive: bool = True,
        dummy4unknown: bool = False,
    ) -> tuple[evaluate.Correlation, evaluate.Correlation, float]:
        """Compare similarities with people's judgements: a file of lines of two words and a number; # begins a comment.

        Returns:
            Pearson's and Spearman's correlation, each (statistic, pvalue), and the percentage of pairs left out
            because a word is unknown; with ``dummy4unknown`` these have similarity 0 instead.

        Raises:
            ValueError: A line after the first is not such a line, or fewer than three pairs have vectors.
        """
        return evaluate.word_pairs(self, pairs, delimiter, encoding, restrict_vocab, case_insensitive, dummy4unknown)

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write keys, vectors and attributes to fastrnn's own file, which :meth:`load` can map into memory.

        Raises:
            TypeError: an attribute that JSON cannot hold.
        """
        native.save(file, self.index_to_key, self.vectors, self.expandos)

    @classmethod
    def load(cls, file: str | os.PathLike[str], mmap: bool | str | None = False) -> WordVectors:
        """Read what :meth:`save` wrote.

        Args:
            mmap: True or gensim's "r" or "c": the vectors stay in the file until used. Writing into them never changes
                the file.
        """
        if mmap not in (None, False, True, "r", "c"):
            raise ValueError(f"mmap must be True, 'r' or 'c', got {mmap!r}; a file that is read is never written to")
        keys, vectors, expandos = native.load(file, bool(mmap))
        loaded = cls(keys, vectors)
        loaded.expandos = expandos
        return loaded

    def save_word2vec_format(
        self,
        fname: str | os.PathLike[str],
        fvocab: str | os.PathLike[str] | None = None,
        binary: bool = False,
        total_vec: int | None = None,
        write_header: bool = True,
        prefix: str = "",
        append: bool = False,
        sort_attr: str = "count",
    ) -> None:
        """Write word2vec's text or binary file, as gensim does: with counts, the most frequent keys first.

        Args:
            fvocab: the file to which keys and their counts go, a line each.
            total_vec: how many vectors the header announces, if others are to be appended.
            prefix: what is written before every key.
            append: write behind what the file holds already.
            sort_attr: the attribute by which the keys are sorted, the largest first; without it, in their order.

        Raises:
            ValueError: ``fvocab`` without counts or without ``sort_attr``, one that is not a number, or a key that
                these files cannot hold.
        """
        if fvocab is not None and (self.counts is None or sort_attr not in self.expandos):
            missing = "counts" if self.counts is None else f"attribute {sort_attr!r}"
            raise ValueError(f"{os.fspath(fvocab)}: these vectors have no {missing}, which it needs")
        keys, vectors, counts = [f"{prefix}{key}" for key in self.index_to_key], self.vectors, self.counts
        if sort_attr in self.expandos:
            if self.expandos[sort_attr].dtype.kind == "O":
                raise ValueError(f"{os.fspath(fname)}: sort_attr={sort_attr!r} is not a number of each key")
            order = np.argsort(-self.expandos[sort_attr], kind="stable")
            keys, vectors = [keys[row] for row in order.tolist()], vectors[order]
            counts = None if counts is None else counts[order]
        if fvocab is not None and counts is not None:
            formats.save_counts(fvocab, keys, counts)
        formats.save(fname, keys, vectors, binary, write_header, total_vec=total_vec, append=append)

    @classmethod
    def load_word2vec_format(
        cls,
        fname: str | os.PathLike[str],
        fvocab: str | os.PathLike[str] | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: Any = np.float32,
        no_header: bool = False,
    ) -> WordVectors:
        """Read word2vec's, GloVe's (``no_header=True``) or fastText's file.

        Args:
            fvocab: a file of lines of a key and its count.
            encoding, unicode_errors: how keys become strings, as in ``bytes.decode``.
            limit: read only so many first rows.
            datatype: numbers are rounded to it; they are kept as float32.

        Raises:
            ValueError: as ``formats.load`` and ``formats.load_counts``; the message names the file and the place.
        """
        keys, vectors = formats.load(fname, binary, limit, datatype, encoding, unicode_errors, no_header)
        counts = None if fvocab is None else formats.load_counts(fvocab, keys, encoding, unicode_errors)
        return cls(keys, vectors, counts)

    @classmethod
    def read(cls, file: str | os.PathLike[str], limit: int | None = None) -> WordVectors:
        """Read any of these files, told by what is in it: fastrnn's own, word2vec's text or binary, GloVe's text."""
        with formats.opened(file) as source:
            line = source.readline(1 << 12)
            if line != native.MAGIC and line[:1] != PICKLE:
                binary, no_header = formats.kind(line, source)
                return cls.load_word2vec_format(file, binary=binary, limit=limit, no_header=no_header)
        loaded = cls.load(file, mmap=True)
        return loaded if limit is None else loaded.vectors_for_all(loaded.index_to_key[:limit])

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
        from fastrnn.word2vec import embedding

        return embedding.to_embedding(self, freeze, unknown, padding)

    def to_projector(self, folder: str | os.PathLike[str], limit: int | None = 10000) -> None:
        """Write vectors.tsv, metadata.tsv and a configuration for ``tensorboard --logdir folder``.

        Only ``limit`` first keys, for a browser is to hold them; a tab or line end in a key becomes a space.
        """
        projector.to_projector(self, folder, limit)


KeyedVectors = WordVectors
