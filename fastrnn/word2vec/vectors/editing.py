"""Changing a table: adding keys, replacing vectors, sorting, and making a table of some keys."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from fastrnn.word2vec.vectors.attributes import Attributed, columns_of, converted, extended, extended_factors
from fastrnn.word2vec.vectors.keys import Key, as_keys

Self = TypeVar("Self", bound="Editable")


class Editable(Attributed):
    """The methods of :class:`fastrnn.word2vec.WordVectors` that change the table or derive another from it."""

    def add_vectors(
        self,
        keys: Key | Sequence[Key],
        weights: np.ndarray,
        extras: Mapping[str, Sequence[Any] | np.ndarray] | None = None,
        replace: bool = False,
    ) -> None:
        """Add keys (n) with their vectors (n, D) after the present ones.

        Args:
            extras: attributes of the keys, such as ``{"count": counts}``. A missing attribute is 0, or None if it is
                not a number.
            replace: overwrite the vectors and attributes of keys that are already present, in place. Without it such
                keys keep theirs.

        Raises:
            ValueError: There is not one vector of this size per key, a key occurs twice, or the attributes do not fit.
                Then nothing is changed.
            KeyError: All keys are strings, and an integer is not a row.
        """
        keys = self._as_new_keys([keys] if isinstance(keys, (str, int, np.integer)) else keys)
        rows = np.atleast_2d(np.asarray(weights, dtype=np.float32))
        if rows.shape != (len(keys), self.vector_size) or len({*keys}) < len(keys):
            raise ValueError(
                f"Expected distinct keys and vectors of shape [keys, {self.vector_size}], got {len(keys)} keys "
                f"({len({*keys})} distinct) and shape {list(rows.shape)}"
            )
        columns = columns_of(extras, len(keys))
        old = [place for place, key in enumerate(keys) if key in self.key_to_index]
        new = [place for place, key in enumerate(keys) if key not in self.key_to_index]
        expandos = extended(self.expandos, columns, len(self), new)
        if replace and old:
            at = [self.key_to_index[keys[place]] for place in old]
            for name, column in columns.items():
                expandos[name][at] = converted(name, column[old], expandos[name].dtype)
            self.vectors[at] = rows[old]
        self.expandos = expandos
        if new:
            self.vectors_lockf = extended_factors(self.vectors_lockf, len(self), len(new))
            self.key_to_index |= {keys[place]: len(self) + i for i, place in enumerate(new)}
            self.index_to_key += [keys[place] for place in new]
            self._integer_keys |= any(isinstance(keys[place], int) for place in new)
            self.vectors = np.concatenate([self.vectors, rows[new]])
        self.vectors_changed()

    def _as_new_keys(self, keys: Sequence[Key]) -> list[Any]:
        """Keys to add; if all present keys are strings, an integer means the key of that row."""
        found: list[Any] = as_keys(keys)
        if not len(self) or self._integer_keys:
            return found
        for place, key in enumerate(found):
            if isinstance(key, int):
                if not 0 <= key < len(self):
                    raise KeyError(
                        f"All keys are strings, so the integer {key} means a row, but there are {len(self)} rows; "
                        f"for a new key use {str(key)!r}"
                    )
                found[place] = self.index_to_key[key]
        return found

    def add_vector(self, key: Key, vector: np.ndarray) -> int:
        """Add one key and its vector (D,) and return its row. For many keys :meth:`add_vectors` is faster."""
        self.add_vectors([key], vector)
        return self.get_index(key)

    def __setitem__(self, keys: Key | Sequence[Key], weights: np.ndarray) -> None:
        """Set the vector (D,) of a key, or the vectors (n, D) of several; new keys are added."""
        self.add_vectors(keys, weights, replace=True)

    def unit_normalize_all(self) -> None:
        """Scale all vectors to length 1 in place. Do not use it on a model that will be trained further."""
        self.vectors[:] = self.get_normed_vectors()
        self.vectors_changed()

    def init_sims(self, replace: bool = False) -> None:
        """For gensim 3's sake: with ``replace``, :meth:`unit_normalize_all`; else nothing to do."""
        if replace:
            self.unit_normalize_all()

    def sort_by_descending_frequency(self) -> None:
        """Sort the keys by count, most frequent first; keys of equal count keep their order.

        Raises:
            ValueError: These vectors have no counts.
        """
        if self.counts is None:
            raise ValueError("These vectors have no counts to sort by; set vectors.counts first")
        order = np.argsort(-self.counts, kind="stable")
        self.index_to_key[:] = [self.index_to_key[row] for row in order.tolist()]
        self.key_to_index = {key: row for row, key in enumerate(self.index_to_key)}
        self.expandos = {name: column[order] for name, column in self.expandos.items()}
        if len(self.vectors_lockf) > 1:
            self.vectors_lockf = self.vectors_lockf[order]
        self.vectors = self.vectors[order]

    def clear(self) -> None:
        """Remove all keys, vectors and attributes."""
        self.__dict__.update(vars(type(self)(self.vector_size, device=self._device)))

    def vectors_for_all(
        self: Self, keys: Iterable[Key], allow_inference: bool = True, copy_vecattrs: bool = True
    ) -> Self:
        """A new table of those of ``keys`` that have a vector, each once, in the given order.

        Args:
            allow_inference: ignored: no vector can be inferred.
            copy_vecattrs: copy counts and other attributes, too.
        """
        found = [key for key in dict.fromkeys(keys) if key in self.key_to_index]
        rows = [self.key_to_index[key] for key in found]
        some = type(self)(found, self.vectors[rows], device=self._device)
        if copy_vecattrs:
            some.expandos = {name: column[rows] for name, column in self.expandos.items()}
        return some
