"""Hypothesis strategies for sentences and for options of phrases."""

from hypothesis import strategies as st

CONNECTORS = frozenset(["of", "the"])
# "a_b" and "b_c" are words that joined ones can be mistaken for, and gensim does.
words = st.sampled_from(["a", "b", "c", "d", "of", "the", "a_b", "b_c", "é", "_", "__", "x" * 30])
sentences = st.lists(st.lists(words, max_size=12), max_size=12)
options = st.fixed_dictionaries(
    {"min_count": st.sampled_from([1, 2]), "connector_words": st.sampled_from([frozenset(), CONNECTORS])}
    | {"delimiter": st.sampled_from(["_", "__"]), "max_vocab_size": st.sampled_from([3, 10, 40_000_000])}
)


def text_of(sentences: list[list[str]]) -> str:
    return "".join(" ".join(sentence) + "\n" for sentence in sentences)
