"""Saving and loading word vectors: fastrnn's own format, and those of word2vec, GloVe and fastText."""

from __future__ import annotations

import os
from typing import Any, TypeVar

import numpy as np

from fastrnn.word2vec.files.compression import opened
from fastrnn.word2vec.vectors import count_files, fastrnn_format, file_kinds, word2vec_format
from fastrnn.word2vec.vectors.editing import Editable

Self = TypeVar("Self", bound="VectorFiles")


class VectorFiles(Editable):
    """The methods of :class:`fastrnn.word2vec.WordVectors` that read and write files."""

    def save(self, file: str | os.PathLike[str]) -> None:
        """Write keys, vectors and attributes in fastrnn's own format, which :meth:`load` can map into memory.

        Raises:
            TypeError: JSON cannot store an attribute.
        """
        fastrnn_format.save(file, self.index_to_key, self.vectors, self.expandos)

    @classmethod
    def load(cls: type[Self], file: str | os.PathLike[str], mmap: bool | str | None = False) -> Self:
        """Read what :meth:`save` wrote.

        Args:
            mmap: True, or gensim's "r" or "c", to load vectors from the file only as they are used. Writing into them
                never changes the file.
        """
        if mmap not in (None, False, True, "r", "c"):
            raise ValueError(f"mmap must be True, 'r' or 'c', got {mmap!r}; the file is never written to")
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
        """Write word2vec's text or binary format, as gensim does: most frequent keys first, if there are counts.

        Args:
            fvocab: a file for the keys and their counts, one per line.
            total_vec: the number of vectors in the header, if more will be appended.
            prefix: text written before every key.
            append: write after the present content of the file.
            sort_attr: sort the keys by this attribute, largest first; without such an attribute keep their order.

        Raises:
            ValueError: ``fvocab`` is given but there are no counts or no ``sort_attr``; ``sort_attr`` is not a number;
                or the format cannot store a key.
        """
        if fvocab is not None and (self.counts is None or sort_attr not in self.expandos):
            missing = "counts" if self.counts is None else f"attribute {sort_attr!r}"
            raise ValueError(f"{os.fspath(fvocab)}: cannot be written, because these vectors have no {missing}")
        keys, vectors, counts = [f"{prefix}{key}" for key in self.index_to_key], self.vectors, self.counts
        if sort_attr in self.expandos:
            if self.expandos[sort_attr].dtype.kind == "O":
                raise ValueError(f"{os.fspath(fname)}: sort_attr={sort_attr!r} must be a number for each key")
            order = np.argsort(-self.expandos[sort_attr], kind="stable")
            keys, vectors = [keys[row] for row in order.tolist()], vectors[order]
            counts = None if counts is None else counts[order]
        if fvocab is not None and counts is not None:
            count_files.save_counts(fvocab, keys, counts)
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
        """Read a file of word2vec, GloVe (``no_header=True``) or fastText (.vec).

        Args:
            fvocab: a file of keys and their counts, one per line.
            encoding, unicode_errors: how keys are decoded, as in ``bytes.decode``.
            limit: read only the first ``limit`` rows.
            datatype: round the numbers to this type; they are stored as float32.

        Raises:
            ValueError: the file is not in this format; the message names the file and the line or row.
        """
        keys, vectors = word2vec_format.load(fname, binary, limit, datatype, encoding, unicode_errors, no_header)
        counts = None if fvocab is None else count_files.load_counts(fvocab, keys, encoding, unicode_errors)
        return cls(keys, vectors, counts)

    @classmethod
    def read(cls: type[Self], file: str | os.PathLike[str], limit: int | None = None) -> Self:
        """Read a file in any of these formats, recognised by its content: fastrnn's, word2vec's or GloVe's."""
        limit = word2vec_format.checked_limit(limit)
        with opened(file) as source:
            own = source.peek(len(fastrnn_format.MAGIC))[: len(fastrnn_format.MAGIC)] == fastrnn_format.MAGIC  # type: ignore[attr-defined]
            if not own:
                file_kinds.refuse_others(os.fspath(file), source)
                line = source.readline(1 << 12)
                binary, no_header = file_kinds.kind(line, source)
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
        """Replace the vectors of keys that a word2vec file contains by the file's; its other keys are ignored.

        Args:
            lockf: the factor for changes of these vectors in further training (``vectors_lockf``): 0 keeps the file's
                vectors, 1 trains them like all others.

        Raises:
            ValueError: the file's vectors have another size, or as in :meth:`load_word2vec_format`.
        """
        keys, vectors = word2vec_format.load(fname, binary, None, np.float32, encoding, unicode_errors)
        if vectors.shape[1] != self.vector_size:
            raise ValueError(
                f"{os.fspath(fname)}: its vectors have {vectors.shape[1]} numbers, expected {self.vector_size}"
            )
        shared = [(self.key_to_index[key], row) for row, key in enumerate(keys) if key in self.key_to_index]
        rows, others = ([pair[i] for pair in shared] for i in (0, 1))
        self.vectors[rows] = vectors[others]
        self.vectors_lockf = np.array(np.broadcast_to(self.vectors_lockf, len(self)), dtype=np.float32)
        self.vectors_lockf[rows] = lockf
        self.vectors_changed()
