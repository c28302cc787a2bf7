"""The state of a Word2Vec model: reading, setting, copying and pickling its parts."""

from __future__ import annotations

import copy
from dataclasses import fields, replace
from typing import Any

import numpy as np

from fastrnn.word2vec.corpus.arguments import checked_workers
from fastrnn.word2vec.corpus.vocabulary import Vocabulary
from fastrnn.word2vec.gensim_names import MODEL, accepted, missing_from_model
from fastrnn.word2vec.settings import Settings
from fastrnn.word2vec.training.locking import change_together, is_busy_elsewhere
from fastrnn.word2vec.training.parameters import Parameters, aligned
from fastrnn.word2vec.vectors.attributes import extended, extended_factors
from fastrnn.word2vec.vectors.word_vectors import WordVectors

SETTINGS = frozenset(field.name for field in fields(Settings))
OUTPUTS = ("syn1", "syn1neg")


class ModelState:
    """Settings, vocabulary, parameters and vectors.

    The vectors ``wv`` are the same object for the model's whole life, and share memory with the trained parameters. The
    user may add keys and replace vectors at any time; :meth:`_share_table` then updates the parameters. Adding keys
    keeps what was learned, except for the tree of hierarchical softmax, which starts again.

    A setting is read and set by its name, such as ``model.alpha``.
    """

    settings: Settings
    vocabulary: Vocabulary
    parameters: Parameters
    wv: WordVectors

    @property
    def _is_built(self) -> bool:
        return "vocabulary" in self.__dict__

    def __getattr__(self, name: str) -> Any:
        state = self.__dict__
        if name in SETTINGS and "settings" in state:
            return getattr(state["settings"], name)
        if name in OUTPUTS and "parameters" in state:
            rows = getattr(self.parameters, name)
            if rows is not None:
                return rows[:, : self.settings.vector_size]
        raise missing_from_model(self, name, "parameters" in state)

    def __setattr__(self, name: str, value: Any) -> None:
        accepted({name: value})
        if name == "workers":
            value = checked_workers(value)
        if name in SETTINGS and "settings" in self.__dict__:
            self._set(name, value)
        elif name in OUTPUTS and "parameters" in self.__dict__:
            setattr(self.parameters, name, self._as_outputs(name, value))
        elif name == "wv" and "wv" in self.__dict__:
            self._replace_vectors(value)
        elif name in MODEL:
            raise AttributeError(f"setting {name} would have no effect; use {MODEL[name]}")
        else:
            super().__setattr__(name, value)

    def _set(self, name: str, value: Any) -> None:
        settings = replace(self.settings, **{name: value})
        if name == "vector_size" and value != self.vector_size:
            if self._is_built:
                raise ValueError(f"the vectors have size {self.vector_size}; for vector_size={value} make a new model")
            self.__dict__["wv"] = WordVectors(value)
        self.__dict__["settings"] = settings

    def _as_outputs(self, name: str, value: Any) -> np.ndarray:
        """``value`` as the new rows of ``name``."""
        rows = np.asarray(value, dtype=np.float32)
        there = getattr(self.parameters, name)
        expected = (len(self.vocabulary), self.vector_size) if there is None else (len(there), self.vector_size)
        if rows.shape != expected:
            raise ValueError(f"{name} must have shape {list(expected)}, got {list(rows.shape)}")
        return aligned(rows)

    def _replace_vectors(self, vectors: Any) -> None:
        """Replace ``wv`` by vectors of the same size that have all words of the model."""
        if not isinstance(vectors, WordVectors):
            raise TypeError(f"wv must be WordVectors (KeyedVectors), got {type(vectors).__name__}")
        if vectors.vector_size != self.vector_size:
            raise ValueError(f"wv must have vectors of size {self.vector_size}, got {vectors.vector_size}")
        if self._is_built:
            self.vocabulary.following(vectors.index_to_key, vectors.counts)
        self.__dict__["wv"] = vectors

    def _share_table(self) -> None:
        """Make ``wv`` and the parameters share memory again, whatever the user has changed in ``wv``.

        New keys become words of the vocabulary, with their count in ``wv`` or 0.
        """
        if is_busy_elsewhere(self):
            return  # the other thread keeps them consistent
        vocabulary, parameters, wv = self.vocabulary, self.parameters, self.wv
        if wv.vector_size != self.vector_size:
            raise ValueError(f"wv must have vectors of size {self.vector_size}, got {wv.vector_size}")
        if wv.index_to_key != vocabulary.index_to_key:
            vocabulary, rows = vocabulary.following(wv.index_to_key, wv.counts)
            parameters = parameters.rearranged(rows)
        elif _same_memory(wv.vectors, parameters.syn0[:, : self.vector_size]):
            return
        self._install(vocabulary, Parameters(aligned(wv.vectors), parameters.syn1, parameters.syn1neg))

    def _install(
        self, vocabulary: Vocabulary, parameters: Parameters, reset: bool = False, counted: bool = False, **others: Any
    ) -> None:
        """Replace the vocabulary and parameters of the model, with ``wv`` as a view of them. ``wv`` gets missing words.

        Ctrl-C leaves the model with either all of these changes or none.

        Args:
            reset: discard the present content of ``wv``.
            counted: copy the counts of the vocabulary to ``wv``.
            others: attributes that change at the same moment.
        """
        wv = WordVectors(self.vector_size, device=self.wv._device) if reset else self.wv
        new = len(vocabulary) - len(wv)
        expandos = extended(wv.expandos, {}, len(wv), list(range(new)))
        if counted:
            expandos["count"] = vocabulary.counts.copy()
        vectors = {
            "index_to_key": list(vocabulary.index_to_key),
            "key_to_index": dict(vocabulary.key_to_index),
            "expandos": expandos,
            "vectors_lockf": extended_factors(wv.vectors_lockf, len(wv), new),
            "_vectors": parameters.syn0[:, : self.vector_size],
            "_cached": {},
        }
        change_together(
            (self, {"vocabulary": vocabulary, "parameters": parameters} | others),
            (self.wv, (vars(wv) if reset else {}) | vectors),
        )

    def __getstate__(self) -> dict[str, Any]:
        """The state without functions and callbacks, and with the vectors only once, in ``wv``."""
        if self._is_built:
            self._share_table()
        state = self.__dict__ | {
            "progress": None,
            "callbacks": (),
            "trim_rule": None,
            "_watchers": (),
            "_trainer": None,
            "_under_way": {},
        }
        parameters = state.pop("parameters", None)
        if parameters is not None:
            outputs = ((name, getattr(parameters, name)) for name in OUTPUTS)
            state["outputs"] = {name: rows[:, : self.vector_size] for name, rows in outputs if rows is not None}
        return state

    def __setstate__(self, state: dict[str, Any]) -> None:
        outputs = state.pop("outputs", None)
        self.__dict__.update(state)
        if outputs is not None:
            rows = [aligned(outputs[name]) if name in outputs else None for name in OUTPUTS]
            self._install(self.vocabulary, Parameters(aligned(self.wv.vectors), *rows))

    def __copy__(self) -> Any:
        """A deep copy, because models that share vectors would train each other's."""
        return copy.deepcopy(self)

    def __str__(self) -> str:
        words = len(self.vocabulary) if self._is_built else 0
        return f"{type(self).__name__}<vocab={words}, vector_size={self.vector_size}, alpha={self.alpha}>"

    __repr__ = __str__


def _same_memory(one: np.ndarray, other: np.ndarray) -> bool:
    return one.shape == other.shape and one.strides == other.strides and one.ctypes.data == other.ctypes.data
