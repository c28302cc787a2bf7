"""What a language model is asked, on a chain whose every probability is known; sampling; beam search."""

import itertools
import math

import pytest
import torch

from fastrnn.train.data.vocabulary import Vocabulary
from fastrnn.train.models.beam_search import beam_search
from fastrnn.train.models.prediction import Predictor
from fastrnn.train.models.sampling import sample

WORDS = ["<eos>", "<unk>", "this", "is", "a", "test"]


class Chain(Predictor):
    """P(next | the last two tokens), at random; the state is the last token."""

    def __init__(self, vocabulary, seed=0, sharpness=1.0):
        self.vocabulary = vocabulary
        size = len(vocabulary)
        generator = torch.Generator().manual_seed(seed)
        self.table = (torch.randn(size + 1, size, size, generator=generator) * sharpness).log_softmax(-1)

    def begin(self, batch):
        return torch.full((batch,), len(self.vocabulary))

    def advance(self, tokens, state):
        return self.table[state, tokens], tokens

    def select(self, state, rows):
        return state[rows]


def words(**options):
    return Chain(Vocabulary(WORDS, unknown="<unk>", eos="<eos>"), **options)


def characters():
    return Chain(Vocabulary(list("abc \n"), tokenizer="characters"), sharpness=2.0)


class TestNext:
    def test_it_is_the_distribution_after_the_text(self):
        model = words()
        found = dict(model.next("this is a", top=None))
        assert math.isclose(sum(found.values()), 1.0, abs_tol=1e-9)
        for name, probability in found.items():
            assert math.isclose(probability, model.table[3, 4].exp()[WORDS.index(name)], rel_tol=1e-5)

    def test_the_most_probable_come_first(self):
        everything = words().next("this is", top=100)
        assert [p for _, p in everything] == sorted((p for _, p in everything), reverse=True)
        assert words().next(["this", "is"], top=2) == everything[:2]

    def test_nothing_at_all_is_the_beginning_of_a_sentence(self):
        model = words()
        assert math.isclose(dict(model.next("", top=None))["a"], model.table[6, 0].exp()[4], rel_tol=1e-5)


class TestProbability:
    def test_it_is_the_product_of_next(self):
        model, expected = words(), 1.0
        sentence = ["this", "is", "a", "test"]
        for place, word in enumerate([*sentence, "<eos>"]):
            expected *= dict(model.next(sentence[:place], top=None))[word]
        assert math.isclose(model.probability("this is a test"), expected, rel_tol=1e-5)
        assert math.isclose(model.log_probability("this is a test"), math.log(expected), rel_tol=1e-6)
        ending = dict(model.next(sentence, top=None))["<eos>"]
        assert math.isclose(model.probability(sentence, ends=False), expected / ending, rel_tol=1e-5)

    def test_all_sentences_of_a_length_are_certain_together(self):
        model = words()
        every = itertools.product(WORDS[1:], repeat=2)
        longer = sum(model.probability(list(sentence), ends=False) for sentence in every)
        ended = model.probability("") + sum(model.probability([word]) for word in WORDS[1:])
        assert math.isclose(longer + ended, 1.0, rel_tol=1e-5)

    def test_without_a_token_to_begin_with_it_is_given_the_first(self):
        model = characters()
        assert math.isclose(model.probability("ab"), dict(model.next("a", top=None))["b"], rel_tol=1e-5)
        with pytest.raises(ValueError, match="Expected at least two tokens, got 1"):
            model.probability("a")

    def test_perplexity_of_a_text_and_of_ids_over_several_chunks(self):
        model = words()
        ids = torch.randint(2, 6, (600,), generator=torch.Generator().manual_seed(3))
        before = torch.cat([torch.tensor([6, 0]), ids])
        expected = model.table[before[:-2], before[1:-1], before[2:]].double().mean().neg().exp()
        assert math.isclose(model.perplexity(ids), expected, rel_tol=1e-6)
        assert math.isclose(model.perplexity(ids.tolist()), expected, rel_tol=1e-6)
        assert math.isclose(model.perplexity(" ".join(WORDS[i] for i in ids)), expected, rel_tol=1e-6)


class TestComplete:
    def test_the_seed_decides(self):
        model = words()
        texts = model.complete("this is", n=8, seed=1)
        assert texts == model.complete("this is", n=8, seed=1)
        assert texts != model.complete("this is", n=8, seed=2)
        assert len(set(texts)) > 1
        assert all(text.startswith("this is") for text in texts)
        assert not any("<" in text for text in texts)  # neither ends nor unknown words

    def test_a_sentence_ends_or_is_as_long_as_it_may_be(self):
        model = words()
        assert all(len(text.split()) <= 2 + 5 for text in model.complete("this is", n=20, length=5, seed=0))
        going_on = model.complete("this is", length=30, seed=1, stop=False)
        assert len(model.vocabulary.split(going_on)) == 2 + 30
        assert "\n" in going_on  # over the ends of sentences

    def test_temperature_zero_takes_the_most_probable(self):
        model = words(seed=4)
        text = model.complete("a", temperature=0, length=3)
        ids = [0, 4]
        for _ in range(3):
            scores = model.table[ids[-2], ids[-1]].clone()
            scores[1] = -torch.inf
            ids.append(int(scores.argmax()))
            if ids[-1] == 0:
                break
        assert text == model.vocabulary.decode([i for i in ids if i])

    def test_the_words_of_the_user_stay_where_they_are_not_known(self):
        assert words().complete("this  Fluglotse", length=1, seed=0).startswith("this  Fluglotse")

    def test_a_space_at_the_end_of_the_prompt_is_the_one_before_the_next_word(self):
        assert words().complete("this ", length=1, temperature=0) == words().complete("this", length=1, temperature=0)

    def test_characters_follow_without_a_space(self):
        text = characters().complete("ab", length=20, seed=0)
        assert len(text) == 22
        assert text.startswith("ab")

    def test_a_beam_finds_the_most_probable_sentence(self):
        model = words(seed=5)
        best, second = model.complete("this", n=2, beam=400, length=3)
        scored = {}
        for count in range(3):  # and the end
            for added in itertools.product([0, 2, 3, 4, 5], repeat=count):
                if 0 not in added:
                    sentence = ["this", *(WORDS[i] for i in added)]
                    given = model.log_probability(["this"], ends=False)
                    scored[" ".join(sentence)] = (model.log_probability(sentence) - given) / (count + 1)
        assert [best, second] == sorted(scored, key=scored.get, reverse=True)[:2]

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"temperature": -1.0}, "Expected temperature to be at least 0"),
            ({"temperature": float("nan")}, "Expected temperature to be at least 0"),
            ({"top_k": 0}, "Expected top_k to be at least 1"),
            ({"top_p": 1.5}, r"Expected top_p to be a probability in \(0, 1\]"),
            ({"n": 0}, "Expected n and length of at least 1"),
            ({"beam": 2, "n": 3}, "Expected a beam of at least n=3"),
            ({"beam": 2, "top_k": 3}, "no temperature, top_k or top_p beside it"),
        ],
    )
    def test_options_out_of_range_are_refused(self, options, message):
        with pytest.raises(ValueError, match=message):
            words().complete("this", **options)


class TestPrompts:
    def test_words_never_seen_are_read_as_unknown_where_others_are_known(self):
        assert words().next("this Fluglotse") == words().next(["this", "<unk>"])
        assert words().next("<unk>")

    def test_a_prompt_of_which_nothing_is_known_is_refused(self):
        with pytest.raises(
            ValueError, match=r"got 'This', 'Tesst': none is among its 6 words; did you mean 'this test'"
        ):
            words().next("This Tesst")
        with pytest.raises(ValueError, match="Expected a prompt with a word that the model knows, got 'Fluglotse'"):
            words().complete("Fluglotse")

    def test_nothing_is_no_prompt_where_nothing_begins_a_text(self):
        with pytest.raises(ValueError, match="Expected a prompt of at least one token"):
            characters().complete("")
        assert words().complete("", seed=0)


class TestSampling:
    scores = torch.tensor([[0.5, 0.2, 0.2, 0.1]]).log()

    def drawn(self, **options):
        generator = torch.Generator().manual_seed(0)
        tokens = sample(self.scores.expand(4000, 4), generator=generator, **options)
        return (torch.bincount(tokens, minlength=4) / 4000).tolist()

    @pytest.mark.parametrize(
        ("options", "expected"),
        [
            ({}, [0.5, 0.2, 0.2, 0.1]),
            ({"temperature": 0.5}, [25 / 34, 4 / 34, 4 / 34, 1 / 34]),
            ({"temperature": 0.0}, [1, 0, 0, 0]),
            ({"top_k": 3}, [5 / 9, 2 / 9, 2 / 9, 0]),
            ({"top_k": 100}, [0.5, 0.2, 0.2, 0.1]),
            ({"top_p": 0.85}, [5 / 9, 2 / 9, 2 / 9, 0]),
            ({"top_p": 0.4}, [1, 0, 0, 0]),
            ({"top_p": 1.0}, [0.5, 0.2, 0.2, 0.1]),
            ({"top_k": 3, "top_p": 0.5}, [1, 0, 0, 0]),
        ],
    )
    def test_tokens_come_as_often_as_they_should(self, options, expected):
        assert self.drawn(**options) == pytest.approx(expected, abs=0.03)

    def test_a_model_that_has_come_to_nan_is_named(self):
        with pytest.raises(ValueError, match="the model returned NaN or infinite log-probabilities"):
            sample(torch.tensor([[0.0, float("nan")]]), temperature=0.0)


class TestBeamSearch:
    @pytest.mark.parametrize("length_penalty", [0.0, 0.7, 1.0])
    def test_a_wide_beam_finds_what_exhaustive_search_finds(self, length_penalty):
        model, eos, length = words(sharpness=2.0), 0, 4
        first = torch.tensor([2, 3, 5])  # three sentences at once
        found = beam_search(
            model.advance,
            model.select,
            model.begin(3),
            first,
            width=6**4,
            length=length,
            eos=eos,
            length_penalty=length_penalty,
        )
        for row, start in enumerate(first.tolist()):
            every = []
            for count in range(length):
                for tokens in itertools.product(range(1, 6), repeat=count):
                    ids = torch.tensor([6, start, *tokens, eos])
                    total = float(model.table[ids[:-2], ids[1:-1], ids[2:]].double().sum())
                    every.append((total / (count + 1) ** length_penalty, list(tokens), total))
            every.sort(reverse=True)
            for hypothesis, (score, tokens, total) in zip(found[row][:20], every[:20], strict=True):
                assert hypothesis.ended
                assert hypothesis.tokens == tokens
                assert hypothesis.score == pytest.approx(score)
                assert hypothesis.log_probability == pytest.approx(total)

    def test_a_beam_of_one_is_greedy(self):
        model = words(seed=2)
        (only,), ids = (
            beam_search(model.advance, model.select, model.begin(1), torch.tensor([2]), width=1, length=7, eos=None)[
                0:1
            ][0],
            [6, 2],
        )
        for _ in range(7):
            ids.append(int(model.table[ids[-2], ids[-1]].argmax()))
        assert only.tokens == ids[2:]
        assert not only.ended

    def test_sentences_together_are_what_each_is_alone(self):
        model, options = words(seed=3), {"width": 3, "length": 6, "eos": 0}
        together = beam_search(model.advance, model.select, model.begin(4), torch.arange(2, 6), **options)
        for row, start in enumerate(range(2, 6)):
            alone = beam_search(model.advance, model.select, model.begin(1), torch.tensor([start]), **options)
            assert together[row] == alone[0]

    def test_a_beam_wider_than_the_vocabulary_finds_all_there_is(self):
        model = Chain(Vocabulary(["a", "b"]))
        found = beam_search(model.advance, model.select, model.begin(1), torch.tensor([0]), width=9, length=2, eos=1)
        assert [hypothesis.tokens for hypothesis in found[0] if hypothesis.ended] in ([[], [0]], [[0], []])
        assert [hypothesis.tokens for hypothesis in found[0] if not hypothesis.ended] == [[0, 0]]

    def test_sizes_out_of_range_are_refused(self):
        with pytest.raises(
            ValueError, match="Expected width and length of at least 1 and length_penalty of at least 0"
        ):
            beam_search(words().advance, words().select, None, torch.tensor([0]), width=0, length=1, eos=None)
