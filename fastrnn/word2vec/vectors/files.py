"""Word vectors in files: fastrnn's own, and those of word2vec, GloVe and fastText."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import numpy as np

from fastrnn.word2vec.vectors import fastrnn_format, word2vec_format
from fastrnn.word2vec.vectors.editing import Editable

Self = TypeVar("Self", bound="VectorFiles")


class VectorFiles(Editable):
    """The methods of :class:`fastrnn.word2vec.WordVectors` that read and write files."""

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write keys, vectors and attributes to fastrnn's own file, which :meth:`load` can map into memory.

        Raises:
            TypeError: an attribute that JSON cannot hold.
        """
        fastrnn_format.save(file, self.index_to_key, self.vectors, self.expandos)

    @classmethod
    def load(cls: type[Self], file: str | os.PathLike[str], mmap: bool | str | None = False) -> Self:
        """Read what :meth:`save` wrote.

        Args:
            mmap: True or gensim's "r" or "c": the vectors stay in the file until used. Writing into them never changes
                the file.
        """
        if mmap not in (None, False, True, "r", "c"):
            raise ValueError(f"mmap must be True, 'r' or 'c', got {mmap!r}; a file that is read is never written to")
        keys, vectors, expandos = fastrnn_format.load(file, bool(mmap))
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
            word2vec_format.save_counts(fvocab, keys, counts)
        word2vec_format.save(fname, keys, vectors, binary, write_header, total_vec=total_vec, append=append)

    @classmethod
    def load_word2vec_format(
        cls: type[Self],
        fname: str | os.PathLike[str],
        fvocab: str | os.PathLike[str] | None = None,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
        limit: int | None = None,
        datatype: Any = np.float32,
        no_header: bool = False,
    ) -> Self:
        """Read word2vec's, GloVe's (``no_header=True``) or fastText's file.

        Args:
            fvocab: a file of lines of a key and its count.
            encoding, unicode_errors: how keys become strings, as in ``bytes.decode``.
            limit: read only so many first rows.
            datatype: numbers are rounded to it; they are kept as float32.

        Raises:
            ValueError: as in ``word2vec_format``; the message names the file and the place.
        """
        keys, vectors = word2vec_format.load(fname, binary, limit, datatype, encoding, unicode_errors, no_header)
        counts = None if fvocab is None else word2vec_format.load_counts(fvocab, keys, encoding, unicode_errors)
        return cls(keys, vectors, counts)

    @classmethod
    def read(cls: type[Self], file: str | os.PathLike[str], limit: int | None = None) -> Self:
        """Read any of these files, told by what is in it: fastrnn's own, word2vec's text or binary, GloVe's text."""
        limit = word2vec_format.checked_limit(limit)
        with word2vec_format.opened(file) as source:
            own = source.peek(len(fastrnn_format.MAGIC))[: len(fastrnn_format.MAGIC)] == fastrnn_format.MAGIC  # type: ignore[attr-defined]
            if not own:
                word2vec_format.refuse_others(os.fspath(file), source)
                line = source.readline(1 << 12)
                binary, no_header = word2vec_format.kind(line, source)
                return cls.load_word2vec_format(file, binary=binary, limit=limit, no_header=no_header)
        loaded = cls.load(file, mmap=True)
        return loaded if limit is None else loaded.vectors_for_all(loaded.index_to_key[:limit])

    def intersect_word2vec_format(
        self,
        fname: str | os.PathLike[str],
        lockf: float = 0.0,
        binary: bool = False,
        encoding: str = "utf8",
        unicode_errors: str = "strict",
    ) -> None:
        """Give the keys that are here the vectors that a word2vec file has for them; its other keys are ignored.

        Args:
            lockf: what further training multiplies its changes of these vectors by (``vectors_lockf``): 0 keeps them as
                they are in the file, 1 trains them like all others.

        Raises:
            ValueError: the file's vectors are of another size; as :meth:`load_word2vec_format`.
        """
        keys, vectors = word2vec_format.load(fname, binary, None, np.float32, encoding, unicode_errors)
        if vectors.shape[1] != self.vector_size:
            raise ValueError(
                f"{os.fspath(fname)}: its vectors have {vectors.shape[1]} numbers, these here {self.vector_size}"
            )
        shared = [(self.key_to_index[key], row) for row, key in enumerate(keys) if key in self.key_to_index]
        rows, others = ([pair[i] for pair in shared] for i in (0, 1))
        self.vectors[rows] = vectors[others]
        self.vectors_lockf = np.array(np.broadcast_to(self.vectors_lockf, len(self)), dtype=np.float32)
        self.vectors_lockf[rows] = lockf
        self.vectors_changed()
