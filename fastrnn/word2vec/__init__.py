"""Word vectors: skip-gram and CBOW (Mikolov et al., 2013, arXiv:1301.3781 and arXiv:1310.4546), trained in C++."""

from typing import NoReturn

from fastrnn.word2vec import old_paths
from fastrnn.word2vec.callbacks import CallbackAny2Vec
from fastrnn.word2vec.corpus.line_sentences import LineSentence, PathLineSentences, Text8Corpus
from fastrnn.word2vec.corpus.trim_rules import RULE_DEFAULT, RULE_DISCARD, RULE_KEEP
from fastrnn.word2vec.corpus.vocabulary import Vocabulary
from fastrnn.word2vec.model import Word2Vec
from fastrnn.word2vec.phrases import ENGLISH_CONNECTOR_WORDS, FrozenPhrases, Phraser, Phrases
from fastrnn.word2vec.training.pairs import skip_gram_pairs
from fastrnn.word2vec.vectors import KeyedVectors, WordVectors

__all__ = [
    "ENGLISH_CONNECTOR_WORDS",
    "RULE_DEFAULT",
    "RULE_DISCARD",
    "RULE_KEEP",
    "CallbackAny2Vec",
    "FrozenPhrases",
    "KeyedVectors",
    "LineSentence",
    "PathLineSentences",
    "Phraser",
    "Phrases",
    "Text8Corpus",
    "Vocabulary",
    "Word2Vec",
    "WordVectors",
    "skip_gram_pairs",
]

# Names in gensim that fastrnn lacks, and what to use instead.
_ELSEWHERE = {
    "BrownCorpus": "pass the sentences as lists of words",
    "Doc2Vec": "it is not part of fastrnn; model.wv.get_mean_vector(words) gives a simple document vector",
    "FastText": "it is not part of fastrnn; WordVectors.load_word2vec_format reads fastText's .vec files",
    "TaggedDocument": "it belongs to Doc2Vec, which is not part of fastrnn",
}

old_paths.install()


def __getattr__(name: str) -> NoReturn:
    if name in _ELSEWHERE:
        raise ImportError(f"fastrnn.word2vec has no {name}: {_ELSEWHERE[name]}", name=__name__)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
