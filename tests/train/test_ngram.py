"""The n-gram model against counts by hand, and against Kneser-Ney written from the book, with dictionaries."""

import json
import math
from collections import Counter

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from fastrnn.train.data import LanguageBatches, Vocabulary
from fastrnn.train.models import NGram, ngram_counts
from fastrnn.train.models.smoothing import METHODS

TEXT = """this is a test
this is a problem
this is not a test
that is a test
a test this is
"""


def made(text=TEXT, order=3, smoothing="kneser-ney", **options):
    return NGram(Vocabulary.build(text, eos="<eos>"), order, smoothing, **options).count(text)


def of_ids(ids, words, order, smoothing="kneser-ney", eos=None, **options):
    """A model of the words 0, 1, …, of which ``eos`` may end the sentences."""
    names = [str(i) for i in range(words)]
    return NGram(Vocabulary(names, eos=None if eos is None else names[eos]), order, smoothing, **options).count(ids)


def probability(model, history, word):
    """P(word | history), where the history begins with the end of the sentence before it if there are sentences."""
    log_p, _ = model.read(torch.tensor([history]).T, model.begin(1))
    return float(log_p[-1, 0, word].exp())


def everything_after(model, history):
    log_p, _ = model.read(torch.tensor([history]).T, model.begin(1))
    return log_p[-1, 0].exp()


class KneserNey:
    """Chen and Goodman's equations over dictionaries of tuples; "s" is the beginning of a sentence."""

    def __init__(self, sentences, words, order, end):
        self.words, counts = words, Counter()
        for sentence in sentences:
            padded = ["s", *sentence, end]
            for length in range(1, order + 1):
                counts.update(tuple(padded[i : i + length]) for i in range(len(padded) - length + 1))
        del counts["s",]
        self.counts = {}
        for ngram, count in counts.items():
            preceded_by = sum((word, *ngram) in counts for word in ["s", *range(words)])
            self.counts[ngram] = count if len(ngram) == order or ngram[0] == "s" else preceded_by
        self.discounts = {length: self.discounts_of(length) for length in range(1, order + 1)}

    def discounts_of(self, length):
        n = Counter(count for ngram, count in self.counts.items() if len(ngram) == length)
        if not (n[1] and n[2] and n[3]):
            return (0.5, 1.0, 1.5)
        y = n[1] / (n[1] + 2 * n[2])
        found = (1 - 2 * y * n[2] / n[1], 2 - 3 * y * n[3] / n[2], 3 - 4 * y * n[4] / n[3])
        return found if found[0] >= 0 and found[1] >= 0 and found[2] >= 0 else (0.5, 1.0, 1.5)

    def __call__(self, history, word):
        if not history:
            lower = 1 / self.words
        else:
            lower = self(history[1:], word)
        following = [self.counts.get((*history, w), 0) for w in range(self.words)]
        if not sum(following):
            return lower
        one, two, more = self.discounts[len(history) + 1]
        count = self.counts.get((*history, word), 0)
        taken = 0 if count == 0 else one if count == 1 else two if count == 2 else more
        freed = one * following.count(1) + two * following.count(2) + more * sum(c > 2 for c in following)
        return (count - taken) / sum(following) + freed / sum(following) * lower


class TestCounts:
    def test_the_lecture(self):
        model = made(order=4, smoothing="ml")
        counts = model.counts("this is a")
        assert counts == {"test": 1, "problem": 1}
        assert dict(model.next("this is a", top=None))["test"] == pytest.approx(counts["test"] / counts.total())
        assert model.counts("is a").most_common(1) == [("test", 2)]
        assert list(model.counts("is").items()) == [("a", 3), ("<eos>", 1), ("not", 1)]
        assert model.counts("is that") == {}
        assert model.counts().total() == len(TEXT.split()) + 5

    def test_no_history_crosses_the_end_of_a_sentence(self):
        assert made(order=3).counts(["test", "<eos>"]) == {}
        assert made(order=3, cross_sentences=True).counts(["test", "<eos>"]) == {"this": 1, "that": 1, "a": 1}
        assert made(order=2).counts(["<eos>"]) == {"this": 3, "a": 1, "that": 1}

    def test_a_longer_history_than_the_model_has(self):
        with pytest.raises(
            ValueError, match=r"at most 2 words, got 3: pass fewer words, or create NGram\(…, order=4\)"
        ):
            made(order=3).counts("this is a")

    @pytest.mark.parametrize("cross", [False, True])
    def test_blocks_and_pieces_count_as_the_whole(self, monkeypatch, cross):
        random = np.random.default_rng(1)
        ids = random.integers(0, 6, 500).astype(np.int32)
        whole = of_ids(ids, 6, 4, eos=0, cross_sentences=cross).tensors()
        pieces = of_ids(ids[:101], 6, 4, eos=0, cross_sentences=cross)
        for piece in (ids[101:102], ids[102:102], ids[102:300], ids[300:]):
            pieces.count(piece, continues=True)
        monkeypatch.setattr(ngram_counts, "BLOCK", 3)
        for other in (pieces, of_ids(ids, 6, 4, eos=0, cross_sentences=cross)):
            assert all(torch.equal(tensor, whole[name]) for name, tensor in other.tensors().items())

    def test_texts_of_their_own_are_added(self):
        apart = of_ids([1, 2], 4, 2).count([2, 3])
        assert apart.counts("1") == {"2": 1}
        assert apart.counts("2") == {"3": 1}  # and no (2, 2) between the two
        assert of_ids([1, 2], 4, 2).count([2, 3], continues=True).counts("2") == {"2": 1, "3": 1}

    def test_a_mapped_file(self, tmp_path):
        ids = np.random.default_rng(0).integers(0, 9, 1000).astype(np.uint16)
        ids.tofile(tmp_path / "ids")
        mapped = np.memmap(tmp_path / "ids", np.uint16, mode="r")
        assert torch.equal(of_ids(mapped, 9, 3).tensors()["3-grams"], of_ids(ids, 9, 3).tensors()["3-grams"])

    def test_a_million_words_and_five_of_them_fit_into_a_key(self):
        counts = ngram_counts.NGramCounts(1_000_000, 5)
        counts.add(np.array([999_999, 999_998, 999_999, 999_998, 999_999, 5]))
        _, ngrams, _ = counts.walk(np.array([999_998, 999_999, 999_998, 999_999, 5]), counts.no_history())
        assert counts.counts[4][ngrams[4][-1]] == 1
        assert counts.counts[2][ngrams[2][2]] == 1  # 998 999 998
        assert counts.counts[1][ngrams[1][1]] == 2  # 998 999
        assert [len(keys) for keys in counts.keys[1:]] == [3, 3, 3, 2]

    def test_parameters_are_the_ngrams_that_occurred(self):
        assert of_ids([0, 1, 0, 1, 2], 4, 3).parameters_count == 3 + 3 + 3


class TestProbabilities:
    """After (0) came 1, 1, 2; after (0, 1) came 0, 0; nothing is before the first 0."""

    IDS = (0, 1, 0, 1, 0, 2)

    def test_maximum_likelihood(self):
        model = of_ids(self.IDS, 4, 2, "ml")
        assert everything_after(model, [0]).tolist() == pytest.approx([0, 2 / 3, 1 / 3, 0])
        assert everything_after(model, [3]).tolist() == pytest.approx([1 / 2, 1 / 3, 1 / 6, 0])  # 3 never came

    def test_add_k(self):
        model = of_ids(self.IDS, 4, 2, "add-k", k=0.5)
        assert everything_after(model, [0]).tolist() == pytest.approx([0.5 / 5, 2.5 / 5, 1.5 / 5, 0.5 / 5])
        assert everything_after(model, [3]).tolist() == pytest.approx([1 / 4] * 4)
        assert everything_after(of_ids(self.IDS, 4, 3, "add-k"), [3, 0]).tolist() == pytest.approx([1 / 4] * 4)

    def test_interpolated(self):
        model = of_ids(self.IDS, 4, 2, "interpolated", weights=[0.9, 0.7])
        unigram = [0.9 * n / 6 + 0.1 / 4 for n in (3, 2, 1, 0)]
        after = [0.7 * n / 3 + 0.3 * p for n, p in zip((0, 2, 1, 0), unigram, strict=True)]
        assert everything_after(model, [0]).tolist() == pytest.approx(after)
        assert everything_after(model, [3]).tolist() == pytest.approx(unigram)

    def test_kneser_ney(self):
        model = of_ids(self.IDS, 4, 2, discounts=[(0.5, 1, 1.5), (0.75, 1.25, 2)])
        # Before 0 came one word (1), before 1 one (0), before 2 one (0): three continuations, each less 0.5.
        unigram = [0.5 / 3 + 1.5 / 3 / 4] * 3 + [1.5 / 3 / 4]
        after = [(n - d) / 3 + 2 / 3 * p for n, d, p in zip((0, 2, 1, 0), (0, 1.25, 0.75, 0), unigram, strict=True)]
        assert everything_after(model, [0]).tolist() == pytest.approx(after)

    @settings(max_examples=40, deadline=None)
    @given(
        sentences=st.lists(st.lists(st.integers(1, 3), max_size=8), min_size=1, max_size=12),
        order=st.integers(1, 5),
        history=st.lists(st.integers(1, 4), max_size=5),
    )
    def test_kneser_ney_is_the_books(self, sentences, order, history):
        ids = [word for sentence in sentences for word in [*sentence, 0]]
        model, book = of_ids(ids, 5, order, eos=0), KneserNey(sentences, 5, order, end=0)
        assert np.array(model.discounts) == pytest.approx(np.array(list(book.discounts.values())))
        found = everything_after(model, [0, *history])
        seen = ["s", *history][max(0, len(history) + 2 - order) :]
        assert found.tolist() == pytest.approx([book(tuple(seen), word) for word in range(5)])

    def test_kneser_ney_estimates_its_discounts(self):
        random = np.random.default_rng(0)
        sentences = [(1 + random.zipf(1.5, random.integers(1, 12)) % 30).tolist() for _ in range(200)]
        ids = [word for sentence in sentences for word in [*sentence, 0]]
        model, book = of_ids(ids, 31, 3, eos=0), KneserNey(sentences, 31, 3, end=0)
        assert (0.5, 1.0, 1.5) not in model.discounts[1:]  # a text of 30 words has none that came after one word
        assert np.array(model.discounts) == pytest.approx(np.array(list(book.discounts.values())))
        for history in ([2], [2, 3], [7, 9, 2]):
            seen = ["s", *history][-2:]
            assert everything_after(model, [0, *history])[4] == pytest.approx(book(tuple(seen), 4))

    @settings(max_examples=60, deadline=None)
    @given(
        ids=st.lists(st.integers(0, 5), min_size=1, max_size=60),
        order=st.integers(1, 5),
        smoothing=st.sampled_from(METHODS),
        eos=st.sampled_from([None, 0]),
        cross=st.booleans(),
        history=st.lists(st.integers(0, 6), min_size=1, max_size=6),
    )
    def test_they_sum_to_one(self, ids, order, smoothing, eos, cross, history):
        model = of_ids(ids, 7, order, smoothing, eos=eos, cross_sentences=cross)
        found = everything_after(model, history)
        assert (found >= 0).all()
        assert float(found.sum()) == pytest.approx(1, abs=1e-12)
        if smoothing != "ml":
            assert (found > 0).all()

    @pytest.mark.parametrize("smoothing", METHODS)
    @pytest.mark.parametrize("eos", [None, 0])
    def test_a_text_at_once_is_a_text_step_by_step(self, smoothing, eos):
        random = np.random.default_rng(3)
        model = of_ids(random.integers(0, 5, 300), 6, 4, smoothing, eos=eos)
        text = random.integers(0, 6, 100).tolist()
        before = [] if eos is None else [0]
        log_p, _ = model.read(torch.tensor([[*before, *text]]).T, model.begin(1))
        steps = log_p[:-1, 0].gather(1, torch.tensor(text[1 - len(before) :])[:, None])[:, 0]
        torch.testing.assert_close(model.token_log_probabilities(text), steps, rtol=1e-12, atol=1e-12)


class TestPerplexity:
    def test_it_is_exp_of_the_mean_of_minus_log_p(self):
        model, text = made(), "this is a test\nthat is not a problem\n"
        log_p = model.token_log_probabilities(text)
        assert len(log_p) == 11
        assert model.perplexity(text) == pytest.approx(math.exp(-log_p.mean()))
        ids = model.vocabulary.encode(text)
        assert model.perplexity(ids) == model.perplexity(torch.tensor(ids)) == model.perplexity(np.array(ids))
        assert model.evaluate(text)["loss"] == pytest.approx(-float(log_p.mean()))

    def test_of_a_sentence(self):
        model = made()
        p = probability
        v = {word: i for i, word in enumerate(model.vocabulary.tokens)}
        eos, this, is_ = v["<eos>"], v["this"], v["is"]
        steps = p(model, [eos], this) * p(model, [eos, this], is_) * p(model, [eos, this, is_], eos)
        assert model.probability("this is") == pytest.approx(steps)

    def test_an_unseen_word_is_impossible_without_smoothing(self):
        found = made(smoothing="ml").evaluate("this is not a problem\n")
        assert found == {"loss": math.inf, "perplexity": math.inf, "impossible": 1.0}
        assert made().perplexity("this is not a problem\n") < math.inf

    def test_batches_give_what_the_text_gives(self):
        random = np.random.default_rng(5)
        model, text = of_ids(random.integers(0, 6, 400), 6, 3, eos=0), random.integers(0, 6, 101)
        whole = model.token_log_probabilities(text)
        row = model.evaluate(LanguageBatches(text, 1, 1000))
        assert row["loss"] == pytest.approx(-float(whole[1:].mean()), rel=0.02)
        for steps in (1, 7):  # a window continues the previous one
            assert model.evaluate(LanguageBatches(text, 1, steps)) == pytest.approx(row)
        halves = [model.evaluate(LanguageBatches(text[i : i + 51], 1, 9))["loss"] for i in (0, 50)]
        assert model.evaluate(LanguageBatches(text, 2, 9))["loss"] == pytest.approx(np.mean(halves))
        assert model.evaluate(list(LanguageBatches(text, 2, 9)))["loss"] == pytest.approx(np.mean(halves))


class TestTuning:
    IDS = np.random.default_rng(2).zipf(1.3, 2000) % 40

    def test_k(self):
        model = of_ids(self.IDS[:1500], 40, 2, "add-k").tune(self.IDS[1500:])
        k = model.smoothing.k
        best = model.perplexity(self.IDS[1500:])
        assert best < of_ids(self.IDS[:1500], 40, 2, "add-k").perplexity(self.IDS[1500:])
        for other in (k * 0.9, k * 1.1):
            assert of_ids(self.IDS[:1500], 40, 2, "add-k", k=other).perplexity(self.IDS[1500:]) > best

    def test_weights(self):
        held_out = self.IDS[1500:]
        model = of_ids(self.IDS[:1500], 41, 3, "interpolated", eos=0).tune(held_out)
        weights, best = model.smoothing.weights, model.perplexity(held_out)
        for i in range(3):
            for step in (-0.03, 0.03):
                moved = [min(max(w + step * (i == j), 0), 0.9999) for j, w in enumerate(weights)]
                other = of_ids(self.IDS[:1500], 41, 3, "interpolated", eos=0, weights=moved)
                assert other.perplexity(held_out) >= best - 1e-3

    def test_what_has_nothing_to_tune(self):
        with pytest.raises(ValueError, match='"add-k" and "interpolated" have'):
            made().tune(TEXT)


class TestUse:
    def test_it_completes(self):
        model = made(order=4)
        assert model.complete("this is not", beam=2) == "this is not a test"
        assert model.complete("that", seed=1) == model.complete("that", seed=1)
        assert len(model.complete("this is", n=3, length=2, stop=False)) == 3

    @pytest.mark.parametrize("options", [{"seed": 0}, {"beam": 2}])
    def test_a_sentence_ends_where_nothing_but_an_unknown_word_was_seen(self, options):
        vocabulary = Vocabulary(["<unk>", "<eos>", "a", "b"], unknown="<unk>", eos="<eos>")
        model = NGram(vocabulary, 3, "ml").count("a b c d\na b c d\n")
        assert model.next("a b", top=1) == [("<unk>", 1.0)]
        assert model.complete("a", length=5, **options) == "a b"

    def test_begin_of_sentence_word(self):
        vocabulary = Vocabulary(["<s>", "</s>", "a", "b"], bos="<s>", eos="</s>")
        model = NGram(vocabulary, 3, "ml").count(["<s>", "a", "b", "</s>", "<s>", "a", "</s>"])
        assert model.next("", top=1) == [("a", 1.0)]
        assert model.probability("a b") == pytest.approx(0.5)

    @pytest.mark.parametrize("smoothing", METHODS)
    def test_it_comes_back_from_config_and_tensors(self, smoothing):
        options = {"k": 0.3, "weights": [0.5, 0.6, 0.7], "discounts": [(0.4, 0.9, 1.2)] * 3}
        model = made(smoothing=smoothing, **options)
        again = NGram.from_config(json.loads(json.dumps(model.config())), model.tensors())
        assert again.next("this is", top=None) == model.next("this is", top=None)
        assert again.smoothing == model.smoothing
        more = "test that\nis\n"
        assert again.count(more, continues=True).evaluate(more) == model.count(more, continues=True).evaluate(more)

    def test_damaged_tensors(self):
        model = made()
        config, tensors = model.config(), model.tensors()
        wrong = tensors["2-grams"].clone()
        wrong[0, 3] = wrong[0, 2]
        short = tensors["2-grams"][:, :4]
        broken = [
            {name: tensor for name, tensor in tensors.items() if name != "3-grams"},
            {**tensors, "2-grams": wrong},
            {**tensors, "2-grams": short},
            {**tensors, "1-grams": tensors["1-grams"][:, 1:]},
            {**tensors, "2-grams": tensors["2-grams"].float()},
            {**tensors, "before": torch.tensor([99])},
        ]
        for each in broken:
            with pytest.raises((ValueError, TypeError), match=r"grams|token id|tensor"):
                NGram.from_config(config, each)

    def test_damaged_histories(self):
        model = of_ids([0, 1, 2], 3, 3)
        tensors = {**model.tensors(), "2-grams": torch.tensor([[1, 3], [1, 1]])}  # (0, 1) and (1, 0), not (1, 2)
        with pytest.raises(ValueError, match="the shorter n-gram without the first word must exist for each"):
            NGram.from_config(model.config(), tensors)

    def test_errors(self):
        vocabulary = Vocabulary(["a", "b"])
        with pytest.raises(ValueError, match="order must be at least 1, got 0"):
            NGram(vocabulary, 0)
        with pytest.raises(ValueError, match="unknown smoothing 'kneserney'; did you mean 'kneser-ney'"):
            NGram(vocabulary, 3, "kneserney")
        with pytest.raises(ValueError, match='k must be positive, got 0; for no smoothing, use smoothing="ml"'):
            NGram(vocabulary, 3, "add-k", k=0)
        with pytest.raises(ValueError, match="weights must be 3 numbers from 0 to 1"):
            NGram(vocabulary, 3, weights=[0.5, 0.5])
        with pytest.raises(ValueError, match="at most 1, 2 and 3"):
            NGram(vocabulary, 1, discounts=[(0.5, 1, 3.5)])
        with pytest.raises(ValueError, match=r"call model.count\(text\) first"):
            NGram(vocabulary).perplexity("a b")
        with pytest.raises(ValueError, match="token id 2 is not in the vocabulary, whose ids are 0 to 1"):
            NGram(vocabulary).count([0, 1, 2])
        with pytest.raises(TypeError, match="expected token ids, which are integers"):
            NGram(vocabulary).count(np.array([0.5]))
        with pytest.raises(TypeError, match=r"got list: .* one by one"):
            NGram(vocabulary).count([["a"], ["a", "b"]])
        with pytest.raises(TypeError, match=r"got generator: .* one by one"):
            NGram(vocabulary).count(text for text in ["a", "b"])
        with pytest.raises(ValueError, match="there are no batches to evaluate on"):
            NGram(vocabulary).count("a b").evaluate(iter([]))
        with pytest.raises(TypeError, match="expected batches of type Window, or a text or its ids, got int"):
            NGram(vocabulary).count("a b").evaluate(iter([1, 0]))
        with pytest.raises(ValueError, match="expected at least two tokens"):
            NGram(vocabulary).count("a b").perplexity("a")
