"""gensim's names that are not here: what can be ignored is, and an error says what to use instead of the rest."""

from __future__ import annotations

from typing import Any

# Arguments of gensim's Word2Vec that say how its threads and its log work, or say what is always so here.
WITHOUT_EFFECT = frozenset(
    {"batch_words", "comment", "compute_loss", "hashfxn", "progress_per", "queue_factor", "report_delay"}
)
# Other arguments: the value that asks for nothing, and what to use instead of any other.
REFUSED: dict[str, tuple[Any, str]] = {
    "iter": (None, "it is called epochs"),
    "keep_raw_vocab": (False, "Vocabulary.build(…, min_count=1) has the counts of all words"),
    "null_word": (0, "add the word to the sentences"),
    "size": (None, "it is called vector_size"),
    "sorted_vocab": (1, "the most frequent words always come first"),
    "word_count": (0, "start_alpha= and end_alpha= say where the learning rate goes on"),
}
# Attributes and methods of gensim's vectors.
ATTRIBUTES = {
    "index2entity": "index_to_key",
    "index2word": "index_to_key",
    "norms": "lengths",
    "resize_vectors": "nothing: add_vectors makes room",
    "allocate_vecattrs": "set_vecattr",
    "similarity_unseen_docs": "n_similarity",
    "syn0": "vectors",
    "syn0norm": "get_normed_vectors()",
    "vectors_norm": "get_normed_vectors()",
    "vocab": "key_to_index and get_vecattr(key, 'count')",
}
# Attributes and methods of gensim's Word2Vec.
MODEL = {
    "add_null_word": "a word in the sentences",
    "create_binary_tree": "hs=1: the tree is made when training begins",
    "cum_table": "ns_exponent: the table of negatives is made when training begins",
    "effective_min_count": "min_count, and model.wv.counts.min()",
    "estimate_memory": "4 * vector_size * len(model.wv) bytes for vectors and as many for outputs",
    "index2word": "model.wv.index_to_key",
    "init_weights": "build_vocab",
    "layer1_size": "vector_size",
    "make_cum_table": "ns_exponent: the table of negatives is made when training begins",
    "min_alpha_yet_reached": "alpha and min_alpha",
    "prepare_vocab": "build_vocab",
    "prepare_weights": "build_vocab",
    "random": "seed",
    "raw_vocab": "Vocabulary.build(…, min_count=1), which has the counts of all words",
    "reset_from": "build_vocab_from_freq with the counts of the other model",
    "scan_vocab": "build_vocab",
    "score": "predict_output_word, or losses for a whole corpus",
    "seeded_vector": "seed",
    "syn0": "model.wv.vectors",
    "syn0_lockf": "model.wv.vectors_lockf",
    "total_train_time": "a clock around train",
    "train_count": "losses, one of each epoch",
    "trainables": "model.syn1neg, model.syn1 and model.wv.vectors_lockf",
    "update_weights": "build_vocab(…, update=True)",
    "vocab": "model.wv.key_to_index and model.wv.get_vecattr(key, 'count')",
    "vectors": "model.wv.vectors",
}
# What is there once the vocabulary is.
BUILT = frozenset({"parameters", "syn1", "syn1neg", "vocabulary"})


def accepted(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments without those of gensim that change nothing.

    Raises:
        TypeError: an argument of gensim asks for what is not here; the message says what to use.
    """
    for name, (nothing, instead) in REFUSED.items():
        value = arguments.get(name, nothing)
        if not (value is nothing or value == nothing):
            raise TypeError(f"gensim's {name} is not here: {instead}; got {name}={value!r}")
    return {name: value for name, value in arguments.items() if name not in WITHOUT_EFFECT | REFUSED.keys()}


def accept_only(arguments: dict[str, Any], function: str) -> None:
    """Raise TypeError where arguments are more than gensim's that change nothing."""
    for name in accepted(arguments):
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def missing_attribute(owner: object, name: str) -> AttributeError:
    """The error for an attribute that vectors do not have; for one of gensim's it says what to use."""
    hint = f"; gensim's {name} is not here: use {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{hint}", name=name, obj=owner)


def missing_from_model(owner: object, name: str, is_built: bool) -> AttributeError:
    """The error for an attribute that a model does not have, as :func:`missing_attribute`."""
    from fastrnn.word2vec.vectors.word_vectors import WordVectors

    hint = ""
    if name in BUILT:
        trains = {"syn1": "hs=1", "syn1neg": "negative above 0"}
        hint = f"; it is there with {trains[name]}" if is_built else "; is the vocabulary built? Call build_vocab first"
    elif name in WITHOUT_EFFECT:
        hint = "; gensim's setting of that name has no effect here"
    elif name in MODEL:
        hint = f"; gensim's {name} is not here: use {MODEL[name]}"
    elif not name.startswith("_") and hasattr(WordVectors, name):
        hint = f"; the vectors have it: model.wv.{name}"
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{hint}", name=name, obj=owner)
