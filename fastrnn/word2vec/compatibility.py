"""gensim's names that are not here: what can be passed over is, and an error says what takes the place of the rest."""

from __future__ import annotations

from typing import Any

# Arguments of gensim's Word2Vec that say how its threads and its log work, or say what is always so here.
WITHOUT_EFFECT = frozenset(
    {"batch_words", "comment", "compute_loss", "hashfxn", "progress_per", "queue_factor", "report_delay"}
)
# Other arguments: the value that asks for nothing, and what to do in place of any other.
REFUSED: dict[str, tuple[Any, str]] = {
    "callbacks": ((), "progress= is called as the training goes on; losses holds the loss of every epoch"),
    "iter": (None, "it is called epochs"),
    "keep_raw_vocab": (False, "Vocabulary.build(…, min_count=1) has the counts of all words"),
    "null_word": (0, "add the word to the sentences"),
    "size": (None, "it is called vector_size"),
    "sorted_vocab": (1, "the most frequent words always come first"),
    "trim_rule": (None, "min_count, max_final_vocab, or leaving the words out of the sentences"),
    "word_count": (0, "start_alpha= and end_alpha= say where the learning rate goes on"),
}
# Attributes and methods of gensim's vectors.
ATTRIBUTES = {
    "index2entity": "index_to_key",
    "index2word": "index_to_key",
    "intersect_word2vec_format": "vectors[keys] = others[keys]",
    "norms": "lengths",
    "resize_vectors": "nothing: add_vectors makes room",
    "similarity_unseen_docs": "n_similarity",
    "syn0": "vectors",
    "syn0norm": "get_normed_vectors()",
    "vectors_norm": "get_normed_vectors()",
    "vocab": "key_to_index and get_vecattr(key, 'count')",
}


def accepted(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments without those of gensim that change nothing.

    Raises:
        TypeError: an argument of gensim asks for what is not here; the message says what takes its place.
    """
    for name, (nothing, instead) in REFUSED.items():
        value = arguments.get(name, nothing)
        if not (value is nothing or value == nothing or (name == "callbacks" and not value)):
            raise TypeError(f"gensim's {name} is not here: {instead}; got {name}={value!r}")
    return {name: value for name, value in arguments.items() if name not in WITHOUT_EFFECT | REFUSED.keys()}


def accept_only(arguments: dict[str, Any], function: str) -> None:
    """Raise TypeError where arguments are more than gensim's that change nothing."""
    for name in accepted(arguments):
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def missing_attribute(owner: object, name: str) -> AttributeError:
    """The error for an attribute that ``owner`` has not; it says what takes the place of gensim's."""
    instead = f"; in its place: {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{instead}", name=name, obj=owner)
