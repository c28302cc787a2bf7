"""gensim's names that fastrnn lacks: some are ignored, for the others an error says what to use instead."""

from __future__ import annotations

from typing import Any

# Ignored arguments of gensim's Word2Vec: they configure its threads and logging, or request what fastrnn always does.
WITHOUT_EFFECT = frozenset(
    {"batch_words", "comment", "compute_loss", "hashfxn", "progress_per", "queue_factor", "report_delay"}
)
# Refused arguments: the value that requests nothing and so is accepted, and what to use instead of any other value.
REFUSED: dict[str, tuple[Any, str]] = {
    "iter": (None, "use epochs"),
    "keep_raw_vocab": (False, "use Vocabulary.build(…, min_count=1) for the counts of all words"),
    "null_word": (0, "add the word to the sentences"),
    "size": (None, "use vector_size"),
    "sorted_vocab": (1, "words are always sorted by frequency"),
    "word_count": (0, "use start_alpha= and end_alpha= to continue with a certain learning rate"),
}
# Attributes and methods of gensim's vectors.
ATTRIBUTES = {
    "index2entity": "index_to_key",
    "index2word": "index_to_key",
    "norms": "lengths",
    "resize_vectors": "add_vectors, which allocates memory itself",
    "allocate_vecattrs": "set_vecattr",
    "similarity_unseen_docs": "n_similarity",
    "syn0": "vectors",
    "syn0norm": "get_normed_vectors()",
    "vectors_norm": "get_normed_vectors()",
    "vocab": "key_to_index and get_vecattr(key, 'count')",
}
# Attributes and methods of gensim's Word2Vec.
MODEL = {
    "add_null_word": "the word itself in the sentences",
    "create_binary_tree": "hs=1; train builds the tree",
    "cum_table": "ns_exponent; train builds the table of negatives",
    "effective_min_count": "min_count or model.wv.counts.min()",
    "estimate_memory": "4 * vector_size * len(model.wv) bytes for vectors, and the same again for outputs",
    "index2word": "model.wv.index_to_key",
    "init_weights": "build_vocab",
    "layer1_size": "vector_size",
    "make_cum_table": "ns_exponent; train builds the table of negatives",
    "min_alpha_yet_reached": "alpha and min_alpha",
    "prepare_vocab": "build_vocab",
    "prepare_weights": "build_vocab",
    "random": "seed",
    "raw_vocab": "Vocabulary.build(…, min_count=1), which counts all words",
    "reset_from": "build_vocab_from_freq with the counts of the other model",
    "scan_vocab": "build_vocab",
    "score": "predict_output_word, or model.losses for a whole corpus",
    "seeded_vector": "seed",
    "syn0": "model.wv.vectors",
    "syn0_lockf": "model.wv.vectors_lockf",
    "total_train_time": "time.perf_counter around train",
    "train_count": "len(model.losses), the number of epochs",
    "trainables": "model.syn1neg, model.syn1 and model.wv.vectors_lockf",
    "update_weights": "build_vocab(…, update=True)",
    "vocab": "model.wv.key_to_index and model.wv.get_vecattr(key, 'count')",
    "vectors": "model.wv.vectors",
}
# Attributes that exist once the vocabulary is built.
BUILT = frozenset({"parameters", "syn1", "syn1neg", "vocabulary"})


def accepted(arguments: dict[str, Any]) -> dict[str, Any]:
    """Arguments without those of gensim that are ignored.

    Raises:
        TypeError: an argument of gensim requests what fastrnn does not have; the message says what to use instead.
    """
    for name, (nothing, instead) in REFUSED.items():
        value = arguments.get(name, nothing)
        if not (value is nothing or value == nothing):
            raise TypeError(f"gensim's argument {name} is not supported: {instead}; got {name}={value!r}")
    return {name: value for name, value in arguments.items() if name not in WITHOUT_EFFECT | REFUSED.keys()}


def accept_only(arguments: dict[str, Any], function: str) -> None:
    """Raise TypeError unless all arguments are gensim's and can be ignored."""
    for name in accepted(arguments):
        raise TypeError(f"{function}() got an unexpected keyword argument {name!r}")


def missing_attribute(owner: object, name: str) -> AttributeError:
    """The error for an attribute that vectors lack; for one of gensim's it says what to use instead."""
    hint = f"; instead of gensim's {name} use {ATTRIBUTES[name]}" if name in ATTRIBUTES else ""
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{hint}", name=name, obj=owner)


def missing_from_model(owner: object, name: str, is_built: bool) -> AttributeError:
    """The error for an attribute that a model lacks, like :func:`missing_attribute`."""
    hint = ""
    if name in BUILT:
        trains = {"syn1": "hs=1", "syn1neg": "negative above 0"}
        hint = f"; it exists with {trains[name]}" if is_built else "; call build_vocab first, it builds the vocabulary"
    elif name in WITHOUT_EFFECT:
        hint = "; fastrnn ignores gensim's setting of this name"
    elif name in MODEL:
        hint = f"; instead of gensim's {name} use {MODEL[name]}"
    elif not name.startswith("_") and hasattr(type(vars(owner).get("wv")), name):
        hint = f"; use model.wv.{name}"
    return AttributeError(f"{type(owner).__name__} has no attribute {name!r}{hint}", name=name, obj=owner)
