"""Ctrl-C while a vocabulary is built leaves either the old one or the new one."""

import pickle
import sys

import numpy as np
import pytest

from fastrnn.word2vec import Word2Vec
from tests.word2vec.small import SENTENCES, SMALL


def parts_fit(model):
    words = len(model.vocabulary)
    sizes = {len(rows) for rows in (model.parameters.syn0, model.parameters.syn1neg, model.wv.vectors, model.wv.counts)}
    assert sizes == {words} == {len(model.wv)} == {len(model.parameters.syn1) + 1}
    assert model.wv.index_to_key == model.vocabulary.index_to_key
    assert np.array_equal(model.wv.counts, model.vocabulary.counts)
    assert np.shares_memory(model.wv.vectors, model.parameters.syn0)
    return words


@pytest.mark.parametrize("update", [True, False])
def test_ctrl_c_while_a_vocabulary_is_built(update):
    """At every line, and at every instruction where the parts are put together."""
    more = [["graph", "trees", "new", "newer"]] * 4
    model = Word2Vec(SENTENCES, hs=1, **SMALL)
    after, place, done, outcomes = 12 if update else 4, 0, False, set()

    def trace(frame, event, _):
        nonlocal steps
        if "fastrnn/word2vec" not in frame.f_code.co_filename:
            return None
        frame.f_trace_opcodes = frame.f_code.co_name in (
            "_install",
            "change_together",
            "_build",
            "build_vocab",
            "alone",
        )
        if event == "opcode" or (event == "line" and not frame.f_trace_opcodes):
            steps += 1
            if steps == place:
                raise KeyboardInterrupt
        return trace

    while not done:
        place += 3
        steps, trial = 0, pickle.loads(pickle.dumps(model))
        old = sys.gettrace()
        sys.settrace(trace)
        try:
            trial.build_vocab(more, update=update)
            done = True
        except KeyboardInterrupt:
            done = False
        finally:
            sys.settrace(old)
        outcomes.add(parts_fit(trial))
        trial.train(SENTENCES, epochs=1)  # nothing is under way any more
    assert outcomes == {10, after}
    assert place > 300
